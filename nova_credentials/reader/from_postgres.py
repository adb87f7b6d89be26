"""Reads a client's phase and rows from NOVA's PostgreSQL, for the reader. Knows no AWS and no cache."""

from __future__ import annotations

import logging
import math
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from nova_credentials import tables
from nova_credentials.credential_types import (
    ROW_CLASSES,
    ClientCredentials,
    CredentialType,
    map_to_json_keys,
)
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.process_notes import NO_ANSWER, ProcessNotes
from nova_credentials.reader.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nova_credentials.credential_types import CredentialRow

# These detect a server or a network that is silent. PgBouncer lets all of them through.
CONNECTING: dict[str, str | int] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "client_encoding": "UTF8",
}
STATEMENT_TIMEOUT = "5s"
KEPT_CONNECTIONS = 4
COUNT_AGAIN_AFTER_SECONDS = 300.0

# Where writes are not counted nobody knows whether a push is pending, so PostgreSQL's value is returned as if one were.
# An older site's table lacks `layout` or `secret_slug`: the name then stands for the NULL of `older_site`, no error.
STATE = f"""
SELECT {tables.STATEMENT_MARK} c.id, c.is_active, c.name, coalesce(m.phase, '{Phase.POSTGRES}'),
       {tables.PUSH_PENDING}
           OR m.phase = '{Phase.DUAL_READ}' AND NOT nova_admin.writes_are_counted(),
       m.layout, m.secret_slug, {tables.REVISION}
FROM (SELECT id, is_active, name, slug FROM {tables.CLIENTS}) c
CROSS JOIN (SELECT NULL::varchar AS layout, NULL::varchar AS secret_slug) AS older_site
LEFT JOIN LATERAL (
    SELECT phase, layout, secret_slug FROM {tables.CLIENT_PHASES} WHERE client_id = c.id
) m ON true
LEFT JOIN {tables.CLIENT_REVISIONS} r ON r.client_id = c.id
WHERE c.slug = %s
"""
# While `migrate` has made the tables and not yet the function, nothing is counted.
STATE_UNCOUNTED = STATE.replace("NOT nova_admin.writes_are_counted()", "true")
# For a database on which `migrate` has not run yet.
STATE_WITHOUT_APP = f"""
SELECT id, is_active, name, '{Phase.POSTGRES}', true, NULL, NULL, NULL FROM {tables.CLIENTS} WHERE slug = %s
"""
# Whether the number of a client's writes tells each change of what NOVA reads: an older site did not count all of AWS.
CHANGES_ARE_COUNTED = f"""
SELECT nova_admin.writes_are_counted() AND EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = '{tables.READ_COUNTS}'::regclass AND attname = 'stale_reads' AND NOT attisdropped
)
"""
# Where the tables exist, but not on this role's search_path, the phase is not known.
APP_IS_SOMEWHERE = "SELECT 1 FROM pg_class WHERE relname = 'migration_clientmigration' LIMIT 1"


def _make_rows_query(credential_type: CredentialType) -> str:
    """Return the query for a client's rows of one type: columns named as the attributes, in the document's order."""
    attributes = map_to_json_keys(ROW_CLASSES[credential_type])
    columns = ", ".join(f"{tables.COLUMNS.get(name, name)} AS {name}" for name in attributes)
    # `AND true` tells it from the unmarked statement of an earlier release: pg_stat_statements counts statements of
    # one shape together and keeps the text of the first.
    return f"""
        SELECT {tables.STATEMENT_MARK} {columns} FROM {tables.CREDENTIALS[credential_type]}
        WHERE client_id = %s AND true ORDER BY is_primary IS TRUE DESC, id
    """


ROWS = {credential_type: _make_rows_query(credential_type) for credential_type in CredentialType}

# What a read came to beside its numbers, where these don't say it: a class of failure, or one of these two. The trigger
# `note_read` of a site that knows it takes it from this setting, so the statement suits tables of every release.
OUTCOME = "nova_reader.outcome"
CONGESTED, STALE = "congested", "stale"
# One message, so that the limits are the statement's own and reach no other user of a PgBouncer's connection.
COUNT = """
SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '50ms';
SET LOCAL statement_timeout = '100ms'; SET LOCAL synchronous_commit = off;
SET LOCAL {setting} = {outcome};
INSERT INTO {table} AS kept
    (client_id, reads, matches, mismatches, aws_failures, last_read_at, last_mismatch_at)
VALUES ({client_id}, {read}, {match}, {mismatch}, {failure}, now(), CASE WHEN {mismatch} > 0 THEN now() END)
ON CONFLICT (client_id) DO UPDATE
SET reads = kept.reads + excluded.reads,
    matches = kept.matches + excluded.matches,
    mismatches = kept.mismatches + excluded.mismatches,
    aws_failures = kept.aws_failures + excluded.aws_failures,
    last_read_at = excluded.last_read_at,
    last_mismatch_at = coalesce(excluded.last_mismatch_at, kept.last_mismatch_at)
"""

# PostgreSQL can store none of these characters, so no slug has one.
NOT_STORABLE = re.compile("[\0\ud800-\udfff]")

logger = logging.getLogger(__name__)

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class ClientInPostgres:
    """An active client and its credentials as PostgreSQL had them at one moment; none where AWS alone is read."""

    client_id: int
    phase: Phase
    push_pending: bool
    credentials: ClientCredentials | None = field(repr=False)
    layout: Layout | None = None  # None: as the environment says
    # By which its secrets are named: after NOVA changed its slug, the former one until the secrets have moved.
    secret_slug: str = ""
    # How often it was written; None: the tables of this app are missing.
    revision: int | None = None
    remembered: bool = False  # from an earlier read, as PostgreSQL does not answer now

    @property
    def reads_aws_alone(self) -> bool:
        """Say whether AWS alone is read, and the credential tables no longer."""
        return self.phase.aws_is_authority

    def has_same_secrets_as(self, other: ClientInPostgres) -> bool:
        """Say whether the same secrets are read of both: by this slug it may be another client's turn by now."""
        return (self.client_id, self.secret_slug, self.layout) == (
            other.client_id,
            other.secret_slug,
            other.layout,
        )

    def has_same_values_as(self, earlier: ClientInPostgres) -> bool:
        """Say whether the client is read as it was then, and nobody has written it since."""
        is_known = not self.remembered and not earlier.remembered
        is_same = (self.phase, self.revision) == (earlier.phase, earlier.revision)
        return is_known and is_same and self.has_same_secrets_as(earlier)


if TYPE_CHECKING:
    ChooseNotes = Callable[[ClientInPostgres | None], ProcessNotes | None]


def parse_database_url(uri: str) -> str:
    """Return the URI as libpq's key=value text with time limits; raises RuntimeError if it is no PostgreSQL URI."""
    uri = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", uri)  # as SQLAlchemy writes it
    try:
        given = conninfo_to_dict(uri)
    except psycopg.Error:
        given = {}
    if not given:  # raised out here: psycopg's error quotes the URI, password and all
        raise RuntimeError("DATABASE_URL is not set to a PostgreSQL URI (postgresql://…).")
    return make_conninfo("", **CONNECTING | given)


class PostgresReader:
    """Reads clients over this process' connections to NOVA's database; any number of threads may read at once."""

    def __init__(self, conninfo: str, notes: ProcessNotes | None = None) -> None:
        self._conninfo = conninfo
        self._notes = notes or ProcessNotes()
        self._idle: list[Connection] = []
        self._count_from = -math.inf

    def read_client(self, slug: str) -> ClientInPostgres | None:
        """Read a client's state and rows in one snapshot; return None where it is unknown or inactive.

        The message that ends the snapshot notes this process too, if that is due. In the phases that read AWS
        `count_read` does it, when AWS's answer is known.
        """
        return self._read(slug, self._notes_unless_counted)

    def read_client_and_note_process(self, slug: str) -> ClientInPostgres | None:
        """Read what `read_client` reads, and note this process at once, as no `count_read` follows."""
        return self._read(slug, lambda _found: self._notes)

    def _read(self, slug: str, notes: ChooseNotes) -> ClientInPostgres | None:
        if kept := self._take_idle():
            try:
                with self._use_connection(kept):
                    return _read_client(kept, slug, notes)
            except NO_ANSWER:
                if not kept.closed:
                    raise
                self.close_idle_connections()  # the server closed it, so it closed the others too: try a new one
        with self._use_connection(self._open_connection()) as connection:
            return _read_client(connection, slug, notes)

    def _notes_unless_counted(self, found: ClientInPostgres | None) -> ProcessNotes | None:
        is_counted = found and found.phase.reads_aws and self._is_counting()
        return None if is_counted else self._notes

    def _is_counting(self) -> bool:
        """Say whether reads are counted now: after a refusal it is not tried for a while."""
        return time.monotonic() >= self._count_from

    def count_read(
        self,
        client_id: int,
        *,
        match: int = 0,
        mismatch: int = 0,
        failure: int = 0,
        outcome: str = "",
    ) -> None:
        """Count one read for the dashboard, unless that takes over 0.1 s or this role may not.

        One that this process kept from AWS (`outcome` CONGESTED) is none of the reads.
        """
        if not self._is_counting():
            return
        numbers = {"match": match, "mismatch": mismatch, "failure": failure}
        numbers["read"] = int(outcome != CONGESTED)
        # Literals, as a message of several statements takes no parameters.
        table, setting = sql.SQL(tables.READ_COUNTS), sql.SQL(OUTCOME)
        statement = sql.SQL(COUNT).format(
            table=table, setting=setting, client_id=client_id, outcome=outcome, **numbers
        )
        try:
            with self._use_connection(self._take_idle() or self._open_connection()) as connection:
                self._notes.execute_with_due_note(connection, statement, in_own_transaction=True)
        except psycopg.Error as error:
            if not isinstance(error, NO_ANSWER):  # no right or no table: don't try for a while
                self._count_from = time.monotonic() + COUNT_AGAIN_AFTER_SECONDS
            logger.debug("A read was not counted: %s", type(error).__name__)

    def changes_are_counted(self) -> bool:
        """Say whether a client's `revision` tells each change of its credentials, as far as PostgreSQL answers."""
        try:
            with (
                self._use_connection(self._take_idle() or self._open_connection()) as connection,
                read_snapshot(connection, STATEMENT_TIMEOUT),
            ):
                row = connection.execute(CHANGES_ARE_COUNTED).fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0])

    def read_database_schemas(self, slug: str) -> dict[tables.TableName, object] | None:
        """Read table name -> definition of a client's database; return None where it is unknown or inactive."""
        with self._use_connection(self._open_connection()) as connection:
            return _read_database_schemas(connection, slug)

    def close_idle_connections(self) -> None:
        """Close the connections that nobody uses."""
        while connection := self._take_idle():
            connection.close()

    def _open_connection(self) -> Connection:
        # No prepared statements: PgBouncer would run them on another connection.
        return psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)

    def _take_idle(self) -> Connection | None:
        try:
            return self._idle.pop()  # atomic: no two threads get the same one
        except IndexError:
            return None

    @contextmanager
    def _use_connection(self, connection: Connection) -> Iterator[Connection]:
        try:
            yield connection
        finally:
            usable = connection.info.transaction_status is TransactionStatus.IDLE
            if usable and len(self._idle) < KEPT_CONNECTIONS:
                self._idle.append(connection)
            else:
                connection.close()


def _read_client(
    connection: Connection, slug: str, choose_notes: ChooseNotes | None = None
) -> ClientInPostgres | None:
    try:
        return _read_in_snapshot(connection, STATE, slug, choose_notes)
    except psycopg.errors.UndefinedFunction:
        return _read_in_snapshot(connection, STATE_UNCOUNTED, slug, choose_notes)
    except psycopg.errors.UndefinedTable:
        with read_snapshot(connection, STATEMENT_TIMEOUT):
            if connection.execute(APP_IS_SOMEWHERE).fetchone():
                raise
        return _read_in_snapshot(connection, STATE_WITHOUT_APP, slug, None)


def _read_in_snapshot(
    connection: Connection, query: LiteralString, slug: str, choose_notes: ChooseNotes | None
) -> ClientInPostgres | None:
    with read_snapshot(connection, STATEMENT_TIMEOUT) as ending:
        found = _select_client(connection, query, slug)
        ending.notes = choose_notes(found) if choose_notes else None
    return found


def _select_client(
    connection: Connection, query: LiteralString, slug: str
) -> ClientInPostgres | None:
    state = None if NOT_STORABLE.search(slug) else connection.execute(query, [slug]).fetchone()
    if state is None or not state[1]:
        return None
    client_id, _, name, phase, pending, layout, secret_slug, revision = state
    found = ClientInPostgres(
        client_id,
        Phase(phase),
        pending,
        None,
        layout and Layout(layout),
        secret_slug or slug,
        revision,
    )
    if found.reads_aws_alone:
        return found
    # Where this app's tables are missing, the one of the AWS keys is missing too.
    there = set(CredentialType) - ({CredentialType.AWS} if query == STATE_WITHOUT_APP else set())
    rows: dict[str, tuple[Any, ...]] = {
        t.plural: tuple(_select_rows(connection, t, client_id, slug)) if t in there else ()
        for t in CredentialType
    }
    return replace(found, credentials=ClientCredentials(name, **rows))


def _select_rows(
    connection: Connection, credential_type: CredentialType, client_id: int, slug: str
) -> Iterator[CredentialRow]:
    selected = connection.execute(ROWS[credential_type], [client_id])
    names = [column.name for column in selected.description or ()]
    for row in selected:
        values = dict(zip(names, row, strict=True))
        yield ROW_CLASSES[credential_type](client_id=client_id, client_slug=slug, **values)


SCHEMAS = f"""
SELECT c.is_active, s.table_name, s.schema_definition
FROM {tables.CLIENTS} c LEFT JOIN {tables.DATABASE_SCHEMAS} s ON s.client_id = c.id
WHERE c.slug = %s ORDER BY s.table_name
"""


def _read_database_schemas(
    connection: Connection, slug: str
) -> dict[tables.TableName, object] | None:
    if NOT_STORABLE.search(slug):
        return None
    try:
        with read_snapshot(connection, STATEMENT_TIMEOUT):
            rows = connection.execute(SCHEMAS, [slug]).fetchall()
    except psycopg.errors.UndefinedTable:  # NOVA's database has no such table
        return {} if _read_client(connection, slug) else None
    if not rows or not rows[0][0]:
        return None
    return {name: definition for _, name, definition in rows if name is not None}
