"""What `migrate` says and does where it lacks a right."""

from collections.abc import Iterator

import psycopg
import pytest

from tests import nova_database
from tests.checkout import manage
from tests.credentials.triggers.migrated_database import APP, app_role
from tests.migrated import make_nova_tables, migrate


@pytest.fixture
def without_trigger_right(uri, connection) -> Iterator[str]:
    """The URI of an app role that may read and write NOVA's tables and make its own, but no triggers."""
    make_nova_tables(connection)
    with app_role(connection):
        connection.execute(f"CREATE SCHEMA nova_admin AUTHORIZATION {APP}")
        yield psycopg.conninfo.make_conninfo(uri, user=APP)


@pytest.mark.nightly
def test_a_table_that_migrate_made_is_told_with_what_novas_role_needs(uri, connection):
    make_nova_tables(connection, [nova_database.CLIENTS, nova_database.DATABASES], rows="")

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
    for right in ("CREATE ON SCHEMA public", "REFERENCES ON public.clients"):
        assert f"GRANT {right} TO {APP};" in done.stderr
