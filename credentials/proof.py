"""Proves that writes are counted: updates one row of each table, looks whether it was counted, and rolls back."""

from __future__ import annotations

from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import errors

from credentials.models import CountingGap, CountingProof, ProofOutcome
from nova_credentials.tables import COUNTED_TABLES

# A row that another transaction holds is skipped, and the chosen row is free again within milliseconds. In this
# isolation level the transaction sees only the writes that it counted itself.
BEGIN = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '1s'
"""
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
PICK = "SELECT id, {client_id} FROM {table} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
# A real change, since a trigger may rightly ignore an update that changes nothing.
UPDATE = "UPDATE {table} SET updated_at = updated_at + interval '1 microsecond' WHERE id = %s"
COUNTED = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"

# Errors by which another transaction is in the way.
IN_THE_WAY = (
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)


def prove_counting() -> dict[str, ProofOutcome]:
    """Try an update on each table, store the outcomes and return them by table; begin a gap if one was not counted.

    Changes no row, and locks up to four rows for milliseconds.
    """
    outcomes = {}
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(BEGIN)
        for table in COUNTED_TABLES:
            outcomes[table] = _try_update(cursor, table)
        transaction.set_rollback(True)
    with transaction.atomic():
        CountingProof.objects.record_outcomes(outcomes)
        if CountingProof.objects.list_failed_tables():
            CountingGap.objects.begin()
    return outcomes


def _try_update(cursor: CursorWrapper, table: str) -> ProofOutcome:
    try:
        with transaction.atomic():
            return _update_one_row(cursor, table)
    except Error as error:
        return ProofOutcome.BUSY if isinstance(error.__cause__, IN_THE_WAY) else ProofOutcome.FAILED


def _update_one_row(cursor: CursorWrapper, table: str) -> ProofOutcome:
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
