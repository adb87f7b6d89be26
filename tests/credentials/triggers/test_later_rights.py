"""What the next `migrate` does once a right that the first one lacked is there."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests import nova_database
from tests.credentials.triggers.migrated_database import (
    APP,
    app_role,
    grant_triggers,
    make_app_role,
    writes,
)
from tests.migrated import make_nova_tables, migrate
from tests.templates import RUN, hand_over, make_once

BEFORE = f"site_{os.environ[RUN]}_without_trigger_right"


def fill(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        make_nova_tables(connection)
        make_app_role(connection, BEFORE)
        connection.execute(f"CREATE SCHEMA nova_admin AUTHORIZATION {BEFORE}")
    migrate(psycopg.conninfo.make_conninfo(uri, user=BEFORE))


@pytest.fixture
def uri() -> Iterator[str]:
    with nova_database.database(make_once("without_trigger_right", fill)) as uri:
        yield uri


@pytest.fixture
def migrated(uri, connection) -> Iterator[str]:
    """The URI of an app role that may make no triggers on NOVA's tables, after a first `migrate`."""
    with app_role(connection):
        hand_over(uri, BEFORE, APP)
        yield psycopg.conninfo.make_conninfo(uri, user=APP)


def test_migrate_says_what_to_grant_and_counts_once_it_is_granted(migrated, connection):
    is_counted = "SELECT nova_admin.writes_are_counted()"
    open_gaps = "SELECT count(*) FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL"
    change = (
        "UPDATE public.client_database_credentials SET db_port = db_port + 1 WHERE client_id = 2"
    )
    assert connection.execute(is_counted).fetchone() == (False,)
    assert connection.execute(open_gaps).fetchone() == (1,)
    connection.execute(change)

    said = migrate(migrated)

    for right in ("REFERENCES", "TRIGGER"):
        assert f"GRANT {right} ON public.clients TO {APP};" in said
    assert "GRANT CREATE" not in said
    assert connection.execute(open_gaps).fetchone() == (1,)
    assert (writes(connection, 1), writes(connection, 2)) == (0, 0)

    grant_triggers(connection)
    said = migrate(migrated)

    assert "GRANT" not in said
    assert connection.execute(open_gaps).fetchone() == (0,)
    assert connection.execute(is_counted).fetchone() == (True,)
    # What was written before is a write of each client, once.
    counted = writes(connection, 1), writes(connection, 2)
    assert min(counted) > 0
    migrate(migrated)
    assert (writes(connection, 1), writes(connection, 2)) == counted
    connection.execute(change)
    assert (writes(connection, 1), writes(connection, 2)) == (counted[0], counted[1] + 1)


@pytest.mark.nightly
def test_rows_of_a_client_that_is_gone_are_told_and_not_quoted(migrated, connection):
    connection.execute(
        "INSERT INTO nova_admin.client_aws_credentials (client_id, access_key_id, secret_access_key)"
        " VALUES (98765, 'i', 's')"
    )
    grant_triggers(connection)

    said = migrate(migrated)

    assert "client_aws_credentials has rows of clients that are gone" in said
    assert "98765" not in said
