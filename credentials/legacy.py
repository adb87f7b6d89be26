"""Reads NOVA's first table, where there is one: a client and its database login in each row. Never writes it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from django.db import OperationalError, ProgrammingError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import (
    InsufficientPrivilege,
    LockNotAvailable,
    UndefinedColumn,
    UndefinedTable,
    WrongObjectType,
)

from credentials.models import quote_name_for_parametrized_sql
from nova_credentials.messages import MessageError, Sentence
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import LEGACY_CREDENTIALS, STATEMENT_MARK

LEGACY_NO_PLAIN_TABLE = Sentence(
    "legacy_no_plain_table",
    "%(table)s is not an ordinary table, or has row security, so reading it could run someone else's code. "
    "Nothing was read.",
)
LEGACY_COLUMNS_LACK = Sentence(
    "legacy_columns_lack",
    "%(table)s is missing columns that a login needs: %(columns)s.",
    glue=", ",
)
LEGACY_COLUMNS_SHUT = Sentence(
    "legacy_columns_shut",
    "This site may not read these columns of %(table)s: %(columns)s. Run: GRANT SELECT ON %(table)s TO the role of this"
    " site.",
    glue=", ",
)
LEGACY_COLUMNS_RETYPED = Sentence(
    "legacy_columns_retyped",
    "These columns of %(table)s have types that this release doesn't read: %(columns)s.",
    glue=", ",
)
LEGACY_BUSY = Sentence("legacy_busy", "Somebody has locked %(table)s; try again.")

# A page waits for it.
LOCK_TIMEOUT = "2s"
# The types that hold a value as it is, by their names in PostgreSQL's catalogue. `char(n)` adds blanks to it.
TEXTS, NUMBERS, BOOLEANS = ("text", "varchar"), ("int2", "int4", "int8"), ("bool",)
# The column of each value, and its types. Without the others there is no login; of these some may be lacking.
TYPES = {
    "client_slug": TEXTS,
    "db_host": TEXTS,
    "db_port": NUMBERS,
    "db_name": TEXTS,
    "db_user": TEXTS,
    "db_password": TEXTS,
    "client_name": TEXTS,
    "is_active": BOOLEANS,
}
OPTIONAL = ("client_name", "is_active")
# What PostgreSQL says where somebody holds the table, dropped or altered it, or put something else in its place.
MEANWHILE = (LockNotAvailable, UndefinedColumn, UndefinedTable, WrongObjectType)
# Columns that say nothing of a client or a login.
IGNORED = ("id", "created_at", "updated_at")

# A view, a policy, a foreign table or a virtual column would run its owner's code as the site's role. A domain's does
# not run when its values are read.
COLUMNS = """
SELECT c.relkind::text = 'r' AND NOT row_security_active(c.oid)
        AND NOT EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)),
    a.attname::text, has_column_privilege(c.oid, a.attnum, 'SELECT'),
    CASE WHEN a.attgenerated <> 'v' AND base.typnamespace = 'pg_catalog'::regnamespace THEN base.typname::text END
FROM pg_class c
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type base ON base.oid = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END
WHERE c.oid = to_regclass(%s)
ORDER BY a.attnum
"""


class LegacyTableError(MessageError):
    """There is a legacy table, and it can't be read."""


@dataclass(frozen=True)
class LegacyRow:
    """One row: a client, and its one database login, by the names of `DatabaseCredential`."""

    slug: str | None
    name: str | None
    is_active: bool | None
    login: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class LegacyTableContent:
    """The rows, and the columns of the table whose values are not read."""

    exists: bool
    rows: tuple[LegacyRow, ...] = ()
    other_columns: tuple[str, ...] = ()


def read_legacy_table() -> LegacyTableContent:
    """Read every row of the table, in the order in which they stand there. Raises `LegacyTableError`."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            return _read(cursor)
    except (OperationalError, ProgrammingError) as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise _name_columns(LEGACY_COLUMNS_SHUT, list(TYPES)) from None
        if isinstance(error.__cause__, MEANWHILE):
            raise LegacyTableError(LEGACY_BUSY(table=LEGACY_CREDENTIALS)) from None
        raise


def fold_slug(slug: str | None) -> str:
    """Return the same text for slugs that people take for one."""
    return "".join(unicodedata.normalize("NFKC", slug or "").casefold().split())


def count_legacy_rows(slug: str) -> int | None:
    """Return how many rows of the table people take for this client's; None where there is no table.

    Raises `LegacyTableError`.
    """
    table = read_legacy_table()
    if not table.exists:
        return None
    return sum(fold_slug(row.slug) == fold_slug(slug) for row in table.rows)


def _read(cursor: CursorWrapper) -> LegacyTableContent:
    if not _read_columns(cursor):
        return LegacyTableContent(exists=False)
    # Held before it is looked at again: its owner could put a view in its place, or a policy on it, in between.
    cursor.execute(f"LOCK TABLE ONLY {LEGACY_CREDENTIALS} IN ACCESS SHARE MODE")
    columns = _read_columns(cursor)
    names = [name for name in TYPES if name in columns]
    quoted = ", ".join(map(quote_name_for_parametrized_sql, names))
    cursor.execute(
        f"SELECT {STATEMENT_MARK} {quoted} FROM ONLY {LEGACY_CREDENTIALS} ORDER BY ctid"  # noqa: S608  # constants
    )
    rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    others = [escape_name(name) for name in columns if name not in (*TYPES, *IGNORED)]
    return LegacyTableContent(True, tuple(map(_make_row, rows)), tuple(others))


def _read_columns(cursor: CursorWrapper) -> dict[str, tuple[bool, str | None]]:
    """Return name -> whether the site may read it, and its type; none where there is no table.

    Raises `LegacyTableError` where the table can't be read.
    """
    cursor.execute(COLUMNS, [LEGACY_CREDENTIALS])
    found = cursor.fetchall()
    if not found:
        return {}
    if not found[0][0]:
        raise LegacyTableError(LEGACY_NO_PLAIN_TABLE(table=LEGACY_CREDENTIALS))
    columns = {name: (may_read, base) for _plain, name, may_read, base in found if name is not None}
    _require_columns(columns)
    return columns


def _require_columns(columns: dict[str, tuple[bool, str | None]]) -> None:
    """Raise `LegacyTableError` where a column that is read isn't there, is shut to the site or has another type."""
    read = {name: columns[name] for name in TYPES if name in columns}
    problems = {
        LEGACY_COLUMNS_LACK: [n for n in TYPES if n not in (*read, *OPTIONAL)],
        LEGACY_COLUMNS_SHUT: [n for n, (may_read, _base) in read.items() if not may_read],
        LEGACY_COLUMNS_RETYPED: [
            n for n, (_may_read, base) in read.items() if base not in TYPES[n]
        ],
    }
    for sentence, names in problems.items():
        if names:
            raise _name_columns(sentence, names)


def _name_columns(sentence: Sentence, names: list[str]) -> LegacyTableError:
    return LegacyTableError(sentence(table=LEGACY_CREDENTIALS, columns=tuple(names)))


def _make_row(values: dict[str, object]) -> LegacyRow:
    login = {name: values[name] for name in TYPES if name.startswith("db_")}
    slug, name = values["client_slug"], values.get("client_name", values["client_slug"])
    # Without the column NOVA had no inactive clients.
    is_active = values.get("is_active", True)
    return LegacyRow(
        slug=None if slug is None else str(slug),
        name=None if name is None else str(name),
        is_active=None if is_active is None else bool(is_active),
        login=login,
    )
