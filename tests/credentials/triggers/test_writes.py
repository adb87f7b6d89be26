"""Every write of NOVA's is counted, whoever makes it, and none is held up or failed by it."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.credentials.triggers.migrated_database import NOVA_TABLES, writes
from tests.migrated import migrated_nova_database

# Roles belong to the whole server, which the workers of a test run share.
ROLE = f"nova_{uuid4().hex}"


@pytest.fixture
def uri() -> Iterator[str]:
    with migrated_nova_database() as uri:
        yield uri


def test_every_write_to_any_of_the_tables_is_counted(connection):
    statements = [
        "UPDATE public.clients SET name = 'Other' WHERE id = 2",
        "UPDATE public.client_database_credentials SET db_port = 5433 WHERE client_id = 2",
        "UPDATE public.client_email_credentials SET imap_port = 1 WHERE client_id = 2",
        """
        INSERT INTO nova_admin.client_aws_credentials (client_id, access_key_id, secret_access_key)
        VALUES (2, 'i', 's')
        """,
        "DELETE FROM public.client_email_credentials WHERE client_id = 2",
    ]
    for number, statement in enumerate(statements, start=1):
        connection.execute(statement)
        assert writes(connection, 2) == number
    assert writes(connection, 1) == 0


def test_a_row_that_changes_hands_is_a_write_to_both_clients(uri, connection):

    connection.execute(
        "UPDATE public.client_database_credentials SET client_id = 1 WHERE client_id = 2"
    )

    assert (writes(connection, 1), writes(connection, 2)) == (1, 1)


def test_nova_deletes_a_client_as_before(uri, connection):
    connection.execute(
        "INSERT INTO nova_admin.client_aws_credentials (client_id, access_key_id, secret_access_key)"
        " VALUES (2, 'i', 's')"
    )

    connection.execute("DELETE FROM public.clients WHERE id = 2")

    for schema, table in (
        ("public", "client_database_credentials"),
        ("nova_admin", "client_aws_credentials"),
        ("public", "client_database_schemas"),
    ):
        query = sql.SQL("SELECT count(*) FROM {} WHERE client_id = 2").format(
            sql.Identifier(schema, table)
        )
        assert connection.execute(query).fetchone() == (0,)


@pytest.fixture
def novas_role(uri, connection) -> Iterator[psycopg.Connection]:
    """NOVA's own connection: a role that has its own tables, and no right on this app's."""
    connection.execute(f"CREATE ROLE {ROLE}")
    try:
        for table in NOVA_TABLES:
            connection.execute(f"GRANT ALL ON {table}, {table}_id_seq TO {ROLE}")
        with psycopg.connect(uri, autocommit=True) as as_nova:
            as_nova.execute(f"SET ROLE {ROLE}")
            yield as_nova
    finally:
        connection.execute(f"DROP OWNED BY {ROLE}")
        connection.execute(f"DROP ROLE {ROLE}")


def test_a_role_without_rights_on_our_tables_writes_its_own_and_is_counted(novas_role, connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        novas_role.execute("SELECT * FROM nova_admin.credentials_clientwrite")

    novas_role.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

    assert writes(connection, 2) == 1


@pytest.mark.parametrize(
    "sabotage",
    [
        "DROP TABLE nova_admin.credentials_clientwrite",
        "ALTER TABLE nova_admin.credentials_clientwrite ADD CONSTRAINT never CHECK (false)",
        "ALTER TABLE nova_admin.credentials_clientwrite RENAME COLUMN client_id TO other",
    ],
)
def test_an_error_inside_the_trigger_does_not_fail_novas_statement(
    novas_role, connection, sabotage
):
    connection.execute(sabotage)

    novas_role.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

    assert connection.execute("SELECT name FROM public.clients WHERE id = 2").fetchone() == (
        "Other",
    )


def test_the_trigger_waits_for_no_other_transaction(novas_role, uri):
    with psycopg.connect(uri) as other:
        other.execute(
            "UPDATE public.client_database_credentials SET db_port = 1 WHERE client_id = 2"
        )
        novas_role.execute("SET lock_timeout = '1s'")

        novas_role.execute(
            "UPDATE public.client_email_credentials SET imap_port = 1 WHERE client_id = 2"
        )
