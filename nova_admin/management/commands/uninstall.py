"""`uninstall`: takes the site out of NOVA's database, once nothing is left that NOVA would lose by it."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError, connection, transaction

from credentials.models import AwsCredential, Client
from credentials.site_schema import SCHEMA
from credentials.trigger_sql import ROW_TRIGGER_NAME, TRUNCATE_TRIGGER_NAME
from migration.core.audit import AuditEvent
from migration.core.aws_store import store_calls
from migration.core.clients import Offboarding, all_clients
from migration.core.secrets import Secret
from migration.core.text import shorten_list
from migration.core.workers import Worker
from migration.logins.models import Rotation
from migration.management.backward_plans import met_lock, try_often
from migration.management.base import OneLineCommand
from migration.runs.models import Run
from migration.secrets.deletions import schedule_every_deletion
from nova_admin.adoption.database import (
    Connection,
    RefusedError,
    connect,
    describe_database,
    fetch_row,
    find_present_role,
    hold_turn,
    list_undoing,
    read_note,
    undo,
)
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import COUNT_WRITE, NOVA_TABLES

OWNER_URL = "NOVA_DATABASE_URL"
MOST_NAMES = 20
# NOVA reads these from AWS, alone or beside PostgreSQL; the way back, one step each. Workers may be stopped by now.
WAYS_BACK = {
    Phase.PURGED: "move_clients aws --all-in purged --inline",
    Phase.AWS: "move_clients dual_read --all-in aws --inline",
    Phase.DUAL_READ: "move_clients dual_write --all-in dual_read --inline",
}
# What of others' stands on the site's objects and would go with them, or stop them from going.
STANDING_ON_IT = """
WITH ours AS (
    SELECT 'pg_class'::regclass AS catalogue, oid FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = %(schema)s::regnamespace
), own AS (
    SELECT catalogue, oid FROM ours
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k JOIN ours ON ours.oid IN (conrelid, contypid)
    UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r JOIN ours ON ours.oid = ev_class
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN ours ON ours.oid = adrelid
    UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN ours ON ours.oid = polrelid
    UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN ours ON ours.oid = stxrelid
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t
    WHERE tgrelid IN (SELECT oid FROM ours) OR tgfoid = to_regprocedure(%(function)s)
        AND tgname = ANY(%(triggers)s) AND tgrelid IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name)
)
SELECT DISTINCT pg_describe_object(classid, objid, objsubid)
FROM pg_depend JOIN ours ON refclassid = ours.catalogue AND refobjid = ours.oid
WHERE deptype IN ('n', 'a') AND (classid, objid) NOT IN (SELECT catalogue, oid FROM own)
    AND classid <> 'pg_publication_rel'::regclass
ORDER BY 1
"""
# The keys from the site's tables to NOVA's: each is dropped by itself, as both tables are locked for it.
KEYS_TO_NOVA = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname) FROM pg_constraint
WHERE contype = 'f' AND connamespace = %(schema)s::regnamespace AND confrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace <> %(schema)s::regnamespace
) ORDER BY 1
"""
TABLES = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace"
# The site's role, the database, and whether the role is NOVA's own too.
ROLE = """
SELECT current_user::text, current_database()::text, bool_or(rolsuper OR pg_has_role(relowner, 'USAGE'))
FROM pg_roles r, pg_class c
WHERE r.oid = current_user::regrole AND c.oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
"""
REACHED = "SELECT oid::bigint, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()"


class Command(OneLineCommand):
    help = (
        "Takes the site out of NOVA's database: its schema with all tables, the triggers on NOVA's tables, and its role"
        f" and rights, as adopt made them. For these {OWNER_URL} in the environment names NOVA's database as adopt was"
        " given it; without it the statements are printed. Shows what goes and what stays; --yes does it, and asks on a"
        " terminal for the database's name. Refuses while NOVA reads a client from AWS or anything is at work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do it, instead of showing it")
        parser.add_argument(
            "--schedule-deletion",
            action="store_true",
            help="schedule the deletion of the site's secrets in AWS first, in 30 days",
        )

    def handle(self, *args: object, **options: Any) -> None:
        try:
            with ExitStack() as opened:
                site = opened.enter_context(closing(connect(settings.DATABASE_URL)))
                opened.enter_context(hold_turn(site))
                owner = find_owner(site)
                if owner is not None:
                    opened.enter_context(closing(owner))
                self._uninstall(site, owner, options)
        except RefusedError as error:
            raise CommandError(str(error), returncode=1) from None

    def _uninstall(
        self, site: Connection, owner: Connection | None, options: dict[str, Any]
    ) -> None:
        role, name, is_novas = fetch_row(site, ROLE, [list(NOVA_TABLES)])
        if find_present_role(site) != role:
            raise RefusedError(f"The role {role} has no site in the database {name}.")
        statements = list_undoing(site, role, read_note(site), is_novas=is_novas)
        self._show(
            name, statements, deletes=options["schedule_deletion"], has_owner=owner is not None
        )
        self._require_nothing_needed()
        if not options["yes"]:
            self.stdout.write("Nothing was changed. With --yes it is done.")
            return
        if sys.stdin.isatty():
            typed = input(f"Type the database's name, {escape_name(name)}, to remove the site: ")
            if typed.strip() != name:
                raise RefusedError("That is another name. Nothing was changed.")
            self._require_nothing_needed()  # a page may have moved a client meanwhile
        if options["schedule_deletion"]:
            self._schedule_deletions()
            self._require_nothing_needed()
        drop_site()
        if owner is not site:
            site.close()  # else its role is in use
        left = statements if owner is None else undo(owner, statements)
        self.stdout.write(
            f"The site is gone from the database {name}. NOVA's tables are as they were before it."
        )
        if left:
            self.stdout.write(
                "This is left: run it as a superuser, or as the owner of NOVA's tables; a role that something else"
                " needs stays."
            )
            self._list(left)

    def _require_nothing_needed(self) -> None:
        """Say why the site can't go yet, and raise RefusedError, while NOVA needs something of it."""
        if refusals := list(list_refusals()):
            for refusal in refusals:
                self.stderr.write(refusal)
            raise RefusedError("Nothing was removed.")

    def _show(self, name: str, statements: list[str], *, deletes: bool, has_owner: bool) -> None:
        say = self.stdout.write
        with connection.cursor() as cursor:
            cursor.execute(TABLES, [SCHEMA])
            (tables,) = cursor.fetchone()
        logins, entries = AwsCredential.objects.count(), AuditEvent.objects.count()
        say(f"What goes from the database {name}:")
        self._list(
            [
                f"the schema {SCHEMA} with {tables} tables, and the triggers on NOVA's tables",
                f"users, runs, histories and the audit with its {entries} entries (audit export keeps them)",
                f"AWS logins of clients, which are in no table of NOVA's: {logins}",
                *statements,
            ]
        )
        if statements and not has_owner:
            say(
                f"   The site's role may not do the statements: {OWNER_URL} names who may, or run them afterwards."
            )
        say("What stays:")
        self._list(
            [
                f"NOVA's tables; clients: {Client.objects.count()}",
                f"secrets in AWS, under {settings.NOVA_SECRET_PREFIX}/: {Secret.objects.count()}"
                + (
                    ", to be deleted in 30 days"
                    if deletes
                    else " (--schedule-deletion has them deleted in 30 days)"
                ),
                "the site's file of settings, with the keys that verify an export of the audit",
            ]
        )

    def _list(self, lines: list[str]) -> None:
        for line in lines:
            self.stdout.write(f"    {line}")

    def _schedule_deletions(self) -> None:
        """Raise RefusedError where one could not be scheduled: afterwards nothing knows of it."""
        failed = False
        for told, has_failed in schedule_every_deletion():
            self.stdout.write(f"    {told}")
            failed |= has_failed
        if failed:
            raise RefusedError(
                "Not every deletion was scheduled, so nothing was removed. Run it again, or leave out"
                " --schedule-deletion."
            )


def find_owner(site: Connection) -> Connection | None:
    """Return a connection that may take back what adopt gave: as the named role, or as the site's if that is NOVA's."""
    uri = os.environ.get(OWNER_URL, "").strip()
    if not uri:
        return site if fetch_row(site, ROLE, [list(NOVA_TABLES)])[2] else None
    try:
        owner = connect(uri)
    except psycopg.Error:
        raise RefusedError(
            f"{OWNER_URL}: the database does not answer, or refuses this login."
        ) from None
    describe_database(owner)
    if fetch_row(owner, REACHED) != fetch_row(site, REACHED):
        raise RefusedError(f"{OWNER_URL} names another database than the site's.")
    return owner


def list_refusals() -> Iterator[str]:
    """Say why the site can't go yet: whom NOVA reads from AWS, what is at work, what of others' stands on it."""
    offboarded = Offboarding.objects.values("client_id")
    for phase, way in WAYS_BACK.items():
        clients = all_clients().filter(client_migration__phase=phase).exclude(pk__in=offboarded)
        if names := list(clients.order_by("slug").values_list("slug", flat=True)):
            yield (
                f"NOVA reads {count_clients(names)} not from PostgreSQL alone (phase {phase}): {name_some(names)}."
                f" First: manage.py {way}"
            )
    gone = all_clients().filter(pk__in=offboarded).order_by("slug").values_list("slug", flat=True)
    if names := list(gone):
        yield (
            f"The rows of {count_clients(names)} hold no values, as of who is offboarded: {name_some(names)}. First:"
            " manage.py offboard_client SLUG --back, or NOVA deletes the client."
        )
    rotated = all_clients().filter(pk__in=Rotation.objects.filter(outcome="").values("client_id"))
    if names := list(rotated.order_by("slug").values_list("slug", flat=True)):
        yield (
            f"A rotation is not finished of {count_clients(names)}: {name_some(names)}. First: finish it, or end it on"
            " the client's page."
        )
    runs = Run.objects.filter(
        state__in=(Run.State.PLANNING, Run.State.RUNNING, Run.State.STOPPED), finished_at=None
    )
    if at_work := list(runs.order_by("pk").values_list("pk", flat=True)):
        told = name_some(map(str, at_work))
        yield f"Runs are at work: {told}. First: manage.py run stop, or wait for their end."
    if workers := list(Worker.objects.alive().values_list("name", flat=True)):
        told = name_some(workers)
        yield f"Workers are alive: {told}. Stop them and the site; half a minute later they count as gone."
    with connection.cursor() as cursor:
        cursor.execute(STANDING_ON_IT, {
            "schema": SCHEMA, "function": COUNT_WRITE, "tables": list(NOVA_TABLES),
            "triggers": [ROW_TRIGGER_NAME, TRUNCATE_TRIGGER_NAME],
        })  # fmt: skip
        if others := [what for (what,) in cursor.fetchall()]:
            told = name_some(others)
            yield f"This is not the site's, and stands on its tables: {told}. Whoever made it has to drop it first."


def count_clients(names: Sequence[str]) -> str:
    return "1 client" if len(names) == 1 else f"{len(names)} clients"


def name_some(names: Iterable[str]) -> str:
    return ", ".join(shorten_list(list(map(escape_name, names)), MOST_NAMES))


def drop_site() -> None:
    """Drop what NOVA's tables have of the site's, a moment's lock each, then the schema; raises RefusedError."""
    with connection.cursor() as cursor:
        cursor.execute(KEYS_TO_NOVA, {"schema": SCHEMA})
        keys = [statement for (statement,) in cursor.fetchall()]
    steps = [
        f"DROP FUNCTION IF EXISTS {COUNT_WRITE} CASCADE",
        *keys,
        f"DROP SCHEMA {SCHEMA} CASCADE",
    ]
    for step in steps:
        try:
            try_often(partial(run_briefly, step))
        except OperationalError as error:
            if not met_lock(error):
                raise
            raise RefusedError(
                "A table is in use by a transaction that does not end. End it, then run uninstall again: it goes on."
            ) from None
    connection.close()
    atexit.unregister(store_calls)  # what was counted has no table any more


def run_briefly(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '50ms'")
        cursor.execute(statement)
