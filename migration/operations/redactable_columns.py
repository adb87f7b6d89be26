"""Decides which columns of NOVA's tables may be redacted, and which of their rows. Reads catalogues only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection
from psycopg import sql

from credentials.nova_objects import ObjectKind, list_foreign_objects_on
from credentials.shown_names import escape_invisible, escape_name
from migration import redaction_sentences as sentences
from migration.operations.copy_places import OWN_SCHEMAS
from nova_credentials.messages import MessageError
from nova_credentials.tables import COUNT_WRITE, COUNTED_TABLES

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from nova_credentials.messages import Message, Sentence

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


class NotRedactableError(MessageError):
    """The column is not redacted; the message says why."""


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


def parse_column(text: str) -> ColumnName:
    """Read `TABLE.COLUMN` or `SCHEMA.TABLE.COLUMN`; raises `NotRedactableError` for anything else."""
    parts = text.split(".")
    if not all(parts) or len(parts) not in (2, 3):
        raise NotRedactableError(sentences.REDACT_NAME_WRONG(column=escape_name(text)))
    return ColumnName(*parts) if len(parts) == 3 else ColumnName("public", *parts)


def find_redactable_column(name: ColumnName) -> RedactableColumn:
    """Return the column; raises `NotRedactableError` where it may not be redacted."""
    _refuse_by_name(name, name)
    with connection.cursor() as cursor:
        cursor.execute(COLUMN, [_quote_table(name), name.column])
        row = cursor.fetchone()
        if row is None:
            raise _refuse(sentences.REDACT_NO_COLUMN, name)
        oid, _column, type_name, is_stored, may_change, is_key, role = row
        _refuse_child(cursor, oid, name)
        if type_name not in TYPES or not is_stored:
            raise _refuse(sentences.REDACT_TYPE, name)
        if is_key:
            raise _refuse(sentences.REDACT_KEY, name)
        if not may_change:
            table = _quote_table(name)
            raise NotRedactableError(
                sentences.REDACT_NO_RIGHT(
                    column=name.shown, table=escape_invisible(table), role=escape_name(role)
                )
            )
        if column := EXECUTION_COLUMNS.get(name.full_table):
            cursor.execute(HAS_STATE, [_quote_table(name), column])
            if not cursor.fetchone()[0]:
                raise _refuse(sentences.REDACT_NO_STATE, name)
        if objects := find_code_run_by_updates(cursor, name):
            raise NotRedactableError(objects)
    return RedactableColumn(name, oid, type_name in ("json", "jsonb"), type_name == "jsonb")


def find_code_run_by_updates(cursor: CursorWrapper, name: ColumnName) -> Message | None:
    """Say which objects on the table run their owners' code at an update, or None."""
    # NOVA's trigger would run with this site's rights, and would tell NOVA of a change that is none of its.
    found = list_foreign_objects_on(cursor, [_quote_table(name)], counting=COUNT_WRITE)
    objects = tuple(
        f"{each.kind} {escape_name(each.name)}".strip()
        for each in found
        if each.kind in RUN_BY_UPDATES
    )
    if not objects:
        return None
    return sentences.REDACT_FOREIGN_CODE(column=name.shown, objects=objects)


def _refuse_by_name(name: ColumnName, asked: ColumnName) -> None:
    """Refuse the column that was asked for, as it is `name` or one of its rows' columns."""
    if name.full_table in CODE_TABLES:
        raise _refuse(sentences.REDACT_CODE, asked)
    if name.full_table in CREDENTIAL_TABLES:
        raise _refuse(sentences.REDACT_CREDENTIALS, asked)
    if name.schema in (*OWN_SCHEMAS, "pg_catalog", "information_schema") or name.schema.startswith(
        "pg_"
    ):
        raise _refuse(sentences.REDACT_OWN, asked)


def _refuse_child(cursor: CursorWrapper, oid: int, asked: ColumnName) -> None:
    """Refuse a child of a table that is not redacted, or only by the state of its executions."""
    cursor.execute(ANCESTORS, [oid])
    for schema, table in cursor.fetchall():
        parent = ColumnName(schema, table, asked.column)
        _refuse_by_name(parent, asked)
        if parent.full_table in EXECUTION_COLUMNS:
            raise _refuse(sentences.REDACT_NO_STATE, asked)


def _refuse(sentence: Sentence, name: ColumnName) -> NotRedactableError:
    return NotRedactableError(sentence(column=name.shown))


def _quote_table(name: ColumnName) -> str:
    return sql.Identifier(name.schema, name.table).as_string(None)
