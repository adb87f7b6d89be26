"""Replaces copies of secret values in NOVA's tables by pointers to the secret in AWS, in small transactions.

A row that NOVA changes or locks meanwhile is left as it is: a row is changed only in the version that was read.
Values and texts are held in memory alone: none is logged, shown or part of an error.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from django.utils.translation import gettext_lazy
from psycopg import sql

from credentials.nova_objects import ObjectKind, list_foreign_objects_on
from credentials.pointers import make_pointer
from migration.core.audit import AuditEvent, EventKind
from migration.core.aws_store import secrets_manager
from migration.secrets.copies import (
    OWN_SCHEMAS,
    Needles,
    find_slugs_by_postgres_value,
    gather_values_and_note_purged,
    make_value_needles,
)
from migration.secrets.models import Redaction
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_invisible, escape_name
from nova_credentials.tables import COUNT_WRITE, COUNTED_TABLES

REDACTION_EVENT = EventKind(
    "redaction", gettext_lazy("Redaction"), icon="ink_eraser", in_history=True
)


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


class NotRedactableError(MessageError):
    """The column is not redacted; the message says why."""


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


REDACT_PHASE = Sentence(
    "redact_phase", "%(slug)s is in %(phase)s. Copies are redacted only once a client is cut over."
)
REDACT_SHARED = Sentence(
    "redact_shared",
    "%(slug)s: a value stays, because %(other)s has it too and is still read from PostgreSQL.",
)


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
            left_out.append(REDACT_PHASE(slug=escape_name(client.slug), phase=client.phase.label))
            continue
        plan.slugs[client.client_id] = client.slug
        for value, name in client.in_aws.items():
            if other := elsewhere.get(value):
                left_out.append(
                    REDACT_SHARED(slug=escape_name(client.slug), other=escape_name(other))
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
        needles = make_value_needles(plan.owners)
        for column in plan.columns:
            _ColumnRedactor(plan, column, needles, result, changes=changes).work_through_column()
    return result


REDACTED = Sentence(
    "redacted",
    "Replaced secret values by pointers in %(n)s rows of %(column)s.",
    one="Replaced secret values by pointers in %(n)s row of %(column)s.",
)
REDACT_STOPPED = Sentence(
    "redact_stopped", "%(column)s: stopped, PostgreSQL refused it (SQLSTATE %(code)s)."
)


class _ColumnRedactor:
    """Redacts one column, or only counts its rows; a few pages of the table in a transaction."""

    def __init__(
        self,
        plan: RedactionPlan,
        column: RedactableColumn,
        needles: Needles,
        result: RedactionResult,
        *,
        changes: bool,
    ) -> None:
        self.plan, self.column, self.needles, self.result = plan, column, needles, result
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
            REDACT_STOPPED(column=self.column.name.shown, code=code or "unknown")
        )

    def _try_piece(self, first: int, end: int) -> None:
        """Do the pages in one transaction; what it counts is kept only if it is committed."""
        rows, left = Counter[int](), 0
        with transaction.atomic(durable=True):
            self._hold_tables()
            for version, transaction_id, text in self._read_rows(first, end):
                # Most texts hold none of the values: the needles say so at once.
                if next(self.needles.find_forms(text.encode()), None) is None:
                    continue
                redact_text = redact_json if self.column.is_json else redact_plain
                redacted = redact_text(text, self.plan.replacements)
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
            raise NotRedactableError(REDACT_NO_COLUMN(column=self.column.name.shown))

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
                    REDACTION_EVENT,
                    REDACTED(n=number, column=name.shown),
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


# Which columns of NOVA's tables may be redacted, and which of their rows. Reads catalogues only.

DEFAULT_COLUMNS = (
    "public.executions.result",
    "public.chain_of_work.input_context",
    "public.chain_of_work.output_result",
)
EXECUTIONS = "public.executions"
# The column that names the row's execution.
EXECUTION_COLUMNS = {EXECUTIONS: "id", "public.chain_of_work": "execution_id"}
CODE_TABLES = ("public.workflows", "public.code_cache")
# The last one is NOVA's legacy table, from which its old scripts may still log in.
CREDENTIAL_TABLES = (*COUNTED_TABLES, "public.client_credentials")
TYPES = ("text", "character varying", "json", "jsonb")
# An execution that ended less than this long ago may still be looked at by NOVA.
ENDED = """
EXISTS (
    SELECT FROM public.executions e WHERE e.id = t.{column} AND e.status IN ('completed', 'failed')
        AND e.completed_at < (statement_timestamp() AT TIME ZONE 'UTC') - interval '1 hour'
)
"""
COLUMN = """
SELECT c.oid::bigint, a.attname::text, format_type(a.atttypid, NULL), c.relkind = 'r' AND a.attgenerated = '',
    has_table_privilege(c.oid, 'SELECT') AND has_column_privilege(c.oid, a.attnum, 'UPDATE'),
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY(i.indkey)
        AND (i.indisunique OR i.indisexclusion))
        OR EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
            AND a.attnum = ANY(k.conkey)),
    current_user::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = to_regclass(%s) AND a.attname = %s
"""
# A child's rows, a partition's too, are its parents' rows.
ANCESTORS = """
WITH RECURSIVE ancestors AS (
    SELECT inhparent FROM pg_inherits WHERE inhrelid = %s
    UNION SELECT i.inhparent FROM pg_inherits i JOIN ancestors a ON i.inhrelid = a.inhparent
)
SELECT n.nspname::text, c.relname::text
FROM ancestors a JOIN pg_class c ON c.oid = a.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
"""
# The state is read with PostgreSQL's own operators only: a type of NOVA's could bring a cast that runs its code.
HAS_STATE = """
SELECT (SELECT relkind FROM pg_class WHERE oid = to_regclass('public.executions')) = 'r' AND count(*) = 3
    AND EXISTS (
        SELECT FROM pg_attribute t WHERE t.attrelid = to_regclass(%s) AND t.attname = %s AND NOT t.attisdropped
            AND t.atttypid IN ('int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype)
    )
FROM pg_attribute a WHERE a.attrelid = to_regclass('public.executions') AND NOT a.attisdropped AND (
    a.attname = 'id' AND a.atttypid IN ('int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype,
        'varchar'::regtype)
    OR a.attname = 'status' AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)
    OR a.attname = 'completed_at' AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)
)
"""
# Kinds of objects whose code an update would run. Defaults and domains of other columns are not among them.
RUN_BY_UPDATES = (
    ObjectKind.TRIGGER,
    ObjectKind.RULE,
    ObjectKind.POLICY,
    ObjectKind.ROW_SECURITY,
    ObjectKind.GENERATED,
    ObjectKind.CHECK,
    ObjectKind.INDEX,
)


class ColumnName(NamedTuple):
    """A column as somebody named it: schema, table and column."""

    schema: str
    table: str
    column: str

    @property
    def full_table(self) -> str:
        """Return the table with its schema."""
        return f"{self.schema}.{self.table}"

    @property
    def text(self) -> str:
        """Return the column with its table and schema."""
        return f"{self.full_table}.{self.column}"

    @property
    def shown(self) -> str:
        """Return schema, table and column with what can't be seen escaped."""
        return escape_name(self.text)


@dataclass(frozen=True)
class RedactableColumn:
    """A column of NOVA's and its type, with results or contexts of executions in which copies can be redacted."""

    name: ColumnName
    oid: int
    is_json: bool
    is_jsonb: bool

    @property
    def table(self) -> sql.Identifier:
        """Return the table for a statement."""
        return sql.Identifier(self.name.schema, self.name.table)

    @property
    def redactable_rows_condition(self) -> sql.Composable:
        """Return the SQL condition for redacting a row `t`: its execution has ended; true where it has none."""
        column = EXECUTION_COLUMNS.get(self.name.full_table)
        if column is None:
            return sql.SQL("true")
        return sql.SQL(ENDED).format(column=sql.Identifier(column))


REDACT_NAME_WRONG = Sentence(
    "redact_name_wrong", "%(column)s: name a column as TABLE.COLUMN or SCHEMA.TABLE.COLUMN."
)


def parse_column(text: str) -> ColumnName:
    """Read `TABLE.COLUMN` or `SCHEMA.TABLE.COLUMN`; raises `NotRedactableError` for anything else."""
    parts = text.split(".")
    if not all(parts) or len(parts) not in (2, 3):
        raise NotRedactableError(REDACT_NAME_WRONG(column=escape_name(text)))
    return ColumnName(*parts) if len(parts) == 3 else ColumnName("public", *parts)


REDACT_NO_COLUMN = Sentence("redact_no_column", "%(column)s: there is no such column.")
REDACT_TYPE = Sentence(
    "redact_type",
    "%(column)s: only columns of type text, varchar, json and jsonb of ordinary tables are redacted.",
)
REDACT_KEY = Sentence("redact_key", "%(column)s: it is part of a key, so it is not redacted.")
REDACT_NO_RIGHT = Sentence(
    "redact_no_right",
    "%(column)s: this site's role may not change it. Run: GRANT SELECT, UPDATE ON %(table)s TO %(role)s;",
)
REDACT_NO_STATE = Sentence(
    "redact_no_state",
    "%(column)s: the columns status and completed_at of executions are needed to know which ones have ended.",
)
REDACT_FOREIGN_CODE = Sentence(
    "redact_foreign_code",
    "%(column)s: a change of this table runs the code of %(objects)s with this site's rights, so it is not redacted.",
    glue=", ",
)


def find_redactable_column(name: ColumnName) -> RedactableColumn:
    """Return the column; raises `NotRedactableError` where it may not be redacted."""
    _refuse_by_name(name, name)
    table = sql.Identifier(name.schema, name.table).as_string(None)
    with connection.cursor() as cursor:
        cursor.execute(COLUMN, [table, name.column])
        row = cursor.fetchone()
        if row is None:
            raise _refuse(REDACT_NO_COLUMN, name)
        oid, _column, type_name, is_stored, may_change, is_key, role = row
        _refuse_child(cursor, oid, name)
        if type_name not in TYPES or not is_stored:
            raise _refuse(REDACT_TYPE, name)
        if is_key:
            raise _refuse(REDACT_KEY, name)
        if not may_change:
            shown, role = escape_invisible(table), escape_name(role)
            raise NotRedactableError(REDACT_NO_RIGHT(column=name.shown, table=shown, role=role))
        if column := EXECUTION_COLUMNS.get(name.full_table):
            cursor.execute(HAS_STATE, [table, column])
            if not cursor.fetchone()[0]:
                raise _refuse(REDACT_NO_STATE, name)
        # NOVA's trigger would run with this site's rights, and would tell NOVA of a change that is none of its.
        found = list_foreign_objects_on(cursor, [table], counting=COUNT_WRITE)
    run = [each for each in found if each.kind in RUN_BY_UPDATES]
    if objects := tuple(f"{each.kind} {escape_name(each.name)}".strip() for each in run):
        raise NotRedactableError(REDACT_FOREIGN_CODE(column=name.shown, objects=objects))
    return RedactableColumn(name, oid, type_name in ("json", "jsonb"), type_name == "jsonb")


REDACT_CODE = Sentence(
    "redact_code", "%(column)s: this table holds code that is executed, so it is never redacted."
)
REDACT_CREDENTIALS = Sentence(
    "redact_credentials", "%(column)s: this is a table of clients or credentials: never redacted."
)
REDACT_OWN = Sentence(
    "redact_own", "%(column)s: this is no table of NOVA's, so it is never redacted."
)


def _refuse_by_name(name: ColumnName, asked: ColumnName) -> None:
    """Refuse the column that was asked for, as it is `name` or one of its rows' columns."""
    if name.full_table in CODE_TABLES:
        raise _refuse(REDACT_CODE, asked)
    if name.full_table in CREDENTIAL_TABLES:
        raise _refuse(REDACT_CREDENTIALS, asked)
    own = (*OWN_SCHEMAS, "pg_catalog", "information_schema")
    if name.schema in own or name.schema.startswith("pg_"):
        raise _refuse(REDACT_OWN, asked)


def _refuse_child(cursor: CursorWrapper, oid: int, asked: ColumnName) -> None:
    """Refuse a child of a table that is not redacted, or only by the state of its executions."""
    cursor.execute(ANCESTORS, [oid])
    for schema, table in cursor.fetchall():
        parent = ColumnName(schema, table, asked.column)
        _refuse_by_name(parent, asked)
        if parent.full_table in EXECUTION_COLUMNS:
            raise _refuse(REDACT_NO_STATE, asked)


def _refuse(sentence: Sentence, name: ColumnName) -> NotRedactableError:
    return NotRedactableError(sentence(column=name.shown))


# The text of one row: values are replaced by pointers to where they stand now. Pure: knows no database.

# A shorter value could be a part of an ordinary word. In JSON a value is replaced only if it is a whole string.
SHORTEST_IN_TEXT = 12
# A JSON string, and the colon after it if it is a key. What can be taken back takes 100 bytes a character.
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*:)?', re.DOTALL)


@dataclass(frozen=True)
class RedactedText:
    """A text without the values, and those that were in it."""

    text: str = field(repr=False)
    values: frozenset[str] = field(repr=False)


def redact_json(text: str, replacements: Mapping[str, str]) -> RedactedText:
    """Replace each JSON string that is one of the values; keys and the rest of the JSON text stay as they are."""
    found = set[str]()

    def replace_string(match: re.Match[str]) -> str:
        if match[1]:
            return match[0]
        value = _decode_string(match[0])
        if value is None or value not in replacements:
            return match[0]
        found.add(value)
        return json.dumps(replacements[value])

    redacted = _JSON_STRING.sub(replace_string, text)
    return RedactedText(redacted, frozenset(found))


def redact_plain(text: str, replacements: Mapping[str, str]) -> RedactedText:
    """Replace the values of SHORTEST_IN_TEXT characters and more wherever they stand, the longest first.

    One that begins or ends within an escape, such as a line break in JSON or code, is left: the text would break.
    """
    long = [value for value in replacements if len(value) >= SHORTEST_IN_TEXT and value in text]
    if not long:
        return RedactedText(text, frozenset())
    found = set[str]()

    def replace_value(match: re.Match[str]) -> str:
        found.add(match[0])
        return replacements[match[0]]

    pattern = "|".join(
        re.escape(value) + (r"(?!\\)" if value.endswith("\\") else "")
        for value in sorted(long, key=len, reverse=True)
    )
    return RedactedText(re.sub(rf"(?<!\\)(?:{pattern})", replace_value, text), frozenset(found))


def _decode_string(token: str) -> str | None:
    try:
        value = json.loads(token)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
