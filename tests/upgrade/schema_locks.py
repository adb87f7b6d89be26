"""Runs every schema migration and notes after each of its statements what is locked of the tables that NOVA uses.

It asks PostgreSQL for its locks and doesn't guess by the text of the statements: so what triggers, functions, foreign
keys and code in Python lock is seen too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nova_credentials import tables

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# What NOVA's own statements write, themselves or by a trigger.
WRITTEN_BY_NOVA = (*tables.NOVA_TABLES, tables.CLIENT_WRITES)
# What NOVA's reader writes, and what it only reads.
WRITTEN_BY_READER = (tables.READ_COUNTS, tables.READER_PROCESSES)
READ_BY_READER = (
    *(tables.CLIENT_PHASES, tables.CLIENT_REVISIONS, tables.AWS_TABLE),
    *("nova_admin.credentials_countinggap", "nova_admin.credentials_countingtriggers"),
)
# Others wait for these when they write, and for the last one when they read.
STOPS_WRITERS = {
    *("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
}
STOPS_READERS = {"AccessExclusiveLock"}
LONGEST_WAIT_MS = 50
# As long as what they find: not while somebody waits. Of the rows of `django_migrations` there are few.
LONG = re.compile(
    r"""\s*(?:UPDATE|DELETE|SELECT|WITH|INSERT\s+INTO\s+(?!"?django_migrations)|CREATE\s+(?:UNIQUE\s+)?INDEX)\b
        |.*\b(?:VALIDATE\s+CONSTRAINT|ALTER\s+COLUMN\s+\S+\s+TYPE|SET\s+NOT\s+NULL)\b
        |.*\bADD\s+CONSTRAINT\b(?!.*\bNOT\s+VALID\b)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
# The row that says that a schema migration is done, or undone.
RECORD = re.compile(r'\s*(?:INSERT INTO|DELETE FROM) "?django_migrations', re.IGNORECASE)
MADE = re.compile(r'CREATE TABLE (?:IF NOT EXISTS )?"?([\w.]+)')
LOCKS = """
SELECT l.relation::regclass::text, l.mode, extract(epoch FROM current_setting('lock_timeout')::interval) * 1000
FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
    AND l.relation = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
"""


@dataclass
class SchemaLocks:
    """What is wrong, each with the schema migration and the statement."""

    migration: str = ""
    is_atomic: bool = True
    is_recorded: bool = False
    found: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)

    def watch(self, execute: Any, statement: Any, params: Any, many: bool, context: Any) -> Any:
        """Execute the statement and look what it left locked; Django's `execute_wrapper`."""
        raw = context["connection"].connection
        self.look_at_record(str(statement), is_inside=context["connection"].in_atomic_block)
        if not raw.info.transaction_status:
            self.locked.clear()
            self.made.clear()
        is_record = RECORD.match(str(statement))  # one row, however many there are
        if self.locked and LONG.match(str(statement)) and not is_record:
            self.complain(
                f"takes as long as there are rows, with {sorted(self.locked)} locked", statement
            )
        # What a statement outside a transaction locks is free at its end: it gets one, for a look before that.
        alone = raw.autocommit and not raw.info.transaction_status
        if alone:
            raw.cursor().execute("BEGIN")
        try:
            answer = execute(statement, params, many, context)
            self.made |= {name.rpartition(".")[2] for name in MADE.findall(str(statement))}
            self.look(raw, str(statement))
        finally:
            if alone:
                raw.cursor().execute("COMMIT")
        return answer

    def look_at_record(self, statement: str, *, is_inside: bool) -> None:
        """Complain of one that is recorded after its transaction: ended in between, it can't be done again."""
        if RECORD.match(statement):
            if self.is_atomic and not (is_inside or self.is_recorded):
                self.complain("is recorded after its own transaction", statement)
            self.is_recorded = True

    def look(self, raw: Any, statement: str) -> None:
        asked = [[*WRITTEN_BY_NOVA, *WRITTEN_BY_READER, *READ_BY_READER]]
        # By psycopg's own cursor: Django's would bring this one here again.
        rows = raw.cursor().execute(LOCKS, asked).fetchall()
        for shown, mode, wait in rows:
            name = shown.rpartition(".")[2]
            if name in self.made or name in self.locked:
                continue
            self.note(name, mode, float(wait), statement)

    def note(self, name: str, mode: str, wait: float, statement: str) -> None:
        if mode in STOPS_WRITERS and is_among(name, WRITTEN_BY_NOVA):
            self.complain(f"locks {name}, which NOVA writes ({mode})", statement)
        elif mode in (STOPS_WRITERS if is_among(name, WRITTEN_BY_READER) else STOPS_READERS):
            self.locked.add(name)
            self.seen.append(f"{self.migration} {name}")
            if LONG.match(statement):
                self.complain(f"takes as long as there are rows, and locks {name}", statement)
            if not 0 < wait <= LONGEST_WAIT_MS:
                self.complain(f"may wait {wait} ms for {name} (0: for ever)", statement)

    def complain(self, what: str, statement: object) -> None:
        self.found.append(f"{self.migration}: {what}: {str(statement)[:200]}")


def is_among(name: str, known: tuple[str, ...]) -> bool:
    return name in {each.rpartition(".")[2] for each in known}


def run_migrations(
    answers: Connection, environment: dict[str, str], first: list[tuple[str, str]]
) -> None:
    """Migrate to the first release, then to now and back; send what was found and seen on these two ways."""
    os.environ |= environment
    import django

    django.setup()
    from django.db import connection

    from migration.management.backward_plans import PatientExecutor

    connection.prepare_database()
    locks = SchemaLocks()

    def tell(action: str, migration: Any = None, fake: bool = False) -> None:
        if action in {"apply_start", "unapply_start"}:
            way = "" if action == "apply_start" else "back from "
            locks.migration = f"{way}{migration.app_label}.{migration.name}"
            locks.is_atomic, locks.is_recorded = migration.atomic, False

    def go(targets: list[tuple[str, str]]) -> None:
        executor = PatientExecutor(connection, tell)
        executor.migrate(targets or executor.loader.graph.leaf_nodes())

    go(first)
    with connection.execute_wrapper(locks.watch):
        go([])
        go(first)
    answers.send((locks.found, locks.seen))
