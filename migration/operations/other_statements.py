"""Finds statements of others that read NOVA's credential tables, in pg_stat_statements: NOVA's old helper.

Knows no phase. The text of a statement is looked at here and goes no further, as it can hold a literal.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import Error, connection, transaction

from migration.models.reader_processes import OtherStatement, OtherStatementCount
from nova_credentials.tables import CREDENTIALS, LEGACY_CREDENTIALS, STATEMENT_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.backends.utils import CursorWrapper

TABLES = tuple(name.partition(".")[2] for name in (*CREDENTIALS.values(), LEGACY_CREDENTIALS))
MOST_STATEMENTS = 1_000
# A page waits for it.
STATEMENT_TIMEOUT = "2s"

# The view of the extension itself, wherever it stands: never one that somebody made under its name.
FIND_VIEW = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), current_user::text
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relname = 'pg_stat_statements'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE e.extname = 'pg_stat_statements'
"""
# A setting of the library, which is shown only where PostgreSQL has loaded it. shared_preload_libraries itself is
# hidden from most roles.
FIND_LIBRARY = "SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.max'"
# Of other roles' statements PostgreSQL shows neither id nor text to who lacks pg_read_all_stats.
# A foreign key of NOVA's asks for its row in the form of the last condition.
READ_VIEW = """
SELECT pg_catalog.pg_get_userbyid(s.userid)::text, s.queryid, left(s.query, 10000), s.calls
FROM {view} s
WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND (s.queryid IS NULL OR s.query ~* %s AND strpos(s.query, %s) = 0
        AND s.query NOT LIKE 'SELECT 1 FROM ONLY %%FOR KEY SHARE OF x')
ORDER BY s.queryid IS NULL DESC, s.calls DESC LIMIT %s
"""

_NAMES = "|".join(TABLES)
_MENTION = re.compile(rf"(?<![\w$])({_NAMES})(?![\w$])", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
# Ways to begin a statement that can read, and the part of each in which a table is named that is only written.
_QUERY = re.compile(r"[\s(]*(select|with|table|declare|values)\b", re.IGNORECASE)
_WRITE = re.compile(
    r"\s*(?:insert\s+into|update|delete\s+from|merge\s+into)\s+(?:only\s+)?[\w.\"$]+", re.IGNORECASE
)
_COPY = re.compile(r"\s*copy\s+(\(|.*?\bto\b)", re.IGNORECASE | re.DOTALL)


class UnseenReason(StrEnum):
    """Why nothing, or not everything, can be said of other statements."""

    NOT_INSTALLED = "not_installed"
    NOT_CREATED = "not_created"  # PostgreSQL counts statements; this database lacks the extension that shows them
    NOT_READABLE = "not_readable"
    NOT_ALLOWED = "not_allowed"  # other roles' statements are hidden from this role


@dataclass(frozen=True)
class StatementReport:
    """The statements of others that read credential tables, and why there may be more."""

    statements: tuple[OtherStatementCount, ...] = ()
    unseen_reason: UnseenReason | None = None
    own_role: str = ""


def read_other_statements() -> StatementReport:
    """Read what pg_stat_statements counted in this database. Changes nothing."""
    try:
        # A savepoint, so that a refusal fails no transaction around it.
        with transaction.atomic(), connection.cursor() as cursor:
            return read_statements(cursor)
    except Error:
        return StatementReport(unseen_reason=UnseenReason.NOT_READABLE)


def read_statements(cursor: CursorWrapper) -> StatementReport:
    """Read pg_stat_statements over a cursor in a transaction; raises `db.Error` if it can't be read."""
    cursor.execute(FIND_VIEW)
    found = cursor.fetchone()
    if found is None:
        cursor.execute(FIND_LIBRARY)
        is_counting = cursor.fetchone() is not None
        reason = UnseenReason.NOT_CREATED if is_counting else UnseenReason.NOT_INSTALLED
        return StatementReport(unseen_reason=reason)
    cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
    pattern = rf"\m({_NAMES})\M"
    view, own_role = found
    cursor.execute(READ_VIEW.format(view=view), [pattern, STATEMENT_MARK, MOST_STATEMENTS])
    rows = cursor.fetchall()
    hidden = any(statement_id is None for _role, statement_id, _text, _calls in rows)
    unseen_reason = UnseenReason.NOT_ALLOWED if hidden else None
    return StatementReport(tuple(_count_statements(rows)), unseen_reason, own_role)


def _count_statements(
    rows: Iterable[tuple[str, int | None, str, int]],
) -> Iterator[OtherStatementCount]:
    """Yield the statements that read, the most called first. One in a function and by itself is one statement."""
    calls: Counter[tuple[str, int]] = Counter()
    tables: dict[tuple[str, int], str] = {}
    for role, statement_id, text, number in rows:
        if statement_id is not None and (found := find_credential_tables_read(text)):
            calls[role, statement_id] += number
            tables[role, statement_id] = ", ".join(found)
    for key, number in calls.most_common():
        yield OtherStatementCount(*key, tables[key], number)


def find_credential_tables_read(text: str) -> list[str]:
    """Return the credential tables that a statement reads: none if it only writes or changes them."""
    text = _COMMENT.sub(" ", text)
    if written := _WRITE.match(text):
        # A column may be written with its table's name before it.
        text = re.sub(rf"({_NAMES})\"?\s*\.", "", text[written.end() :], flags=re.IGNORECASE)
    elif not (_QUERY.match(text) or _COPY.match(text)):
        return []
    named = {name.lower() for name in _MENTION.findall(text)}
    return [table for table in TABLES if table in named]


def note_other_statements() -> None:
    """Store what pg_stat_statements shows now, so that the page can say when a statement was called last."""
    OtherStatement.objects.forget_old()
    if statements := read_other_statements().statements:
        OtherStatement.objects.note_counts(statements)
