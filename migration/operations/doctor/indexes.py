"""Examines whether NOVA's credential tables have an index of their clients, which is advised where these are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from migration.models.clients import all_clients
from migration.operations.doctor import index_sentences
from migration.operations.doctor.findings import CheckName, report_ok, report_ok_with_advice
from nova_credentials.tables import CLIENTS, NOVA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# With fewer, PostgreSQL reads a whole table in a few milliseconds.
MANY_CLIENTS = 20_000
WITHOUT_INDEX = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n)
WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass(name) AND attname = 'client_id' AND indisvalid AND indpred IS NULL
)
ORDER BY n
"""


def examine_indexes(_asked: DoctorOptions) -> Iterator[Finding]:
    """Advise the indexes that are missing, with what makes them: only the tables' owner can."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_INDEX, [[table for table in NOVA_TABLES if table != CLIENTS]])
        tables = tuple(name for (name,) in cursor.fetchall())
    if not tables:
        yield report_ok(CheckName.INDEXES, index_sentences.CLIENTS_ARE_INDEXED())
    elif all_clients().count() < MANY_CLIENTS:
        yield report_ok(CheckName.INDEXES, index_sentences.NO_INDEX_IS_NEEDED(tables=tables))
    else:
        yield report_ok_with_advice(
            CheckName.INDEXES,
            index_sentences.CLIENTS_ARE_NOT_INDEXED(tables=tables),
            index_sentences.MAKE_THE_INDEXES(),
            statements=tuple(
                f"CREATE INDEX CONCURRENTLY ON {table} (client_id);" for table in tables
            ),
        )
