"""Lists the tables and columns of NOVA's database that can hold a copy of a secret value. Reads catalogues only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from credentials.models import CREDENTIAL_MODELS, ColumnUse, read_columns_and_mappings
from migration.models.copies import UnsearchedPlace, UnsearchedReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

OWN_SCHEMAS = ("nova_admin",)
MOST_DETAIL = 200
# A value of a login is at home in these columns, by table and column, and no copy there.
CREDENTIAL_COLUMNS = {
    (model.NOVA_TABLE, field.column)
    for model in CREDENTIAL_MODELS.values()
    for field in model._meta.concrete_fields
}
# The columns of stored tables, and of what stands like one in the catalogue, outside PostgreSQL's own schemas and the
# site's. A virtual column stores nothing, and reading it would run its owner's expression.
COLUMNS = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
    pg_is_other_temp_schema(n.oid), row_security_active(c.oid),
    a.attname::text, a.atttypid::bigint, format_type(a.atttypid, NULL),
    has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'f', 'm') AND a.attgenerated <> 'v'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
    AND n.nspname <> ALL(%(own)s)
    AND n.oid <> pg_my_temp_schema()
ORDER BY n.nspname, c.relname, a.attnum
"""
# A type of PostgreSQL's own functions sends its text as it is, in its binary form too.
TYPES = """
SELECT t.oid::bigint, t.typname::text, t.typnamespace = 'pg_catalog'::regnamespace, t.typtype::text,
    t.typcategory::text, t.typbasetype::bigint, t.typelem::bigint,
    t.typsend::oid IN ('pg_catalog.textsend'::regproc::oid, 'pg_catalog.varcharsend'::regproc::oid,
        'pg_catalog.bpcharsend'::regproc::oid, 'pg_catalog.json_send'::regproc::oid,
        'pg_catalog.jsonb_send'::regproc::oid, 'pg_catalog.namesend'::regproc::oid),
    t.typsend::oid = 'pg_catalog.array_send'::regproc::oid
FROM pg_type t
"""
LARGE_OBJECTS = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
# Booleans, times, geometry, addresses, numbers, ranges and spans of time; and some by name.
HARMLESS_CATEGORIES = "BDGINRT"
HARMLESS_NAMES = {
    *("uuid", "char", "xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot"),
    *("oidvector", "int2vector"),
}


class Searchability(StrEnum):
    """Whether a column of a type can hold a secret value."""

    SEARCHED = "searched"
    HARMLESS = "harmless"
    UNSEARCHED = "unsearched"


class Table(NamedTuple):
    """One table and its columns that are searched."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Return the name with its schema."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Places:
    """The tables to search, and the places that can't be."""

    tables: list[Table]
    unsearched: list[UnsearchedPlace]


class _Type(NamedTuple):
    name: str
    is_own: bool  # PostgreSQL's
    kind: str
    category: str
    base: int
    element: int
    sends_text: bool
    is_array: bool


class _Column(NamedTuple):
    table_oid: int
    schema: str
    table: str
    kind: str
    is_other_session: bool
    has_row_security: bool
    name: str
    type_oid: int
    type_name: str
    may_read: bool

    @property
    def place(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"


def list_places(cursor: CursorWrapper) -> Places:
    """List the tables to search, and what can't be searched though it can hold a secret value."""
    cursor.execute(TYPES)
    types = {row[0]: _Type(*row[1:]) for row in cursor.fetchall()}
    # NOVA adds columns to these tables too. The values of one that is mapped as secret belong there.
    mapped = {(c.table, c.name) for c in read_columns_and_mappings() if c.use == ColumnUse.SECRET}
    owned = CREDENTIAL_COLUMNS | mapped
    cursor.execute(COLUMNS, {"own": [*OWN_SCHEMAS]})
    by_table: dict[int, list[_Column]] = {}
    for row in cursor.fetchall():
        column = _Column(*row)
        if (f"{column.schema}.{column.table}", column.name) not in owned:
            by_table.setdefault(column.table_oid, []).append(column)
    tables: list[Table] = []
    unsearched: list[UnsearchedPlace] = []
    for columns in by_table.values():
        contents = {column: _judge_type(column.type_oid, types) for column in columns}
        unsearched += _list_unsearched(contents)
        if names := tuple(c.name for c, content in contents.items() if _is_read(c, content)):
            tables.append(Table(columns[0].table_oid, columns[0].schema, columns[0].table, names))
    cursor.execute(LARGE_OBJECTS)
    if cursor.fetchone()[0]:
        unsearched.append(_make_place("pg_catalog.pg_largeobject", UnsearchedReason.LARGE_OBJECTS))
    return Places(tables, unsearched)


def _is_read(column: _Column, content: Searchability) -> bool:
    whole = _find_reason_of_table(column) is None
    return whole and column.may_read and content == Searchability.SEARCHED


def _find_reason_of_table(column: _Column) -> UnsearchedReason | None:
    if column.is_other_session:
        return UnsearchedReason.OTHER_SESSION
    if column.kind == "f":
        return UnsearchedReason.FOREIGN_TABLE
    if column.kind == "m":
        return UnsearchedReason.MATERIALIZED_VIEW
    return UnsearchedReason.ROW_SECURITY if column.has_row_security else None


def _list_unsearched(contents: dict[_Column, Searchability]) -> Iterator[UnsearchedPlace]:
    at_risk = [column for column, content in contents.items() if content != Searchability.HARMLESS]
    if at_risk and (reason := _find_reason_of_table(at_risk[0])):
        yield _make_place(f"{at_risk[0].schema}.{at_risk[0].table}", reason)
        return
    for column in at_risk:
        if not column.may_read:
            yield _make_place(column.place, UnsearchedReason.NO_RIGHT)
        elif contents[column] == Searchability.UNSEARCHED:
            yield _make_place(column.place, UnsearchedReason.TYPE, column.type_name)


def _make_place(place: str, reason: UnsearchedReason, detail: str = "") -> UnsearchedPlace:
    # The name of a type of NOVA's can be longer, quoted and with its schema.
    return UnsearchedPlace(place=place, reason=reason, detail=detail[:MOST_DETAIL])


def _judge_type(oid: int, types: dict[int, _Type]) -> Searchability:
    """Judge a type by what it is made of: a domain by its base, an array by its element."""
    found = types.get(oid)
    if found is None:
        return Searchability.UNSEARCHED
    if found.kind == "d":
        return _judge_type(found.base, types)
    if found.is_array:
        return _judge_type(found.element, types)
    if found.sends_text:
        return Searchability.SEARCHED
    own_harmless = found.is_own and (
        found.category in HARMLESS_CATEGORIES or found.name in HARMLESS_NAMES
    )
    return Searchability.HARMLESS if own_harmless or found.kind == "e" else Searchability.UNSEARCHED
