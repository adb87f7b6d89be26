"""Puts the triggers that count every write on NOVA's tables, after `migrate` and every minute. Never harms NOVA.

Written by hand, not with a trigger library: the function must run with this app's rights, swallow its own errors, and
be left out, with a word on what to grant, where the app's role may not create triggers.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.utils import IntegrityError, OperationalError, ProgrammingError
from psycopg.errors import DeadlockDetected, InsufficientPrivilege, LockNotAvailable

from credentials.counting import CountingGap, CountingProof, CountingTriggers
from credentials.proof import prove_counting
from credentials.trigger_sql import (
    ASK_COUNTED,
    ASK_COUNTED_BODY,
    COUNT_EACH_CLIENT,
    COUNT_WRITE_BODY,
    OLD_FUNCTION,
    make_ask_counted,
    make_count_write,
    make_triggers,
)
from nova_credentials.tables import (
    AWS_TABLE,
    COUNT_WRITE,
    COUNTED_TABLES,
    COUNTING_TRIGGERS,
    NOVA_TABLES,
    TRIGGER_IDENTITIES,
    WRITES_ARE_COUNTED,
)

# NOVA's next writers queue behind a statement that waits for a table's present ones: never longer than this.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"
TRIES = 15
PAUSE_SECONDS = 0.2

# Where NOVA made `clients` anew, the key of before still refers to the table that was renamed.
AWS_FOREIGN_KEY = f"""
ALTER TABLE {AWS_TABLE} DROP CONSTRAINT IF EXISTS client_aws_credentials_client_id_fkey,
ADD CONSTRAINT client_aws_credentials_client_id_fkey
FOREIGN KEY (client_id) REFERENCES public.clients (id) ON DELETE CASCADE
"""
HAS_FOREIGN_KEY = f"""
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = '{AWS_TABLE}'::regclass
    AND contype = 'f' AND confrelid = to_regclass('public.clients'))
"""
COUNTED_TABLE_OIDS = (
    f"SELECT tgrelid FROM {COUNTING_TRIGGERS} GROUP BY tgrelid HAVING count(DISTINCT tgtype) = 2"
)
# Made by this release, word for word: another body may count nothing, or not run safely.
FUNCTIONS_STAND = """
SELECT count(*) = 2 FROM pg_proc
WHERE prosecdef AND proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'row_security=off']
    AND (oid = to_regprocedure(%s) AND prosrc = %s OR oid = to_regprocedure(%s) AND prosrc = %s)
"""
# Waits for those who write the table now. What they wrote is counted with the rest, once they have committed.
WAIT_FOR_WRITERS = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE"

# NOVA's tables that were missing when `migrate` began.
_missing: list[str] = []


@dataclass(frozen=True)
class Refusal:
    """A step that was not done: why, and the right that would help, where one would."""

    why: str
    grant: str = ""


def writes_are_counted() -> bool:
    """Say whether every write to the four tables is counted now, and was since every client was last counted."""
    return bool(_one(f"SELECT {WRITES_ARE_COUNTED}"))


def counted_tables() -> dict[str, bool]:
    """Say for each of the four tables whether its triggers count every write."""
    query = (
        f"SELECT name, to_regclass(name) IN ({COUNTED_TABLE_OIDS}) FROM unnest(%s::text[]) AS name"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [list(COUNTED_TABLES)])
        return {name: bool(counted) for name, counted in cursor.fetchall()}


def count_every_write(*, nothing_was_pushed: bool = False) -> list[Refusal]:
    """Where writes aren't counted, install what is missing and count every client once; return what was refused.

    The time until it succeeds is kept as a `CountingGap`, unless `nothing_was_pushed` yet.
    """
    if writes_are_counted() and _functions_stand():
        if not CountingTriggers.objects.exists():
            _remember_triggers()
        return []
    if not nothing_was_pushed:
        CountingGap.objects.begin()
    refused = _install() or _refusals_of_proof()
    if refused:
        CountingGap.objects.begin()
        return refused
    with transaction.atomic(), connection.cursor() as cursor:
        # First: what is changed from here on is found by the next look.
        _remember_triggers()
        if not nothing_was_pushed:
            cursor.execute(COUNT_EACH_CLIENT)
            CountingGap.objects.end()
    return []


def _install() -> list[Refusal]:
    """Make what is missing, each table's triggers in a transaction of their own; return what was refused.

    Afterwards no transaction is open that wrote to one of the tables and wasn't counted.
    """
    refused = []
    if not _functions_stand():
        refused = _try(f"{make_count_write()}; {make_ask_counted()}", "the function")
    counted = counted_tables()
    for table in COUNTED_TABLES:
        statement = WAIT_FOR_WRITERS.format(table)
        if not counted[table]:
            statement = f"{statement}; {make_triggers(table)}"
        refused += _try(statement, table, grant=f"TRIGGER ON {table}")
    return refused


def _refusals_of_proof() -> list[Refusal]:
    prove_counting()
    return [
        Refusal(
            f"{table}: an update that was tried on it was not counted (a rule or another trigger?)"
        )
        for table in CountingProof.objects.failed()
    ]


def _remember_triggers() -> None:
    identities = _one(f"SELECT {TRIGGER_IDENTITIES} FROM {COUNTING_TRIGGERS}")
    CountingTriggers.objects.update_or_create(pk=1, defaults={"identities": identities})


def _functions_stand() -> bool:
    return bool(
        _one(FUNCTIONS_STAND, [COUNT_WRITE, COUNT_WRITE_BODY, ASK_COUNTED, ASK_COUNTED_BODY])
    )


def _try(statement: str, what: str, *, grant: str = "") -> list[Refusal]:
    """Run one step in a transaction of its own, again after a pause where it meets a lock; return its refusal."""
    for _attempt in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(LOCK_TIMEOUT)
                cursor.execute(statement)
        except IntegrityError:
            why = f"{what} has rows of clients that are gone (delete them; run migrate again)"
            return [Refusal(why)]
        except (ProgrammingError, OperationalError) as error:
            match error.__cause__:
                case LockNotAvailable() | DeadlockDetected():
                    time.sleep(PAUSE_SECONDS)
                    continue
                case InsufficientPrivilege():
                    return [Refusal(f"{what}: this role lacks the right", grant)]
            return [Refusal(f"{what}: {error}")]
        return []
    return [Refusal(f"{what} is in use; run migrate again")]


# `migrate`


def check_rights(*, plan: Any = (), **_: Any) -> None:
    """Before `migrate`: remember which tables it will make; refuse where it could not make them."""
    _missing[:] = [table for table in NOVA_TABLES if not _exists(table)]
    if not (_makes_the_tables(plan) and _missing):
        return
    lacking = []
    if not _one("SELECT has_schema_privilege('public', 'CREATE')"):
        lacking.append("CREATE ON SCHEMA public")
    refers = "SELECT has_any_column_privilege('public.clients', 'REFERENCES')"
    if _exists("public.clients") and not _one(refers):
        lacking.append("REFERENCES ON public.clients")
    if lacking:
        raise CommandError(
            f"{', '.join(_missing)} can't be made."
            f" {' '.join(f'GRANT {right} TO {_role()};' for right in lacking)} Then run migrate again.",
            returncode=2,
        )


def install_triggers(*, verbosity: int = 1, plan: Any = (), **_: Any) -> None:
    """After `migrate`: install what is missing; print what to grant, and leave the rest to the sweep."""
    made = [table for table in _missing if _exists(table)]
    _missing.clear()
    if made and verbosity:
        sequences = ", ".join(f"{table}_id_seq" for table in made)
        _print(
            f"Made, because they were missing: {', '.join(made)}.",
            "Where NOVA connects as another role, give it:"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(made)} TO …;"
            f" GRANT USAGE ON SEQUENCE {sequences} TO …;",
        )
    ours = ("clientwrite", "countinggap", "countingproof", "countingtriggers")
    tables = (*COUNTED_TABLES, *(f"nova_admin.credentials_{name}" for name in ours))
    if not all(map(_exists, tables)):
        return  # migrated back to before the tables
    refused = [] if _one(HAS_FOREIGN_KEY) else _add_foreign_key()
    refused += count_every_write(nothing_was_pushed=_makes_the_tables(plan))
    if refused and verbosity:
        _print_refusals(refused)
    _drop_old_function()


def _makes_the_tables(plan: Any) -> bool:
    return any(
        (migration.app_label, migration.name, backwards) == ("credentials", "0001_initial", False)
        for migration, backwards in plan
    )


def _add_foreign_key() -> list[Refusal]:
    return _try(AWS_FOREIGN_KEY, AWS_TABLE, grant="REFERENCES ON public.clients")


def _print_refusals(refused: list[Refusal]) -> None:
    role = _role()
    grants = [f"GRANT {refusal.grant} TO {role};" for refusal in refused if refusal.grant]
    _print(
        f"Writes to NOVA's tables are not counted everywhere: {'; '.join(refusal.why for refusal in refused)}.",
        *([f"To count them: {' '.join(grants)} then run migrate again."] if grants else []),
        "Until then NOVA's own writes are found by the scheduled comparison alone.",
    )


def _drop_old_function() -> None:
    """Take the first release's function away once no trigger calls it; exit with 1 where it stays."""
    if not _one("SELECT to_regprocedure(%s) IS NOT NULL", [OLD_FUNCTION]):
        return
    if not all(counted_tables().values()):
        raise CommandError(
            f"The first release's {OLD_FUNCTION} still stands: triggers that could not be replaced call it."
            " Do what is said above, then run migrate again.",
            returncode=1,
        )
    if refused := _try(f"DROP FUNCTION {OLD_FUNCTION}", f"The first release's {OLD_FUNCTION}"):
        raise CommandError(
            f"{refused[0].why}. It lets whoever may create in the schema public run code with the rights of its owner."
            f" Run, as its owner or as a superuser: DROP FUNCTION {OLD_FUNCTION} CASCADE; then run migrate again.",
            returncode=1,
        )


def _print(*lines: str) -> None:
    print("\n".join(lines), file=sys.stderr)


def _role() -> str:
    return str(_one("SELECT quote_ident(current_user)"))


def _exists(table: str) -> bool:
    return bool(_one("SELECT to_regclass(%s) IS NOT NULL", [table]))


def _one(query: str, params: list[Any] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchone()[0]
