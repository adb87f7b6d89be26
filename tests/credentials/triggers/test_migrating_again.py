"""`migrate` on a database that is migrated: forwards again, and back."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.checkout import manage
from tests.migrated import migrate, migrated_nova_database


@pytest.fixture
def uri() -> Iterator[str]:
    with migrated_nova_database() as uri:
        yield uri


def test_a_second_migrate_changes_nothing(uri, connection):
    triggers = "SELECT tgrelid::regclass::text, tgname, oid FROM pg_trigger ORDER BY 1, 2"
    before = connection.execute(triggers).fetchall()

    migrate(uri)

    assert connection.execute(triggers).fetchall() == before


def test_the_aws_logins_refer_to_the_clients_that_nova_made_anew(uri, connection):
    connection.execute(
        "CREATE TABLE anew (LIKE public.clients INCLUDING ALL); INSERT INTO anew TABLE public.clients;"
        "ALTER TABLE public.clients RENAME TO before; ALTER TABLE anew RENAME TO clients"
    )

    migrate(uri)

    refers = "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = %s"
    found = connection.execute(refers, ["client_aws_credentials_client_id_fkey"]).fetchall()
    assert found == [("clients",)]


@pytest.mark.nightly
def test_where_a_table_is_in_use_no_right_is_asked_for(uri, connection):
    connection.execute("DROP TRIGGER nova_admin_count_write ON public.clients")
    with psycopg.connect(uri) as writer:
        writer.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

        said = migrate(uri)

    assert "public.clients is in use; run migrate again" in said
    assert "GRANT" not in said


@pytest.mark.nightly
def test_migrating_back_takes_the_triggers_away(uri, connection):
    warnings = []
    connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))

    done = manage("migrate", "credentials", "zero", DATABASE_URL=uri)

    assert done.returncode == 0, done.stderr
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert warnings == []
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'nova_admin_count_write'"
    assert connection.execute(triggers).fetchone() == (0,)
    migrate(uri)
    assert connection.execute(triggers).fetchone() == (4,)
