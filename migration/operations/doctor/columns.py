"""Examines the columns of NOVA's tables: those that the site doesn't know, and those that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.models import CREDENTIAL_MODELS, Client
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

    from migration.operations.doctor.findings import Asked, Finding

COLUMNS = """
SELECT name, a.attname::text
FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n) JOIN pg_attribute a ON a.attrelid = to_regclass(name)
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY n, a.attnum
"""


def examine_columns(_asked: Asked) -> Iterator[Finding]:
    """Name the columns that NOVA added and the site doesn't know, and those that the site needs and doesn't find."""
    known = _list_known_columns()
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [list(NOVA_TABLES)])
        found = cursor.fetchall()
    there = {table for table, _column in found}
    unknown = [f"{table}.{column}" for table, column in found if (table, column) not in known]
    missing = [
        f"{table}.{column}"
        for table, column in sorted(known - set(found))
        if table in there  # a table that is missing is told of its owner
    ]
    for column in unknown:
        yield report_failure(
            CheckName.COLUMNS,
            sentences.COLUMN_IS_UNKNOWN(column=column),
            sentences.MAP_THE_COLUMN(),
        )
    for column in missing:
        yield report_failure(
            CheckName.COLUMNS, sentences.COLUMN_IS_MISSING(column=column), sentences.ASK_NOVA()
        )
    if not unknown and not missing:
        yield report_ok(CheckName.COLUMNS, sentences.COLUMNS_ARE_KNOWN())


def _list_known_columns() -> set[tuple[str, str]]:
    models: list[type[Model]] = [Client, *CREDENTIAL_MODELS.values()]
    names = {model: model._meta.db_table.replace('"', "") for model in models}
    return {
        (names[model], field.column)
        for model in models
        if names[model] in NOVA_TABLES
        for field in model._meta.local_concrete_fields
        if field.column
    }
