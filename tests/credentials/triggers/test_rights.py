"""What `migrate` says and does where it lacks a right."""

from collections.abc import Iterator

import psycopg
import pytest

from tests import nova_database
from tests.checkout import manage
from tests.credentials.triggers.migrated_database import (
    APP,
    NOVA_TABLES,
    grant_triggers,
    make_tables,
    migrate,
    writes,
)


@pytest.fixture
def without_trigger_right(uri, connection) -> Iterator[str]:
    """The URI of an app role that may read and write NOVA's tables and make its own, but no triggers."""
    make_tables(connection)
    connection.execute(f"CREATE ROLE {APP} LOGIN")
    try:
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {APP}")
        connection.execute(f"CREATE SCHEMA nova_admin AUTHORIZATION {APP}")
        for table in NOVA_TABLES:
            connection.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {APP}")
            connection.execute(f"GRANT USAGE ON {table}_id_seq TO {APP}")
        yield psycopg.conninfo.make_conninfo(uri, user=APP)
    finally:
        connection.execute(f"DROP OWNED BY {APP} CASCADE")
        connection.execute(f"DROP ROLE {APP}")


def test_without_the_right_to_make_triggers_migrate_says_what_to_grant(
    without_trigger_right, connection
):
    said = migrate(without_trigger_right)

    for right in ("REFERENCES", "TRIGGER"):
        assert f"GRANT {right} ON public.clients TO {APP};" in said
    assert "GRANT CREATE" not in said
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert writes(connection, 2) == 0


def test_once_granted_the_next_migrate_makes_the_triggers(without_trigger_right, connection):
    migrate(without_trigger_right)
    grant_triggers(connection)

    said = migrate(without_trigger_right)

    assert "GRANT" not in said
    before = writes(connection, 2)
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert writes(connection, 2) == before + 1


def test_what_was_written_before_the_triggers_is_a_write_of_each_client_once(
    without_trigger_right, connection
):
    migrate(without_trigger_right)
    connection.execute(
        "UPDATE public.client_database_credentials SET db_port = 1 WHERE client_id = 2"
    )
    assert (writes(connection, 1), writes(connection, 2)) == (0, 0)
    grant_triggers(connection)

    migrate(without_trigger_right)

    counted = writes(connection, 1), writes(connection, 2)
    assert min(counted) > 0
    migrate(without_trigger_right)
    assert (writes(connection, 1), writes(connection, 2)) == counted


def test_where_a_table_is_in_use_no_right_is_asked_for(uri, connection):
    make_tables(connection)
    migrate(uri)
    connection.execute("DROP TRIGGER nova_admin_count_write ON public.clients")
    with psycopg.connect(uri) as writer:
        writer.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

        said = migrate(uri)

    assert "public.clients is in use; run migrate again" in said
    assert "GRANT" not in said


def test_rows_of_a_client_that_is_gone_are_told_and_not_quoted(without_trigger_right, connection):
    migrate(without_trigger_right)
    connection.execute(
        "INSERT INTO nova_admin.client_aws_credentials (client_id, access_key_id, secret_access_key)"
        " VALUES (98765, 'i', 's')"
    )
    grant_triggers(connection)

    said = migrate(without_trigger_right)

    assert "client_aws_credentials has rows of clients that are gone" in said
    assert "98765" not in said


def test_a_table_that_migrate_made_is_told_with_what_novas_role_needs(uri, connection):
    make_tables(connection, [nova_database.CLIENTS, nova_database.DATABASES], rows="")

    said = migrate(uri)

    assert "Made, because they were missing: public.client_email_credentials." in said
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON public.client_email_credentials TO" in said
    assert "Made" not in migrate(uri)


def test_a_missing_table_without_the_right_to_refer_to_clients_is_one_line(
    without_trigger_right, connection
):
    connection.execute("DROP TABLE public.client_email_credentials")

    done = manage("migrate", DATABASE_URL=without_trigger_right)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"GRANT REFERENCES ON public.clients TO {APP}" in done.stderr


def test_a_gap_stays_open_until_the_right_is_there(without_trigger_right, connection):
    migrate(without_trigger_right)
    assert not connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]
    open_gaps = "SELECT count(*) FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL"
    assert connection.execute(open_gaps).fetchone() == (1,)

    migrate(without_trigger_right)
    assert connection.execute(open_gaps).fetchone() == (1,)

    grant_triggers(connection)
    migrate(without_trigger_right)
    assert connection.execute(open_gaps).fetchone() == (0,)
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]
