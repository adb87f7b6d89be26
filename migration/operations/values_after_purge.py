"""Finds purged clients with a value in a column mapped as secret: it was mapped, or written, after the purge.

AWS alone should hold their values, but nothing is pushed for a purged client. So they are restored and purged again.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import connection

from credentials.models import ColumnUse, NovaColumn, quote_name_for_parametrized_sql
from credentials.pointers import POINTER
from nova_credentials.tables import CLIENTS

FIND = f"""
SELECT c.id, c.slug FROM {CLIENTS} c JOIN migration_clientmigration m ON m.client_id = c.id AND m.phase = 'purged'
WHERE c.id IN (SELECT t.{{key}} FROM {{table}} t WHERE NOT starts_with(t.{{column}}, %s)) ORDER BY c.slug
"""  # noqa: S608  # constants, and a column that is quoted


class PurgedClientWithValue(NamedTuple):
    """A purged client with a value that stands in clear in a mapped column all the same."""

    id: int
    slug: str


def list_purged_with_values(column: NovaColumn) -> list[PurgedClientWithValue]:
    """List id and slug of the purged clients with a value in this column; none if it isn't mapped as secret."""
    if column.use != ColumnUse.SECRET or not column.is_text:
        return []
    key = "id" if column.table == CLIENTS else "client_id"
    statement = FIND.format(
        key=key, table=column.table, column=quote_name_for_parametrized_sql(column.name)
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [POINTER])
        return [PurgedClientWithValue(*row) for row in cursor.fetchall()]
