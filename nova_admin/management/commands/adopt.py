"""`adopt`: takes the site into NOVA's database, from NOVA's own address of it to a site that can be started."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from credentials.grants import find_lacking_rights, make_grants, quote_role
from credentials.site_schema import SCHEMA
from migration.management.base import OWN_COMMAND_OF_UNITS, OneLineCommand
from nova_admin import environment
from nova_admin.adoption.database import (
    PLACEHOLDER,
    Connection,
    NovaDatabase,
    Prepared,
    RefusedError,
    connect,
    describe_database,
    find_present_role,
    has_site,
    hold_turn,
    make_verifier,
    prepare,
    require_fit_role,
    require_original,
    require_sound_site,
)
from nova_admin.adoption.nova_code import FOLDER, WHEEL, PatchError, make_patch
from nova_admin.adoption.site_settings import HOSTS, URL, SiteSettings, parse_uri, plan_settings

SITE_ROLE = "nova_site"
# As deploy/build.sh makes it; a checkout has none.
BUILT_WHEEL = environment.BASE_DIR / "wheels" / WHEEL
SITE = Path(OWN_COMMAND_OF_UNITS).parent
SETTINGS = Path("/etc/nova-admin.env")
CHILD_SECONDS = 3600
MAY_NOT = "{role} may not do this; a superuser of the server has to:"
# What a superuser types, and what psql then asks for.
ASK_SUPERUSER = "As that superuser: psql --dbname {database} --file {path}   # then run adopt again"
HOW_IT_ASKS = "psql asks for the new password of {role}: paste the one that stands in DATABASE_URL of {settings}."
SHARED = (
    "NOVA and the site share the role {role}: no boundary is between them. Whoever has NOVA's database password can"
    " change phases, users and records of the site."
)
NOVA_IS_SUPERUSER = (
    "NOVA's role {role} is a superuser, which no role of the site's is safe from. docs/start.md has how NOVA gets"
    " a role of its own."
)


class Command(OneLineCommand):
    help = (
        "Takes the site into NOVA's database: its role and rights, its schema and tables, its file of settings with new"
        " keys, and the patch for NOVA's code. DATABASE_URL in the environment is NOVA's own, of the role that owns"
        " NOVA's tables or of a superuser. Shows what it would do; with --yes it does it, and run again it goes on from"
        " what is done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do it, instead of showing it")
        parser.add_argument(
            "--host",
            default="",
            metavar="NAME",
            help="the name by which people reach the site (ALLOWED_HOSTS), with the port if it isn't 443",
        )
        parser.add_argument(
            "--admin",
            metavar="NAME",
            help="make this user, an Administrator, and show their link once",
        )
        parser.add_argument(
            "--env-file",
            type=Path,
            metavar="PATH",
            help="the site's file of settings; without it that of NOVA_ENV_FILE, or .env beside manage.py",
        )
        parser.add_argument(
            "--site-role",
            metavar="NAME",
            help=f"the site's role; without it the one that has the site, or {SITE_ROLE}",
        )
        parser.add_argument(
            "--shared-role",
            action="store_true",
            help="the site and NOVA keep one role, without a boundary",
        )
        parser.add_argument(
            "--nova", type=Path, metavar="PATH", help="the folder of NOVA's code, for the patch"
        )
        parser.add_argument(
            "--patch",
            type=Path,
            metavar="FILE",
            help="write the patch here instead of printing it, with NOVA's package in it",
        )
        parser.add_argument(
            "--sql", type=Path, metavar="FILE", help="write the statements here too"
        )

    def handle(self, *args: object, **options: Any) -> None:
        environment.take_environment_back()
        uri = os.environ.get(URL, "").strip()
        if not uri:
            raise CommandError(
                f"{URL} is not set: adopt takes NOVA's own from the environment.", returncode=2
            )
        uri = re.sub(r"\+\w+(?=://)", "", uri, count=1)  # as SQLAlchemy writes it
        try:
            connection = connect(uri)
        except psycopg.ProgrammingError:
            raise CommandError(
                f"{URL} is not a PostgreSQL URI (postgresql://…).", returncode=2
            ) from None
        except psycopg.OperationalError:
            raise CommandError(
                "NOVA's database does not answer, or refuses this login.", returncode=2
            ) from None
        with closing(connection):
            try:
                with hold_turn(connection):
                    self._adopt(connection, uri, options)
            except RefusedError as error:
                raise CommandError(str(error), returncode=1) from None

    def _adopt(self, connection: Connection, uri: str, options: dict[str, Any]) -> None:
        database = describe_database(connection)
        is_shared = options["shared_role"]
        present = find_present_role(connection)
        kept = present if present not in (database.role, *database.owners) else ""
        role = database.role if is_shared else options["site_role"] or kept or SITE_ROLE
        is_there = require_fit_role(connection, database, role, present=present, shared=is_shared)
        former = present if present != role else ""
        if former:
            require_sound_site(connection)
        named = options["env_file"] or os.environ.get(environment.ENV_FILE)
        settings = plan_settings(
            Path(named or environment.BASE_DIR / ".env").absolute(),
            os.environ | {URL: uri},
            nova=describe_place(connection, uri),
            role=role,
            hosts=options["host"],
            former=former,
            is_shared=is_shared,
            role_is_there=is_there,
            has_site=has_site(connection),
        )
        require_original(connection, settings.site_uri if is_there else "")
        verifier = make_verifier(connection, role, settings.site_password)
        planned = prepare(connection, database, role, verifier=verifier, former=former, keep=False)
        if options["yes"]:
            self._require_enough(settings)
        self._show(database, role, planned, settings, is_shared=is_shared, is_done=options["yes"])
        patch = self._show_patch(options)
        if not options["yes"]:
            if options["sql"]:
                self._write(options["sql"], make_script(planned.done + planned.left, settings))
            self.stdout.write("Nothing was changed. With --yes it is done.")
        else:
            self._do(connection, database, role, settings, former, options)
            self._tell_what_is_next(
                settings, options, is_read=patch == "" and bool(options["nova"])
            )
        if patch is None:
            sys.exit(1)

    def _require_enough(self, settings: SiteSettings) -> None:
        """Raise CommandError where the site could not start with these settings."""
        if not settings.values.get(HOSTS):
            raise CommandError(
                f"--host is missing: the name by which people reach the site ({HOSTS}).",
                returncode=2,
            )
        surroundings = dict(os.environ)
        os.environ |= {
            name: value
            for name, value in settings.values.items()
            if name.startswith("AWS_") and value
        }
        try:
            environment.require_aws_configuration(credentials=not environment.is_development())
        except ImproperlyConfigured as error:
            raise CommandError(f"Nothing was changed. {error}", returncode=2) from None
        finally:
            os.environ.clear()
            os.environ.update(surroundings)

    # What it says

    def _show(
        self,
        database: NovaDatabase,
        role: str,
        planned: Prepared,
        settings: SiteSettings,
        *,
        is_shared: bool,
        is_done: bool,
    ) -> None:
        say = self.stdout.write
        say(
            f"NOVA's database {database.name}, PostgreSQL {database.version}, as {database.role}."
            f" NOVA's tables belong to {', '.join(database.owners)}."
        )
        say(f"1. In the database, for the site's role {role}:")
        self._list(planned.done or ([] if planned.left else ["nothing, all is there"]))
        if planned.left and not is_done:
            say(f"   {MAY_NOT.format(role=database.role)}")
            self._list(fit_for_psql(planned.left))
        if is_shared:
            say(f"   {SHARED.format(role=role)}")
        elif database.is_superuser and database.role in database.owners:
            say(f"   {NOVA_IS_SUPERUSER.format(role=database.role)}")
        say(
            f"2. The site's tables, in the schema {SCHEMA}: manage.py migrate as {role}; NOVA's are left as they are."
        )
        what = (
            "is made"
            if settings.is_new
            else "is changed"
            if settings.is_changed
            else "stays as it is"
        )
        say(f"3. The file of settings {settings.path} (for its owner alone) {what}.")
        for told, names in (
            ("   made, and never shown", settings.made),
            ("   from this environment", settings.taken),
            ("   kept", settings.kept),
        ):
            if names:
                say(f"{told}: {', '.join(names)}")

    def _list(self, lines: list[str]) -> None:
        for line in lines:
            self.stdout.write(f"    {line}")

    def _show_patch(self, options: dict[str, Any]) -> str | None:
        """Print or write the patch; return it, "" where none is needed or asked for, None where none could be made."""
        say, nova = self.stdout.write, options["nova"]
        if nova is None:
            say(
                "4. NOVA's code changes in its requirements, its helper and its Dockerfile: --nova PATH makes a patch."
            )
            return ""
        wheel = BUILT_WHEEL if options["patch"] and BUILT_WHEEL.exists() else None
        try:
            patch = make_patch(nova, wheel)
        except PatchError as error:
            self.stderr.write(f"No patch for NOVA's code was made. {error}")
            return None
        if not patch:
            say(f"4. NOVA's code in {nova} reads through the package already.")
        elif options["patch"]:
            self._write(options["patch"], patch)
            say(f"4. NOVA's code: git -C {nova} apply {options['patch'].absolute()}")
        else:
            say(f"4. NOVA's code, for git apply in {nova}:")
            self.stdout.write_unchanged(patch)
        return patch

    def _write(self, path: Path, text: str) -> None:
        try:
            path.write_text(text, "utf-8", newline="")
        except OSError as error:
            raise CommandError(
                f"{path} can't be written ({error.strerror}).", returncode=2
            ) from None

    # What it does

    def _do(
        self,
        connection: Connection,
        database: NovaDatabase,
        role: str,
        settings: SiteSettings,
        former: str,
        options: dict[str, Any],
    ) -> None:
        try:
            settings.write()  # first: it has the only copy of the password
        except OSError as error:
            raise RefusedError(
                f"{settings.path} can't be written ({error.strerror}). Nothing was changed."
            ) from None
        verifier = make_verifier(connection, role, settings.site_password)
        done = prepare(connection, database, role, verifier=verifier, former=former, keep=True)
        if done.left:
            path = options["sql"] or settings.path.parent / "adopt.sql"
            self._write(path, make_script(done.left, settings))
            self.stdout.write(MAY_NOT.format(role=database.role))
            self._list(lines := fit_for_psql(done.left))
            self.stdout.write(
                ASK_SUPERUSER.format(database=shlex.quote(database.name), path=path.absolute())
            )
            if lines != done.left:
                self.stdout.write(HOW_IT_ASKS.format(role=role, settings=settings.path))
        if done.left_needed:
            raise RefusedError(
                "The site needs what is left. Have it run, then run adopt again: it goes on from there."
            )
        self._require_login(settings, role)
        began = time.monotonic()
        self._run(settings, "migrate", "--verbosity", "0", "--no-color")
        self._grant_to_readers(settings, database)
        self.stdout.write(f"Done: rights, settings, tables ({time.monotonic() - began:.0f} s).")
        self._run_doctor(settings)
        if options["admin"]:
            self._run(settings, "invite_administrator", options["admin"])

    def _require_login(self, settings: SiteSettings, role: str) -> None:
        try:
            connect(settings.site_uri).close()
        except psycopg.OperationalError:
            raise RefusedError(
                f"{role} can't log in to the database with the {URL} of {settings.path}. If the role has another"
                f" password, write it there, or have a superuser give it that one (\\password {role} in psql), and run"
                " adopt again. Else the server refuses it (pg_hba.conf)."
            ) from None

    def _grant_to_readers(self, settings: SiteSettings, database: NovaDatabase) -> None:
        """Give who owns NOVA's tables what NOVA's reader needs; the site's role has all of it to give."""
        with closing(connect(settings.site_uri)) as site:
            cursor = site.cursor()
            for owner in database.owners:
                for statement in make_grants(
                    find_lacking_rights(cursor, owner).lacking, quote_role(cursor, owner)
                ):
                    cursor.execute(statement)
                    self.stdout.write(f"    {statement}")

    def _run_doctor(self, settings: SiteSettings) -> None:
        told = self._run(settings, "doctor", "--format", "json", capture=True)
        if not told:  # it has said itself what is wrong
            self.stdout.write(
                "The doctor could not look. Run manage.py doctor once that is put right."
            )
            return
        by_problem: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(told):
            if not finding["ok"]:
                by_problem.setdefault(finding["check"], []).append(finding)
        self.stdout.write(
            f"The doctor finds {len(by_problem)} things that are not well, or not yet:"
        )
        for code, (first, *others) in by_problem.items():
            more = f" (and {len(others)} more)" if others else ""
            self.stdout.write(f"    {code}: {first['message']}{more} {first['remedy'] or ''}")

    def _run(self, settings: SiteSettings, *arguments: str, capture: bool = False) -> str:
        """Run another command as the site will run: with its file of settings. Exits as the command does."""
        given = {name: value for name, value in os.environ.items() if name not in settings.values}
        # What the command finds it says itself; its log would say it again, in JSON between these lines.
        added = {environment.ENV_FILE: str(settings.path), "LOG_LEVEL": "WARNING"}
        self.stdout.flush()
        ran = subprocess.run(  # noqa: S603  # this release's own manage.py
            [sys.executable, str(environment.BASE_DIR / "manage.py"), *arguments],
            env=given | added,
            stdout=subprocess.PIPE if capture else None,
            text=True, timeout=CHILD_SECONDS, check=False,
        )  # fmt: skip
        if ran.returncode and not capture:
            raise CommandError(
                f"manage.py {arguments[0]} failed. Run adopt again once that is put right.",
                returncode=1,
            )
        return ran.stdout or ""

    def _tell_what_is_next(
        self, settings: SiteSettings, options: dict[str, Any], *, is_read: bool
    ) -> None:
        """Print what people type next; NOVA's code needs nothing where it reads through the package already."""
        folder, is_built = environment.BASE_DIR, BUILT_WHEEL.exists()
        manage = f"{folder / 'nova-admin'}" if is_built else "python manage.py"
        units = folder / "deploy/systemd"
        nova, patch = options["nova"] or "NOVA", options["patch"]
        lines = []
        if settings.path != (SETTINGS if is_built else folder / ".env"):
            lines.append(f"export {environment.ENV_FILE}={settings.path}")
        if not is_read:
            applied = f"git apply {patch.absolute() if patch else 'PATCH'}"
            wheel = f"pip wheel --no-deps -w {nova}/{FOLDER} .   # NOVA's package, in a checkout of NOVA Admin"
            lines += [] if is_built and patch else [wheel]
            lines.append(
                f"cd {nova} && {applied} && pip install -r requirements.txt   # then deploy NOVA"
            )
        if (folder, settings.path) == (SITE, SETTINGS):
            lines.append(
                f"systemd-sysusers {units}/nova-admin.conf && systemctl enable --now {units}/nova-admin.service"
                f" {units}/nova-admin-worker.service"
            )
        else:
            lines += [
                "gunicorn -c deploy/gunicorn.conf.py nova_admin.wsgi   # the site",
                "python manage.py qcluster   # its workers",
            ]
        lines += [
            f"{manage} iam_policy reader   # what NOVA needs in AWS",
            f"{manage} migrate_clients SLUG && {manage} move_clients dual_read SLUG",
            f"{manage} doctor",
        ]
        self.stdout.write("Next:")
        self._list(lines)


def describe_place(connection: Connection, uri: str) -> dict[str, str]:
    """Return how the database is reached, without what libpq or this command added by itself."""
    given = parse_uri(uri)
    added = {"connect_timeout", "sslcertmode"} - given.keys()
    parts = connection.info.get_parameters()
    return {name: value for name, value in parts.items() if name not in added} | {
        "dbname": connection.info.dbname
    }


def fit_for_psql(statements: list[str]) -> list[str]:
    """Have psql itself ask for the password of a role that is made, and tell the server its verifier alone."""
    made = [
        re.fullmatch(rf"CREATE ROLE (.+) LOGIN PASSWORD {PLACEHOLDER};", each)
        for each in statements
    ]
    lines = list[str]()
    for statement, new in zip(statements, made, strict=True):
        lines += [f"CREATE ROLE {new[1]} LOGIN;", f"\\password {new[1]}"] if new else [statement]
    return lines


def make_script(statements: list[str], settings: SiteSettings) -> str:
    """Return the statements as a file for psql; it holds no password."""
    return "\n".join(
        [
            "-- For psql, in NOVA's database, as a superuser or as whoever may.",
            f"-- It asks for the password of a role that is made: the one in {URL} of {settings.path}.",
            "\\set ON_ERROR_STOP on",
            "BEGIN;",
            *fit_for_psql(statements),
            "COMMIT;",
            "",
        ]
    )
