"""NOVA's tables, a role of the site's on them, and the writes that were counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

NOVA_TABLES = [
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_database_schemas",
    "client_credentials",
]
APP = f"app_{uuid4().hex}"


def writes(connection, client_id: int) -> int:
    query = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"
    return connection.execute(query, [client_id]).fetchone()[0]


def grant_triggers(connection, to: str = APP) -> None:
    connection.execute(f"GRANT TRIGGER, REFERENCES ON {', '.join(NOVA_TABLES[:3])} TO {to}")


@contextmanager
def app_role(connection: psycopg.Connection, tables: list[str] = NOVA_TABLES) -> Iterator[None]:
    """The site's role, which may read and write NOVA's tables but make no triggers; gone afterwards with its things."""
    make_app_role(connection, APP, tables)
    try:
        yield
    finally:
        connection.execute(f"DROP OWNED BY {APP} CASCADE")
        connection.execute(f"DROP ROLE {APP}")


def make_app_role(
    connection: psycopg.Connection, name: str, tables: list[str] = NOVA_TABLES
) -> None:
    connection.execute(f"CREATE ROLE {name} LOGIN")
    connection.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
    for table in tables:
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {name}")
        connection.execute(f"GRANT USAGE ON {table}_id_seq TO {name}")
