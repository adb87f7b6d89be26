"""`migrate` leaves NOVA's tables as they are and makes what is missing."""

import psycopg
import pytest

from tests import nova_database
from tests.credentials.triggers.migrated_database import NOVA_TABLES
from tests.migrated import make_nova_tables, migrate, migrated_database


def test_adoption_leaves_every_table_and_row_as_it_is_and_no_gap(uri, connection):
    make_nova_tables(connection)
    before = (
        nova_database.catalogue(connection, NOVA_TABLES),
        nova_database.contents(connection, NOVA_TABLES),
    )

    migrate(uri)

    assert nova_database.catalogue(connection, NOVA_TABLES) == before[0]
    assert nova_database.contents(connection, NOVA_TABLES) == before[1]
    gaps = "SELECT count(*) FROM nova_admin.credentials_countinggap"
    assert connection.execute(gaps).fetchone() == (0,)


@pytest.mark.nightly
def test_adoption_makes_the_one_table_that_is_missing(uri, connection):
    without_mail = [table for table in nova_database.TABLES if table is not nova_database.EMAILS]
    make_nova_tables(
        connection, without_mail, rows="INSERT INTO public.clients (name, slug) VALUES ('A', 'a')"
    )
    kept = [table for table in NOVA_TABLES if table != "client_email_credentials"]
    before = nova_database.catalogue(connection, kept), nova_database.contents(connection, kept)

    migrate(uri)

    assert (
        nova_database.catalogue(connection, kept),
        nova_database.contents(connection, kept),
    ) == before
    connection.execute(
        "INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)"
        " VALUES (1, 'u', 'p')"
    )


def test_an_empty_database_gets_the_tables_that_novas_sql_makes(connection):
    three = NOVA_TABLES[:3]
    for table in (nova_database.CLIENTS, nova_database.DATABASES, nova_database.EMAILS):
        connection.execute(table)

    with migrated_database() as migrated, psycopg.connect(migrated, autocommit=True) as made:
        assert nova_database.catalogue(made, three) == nova_database.catalogue(connection, three)
        made.execute(nova_database.ROWS.partition("INSERT INTO public.client_database_schemas")[0])
