"""Examines who owns NOVA's tables, and whether they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.shown_names import escape_name
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

OWNERS = """
SELECT name, pg_get_userbyid(c.relowner)::text
FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n) LEFT JOIN pg_class c ON c.oid = to_regclass(name)
ORDER BY n
"""


def examine_owners(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name the owner of each of NOVA's tables, and the tables that are missing."""
    with connection.cursor() as cursor:
        cursor.execute(OWNERS, [list(NOVA_TABLES)])
        owners = cursor.fetchall()
    tables_by_owner: dict[str, list[str]] = {}
    for table, owner in owners:
        if owner is None:
            yield report_failure(
                CheckName.OWNERS, sentences.TABLE_IS_MISSING(table=table), sentences.MIGRATE_FIRST()
            )
        else:
            tables_by_owner.setdefault(owner, []).append(table)
    for owner, tables in tables_by_owner.items():
        message = sentences.OWNED_BY(tables=tuple(tables), owner=escape_name(owner))
        yield report_ok(CheckName.OWNERS, message)
