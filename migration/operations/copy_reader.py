"""Reads the tables of NOVA's database from one snapshot each, in pieces that hold no lock for long. Writes nothing.

A piece locks its table against being rebuilt or replaced, makes sure that it still is the table that was listed, and
lets it go again: a statement of NOVA's that alters the table waits for one piece only. Nobody's code runs: a view in
place of the table would be noticed.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection
from psycopg import sql
from psycopg.errors import LockNotAvailable, UndefinedTable

from migration.models.copies import UnsearchedReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

    from migration.operations.copy_places import Table
    from migration.operations.copy_scanner import CopiedRowsScanner

FIRST_PIECE_PAGES, MOST_PAGES = 64, 1 << 16
# The size of a piece is doubled or halved to stay between these.
SHORT_SECONDS, LONG_SECONDS = 0.25, 1.0
LOCK_TRIES, LOCK_TIMEOUT, STATEMENT_TIMEOUT = 5, "1s", "15min"

# All is asked of PostgreSQL's caches, not of the snapshot, and so shows what another session has just committed.
IDENTITY = """
SELECT to_regclass(%(name)s)::bigint = %(oid)s, pg_relation_filenode(%(oid)s::oid)::bigint,
    pg_relation_size(%(oid)s::oid) / current_setting('block_size')::bigint
"""
PIECE = """
COPY (SELECT {columns} FROM ONLY {table} WHERE ctid >= {first}::pg_catalog.tid AND ctid < {end}::pg_catalog.tid)
TO STDOUT (FORMAT binary)
"""


class UnsearchedError(Exception):
    """The table could not be read to its end."""

    def __init__(self, reason: UnsearchedReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@contextmanager
def open_own_connection() -> Iterator[BaseDatabaseWrapper]:
    """Connect once more, as a snapshot is kept open while the progress is stored."""
    own = connection.copy()
    try:
        yield own
    finally:
        own.close()


@dataclass
class TableReader:
    """Reads one table for one scanner."""

    own: BaseDatabaseWrapper
    table: Table
    scanner: CopiedRowsScanner
    tell: Callable[[float], None]  # how much of the table was read, up to 1

    def read_table(self) -> None:
        """Read the whole table; raises `UnsearchedError` where that failed."""
        failed: UnsearchedError | None = None
        with self.own.cursor() as cursor:
            try:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
                self._read_pieces(cursor)
                self.scanner.search_collected_rows()
            except DatabaseError as error:
                failed = UnsearchedError(
                    UnsearchedReason.READ_FAILED, getattr(error.__cause__, "sqlstate", None) or ""
                )
            finally:
                if self.own.connection and not self.own.connection.closed:
                    cursor.execute("ROLLBACK")
        if failed:  # raised out here: no error of the database stays in the chain
            raise failed

    def _read_pieces(self, cursor: CursorWrapper) -> None:
        first, end, size = 0, 0, FIRST_PIECE_PAGES
        # The first statement after the first lock takes the snapshot: whatever rebuilds the table later is noticed.
        filenode: int | None = None
        pages = 1
        while first < pages:
            began = time.monotonic()
            cursor.execute("SAVEPOINT piece")
            self._lock_table(cursor)
            found, size_now = self._identify_table(cursor)
            if filenode is None:
                filenode, pages = found, size_now
            if found != filenode:
                raise UnsearchedError(UnsearchedReason.CHANGED)
            end = min(first + size, pages)
            self._copy_piece(cursor, first, end)
            # The lock goes with the savepoint.
            cursor.execute("ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece")
            took, first = time.monotonic() - began, end
            if took < SHORT_SECONDS:
                size = min(size * 2, MOST_PAGES)
            elif took > LONG_SECONDS:
                size = max(size // 2, 1)
            self.tell(first / max(pages, 1))

    def _lock_table(self, cursor: CursorWrapper) -> None:
        """Lock the table until the savepoint is rolled back; raises `UnsearchedError` if it is gone or stays locked."""
        lock = sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(self._name)
        for _try in range(LOCK_TRIES):
            try:
                cursor.execute(lock)
            except DatabaseError as error:
                if isinstance(error.__cause__, UndefinedTable):
                    break
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
            else:
                return
            cursor.execute("ROLLBACK TO SAVEPOINT piece")
        else:
            raise UnsearchedError(UnsearchedReason.BUSY)
        raise UnsearchedError(UnsearchedReason.CHANGED)

    def _identify_table(self, cursor: CursorWrapper) -> tuple[int, int]:
        """Return the number of the table's file, and its size in pages; raises `UnsearchedError` for another table."""
        name = self._name.as_string(None)
        cursor.execute(IDENTITY, {"name": name, "oid": self.table.oid})
        is_same, filenode, pages = cursor.fetchone()
        if not is_same or filenode is None:
            raise UnsearchedError(UnsearchedReason.CHANGED)
        return filenode, pages

    def _copy_piece(self, cursor: CursorWrapper, first: int, end: int) -> None:
        piece = sql.SQL(PIECE).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, self.table.columns)),
            table=self._name,
            first=sql.Literal(f"({first},0)"),
            end=sql.Literal(f"({end},0)"),
        )
        with self.own.wrap_database_errors, cursor.cursor.copy(piece) as copy:
            for message in copy:
                self.scanner.add_message(message)

    @property
    def _name(self) -> sql.Identifier:
        return sql.Identifier(self.table.schema, self.table.name)
