"""Proves that writes are counted: an update of one row of each table, which is rolled back and must have counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import Error, connection, transaction
from psycopg import errors

from credentials.counting import CountingGap, CountingProof, ProofOutcome
from nova_credentials.tables import COUNTED_TABLES

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# Nobody waits for a row: of another's transaction none is taken, and whoever wants this one has it within milliseconds.
# In this isolation only what the transaction itself counted is seen.
BEGIN = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '1s'
"""
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
PICK = "SELECT id, {client_id} FROM {table} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
# A real change: a trigger that leaves out updates without one is no reason to doubt.
UPDATE = "UPDATE {table} SET updated_at = updated_at + interval '1 microsecond' WHERE id = %s"
COUNTED = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"

# Somebody else's transaction is in the way.
IN_THE_WAY = (
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)


def prove_counting() -> dict[str, ProofOutcome]:
    """Try an update on each table and store what came of it: a gap begins where one was not counted.

    Changes no row, and holds up to four for milliseconds.
    """
    outcomes = {}
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(BEGIN)
        for table in COUNTED_TABLES:
            outcomes[table] = _prove(cursor, table)
        transaction.set_rollback(True)
    with transaction.atomic():
        CountingProof.objects.record(outcomes)
        if CountingProof.objects.failed():
            CountingGap.objects.begin()
    return outcomes


def _prove(cursor: CursorWrapper, table: str) -> ProofOutcome:
    try:
        with transaction.atomic():
            return _is_counted(cursor, table)
    except Error as error:
        return ProofOutcome.BUSY if isinstance(error.__cause__, IN_THE_WAY) else ProofOutcome.FAILED


def _is_counted(cursor: CursorWrapper, table: str) -> ProofOutcome:
    names = {"table": table, "client_id": "id" if table == "public.clients" else "client_id"}
    cursor.execute(PICK.format(**names))
    row = cursor.fetchone()
    if row is None:
        cursor.execute(IS_EMPTY.format(**names))
        return ProofOutcome.EMPTY if cursor.fetchone()[0] else ProofOutcome.BUSY
    pk, client_id = row
    cursor.execute(COUNTED, [client_id])
    before = cursor.fetchone()[0]
    cursor.execute(UPDATE.format(**names), [pk])
    cursor.execute(COUNTED, [client_id])
    return ProofOutcome.HOLDS if cursor.fetchone()[0] > before else ProofOutcome.FAILED
