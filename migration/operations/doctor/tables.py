"""Examines NOVA's tables: their owners, their columns, and what others have put on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.models import CREDENTIAL_MODELS, Client
from credentials.nova_objects import ObjectKind, list_foreign_objects
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

    from migration.operations.doctor.findings import Asked, Finding

OWNERS = """
SELECT name, pg_get_userbyid(c.relowner)::text
FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n) LEFT JOIN pg_class c ON c.oid = to_regclass(name)
ORDER BY n
"""
COLUMNS = """
SELECT name, a.attname::text
FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n) JOIN pg_attribute a ON a.attrelid = to_regclass(name)
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY n, a.attnum
"""
# `examine_boundary` tells what is to be said of roles.
OF_ROLES = {
    ObjectKind.SHARED_ROLE,
    ObjectKind.OWNER_IS_SUPERUSER,
    ObjectKind.SITE_IS_SUPERUSER,
    ObjectKind.OWNER_IS_MEMBER,
}
# An owner can make thousands of objects; nobody reads so many lines.
MOST_OBJECTS = 50


def examine_owners(_asked: Asked) -> Iterator[Finding]:
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
        message = sentences.OWNED_BY(tables=tuple(tables), owner=owner)
        yield report_ok(CheckName.OWNERS, message)


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


def examine_objects(_asked: Asked) -> Iterator[Finding]:
    """Name each object on NOVA's tables that runs code of its owner's as the role that uses the table."""
    with connection.cursor() as cursor:
        found = [each for each in list_foreign_objects(cursor) if each.kind not in OF_ROLES]
    for each in found[:MOST_OBJECTS]:
        message = sentences.FOREIGN_OBJECT(
            kind=each.kind.value, name=each.name or "–", table=each.table, owner=each.owner
        )
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.LOOK_AT_THE_OBJECT())
    if len(found) > MOST_OBJECTS:
        message = sentences.MORE_OBJECTS(n=len(found) - MOST_OBJECTS)
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.LOOK_AT_THE_OBJECT())
    if not found:
        yield report_ok(CheckName.NOVA_OBJECTS, sentences.NO_FOREIGN_OBJECTS())
