"""The triggers of a first release are replaced, and no write is lost or counted twice."""

import os
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests import nova_database
from tests.checkout import manage
from tests.credentials.triggers.migrated_database import (
    APP,
    NOVA_TABLES,
    app_role,
    grant_triggers,
    make_app_role,
    writes,
)
from tests.first_release.back import go_back
from tests.migrated import make_nova_tables, migrate
from tests.templates import RUN, hand_over, make_once

FIRST_FUNCTION = """
CREATE FUNCTION public.nova_admin_count_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $function$
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
$function$
"""
OLD_STANDS = "SELECT to_regprocedure('public.nova_admin_count_write()') IS NOT NULL"


def make_first_release(owner: str) -> None:
    """As the first release left a database: its tables in `public`, its function on the triggers."""
    go_back(owner, lambda _command, *step: migrate(owner, *step))
    with psycopg.connect(owner, autocommit=True) as session:
        session.execute("DROP SCHEMA nova_admin CASCADE")
        session.execute("DROP FUNCTION public.nova_admin_count_write() CASCADE")
        put_old_triggers(session, "public.client_aws_credentials")


def put_old_triggers(connection, aws_table: str) -> None:
    connection.execute(FIRST_FUNCTION)
    for table in (*NOVA_TABLES[:3], aws_table):
        connection.execute(
            f"CREATE OR REPLACE TRIGGER nova_admin_count_write AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION public.nova_admin_count_write()"
        )


BEFORE = f"site_{os.environ[RUN]}_first_release"


def give_first_rights(connection, role: str) -> None:
    connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO {role}")
    connection.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    grant_triggers(connection, role)


def fill(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        make_nova_tables(connection)
        make_app_role(connection, BEFORE, NOVA_TABLES[:3])
        give_first_rights(connection, BEFORE)
        as_owner = psycopg.conninfo.make_conninfo(uri, user=BEFORE)
        migrate(as_owner)
        make_first_release(as_owner)
        # The next one that asks copies this database, whose rights are no part of a copy.
        connection.execute(f"REVOKE ALL ON DATABASE {connection.info.dbname} FROM {BEFORE}")


@pytest.fixture
def uri() -> Iterator[str]:
    with nova_database.database(make_once("first_release_of_a_role", fill)) as uri:
        yield uri


@pytest.fixture
def owner(uri, connection) -> Iterator[str]:
    """The URI of the role that ran the first release's `migrate`: no superuser, and not the owner of NOVA's tables."""
    with app_role(connection, NOVA_TABLES[:3]):
        give_first_rights(connection, APP)
        hand_over(uri, BEFORE, APP)
        yield psycopg.conninfo.make_conninfo(uri, user=APP)


class Writer(threading.Thread):
    """NOVA, which writes all the time while something else happens."""

    def __init__(self, uri: str, client_id: int) -> None:
        super().__init__()
        self.uri, self.client_id = uri, client_id
        self.over = threading.Event()
        self.written, self.longest = 0, 0.0

    def run(self) -> None:
        with psycopg.connect(self.uri, autocommit=True) as nova:
            while not self.over.is_set():
                start = time.monotonic()
                nova.execute(
                    "UPDATE public.client_database_credentials SET db_port = db_port + 1 WHERE client_id = %s",
                    [self.client_id],
                )
                self.longest = max(self.longest, time.monotonic() - start)
                self.written += 1

    def end(self) -> None:
        self.over.set()
        self.join()


def counted_of(connection, schema: str, client_id: int) -> int:
    query = f"SELECT count(*) FROM {schema}.credentials_clientwrite WHERE client_id = %s"
    return connection.execute(query, [client_id]).fetchone()[0]


def test_while_a_first_release_is_carried_over_every_write_is_counted_and_none_twice(
    owner, uri, connection
):
    before = counted_of(connection, "public", 2)
    nova = Writer(uri, 2)
    nova.start()
    try:
        said = migrate(owner)
    finally:
        nova.end()

    assert "not counted" not in said
    assert nova.written > 100
    # And once more with every client, since the first release counted no TRUNCATE.
    assert counted_of(connection, "nova_admin", 2) == before + nova.written + 1
    assert not connection.execute(OLD_STANDS).fetchone()[0]
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]
    gaps = "SELECT count(*) FILTER (WHERE ended_at IS NULL), count(*) FROM nova_admin.credentials_countinggap"
    assert connection.execute(gaps).fetchone() == (0, 1)


@pytest.mark.nightly
def test_an_owner_without_the_right_to_make_triggers_keeps_the_old_ones_that_count_safely(
    owner, connection
):
    connection.execute(f"REVOKE TRIGGER ON {', '.join(NOVA_TABLES[:3])} FROM {APP}")

    done = manage("migrate", DATABASE_URL=owner)

    # The old triggers call the function that they called, which stands in the site's schema now.
    assert done.returncode == 0, done.stderr
    assert f"GRANT TRIGGER ON public.clients TO {APP};" in done.stderr
    assert not connection.execute(OLD_STANDS).fetchone()[0]
    before = writes(connection, 2)
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert writes(connection, 2) == before + 1
    path = "SELECT proconfig FROM pg_proc WHERE oid = 'nova_admin.count_write()'::regprocedure"
    safely = ["search_path=pg_catalog, pg_temp", "row_security=off"]
    assert connection.execute(path).fetchone() == (safely,)
    # They count no TRUNCATE.
    assert not connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]

    grant_triggers(connection)
    migrate(owner)
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]


@pytest.mark.nightly
def test_who_does_not_own_the_first_release_is_told_what_to_run_and_changes_nothing(
    owner, uri, connection
):
    connection.execute("ALTER FUNCTION public.nova_admin_count_write() OWNER TO CURRENT_USER")

    done = manage("migrate", DATABASE_URL=owner)

    assert done.returncode == 1
    assert f"ALTER FUNCTION public.nova_admin_count_write() OWNER TO {APP};" in done.stderr
    assert "TABLE" not in done.stderr
    before = counted_of(connection, "public", 2)
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert counted_of(connection, "public", 2) == before + 1

    connection.execute(f"ALTER FUNCTION public.nova_admin_count_write() OWNER TO {APP}")
    migrate(owner)
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]


@pytest.mark.nightly
def test_while_another_roles_old_function_stands_migrate_replaces_the_triggers_and_exits_with_1(
    owner, connection
):
    migrate(owner)
    put_old_triggers(connection, "nova_admin.client_aws_credentials")

    done = manage("migrate", DATABASE_URL=owner)

    assert done.returncode == 1
    assert (
        "DROP FUNCTION public.nova_admin_count_write() CASCADE; then run migrate again"
        in done.stderr
    )
    before = writes(connection, 2)
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert writes(connection, 2) == before + 1
    connection.execute("DROP FUNCTION public.nova_admin_count_write() CASCADE")
    assert "GRANT" not in migrate(owner)
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]


@pytest.mark.nightly
def test_where_the_first_release_is_in_use_nothing_is_changed(owner, uri, connection):
    with psycopg.connect(uri) as writer:
        writer.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

        done = manage("migrate", DATABASE_URL=owner)

    assert done.returncode == 1
    assert "in use. Nothing was changed; run migrate again" in done.stderr
    assert counted_of(connection, "public", 2) >= 0
