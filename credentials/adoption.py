"""The trigger that counts every write to NOVA's tables, installed by `migrate`. May never harm a statement of NOVA's.

Written by hand, not with a trigger library: the function must run with this app's rights, swallow its own errors, and
be left out, with a word on what to grant, where the app's role may not create triggers.
"""

import sys
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.utils import OperationalError, ProgrammingError

TABLES = (
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_aws_credentials",
)
TRIGGER = "nova_admin_count_write"

# SECURITY DEFINER: NOVA's role may have no rights on this app's tables. The inner block is a savepoint: whatever fails
# in it is undone and NOVA's statement goes on (the comparison sweep finds what it missed). An insert waits for nobody.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, {{schema}}, pg_temp AS $function$
BEGIN
    BEGIN
        IF TG_TABLE_NAME = 'clients' THEN
            INSERT INTO credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id WHERE id IS NOT NULL;
        ELSE
            INSERT INTO credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.client_id, NEW.client_id]) AS id WHERE id IS NOT NULL;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'NOVA Admin could not count this write (SQLSTATE %)', SQLSTATE;
    END;
    RETURN NULL;
END
$function$;
REVOKE ALL ON FUNCTION {TRIGGER}() FROM PUBLIC
"""

AWS_FOREIGN_KEY = """
ALTER TABLE client_aws_credentials ADD CONSTRAINT client_aws_credentials_client_id_fkey
FOREIGN KEY (client_id) REFERENCES clients (id) ON DELETE CASCADE
"""


def adopt(*, using: str, verbosity: int = 1, **_: Any) -> None:
    """Installs what is missing; prints what to grant where the role may not, and leaves the rest to the sweep."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM unnest(%s::text[]) AS name"
            " WHERE to_regclass(name) IS NOT NULL AND to_regclass('credentials_clientwrite') IS NOT NULL",
            [list(TABLES)],
        )
        if cursor.fetchone()[0] < len(TABLES):
            return  # migrated back to before the tables
    schema = _one(
        connection,
        "SELECT quote_ident(nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE c.oid = 'credentials_clientwrite'::regclass",
    )
    refused = [message for message in _steps(connection, schema) if message]
    if refused and verbosity:
        role = _one(connection, "SELECT quote_ident(current_user)")
        print(
            f"Writes to NOVA's tables are not counted everywhere: {'; '.join(refused)}.\n"
            f"To count them: GRANT TRIGGER, REFERENCES ON {', '.join(TABLES)} TO {role};"
            f" and, where the schema refuses it, GRANT CREATE ON SCHEMA {schema} TO {role}; then run migrate again.\n"
            "Until then NOVA's own writes are found by the scheduled comparison alone.",
            file=sys.stderr,
        )


def _steps(connection: Any, schema: str) -> list[str]:
    results = [_try(connection, FUNCTION.format(schema=schema), "the function")]
    if not _one(
        connection,
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'client_aws_credentials'::regclass AND contype = 'f'",
    ):
        results.append(_try(connection, AWS_FOREIGN_KEY, "client_aws_credentials"))
    for table in TABLES:
        if _one(
            connection,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = %s",
            [table, TRIGGER],
        ):
            continue
        statement = (
            f"CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {TRIGGER}()"
        )
        results.append(_try(connection, statement, table))
    return results


def writes_are_counted() -> bool:
    """Whether the trigger stands on all four tables and is enabled."""
    standing = "SELECT count(*) FROM pg_trigger WHERE tgname = %s AND tgenabled IN ('O', 'A')"
    return bool(_one(connections["default"], standing, [TRIGGER]) == len(TABLES))


def _try(connection: Any, statement: str, what: str) -> str:
    """Runs one statement; answers with what was refused, or with nothing."""
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            # Creating a trigger waits for the table's writers, and NOVA's next writers would wait behind it.
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute(statement)
    except ProgrammingError as error:
        return f"{what}: {_first_line(error)}"
    except OperationalError as error:
        return f"{what}: {_first_line(error)} (in use; run migrate again)"
    return ""


def _first_line(error: DatabaseError) -> str:
    return str(error).splitlines()[0]


def _one(connection: Any, query: str, params: list[Any] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchone()[0]
