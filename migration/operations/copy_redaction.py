"""Replaces copies of secret values in NOVA's history by pointers to the secret in AWS, in small transactions.

A row that NOVA changes or locks meanwhile is left as it is: a row is changed only in the version that was read.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from psycopg import sql

from credentials.pointers import make_pointer
from credentials.shown_names import escape_name
from migration import audit_sentences
from migration import redaction_sentences as sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.copies import Redaction
from migration.operations.aws_store import secrets_manager
from migration.operations.copy_scanner import make_value_needles
from migration.operations.redactable_columns import (
    EXECUTION_COLUMNS,
    EXECUTIONS,
    NotRedactableError,
    RedactableColumn,
    find_redactable_column,
    parse_column,
)
from migration.operations.redacted_text import RedactedText, redact_json, redact_plain
from migration.operations.secret_values import (
    find_slugs_by_postgres_value,
    gather_values_and_note_purged,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nova_credentials.messages import Message

REDACTED_BY = "(redacted by nova-admin)"
FIRST_PIECE_PAGES, MOST_PAGES = 8, 1024
SHORT_SECONDS, LONG_SECONDS = 0.1, 0.5
ROWS_AT_ONCE = 20
LOCK_TRIES, LOCK_PAUSE_SECONDS = 20, 0.25
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "100ms", "60s"

PAGES = "SELECT pg_relation_size(%s::oid) / current_setting('block_size')::bigint"
ROWS = """
SELECT t.ctid::text, t.xmin::text, t.{column}::text FROM ONLY {table} AS t
WHERE t.ctid >= {first}::pg_catalog.tid AND t.ctid < {end}::pg_catalog.tid AND {condition}
"""
# The version that was read, if nobody holds it. Its values are no parameter: PostgreSQL may log those.
REPLACE = """
UPDATE ONLY {table} AS changed SET {column} = %s::{type} FROM (
    SELECT t.ctid FROM ONLY {table} AS t WHERE t.ctid = %s::pg_catalog.tid AND t.xmin = %s::pg_catalog.xid
        AND {condition} FOR NO KEY UPDATE OF t SKIP LOCKED
) AS held WHERE changed.ctid = held.ctid
"""


@dataclass(frozen=True)
class RedactionPlan:
    """What is to be replaced by what, in which columns."""

    columns: list[RedactableColumn]
    # Why columns and clients are left out.
    left_out: list[Message]
    slugs: dict[int, str]
    # Value -> the text that replaces it; value -> the clients whose value it is.
    replacements: dict[str, str] = field(repr=False)
    owners: dict[str, list[int]] = field(repr=False)


@dataclass
class RedactionResult:
    """How many rows got pointers, and how many were left because they changed, were locked or were refused."""

    rows_by_client_and_column: Counter[tuple[int, str]] = field(default_factory=Counter)
    rows_left: int = 0
    stop_reasons: list[Message] = field(default_factory=list)


def plan_redaction(*, client_ids: Collection[int], columns: Collection[str]) -> RedactionPlan:
    """Find what may be redacted now: the values that AWS's current versions hold of clients from `aws` on."""
    chosen: list[RedactableColumn] = []
    left_out: list[Message] = []
    for text in columns:
        try:
            chosen.append(find_redactable_column(parse_column(text)))
        except NotRedactableError as error:
            left_out.append(error.message)
    plan = RedactionPlan(chosen, left_out, {}, {}, {})
    clients = gather_values_and_note_purged(client_ids, sm=secrets_manager())
    elsewhere = find_slugs_by_postgres_value() if clients else {}
    for client in clients:
        if not client.phase.aws_is_authority:
            left_out.append(
                sentences.REDACT_PHASE(slug=escape_name(client.slug), phase=client.phase.label)
            )
            continue
        plan.slugs[client.client_id] = client.slug
        for value, name in client.in_aws.items():
            if other := elsewhere.get(value):
                left_out.append(
                    sentences.REDACT_SHARED(slug=escape_name(client.slug), other=escape_name(other))
                )
                continue
            plan.replacements.setdefault(value, f"{make_pointer(name)} {REDACTED_BY}")
            plan.owners.setdefault(value, []).append(client.client_id)
    return plan


def count_redactable(plan: RedactionPlan) -> RedactionResult:
    """Count the rows that `redact` would change now. Changes nothing."""
    return _work_through(plan, changes=False)


def redact(plan: RedactionPlan) -> RedactionResult:
    """Redact, and record how many rows of which column were changed for which client."""
    return _work_through(plan, changes=True)


def _work_through(plan: RedactionPlan, *, changes: bool) -> RedactionResult:
    result = RedactionResult()
    if plan.replacements:
        finder = _ValueFinder(plan)
        for column in plan.columns:
            _ColumnRedactor(plan, column, finder, result, changes=changes).work_through_column()
    return result


class _ValueFinder:
    """Says at once of most texts that they hold none of the values."""

    def __init__(self, plan: RedactionPlan) -> None:
        self.replacements = plan.replacements
        self._needles = make_value_needles(plan.owners)

    def redact_text(self, text: str, *, is_json: bool) -> RedactedText:
        if next(self._needles.find_forms(text.encode()), None) is None:
            return RedactedText(text, frozenset())
        return (redact_json if is_json else redact_plain)(text, self.replacements)


class _ColumnRedactor:
    """Redacts one column, or only counts its rows; a few pages of the table in a transaction."""

    def __init__(
        self,
        plan: RedactionPlan,
        column: RedactableColumn,
        finder: _ValueFinder,
        result: RedactionResult,
        *,
        changes: bool,
    ) -> None:
        self.plan, self.column, self.finder, self.result = plan, column, finder, result
        self.changes = changes
        self.records: dict[int, int] = {}  # client id -> its `Redaction`

    def work_through_column(self) -> None:
        """Work through all pages that the table has now; stops at a table that may not be redacted any longer."""
        with connection.cursor() as cursor:
            cursor.execute(PAGES, [self.column.oid])
            (pages,) = cursor.fetchone()
        first, size = 0, FIRST_PIECE_PAGES
        while first < (pages or 0):
            end = min(first + size, pages)
            began = time.monotonic()
            try:
                self._work_through_piece(first, end)
            except NotRedactableError as error:
                self.result.stop_reasons.append(error.message)
                return
            took, first = time.monotonic() - began, end
            if took < SHORT_SECONDS:
                size = min(size * 2, MOST_PAGES)
            elif took > LONG_SECONDS:
                size = max(size // 2, 1)

    def _work_through_piece(self, first: int, end: int) -> None:
        code = ""
        for _try in range(LOCK_TRIES):
            try:
                return self._try_piece(first, end)
            except DatabaseError as error:
                code = getattr(error.__cause__, "sqlstate", None) or ""
            if code not in ("55P03", "40P01"):  # a lock that was not given, a deadlock
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        raise NotRedactableError(
            sentences.REDACT_STOPPED(column=self.column.name.shown, code=code or "unknown")
        )

    def _try_piece(self, first: int, end: int) -> None:
        """Do the pages in one transaction; what it counts is kept only if it is committed."""
        rows, left = Counter[int](), 0
        with transaction.atomic(durable=True):
            self._hold_tables()
            for version, transaction_id, text in self._read_rows(first, end):
                redacted = self.finder.redact_text(text, is_json=self.column.is_json)
                if not redacted.values:
                    continue
                if self.changes and not self._replace(version, transaction_id, redacted.text):
                    left += 1
                    continue
                rows.update({pk for value in redacted.values for pk in self.plan.owners[value]})
            made = self._record(rows) if self.changes else {}
        self.records |= made
        for client_id, number in rows.items():
            self.result.rows_by_client_and_column[client_id, self.column.name.text] += number
        self.result.rows_left += left

    def _hold_tables(self) -> None:
        """Lock the tables against being altered, then check them again: what is attached to them can't change now."""
        mode = "ROW EXCLUSIVE" if self.changes else "ACCESS SHARE"
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
            lock = sql.SQL("LOCK TABLE ONLY {table} IN " + mode + " MODE")
            cursor.execute(lock.format(table=self.column.table))
            if self.column.name.full_table in EXECUTION_COLUMNS:
                cursor.execute(f"LOCK TABLE ONLY {EXECUTIONS} IN ACCESS SHARE MODE")
        if find_redactable_column(self.column.name) != self.column:
            raise NotRedactableError(sentences.REDACT_NO_COLUMN(column=self.column.name.shown))

    def _read_rows(self, first: int, end: int) -> Iterator[tuple[str, str, str]]:
        """Yield place, transaction and text of each row that may be redacted, a few at a time."""
        statement = sql.SQL(ROWS).format(
            column=sql.Identifier(self.column.name.column),
            table=self.column.table,
            first=sql.Literal(f"({first},0)"),
            end=sql.Literal(f"({end},0)"),
            condition=self.column.redactable_rows_condition,
        )
        with connection.chunked_cursor() as cursor:
            cursor.execute(statement)
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                yield from (row for row in rows if row[2] is not None)

    def _replace(self, version: str, transaction_id: str, text: str) -> bool:
        """Store the text in this version of the row; False where it is another by now, or PostgreSQL refuses it."""
        kind = "jsonb" if self.column.is_jsonb else "json" if self.column.is_json else "text"
        statement = sql.SQL(REPLACE).format(
            column=_double_percents(sql.Identifier(self.column.name.column)),
            table=_double_percents(self.column.table),
            condition=_double_percents(self.column.redactable_rows_condition),
            type=sql.SQL("pg_catalog." + kind),
        )
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [text, version, transaction_id])
                return bool(cursor.rowcount == 1)
        except DatabaseError as error:
            # Such as a text that is too long for the column.
            if (getattr(error.__cause__, "sqlstate", None) or "").startswith(("22", "23")):
                return False
            raise

    def _record(self, rows: Counter[int]) -> dict[int, int]:
        """Record the rows of this piece; return client id -> id of each `Redaction` that is new."""
        made = {}
        name = self.column.name
        for client_id, number in rows.items():
            if client_id in self.records:
                record = Redaction.objects.filter(pk=self.records[client_id])
                record.update(rows=F("rows") + number)
                continue
            made[client_id] = Redaction.objects.create(
                client_id=client_id,
                slug=self.plan.slugs[client_id],
                table=name.full_table,
                column=name.column,
                rows=number,
            ).pk
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(
                    AuditCode.REDACTION,
                    audit_sentences.REDACTED(n=number, column=name.shown),
                    client_id=client_id,
                    slug=self.plan.slugs[client_id],
                )
                for client_id, number in rows.items()
            ]
        )
        return made


def _double_percents(part: sql.Composable) -> sql.Composable:
    """Return the part for a statement with parameters: a percent sign in a name is none."""
    return sql.SQL(part.as_string(None).replace("%", "%%"))
