"""The trigger that counts every write to NOVA's tables, installed by `migrate`. May never harm a statement of NOVA's.

Written by hand, not with a trigger library: the function must run with this app's rights, swallow its own errors, and
be left out, with a word on what to grant, where the app's role may not create triggers.
"""

import sys
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import connections, transaction
from django.db.utils import IntegrityError, OperationalError, ProgrammingError
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

NOVA_TABLES = (
    "public.clients",
    "public.client_database_credentials",
    "public.client_email_credentials",
)
AWS_TABLE = "nova_admin.client_aws_credentials"
TABLES = (*NOVA_TABLES, AWS_TABLE)
TRIGGER = "nova_admin_count_write"
FUNCTION_NAME = "nova_admin.count_write"
# The first release's, which ran code of whoever could create in `public` with this role's rights.
OLD_FUNCTION = "public.nova_admin_count_write()"

# SECURITY DEFINER: NOVA's role may have no rights on this app's tables. The inner block is a savepoint: whatever fails
# in it is undone and NOVA's statement goes on (the comparison sweep finds what it missed). An insert waits for nobody.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION_NAME}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    BEGIN
        IF TG_TABLE_NAME = 'clients' THEN
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id WHERE id IS NOT NULL;
        ELSE
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.client_id, NEW.client_id]) AS id WHERE id IS NOT NULL;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'NOVA Admin could not count this write (SQLSTATE %)', SQLSTATE;
    END;
    RETURN NULL;
END
$function$;
REVOKE ALL ON FUNCTION {FUNCTION_NAME}() FROM PUBLIC
"""

AWS_FOREIGN_KEY = f"""
ALTER TABLE {AWS_TABLE} ADD CONSTRAINT client_aws_credentials_client_id_fkey
FOREIGN KEY (client_id) REFERENCES public.clients (id) ON DELETE CASCADE
"""


# In the trigger's own transaction: nobody counted what was written before it, so the next push looks at each client.
COUNT_EACH_ONCE = (
    "INSERT INTO nova_admin.credentials_clientwrite (client_id) SELECT id FROM public.clients"
)

# NOVA's tables that were missing when `migrate` began, by database.
_missing: dict[str, list[str]] = {}


@dataclass(frozen=True)
class Refusal:
    """A step that was not done: why, and the right that would help, where one would."""

    why: str
    grant: str = ""


def look_first(*, using: str, plan: Any = (), **_: Any) -> None:
    """Before `migrate`: remembers which tables it will make; refuses where it could not make them."""
    connection = connections[using]
    _missing[using] = [table for table in NOVA_TABLES if not _exists(connection, table)]
    if not (_makes_the_tables(plan) and _missing[using]):
        return
    lacking = []
    if not _one(connection, "SELECT has_schema_privilege('public', 'CREATE')"):
        lacking.append("CREATE ON SCHEMA public")
    refers = "SELECT has_any_column_privilege('public.clients', 'REFERENCES')"
    if _exists(connection, "public.clients") and not _one(connection, refers):
        lacking.append("REFERENCES ON public.clients")
    if lacking:
        role = _role(connection)
        raise CommandError(
            f"{', '.join(_missing[using])} can't be made."
            f" {' '.join(f'GRANT {right} TO {role};' for right in lacking)} Then run migrate again.",
            returncode=2,
        )


def adopt(*, using: str, verbosity: int = 1, plan: Any = (), **_: Any) -> None:
    """After `migrate`: installs what is missing; prints what to grant, and leaves the rest to the sweep."""
    connection = connections[using]
    made = [table for table in _missing.pop(using, []) if _exists(connection, table)]
    if made and verbosity:
        sequences = ", ".join(f"{table}_id_seq" for table in made)
        _say(
            f"Made, because they were missing: {', '.join(made)}.",
            "Where NOVA connects as another role, give it:"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(made)} TO …;"
            f" GRANT USAGE ON SEQUENCE {sequences} TO …;",
        )
    if not all(
        _exists(connection, table) for table in (*TABLES, "nova_admin.credentials_clientwrite")
    ):
        return  # migrated back to before the tables
    # Nothing was pushed yet where this very `migrate` made the tables.
    refused = _steps(connection, count=not _makes_the_tables(plan))
    if refused and verbosity:
        role = _role(connection)
        grants = [f"GRANT {refusal.grant} TO {role};" for refusal in refused if refusal.grant]
        _say(
            f"Writes to NOVA's tables are not counted everywhere: {'; '.join(refusal.why for refusal in refused)}.",
            *([f"To count them: {' '.join(grants)} then run migrate again."] if grants else []),
            "Until then NOVA's own writes are found by the scheduled comparison alone.",
        )
    _drop_old_function(connection)


def _makes_the_tables(plan: Any) -> bool:
    return any(
        (migration.app_label, migration.name, backwards) == ("credentials", "0001_initial", False)
        for migration, backwards in plan
    )


def _steps(connection: Any, *, count: bool) -> list[Refusal]:
    refused = _try(connection, FUNCTION, "the function")
    if not _one(
        connection,
        f"SELECT count(*) FROM pg_constraint WHERE conrelid = '{AWS_TABLE}'::regclass AND contype = 'f'",
    ):
        refused += _try(
            connection,
            AWS_FOREIGN_KEY,
            AWS_TABLE,
            grant="REFERENCES ON public.clients",
        )
    for table in TABLES:
        if _one(
            connection,
            "SELECT count(*) FROM pg_trigger"
            " WHERE tgrelid = to_regclass(%s) AND tgname = %s AND tgfoid = to_regproc(%s)",
            [table, TRIGGER, FUNCTION_NAME],
        ):
            continue
        statement = (
            f"CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {FUNCTION_NAME}()"
        )
        if count:
            statement = f"{statement}; {COUNT_EACH_ONCE}"
        refused += _try(connection, statement, table, grant=f"TRIGGER ON {table}")
    return refused


def _drop_old_function(connection: Any) -> None:
    """Take the first release's function away, with any trigger that still calls it; exits with 1 where it stays."""
    if not _one(connection, "SELECT to_regprocedure(%s) IS NOT NULL", [OLD_FUNCTION]):
        return
    if refused := _try(connection, f"DROP FUNCTION {OLD_FUNCTION} CASCADE", "the first release's"):
        raise CommandError(
            f"{refused[0].why}. It lets whoever may create in the schema public run code with the rights of its owner."
            f" Run, as its owner or as a superuser: DROP FUNCTION {OLD_FUNCTION} CASCADE; then run migrate again.",
            returncode=1,
        )


def writes_are_counted() -> bool:
    """Say whether the trigger is on each of the four tables, enabled, and calls the site's own function."""
    standing = """
        SELECT count(*) FROM pg_trigger
        WHERE tgname = %s AND tgenabled IN ('O', 'A') AND tgfoid = to_regproc(%s)
            AND tgrelid = ANY(SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
    """
    found = _one(connections["default"], standing, [TRIGGER, FUNCTION_NAME, list(TABLES)])
    return bool(found == len(TABLES))


def _try(connection: Any, statement: str, what: str, *, grant: str = "") -> list[Refusal]:
    """Runs one step in a transaction of its own; answers with its refusal, or with nothing."""
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            # Creating a trigger waits for the table's writers, and NOVA's next writers would wait behind it.
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute(statement)
    except IntegrityError:
        return [
            Refusal(f"{what} has rows of clients that are gone (delete them; run migrate again)")
        ]
    except (ProgrammingError, OperationalError) as error:
        match error.__cause__:
            case InsufficientPrivilege():
                return [Refusal(f"{what}: this role lacks the right", grant)]
            case LockNotAvailable():
                return [Refusal(f"{what} is in use; run migrate again")]
        return [Refusal(f"{what}: {error}")]
    return []


def _say(*lines: str) -> None:
    print("\n".join(lines), file=sys.stderr)


def _role(connection: Any) -> str:
    return str(_one(connection, "SELECT quote_ident(current_user)"))


def _exists(connection: Any, table: str) -> bool:
    return bool(_one(connection, "SELECT to_regclass(%s) IS NOT NULL", [table]))


def _one(connection: Any, query: str, params: list[Any] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchone()[0]
