"""SQL that the tests of counting run, and what was counted."""

from django.db import connection

from credentials.models import ClientWrite

MAIL = "public.client_email_credentials"
DATABASES = "public.client_database_credentials"


AS_BEFORE = f"""
RESET session_replication_role;
DROP SCHEMA IF EXISTS elsewhere CASCADE;
DROP RULE IF EXISTS swallow ON {MAIL};
DROP TRIGGER IF EXISTS swallow ON {MAIL};
DROP TRIGGER IF EXISTS notify ON {MAIL};
DROP TRIGGER IF EXISTS twice ON {DATABASES};
DO $$ BEGIN
    IF to_regclass('{MAIL}_old') IS NOT NULL THEN
        DROP TABLE IF EXISTS {MAIL};
        ALTER TABLE {MAIL}_old RENAME TO client_email_credentials;
    END IF;
END $$
"""


def execute(statement: str, *values: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def writes(client_id: int) -> int:
    return ClientWrite.objects.filter(client_id=client_id).count()


def asked_in_sql() -> bool:
    """What NOVA's reader is told."""
    return execute("SELECT nova_admin.writes_are_counted()")[0][0]


EVERY_WRITE = "AFTER INSERT OR UPDATE OR DELETE"
COUNTS = "FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write()"
REPLACE = "CREATE OR REPLACE TRIGGER nova_admin_count_write"
TRIGGER_FUNCTION = "CREATE FUNCTION public.{}() RETURNS trigger LANGUAGE plpgsql AS '{}'"
NOT_COUNTED = {
    "disabled": f"ALTER TABLE {MAIL} DISABLE TRIGGER nova_admin_count_write",
    "for replicas alone": f"ALTER TABLE {MAIL} ENABLE REPLICA TRIGGER nova_admin_count_write",
    "TRUNCATE disabled": f"ALTER TABLE {MAIL} DISABLE TRIGGER nova_admin_count_truncate",
    "TRUNCATE dropped": f"DROP TRIGGER nova_admin_count_truncate ON {MAIL}",
    "under a condition": f"""
        {REPLACE} {EVERY_WRITE} ON {MAIL}
        FOR EACH ROW WHEN (pg_trigger_depth() > 9) EXECUTE FUNCTION nova_admin.count_write()
    """,
    "for one column": f"{REPLACE} AFTER INSERT OR DELETE OR UPDATE OF imap_port ON {MAIL} {COUNTS}",
    "not for DELETE": f"{REPLACE} AFTER INSERT OR UPDATE ON {MAIL} {COUNTS}",
    "another function": f"""
        {TRIGGER_FUNCTION.format("twin", "BEGIN RETURN NULL; END")};
        {REPLACE} {EVERY_WRITE} ON {MAIL} FOR EACH ROW EXECUTE FUNCTION public.twin()
    """,
    "on the table that was renamed": f"""
        ALTER TABLE {MAIL} RENAME TO client_email_credentials_old;
        CREATE TABLE {MAIL} (LIKE {MAIL}_old INCLUDING ALL)
    """,
    "on a table of another schema, and twice on one of ours": f"""
        DROP TRIGGER nova_admin_count_write ON {MAIL};
        CREATE SCHEMA elsewhere;
        CREATE TABLE elsewhere.client_email_credentials (LIKE {MAIL});
        {REPLACE} {EVERY_WRITE} ON elsewhere.client_email_credentials {COUNTS};
        CREATE TRIGGER twice {EVERY_WRITE} ON {DATABASES} {COUNTS}
    """,
}
