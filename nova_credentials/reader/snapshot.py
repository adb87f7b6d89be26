"""Owns the transaction of one read: its snapshot, its limits, and the message that ends it. Knows no table."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from nova_credentials.reader.process_notes import ProcessNotes

# With this search_path no object of another role, in `public` or elsewhere, is taken for PostgreSQL's own. Tables are
# named with their schema.
BEGIN_SNAPSHOT = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL statement_timeout = {}
"""


@dataclass
class ProcessNotesAtCommit:
    """The end of a snapshot: `notes` that are set within its block are sent along with its COMMIT."""

    notes: ProcessNotes | None = None


@contextmanager
def read_snapshot(
    connection: psycopg.Connection[TupleRow], statement_timeout: str
) -> Iterator[ProcessNotesAtCommit]:
    """Read in one snapshot. Set `notes` on what it yields, and a note that is due is sent with its COMMIT."""
    connection.execute(sql.SQL(BEGIN_SNAPSHOT).format(statement_timeout))
    ending = ProcessNotesAtCommit()
    try:
        yield ending
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise
    commit = sql.SQL("COMMIT")
    if ending.notes:
        ending.notes.execute_with_due_note(connection, commit)
    else:
        connection.execute(commit)
