"""Runs `migrate` so that no statement of NOVA waits long for it, and one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError

from migration.doctor.nova import keep_values_out_of_log, require_own_backends
from migration.management.backward_plans import PatientExecutor, describe_what_stays, met_lock
from nova_credentials.shown_names import escape_invisible

# Django's command makes its executor by this name. The plan that it tells to whoever listens stays the first one.
migrate.MigrationExecutor = PatientExecutor  # type: ignore[attr-defined]  # imported there, not declared

# The number of the advisory lock that a `migrate` holds to its end, however it ends.
TURN = 0x6E6F7661
# An upgrade of 100,000 clients takes two.
WAIT_MINUTES = 10
PAUSE_SECONDS = 0.5
# Who has the lock: any role may take it.
HOLDER = """
SELECT a.pid, a.usename::text FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = %s AND l.objsubid = 1
    AND a.datname = current_database()
"""


class Command(migrate.Command):
    """Django's own, with an executor that tries again, and a sentence where that was in vain."""

    def handle(self, *args: Any, **options: Any) -> None:
        require_own_backends()
        try:
            with having_turn(connections[options["database"]], tell=self.stderr.write):
                super().handle(*args, **options)
                if options["app_label"] is None and not options["plan"]:
                    self._quiet_the_log()
                elif options["migration_name"] == "zero" and not (
                    options["plan"] or options["fake"]
                ):
                    self._tell_what_stays(options["app_label"])
        except OperationalError as error:
            if not met_lock(error):
                raise
            raise CommandError(
                "A table is in use by a transaction that does not end. What is printed with OK is done."
                " End that transaction, then run migrate again.",
                returncode=1,
            ) from None

    def _tell_what_stays(self, app_label: str) -> None:
        if app_label == "migration":
            self.stdout.write(
                "NOVA's writes are still counted. Next: python manage.py migrate credentials zero"
            )
        elif app_label == "credentials":
            told, statements = describe_what_stays()
            self.stdout.write(told)
            for statement in statements:
                self.stdout.write(f"    {escape_invisible(statement)}")

    def _quiet_the_log(self) -> None:
        if left := keep_values_out_of_log():
            self.stdout.write(
                "PostgreSQL's log may hold values of the site's statements, secrets too (docs/start.md)."
                " Run as a superuser:"
            )
            for statement in left:
                self.stdout.write(f"    {escape_invisible(statement)}")


@contextmanager
def having_turn(
    connection: BaseDatabaseWrapper,
    *,
    tell: Callable[[str], object],
    seconds: float = WAIT_MINUTES * 60,
) -> Iterator[None]:
    """Keep other `migrate`s on this database waiting meanwhile; raise CommandError where one lasts for `seconds`."""
    _wait_for_turn(connection, tell, seconds)
    try:
        yield
    finally:
        if connection.is_usable():  # else the lock went with its session
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [TURN])


def _wait_for_turn(
    connection: BaseDatabaseWrapper, tell: Callable[[str], object], seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    told = False
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [TURN])
            if cursor.fetchone()[0]:
                return
            if time.monotonic() >= deadline:
                break
            if not told:
                tell("Another migrate is running on this database. Waiting for its end.")
                told = True
            time.sleep(PAUSE_SECONDS)
        cursor.execute(HOLDER, [TURN])
        pid, role = cursor.fetchone() or ("?", "?")
    raise CommandError(
        f"Another migrate is running on this database: PostgreSQL's process {pid} of the role {escape_invisible(role)}."
        " Wait for its end, or end that process by pg_terminate_backend; then run migrate again.",
        returncode=1,
    )
