"""NOVA's tables in a database of its own, `migrate` on it, and the writes that were counted."""

from uuid import uuid4

from tests import nova_database
from tests.checkout import manage

NOVA_TABLES = [
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_database_schemas",
    "client_credentials",
]
APP = f"app_{uuid4().hex}"


def make_tables(connection, tables=nova_database.TABLES, rows=nova_database.ROWS) -> None:
    for statement in filter(None, (*tables, rows)):
        connection.execute(statement)


def migrate(uri: str) -> str:
    done = manage("migrate", "--no-color", DATABASE_URL=uri)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def writes(connection, client_id: int) -> int:
    query = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"
    return connection.execute(query, [client_id]).fetchone()[0]


def grant_triggers(connection) -> None:
    connection.execute(f"GRANT TRIGGER, REFERENCES ON {', '.join(NOVA_TABLES[:3])} TO {APP}")
