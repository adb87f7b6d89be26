"""`demo`: both embedded stores, seeded clients, servers for some logins, the workers, a small NOVA, and the site."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from credentials.models import Client, DatabaseCredential
from migration.clients.status import iterate_client_statuses
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.core.comparisons import Comparison
from migration.core.outgoing import ca_file
from migration.management.base import OneLineCommand
from migration.moves.rules import WANT_EVIDENCE, get_wanted_time
from migration.runs.items import Outcome
from migration.runs.models import MANY_TRIES, Run
from migration.tasks import enqueue
from nova_admin.embedded import run_while_parent_lives, seeds, small_nova
from nova_admin.embedded.client_servers import ClientServers, run_client_servers

RUN_SECONDS = 300
START_SECONDS = 30
# Short times, so that a client can go through all phases in minutes. Pages say so.
SHORT_TIMES = {
    "NOVA_SWEEP_MINUTES": 1,
    "NOVA_DUAL_READ_HOURS": 0.02,
    "NOVA_PURGE_AFTER_DAYS": 0.001,
}
# Who can log in, by the user's name: their roles, or none for a superuser.
PEOPLE: dict[str, tuple[str, ...]] = {"admin": (), "operator": ("Operator",)}


class Command(OneLineCommand):
    help = "Shows everything on embedded stores: seeds clients, migrates them in bulk, serves the site until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="end after the summary")
        parser.add_argument(
            "--clients",
            type=whole_number_to(1_000_000),
            default=0,
            help="how many more valid clients to add",
        )
        parser.add_argument(
            "--port",
            type=whole_number_to(65_535),
            default=8000,
            help="the site's port; another one if it is taken",
        )
        parser.add_argument(
            "--approval",
            action="store_true",
            help="one person asks for a cutover or a purge, and the other approves it",
        )

    def handle(self, *args: object, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("the demo is for development: set DEBUG=1", returncode=2)
        if not settings.EMBEDDED_STORES:
            raise CommandError(
                "the demo fills the embedded stores and no others: unset"
                f" {' and '.join(settings.NAMED_STORES)} (in the environment and in .env)",
                returncode=2,
            )
        self.surprises: list[str] = []
        set_for_all_processes(SHORT_TIMES | {"NOVA_DEMO": True})
        if options["approval"]:
            set_for_all_processes({"NOVA_REQUIRE_APPROVAL": True})
        # Its "enqueued" lines would disturb the demo.
        logging.getLogger("django-q").setLevel(logging.WARNING)
        # A closed terminal or a kill ends the child processes as Ctrl-C does. SIGINT is set too, as a process that a
        # script starts with `&` ignores it.
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, _raise_interrupt)
        try:
            with ExitStack() as stack:
                self._run_demo(stack, options)
        except KeyboardInterrupt:
            self._print_lines("", "Stopped.")
        if self.surprises:
            raise CommandError(f"failed, but not broken on purpose: {', '.join(self.surprises)}")

    def _run_demo(self, stack: ExitStack, options: dict[str, Any]) -> None:
        self._print_step("Schema migrations")
        call_command("migrate", verbosity=0)
        passwords = give_passwords()
        if options["approval"]:
            # Each of the two can approve what the other asks for.
            User.objects.get(username="operator").groups.add(Group.objects.get(name="Approver"))
        stack.enter_context(serve_logins())
        if new := seeds.seed_clients_and_secrets(secrets_manager()):
            seeds.seed_group()
        self._print_step(f"Clients: {new} new; {add_clients_up_to(options['clients'])} more")
        stack.enter_context(start_manage("qcluster"))
        migrate = self._finish_run("Bulk migration", Run.Kind.MIGRATE)
        seeds.change_secrets_in_aws()
        compare = self._finish_run(
            "Comparison, after somebody changed two secrets in AWS", Run.Kind.COMPARE
        )
        self._print_summary(migrate, compare)
        self.surprises = find_surprising_slugs(migrate, compare)
        if options["once"]:
            return
        stack.enter_context(start_python("small_nova", "-m", small_nova.__name__))
        port = find_free_port(options["port"])
        site = stack.enter_context(start_manage("runserver", "--noreload", f"127.0.0.1:{port}"))
        wait_until_served(port, site)
        self._print_lines(
            "",
            f"  http://127.0.0.1:{port}/",
            *(f"    user: {name:10} password: {text}" for name, text in passwords.items()),
            "  A small NOVA reads all clients through the package. The gates want short times here:"
            f" {describe_short_times()}.",
            f"  The logins of {', '.join(seeds.SERVED_SLUGS)} work: test them, rotate their databases' passwords.",
            *(["  One asks for a cutover or a purge, the other approves."] * options["approval"]),
            "  Two clients differ: PostgreSQL is right about changed_in_aws, AWS about levante_tiles.",
            f"  A campaign of the group {seeds.PILOT} stops at these two, and says how to go on.",
            "  Ctrl-C ends it all.",
        )
        site.wait()

    def _print_step(self, text: str) -> None:
        self._print_lines(f"… {text}")

    def _print_lines(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)
        self.stdout.flush()

    def _finish_run(self, title: str, kind: Run.Kind) -> Run:
        self._print_step(f"{title}, by the workers")
        run = Run.start(kind=kind, chosen=all_clients(), tries=MANY_TRIES)
        enqueue(run)
        deadline = time.monotonic() + RUN_SECONDS
        while run.finished_at is None:
            if time.monotonic() > deadline:
                raise CommandError(f"{run} did not finish within {RUN_SECONDS} s")
            time.sleep(0.2)
            run.refresh_from_db()
        return run

    def _print_summary(self, migrate: Run, compare: Run) -> None:
        """Print one line a client: its phase, its outcome, and why."""
        compared = {item.slug: item for item in compare.items.all()}
        phases = {status["slug"]: status for status in iterate_client_statuses(all_clients())}
        self._print_lines(
            "", f"  {'client':24} {'phase':11} {'pushed':10} {'both stores':15} remarks"
        )
        for item in migrate.items.order_by("slug"):
            status = phases[item.slug]
            differs = ", ".join(
                f"{row['path']} ({row['hint'] or row['kind']})"
                for row in (status["comparison"] or {}).get("mismatches", [])
            )
            remarks = (
                item.message or compared[item.slug].message or (differs and f"differs: {differs}")
            )
            state = compared[item.slug].comparison_status or "-"
            self.stdout.write(
                f"  {item.slug:24} {status['phase']:11} {item.outcome:10} {state:15} {remarks}"
            )
        counts = {
            name: number for name, number in migrate.count_outcomes_and_matches().items() if number
        }
        named = ", ".join(f"{number} {name}" for name, number in counts.items())
        self._print_lines("", f"  Migration: {named}")


def set_for_all_processes(values: dict[str, Any]) -> None:
    """Set these settings for this process and those that it starts."""
    for name, value in values.items():
        setattr(settings, name, value)
        os.environ[name] = str(int(value) if isinstance(value, bool) else value)


@contextmanager
def serve_logins() -> Iterator[ClientServers]:
    """Serve the logins of some clients until the block ends; all processes find and trust these servers."""
    with (
        TemporaryDirectory(dir=settings.LOCAL, prefix="demo-") as folder,
        run_client_servers(
            Path(folder),
            database=settings.DATABASE_URL,
            may_log_in=seeds.is_mailbox_login,
            trusted=Path(ca_file()),
        ) as servers,
    ):
        settings.NOVA_DEMO_PLACES = servers.places
        os.environ["NOVA_DEMO_PLACES"] = ",".join(
            f"{host}:{port}={here}" for (host, port), here in servers.places.items()
        )
        os.environ["SSL_CERT_FILE"] = str(servers.authorities)
        yield servers


def describe_short_times() -> str:
    """Return the times that the gates want, in words."""
    before_cutover, before_purge = map(get_wanted_time, WANT_EVIDENCE)
    return (
        f"{before_cutover.total_seconds():.0f} seconds in dual read before a cutover,"
        f" {before_purge.total_seconds():.0f} seconds after it before a purge"
    )


def whole_number_to(most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from 0 to `most`."""

    def parse_number(text: str) -> int:
        """Return the text as a whole number from 0 to `most`; raise ArgumentTypeError for anything else."""
        if not (text.isascii() and text.isdecimal() and int(text) <= most):
            raise ArgumentTypeError(f"not a whole number from 0 to {most}: {text!r}")
        return int(text)

    return parse_number


def find_surprising_slugs(migrate: Run, compare: Run) -> list[str]:
    """Return the slugs of the clients that failed, differ or could not be checked, unless they do so on purpose."""
    failed = {
        item.slug for run in (migrate, compare) for item in run.items.filter(outcome=Outcome.FAILED)
    }
    doubted = set(
        compare.comparisons.exclude(status=Comparison.Status.MATCH).values_list("slug", flat=True)
    )
    return sorted((failed | doubted) - seeds.BROKEN)


def _raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def give_passwords() -> dict[str, str]:
    """Give each of the demo's people a new password, and return them by the names of the users."""
    passwords = {}
    for name, roles in PEOPLE.items():
        user, _ = User.objects.get_or_create(
            username=name, defaults={"is_staff": True, "is_superuser": not roles}
        )
        user.groups.add(*Group.objects.filter(name__in=roles))
        passwords[name] = secrets.token_urlsafe(9)
        user.set_password(passwords[name])
        user.save()
    return passwords


def add_clients_up_to(number: int) -> int:
    """Make clients demo_00001 to this number, with a database login each; return how many were new."""
    present = Client.objects.filter(slug__startswith="demo_").count()
    new = [Client(name=f"Demo {n:05}", slug=f"demo_{n:05}") for n in range(present + 1, number + 1)]
    Client.objects.bulk_create(new, batch_size=1000)
    DatabaseCredential.objects.bulk_create(
        (
            DatabaseCredential(
                client=client,
                db_host="db.database.example",
                db_name="railway",
                db_user="postgres",
                db_password=f"demo-password-{client.slug}",
            )
            for client in new
        ),
        batch_size=1000,
    )
    return len(new)


def start_manage(*arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a management command in a child process, as `start_python` does, and end it with the block."""
    return start_python(arguments[0], str(settings.BASE_DIR / "manage.py"), *arguments)


@contextmanager
def start_python(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with these arguments in a child process, which ends with the block and also if this process is killed.

    Its output goes to the log of that name.
    """
    log = settings.LOCAL / f"{name}.log"
    with log.open("ab") as output:
        # In a session of its own: Ctrl-C reaches this process alone, which then ends its children one by one.
        process = subprocess.Popen(  # noqa: S603  # our own command, by its full path
            [
                *(sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid())),
                *(sys.executable, *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=settings.BASE_DIR,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(run_while_parent_lives.STOP_SECONDS + START_SECONDS)


def find_free_port(wanted: int) -> int:
    """Return the wanted port of the loopback interface or, where it is taken, any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError("no port is free on 127.0.0.1")


def wait_until_served(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the site answers; raises CommandError where it doesn't within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise CommandError(f"the site did not start; see {settings.LOCAL / 'runserver.log'}")
