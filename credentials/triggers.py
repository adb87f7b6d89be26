"""Puts the triggers that count every write on NOVA's tables, and proves that they count. Never harms NOVA.

Written by hand, not with a trigger library: the function must run with this app's rights and swallow its own errors,
and where the app's role may not create triggers, `migrate` goes on without them and prints what to grant.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations import Migration
from django.db.utils import IntegrityError, InternalError, OperationalError, ProgrammingError
from psycopg.errors import (
    DeadlockDetected,
    InsufficientPrivilege,
    LockNotAvailable,
    QueryCanceled,
    SerializationFailure,
)

from credentials.models import CountingGap, CountingProof, CountingTriggers, ProofOutcome
from credentials.trigger_sql import (
    ASK_COUNTED,
    ASK_COUNTED_BODY,
    COUNT_EACH_CLIENT,
    COUNT_WRITE_BODY,
    OLD_FUNCTION,
    make_counting_check_sql,
    make_trigger_function_sql,
    make_triggers_sql,
)
from nova_credentials.shown_names import escape_invisible
from nova_credentials.tables import (
    AWS_TABLE,
    COUNT_WRITE,
    COUNTED_TABLES,
    COUNTING_TRIGGERS,
    NOVA_TABLES,
    TRIGGER_IDENTITIES,
    WRITES_ARE_COUNTED,
)

MigrationPlan = Sequence[tuple[Migration, bool]]


# While a statement waits for a table's present writers, NOVA's next writers queue behind it: never longer than this.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"
TRIES = 15
PAUSE_SECONDS = 0.2

# If NOVA has replaced `clients` by a new table, the old key still refers to the renamed one. Made without a look at the
# rows, as NOVA's writers of `clients` wait meanwhile; they don't wait for the look that follows.
MAKE_FOREIGN_KEY = f"""
ALTER TABLE {AWS_TABLE} DROP CONSTRAINT IF EXISTS client_aws_credentials_client_id_fkey,
ADD CONSTRAINT client_aws_credentials_client_id_fkey
FOREIGN KEY (client_id) REFERENCES public.clients (id) ON DELETE CASCADE NOT VALID
"""
CHECK_FOREIGN_KEY = (
    f"ALTER TABLE {AWS_TABLE} VALIDATE CONSTRAINT client_aws_credentials_client_id_fkey"
)
# True: there, and its rows were looked at; false: they were not; NULL: no such key.
FOREIGN_KEY_IS_VALID = f"""
SELECT bool_or(convalidated) FROM pg_constraint WHERE conrelid = '{AWS_TABLE}'::regclass
    AND contype = 'f' AND confrelid = to_regclass('public.clients')
"""
COUNTED_TABLE_OIDS = (
    f"SELECT tgrelid FROM {COUNTING_TRIGGERS} GROUP BY tgrelid HAVING count(DISTINCT tgtype) = 2"
)
# Compared word for word with this release's: another body may count nothing, or not run safely.
FUNCTIONS_ARE_CURRENT = """
SELECT count(*) = 2 FROM pg_proc
WHERE prosecdef AND proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'row_security=off']
    AND (oid = to_regprocedure(%s) AND prosrc = %s OR oid = to_regprocedure(%s) AND prosrc = %s)
"""
# Waits for the transactions that are writing the table: their writes are counted with the rest once committed.
WAIT_FOR_WRITERS = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE"

# A proof updates one row of each table. One that another transaction holds is skipped, and the chosen row is free again
# within milliseconds. In this isolation level the transaction sees only the writes that it counted itself.
BEGIN_PROOF = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '1s'
"""
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM {table})"
PICK_ROW = "SELECT id, {client_id} FROM {table} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
# A real change, since a trigger may rightly ignore an update that changes nothing.
UPDATE_ROW = "UPDATE {table} SET updated_at = updated_at + interval '1 microsecond' WHERE id = %s"
COUNT_WRITES = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"

# Errors by which another transaction is in the way.
IN_THE_WAY = (
    LockNotAvailable,
    QueryCanceled,
    SerializationFailure,
    DeadlockDetected,
)

# NOVA's tables that were missing when `migrate` began.
_missing: list[str] = []


@dataclass(frozen=True)
class StepNotDone:
    """A step that was not done: why, and the right that would help, if one would."""

    why: str
    grant: str = ""


def writes_are_counted() -> bool:
    """Say whether every write to the four tables is counted now, and was since every client was last counted."""
    return bool(_fetch_value(f"SELECT {WRITES_ARE_COUNTED}"))


def find_is_counted_by_table() -> dict[str, bool]:
    """Say for each of the four tables whether its triggers count every write."""
    query = (
        f"SELECT name, to_regclass(name) IN ({COUNTED_TABLE_OIDS}) FROM unnest(%s::text[]) AS name"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [list(COUNTED_TABLES)])
        return {name: bool(counted) for name, counted in cursor.fetchall()}


def functions_are_current() -> bool:
    """Say whether the functions of the triggers and of the reader's question are this release's, word for word."""
    return bool(
        _fetch_value(
            FUNCTIONS_ARE_CURRENT, [COUNT_WRITE, COUNT_WRITE_BODY, ASK_COUNTED, ASK_COUNTED_BODY]
        )
    )


def ensure_writes_are_counted(*, nothing_was_pushed: bool = False) -> list[StepNotDone]:
    """Install what is missing and count every client once, if writes aren't counted; return the refused steps.

    The time until it succeeds is kept as a `CountingGap`, unless `nothing_was_pushed` yet.
    """
    if writes_are_counted() and functions_are_current():
        if not CountingTriggers.objects.exists():
            _remember_triggers()
        return []
    if not nothing_was_pushed:
        CountingGap.objects.begin()
    refused = _install_missing() or _list_uncounted_tables()
    if refused:
        CountingGap.objects.begin()
        return refused
    with transaction.atomic(), connection.cursor() as cursor:
        # Before the clients are counted, so that a later change of the triggers is noticed.
        _remember_triggers()
        if not nothing_was_pushed:
            cursor.execute(COUNT_EACH_CLIENT)
            CountingGap.objects.end_unless_proof_failed()
    return []


def _install_missing() -> list[StepNotDone]:
    """Create what is missing, each table's triggers in their own transaction; return the refused steps.

    Waits until no open transaction has uncounted writes to one of the tables.
    """
    refused = []
    if not functions_are_current():
        refused = _run_step(
            f"{make_trigger_function_sql()}; {make_counting_check_sql()}", "the function"
        )
    counted = find_is_counted_by_table()
    for table in COUNTED_TABLES:
        statement = WAIT_FOR_WRITERS.format(table)
        if not counted[table]:
            statement = f"{statement}; {make_triggers_sql(table)}"
        refused += _run_step(statement, table, grant=f"TRIGGER ON {table}")
    return refused


def _list_uncounted_tables() -> list[StepNotDone]:
    """Prove counting again; return a refusal for each table on which it fails."""
    prove_counting()
    return [
        StepNotDone(
            f"{table}: an update that was tried on it was not counted (a rule or another trigger?)"
        )
        for table in CountingProof.objects.list_failed_tables()
    ]


def _remember_triggers() -> None:
    identities = str(_fetch_value(f"SELECT {TRIGGER_IDENTITIES} FROM {COUNTING_TRIGGERS}"))
    CountingTriggers.objects.update_or_create(pk=1, defaults={"identities": identities})


def _run_step(statement: str, what: str, *, grant: str = "") -> list[StepNotDone]:
    """Run one step in its own transaction, and again after a pause if it meets a lock; return its refusal, if any."""
    for _attempt in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(LOCK_TIMEOUT)
                cursor.execute(statement)
        except IntegrityError:
            why = f"{what} has rows of clients that are gone (delete them; run migrate again)"
            return [StepNotDone(why)]
        except (ProgrammingError, OperationalError, InternalError) as error:
            match error.__cause__:
                case LockNotAvailable() | DeadlockDetected():
                    time.sleep(PAUSE_SECONDS)
                    continue
                case InsufficientPrivilege():
                    return [StepNotDone(f"{what}: this role lacks the right", grant)]
            return [StepNotDone(f"{what}: {error}")]
        return []
    return [StepNotDone(f"{what} is in use; run migrate again")]


def prove_counting() -> dict[str, ProofOutcome]:
    """Try an update on each table, store the outcomes and return them by table; begin a gap if one was not counted.

    Changes no row, and locks up to four rows for milliseconds.
    """
    outcomes = {}
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(BEGIN_PROOF)
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
    cursor.execute(PICK_ROW.format(**names))
    row = cursor.fetchone()
    if row is None:
        cursor.execute(IS_EMPTY.format(**names))
        return ProofOutcome.EMPTY if cursor.fetchone()[0] else ProofOutcome.BUSY
    pk, client_id = row
    cursor.execute(COUNT_WRITES, [client_id])
    before = cursor.fetchone()[0]
    cursor.execute(UPDATE_ROW.format(**names), [pk])
    cursor.execute(COUNT_WRITES, [client_id])
    return ProofOutcome.HOLDS if cursor.fetchone()[0] > before else ProofOutcome.FAILED


def require_rights_to_make_tables(*, plan: MigrationPlan = (), **_: object) -> None:
    """Remember, before `migrate`, which tables it will make; raise CommandError if it lacks the rights to."""
    _missing[:] = [table for table in NOVA_TABLES if not _table_exists(table)]
    if not (_makes_tables(plan) and _missing):
        return
    lacking = []
    if not _fetch_value("SELECT has_schema_privilege('public', 'CREATE')"):
        lacking.append("CREATE ON SCHEMA public")
    refers = "SELECT has_any_column_privilege('public.clients', 'REFERENCES')"
    if _table_exists("public.clients") and not _fetch_value(refers):
        lacking.append("REFERENCES ON public.clients")
    if lacking:
        raise CommandError(
            f"{', '.join(_missing)} can't be made."
            f" {' '.join(f'GRANT {right} TO {_quoted_role()};' for right in lacking)} Then run migrate again.",
            returncode=2,
        )


def install_triggers(*, verbosity: int, plan: MigrationPlan = (), **_: object) -> None:
    """Install what is missing after `migrate`, and print what to grant; the sweep tries the rest again."""
    made = [table for table in _missing if _table_exists(table)]
    _missing.clear()
    if made and verbosity:
        sequences = ", ".join(f"{table}_id_seq" for table in made)
        _print_to_stderr(
            f"Made, because they were missing: {', '.join(made)}.",
            "If NOVA connects as another role, run:"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(made)} TO …;"
            f" GRANT USAGE ON SEQUENCE {sequences} TO …;",
        )
    ours = ("clientwrite", "countinggap", "countingproof", "countingtriggers")
    tables = (*COUNTED_TABLES, *(f"nova_admin.credentials_{name}" for name in ours))
    if not all(map(_table_exists, tables)):
        return  # migrated back to before the tables
    refused = _add_foreign_key()
    refused += ensure_writes_are_counted(nothing_was_pushed=_makes_tables(plan))
    if refused and verbosity:
        _print_steps_not_done(refused)
    _drop_old_function()


def _makes_tables(plan: MigrationPlan) -> bool:
    return any(
        (migration.app_label, migration.name, backwards)
        == ("credentials", "0002_first_release", False)
        for migration, backwards in plan
    )


def _add_foreign_key() -> list[StepNotDone]:
    """Make and check the key from the AWS logins to NOVA's clients where it is missing; return the refused steps."""
    is_valid = _fetch_value(FOREIGN_KEY_IS_VALID)
    refused = []
    if is_valid is None:
        refused = _run_step(MAKE_FOREIGN_KEY, AWS_TABLE, grant="REFERENCES ON public.clients")
    return refused or ([] if is_valid else _run_step(CHECK_FOREIGN_KEY, AWS_TABLE))


def _print_steps_not_done(refused: list[StepNotDone]) -> None:
    role = _quoted_role()
    grants = [f"GRANT {refusal.grant} TO {role};" for refusal in refused if refusal.grant]
    _print_to_stderr(
        f"Writes to NOVA's tables are not counted everywhere: {'; '.join(refusal.why for refusal in refused)}.",
        *([f"To count them: {' '.join(grants)} then run migrate again."] if grants else []),
        "Until then only the scheduled comparison finds NOVA's own writes.",
    )


def _drop_old_function() -> None:
    """Drop the first release's function once no trigger calls it; raise CommandError (exit 1) if it stays."""
    if not _fetch_value("SELECT to_regprocedure(%s) IS NOT NULL", [OLD_FUNCTION]):
        return
    if not all(find_is_counted_by_table().values()):
        raise CommandError(
            f"The first release's {OLD_FUNCTION} still exists: triggers that could not be replaced call it."
            " Do what is printed above, then run migrate again.",
            returncode=1,
        )
    if refused := _run_step(f"DROP FUNCTION {OLD_FUNCTION}", f"The first release's {OLD_FUNCTION}"):
        raise CommandError(
            f"{refused[0].why}. It lets any role that may create in the schema public run code with its owner's rights."
            f" Run, as its owner or as a superuser: DROP FUNCTION {OLD_FUNCTION} CASCADE; then run migrate again.",
            returncode=1,
        )


def _print_to_stderr(*lines: str) -> None:
    print("\n".join(map(escape_invisible, lines)), file=sys.stderr)


def _quoted_role() -> str:
    return str(_fetch_value("SELECT quote_ident(current_user)"))


def _table_exists(table: str) -> bool:
    return bool(_fetch_value("SELECT to_regclass(%s) IS NOT NULL", [table]))


def _fetch_value(query: str, params: list[str] | None = None) -> object:
    """Return the first column of the query's first row."""
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchone()[0]
