"""Compares the columns of NOVA's tables with those that the site knows, and with their mappings. Reads catalogues only.

A column that NOVA added is unmapped until somebody says what it holds. One that it dropped, renamed or gave another
type makes every client's document uncertain: the changes say which, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django.db import DatabaseError, ProgrammingError, models
from psycopg import errors

from credentials.models import (
    Client,
    DatabaseCredential,
    EmailCredential,
    NaiveUTCDateTimeField,
    NovaColumn,
    read_columns_and_mappings,
)
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    KnownField = models.Field[object, object]


# The models by table. NOVA has no table of AWS logins: that one is the site's own, and nobody else adds columns to it.
MODELS: dict[str, type[models.Model]] = {
    model.NOVA_TABLE: model for model in (Client, DatabaseCredential, EmailCredential)
}
TEXT, INTEGER, BOOLEAN, TIME = "text", "integer", "boolean", "time"
# The kind of each of PostgreSQL's types that a column may have, by its name.
KINDS = {
    "text": TEXT,
    "character varying": TEXT,
    "smallint": INTEGER,
    "integer": INTEGER,
    "bigint": INTEGER,
    "boolean": BOOLEAN,
    "timestamp without time zone": TIME,
    "timestamp with time zone": TIME,
}
# PostgreSQL's errors for a column or table that is gone, or that can't be compared with a value as before.
SCHEMA_ERRORS = (
    errors.UndefinedColumn,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.DatatypeMismatch,
)
# From narrow to wide.
INTEGERS = ("smallint", "integer", "bigint")


class ColumnChange(StrEnum):
    """A way in which a table of NOVA's differs from what the site knows; the code of its message."""

    ADDED = "column_added"
    MISSING = "column_missing"
    RENAMED = "column_renamed"
    RETYPED = "column_retyped"
    TABLE_MISSING = "table_missing"
    MAPPED_MISSING = "mapped_column_missing"
    MAPPED_RETYPED = "mapped_column_retyped"
    WIDENED = "column_widened"
    NARROWED = "column_narrowed"
    NULLABLE = "column_nullable"


# Says of each change what it is, and what to do about it.
COLUMN_CHANGES: dict[ColumnChange, Sentence] = {
    ColumnChange.ADDED: Sentence(
        "column_added",
        "NOVA added the column %(table)s.%(column)s (%(type)s): say what it holds. On the page NOVA's tables, or:"
        " manage.py nova_tables map %(table)s.%(column)s secret, plain or ignore.",
    ),
    ColumnChange.MISSING: Sentence(
        "column_missing",
        "The column %(table)s.%(column)s is gone: this release can't work without it. Give NOVA's table the column back"
        " under this name.",
    ),
    ColumnChange.RENAMED: Sentence(
        "column_renamed",
        "The column %(table)s.%(column)s is gone, and %(new)s is new there: it was probably renamed. Give it its old"
        " name back.",
    ),
    ColumnChange.RETYPED: Sentence(
        "column_retyped",
        "The column %(table)s.%(column)s has the type %(type)s now, which this release can't read as before. Give it"
        " its old type back.",
    ),
    ColumnChange.TABLE_MISSING: Sentence(
        "table_missing", "The table %(table)s is gone. Give NOVA's database the table back."
    ),
    ColumnChange.MAPPED_MISSING: Sentence(
        "mapped_column_missing",
        "The mapped column %(table)s.%(column)s is gone. Give it back, or if nobody needs its values any more:"
        " manage.py nova_tables map %(table)s.%(column)s ignore.",
    ),
    ColumnChange.MAPPED_RETYPED: Sentence(
        "mapped_column_retyped",
        "The mapped column %(table)s.%(column)s has the type %(type)s now, and only text can be mapped. Give it its old"
        " type back, or: manage.py nova_tables map %(table)s.%(column)s ignore.",
    ),
    ColumnChange.WIDENED: Sentence(
        "column_widened",
        "The column %(table)s.%(column)s is wider now (%(type)s). Nothing has to be done; the site's forms keep the old"
        " limit.",
    ),
    ColumnChange.NARROWED: Sentence(
        "column_narrowed",
        "The column %(table)s.%(column)s is narrower now (%(type)s). Nothing has to be done; values that no longer fit"
        " are refused when they are saved.",
    ),
    ColumnChange.NULLABLE: Sentence(
        "column_nullable",
        "The column %(table)s.%(column)s may be NULL now. Nothing has to be done; a client with NULL there is not"
        " pushed.",
    ),
}
# Until one of these is put right, no document can be trusted: nothing is pushed, and comparisons can't check.
BREAKING = (
    ColumnChange.MISSING,
    ColumnChange.RENAMED,
    ColumnChange.RETYPED,
    ColumnChange.TABLE_MISSING,
    ColumnChange.MAPPED_MISSING,
    ColumnChange.MAPPED_RETYPED,
)


@dataclass(frozen=True)
class FoundChange:
    """One change that NOVA made to a column, with what to do about it."""

    change: ColumnChange
    table: str
    column: str
    message: Message

    @property
    def is_breaking(self) -> bool:
        """Say whether no document can be trusted because of this change of a column."""
        return self.change in BREAKING


@dataclass(frozen=True)
class NovaSchema:
    """All columns of NOVA's tables at one moment, and how they differ from what this release knows."""

    columns: tuple[NovaColumn, ...]
    changes: tuple[FoundChange, ...] = field(default=())

    @property
    def added(self) -> list[NovaColumn]:
        """Return the columns that NOVA added, mapped or not, and the mapped ones that are gone."""
        return [c for c in self.columns if c.name not in _known_fields(c.table)]

    @property
    def unmapped(self) -> list[NovaColumn]:
        """Return the columns that somebody has to map before a client can be cut over or purged."""
        named = {(f.table, f.column) for f in self.changes if f.change == ColumnChange.ADDED}
        return [column for column in self.columns if (column.table, column.name) in named]

    @property
    def breaking(self) -> list[FoundChange]:
        """Return the changes because of which no document can be trusted."""
        return [found for found in self.changes if found.is_breaking]

    @property
    def problem(self) -> Message | None:
        """Say in one message which changes are breaking, or None."""
        return in_a_row(*(found.message for found in self.breaking))

    @property
    def has_loosened_columns(self) -> bool:
        """Say whether any column may now hold a value that it could not hold before, such as NULL."""
        unusual = (ColumnChange.WIDENED, ColumnChange.NULLABLE)
        return any(found.change in unusual for found in self.changes)


def read_nova_columns() -> NovaSchema:
    """Read the columns of NOVA's tables with their mappings, in one query, and judge them."""
    return judge_columns(read_columns_and_mappings())


class NovaSchemaError(MessageError):
    """NOVA's tables can't be read, as they are not as this release knows them; names tables and columns."""


@contextmanager
def convert_schema_errors() -> Iterator[None]:
    """Raise `NovaSchemaError` in place of the database error that a missing or changed column causes.

    Put it around the transaction: afterwards the columns are read to say what is wrong.
    """
    try:
        yield
    except ProgrammingError as error:
        problem = find_schema_problem(error)
        if problem is None:
            raise
    else:
        return
    raise NovaSchemaError(problem)


def find_schema_problem(error: Exception) -> Message | None:
    """Say which change of NOVA's tables caused this error; None where none did. Not to be called in a transaction."""
    if isinstance(error, NovaSchemaError):
        return error.message
    is_of_schema = isinstance(error, ProgrammingError) and isinstance(
        error.__cause__, SCHEMA_ERRORS
    )
    try:
        return read_nova_columns().problem if is_of_schema else None
    except (
        DatabaseError
    ):  # this role lacks a right, or the site's own tables are missing: not NOVA's doing
        return None


@lru_cache(maxsize=8)  # they are read again for every batch of clients, and change next to never
def judge_columns(columns: tuple[NovaColumn, ...]) -> NovaSchema:
    """Return these columns together with how they differ from those that this release knows."""
    return NovaSchema(columns, tuple(_find_changes(columns)))


@cache
def _known_fields(table: str) -> dict[str, KnownField]:
    """Return the columns that the site knows, with the fields of its model."""
    model = MODELS.get(table)
    fields = model._meta.concrete_fields if model else ()
    return {str(known.column): known for known in fields}


def _find_changes(columns: tuple[NovaColumn, ...]) -> Iterator[FoundChange]:
    for table in NOVA_TABLES:
        there = {c.name: c for c in columns if c.table == table and c.type is not None}
        if not there:
            message = COLUMN_CHANGES[ColumnChange.TABLE_MISSING](table=table)
            yield FoundChange(ColumnChange.TABLE_MISSING, table, "", message)
            continue
        yield from _find_changes_of_known(table, there)
    for column in columns:
        if column.type is None:
            if column.use and column.use.travels:
                yield _make_change(ColumnChange.MAPPED_MISSING, column)
        elif column.use and column.use.travels and not column.is_text:
            yield _make_change(ColumnChange.MAPPED_RETYPED, column, type=column.type)


def _find_changes_of_known(table: str, there: dict[str, NovaColumn]) -> Iterator[FoundChange]:
    known = _known_fields(table)
    missing = [name for name in known if name not in there]
    unmapped = [c for name, c in there.items() if name not in known and not c.has_valid_mapping]
    if len(missing) == len(unmapped) == 1 and _same_kind(known[missing[0]], unmapped[0]):
        yield _name_change(
            ColumnChange.RENAMED, table, missing[0], new=escape_name(unmapped[0].name)
        )
        missing, unmapped = [], []
    for name in missing:
        yield _name_change(ColumnChange.MISSING, table, name)
    for column in unmapped:
        yield _make_change(ColumnChange.ADDED, column, type=escape_name(column.type or ""))
    for name, wanted in known.items():
        if name in there:
            yield from _judge_type(wanted, there[name])


def _judge_type(wanted: KnownField, column: NovaColumn) -> Iterator[FoundChange]:
    """Compare the type of a known column with that which NOVA's scripts give it."""
    shown = {"type": escape_name(column.type or "")}
    if not _same_kind(wanted, column):
        yield _make_change(ColumnChange.RETYPED, column, **shown)
        return
    before, now = _size_of_field(wanted), _size_of_column(column)
    if now > before:
        yield _make_change(ColumnChange.WIDENED, column, **shown)
    elif now < before:
        yield _make_change(ColumnChange.NARROWED, column, **shown)
    if not column.not_null and not wanted.null:
        yield _make_change(ColumnChange.NULLABLE, column)


def _same_kind(wanted: KnownField, column: NovaColumn) -> bool:
    return KINDS.get(column.type or "") == _kind_of_field(wanted)


def _kind_of_field(wanted: KnownField) -> str:
    if isinstance(wanted, models.CharField | models.TextField):
        return TEXT
    if isinstance(wanted, models.BooleanField):
        return BOOLEAN
    return TIME if isinstance(wanted, NaiveUTCDateTimeField) else INTEGER


def _size_of_field(wanted: KnownField) -> float:
    """Return a number that grows with what the column can hold: characters, or a place in INTEGERS."""
    kind = _kind_of_field(wanted)
    if kind == TEXT:
        return wanted.max_length or float("inf")
    return INTEGERS.index("integer") if kind == INTEGER else 0


def _size_of_column(column: NovaColumn) -> float:
    if column.type in INTEGERS:
        return INTEGERS.index(column.type)
    return (column.max_length or float("inf")) if KINDS.get(column.type or "") == TEXT else 0


def _make_change(change: ColumnChange, column: NovaColumn, **more: str) -> FoundChange:
    return _name_change(change, column.table, column.name, **more)


def _name_change(change: ColumnChange, table: str, name: str, **more: str) -> FoundChange:
    sentence = COLUMN_CHANGES[change]
    return FoundChange(change, table, name, sentence(table=table, column=escape_name(name), **more))
