"""`migrate` on NOVA's live database, and what its triggers may never do to NOVA's statements."""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from nova_admin.database.schema import CARRIED_OVER
from tests import nova

NOVA_TABLES = [
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_database_schemas",
    "client_credentials",
]
# Roles belong to the whole server, which the workers of a test run share.
ROLE = f"nova_{uuid4().hex}"
APP = f"app_{uuid4().hex}"


@pytest.fixture
def uri() -> Iterator[str]:
    with nova.database() as uri:
        yield uri


@pytest.fixture
def connection(uri) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection


def make_tables(connection, tables=nova.TABLES, rows=nova.ROWS) -> None:
    for statement in filter(None, (*tables, rows)):
        connection.execute(statement)


def migrate(uri: str) -> str:
    done = nova.manage("migrate", "--no-color", DATABASE_URL=uri)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def writes(connection, client_id: int) -> int:
    query = "SELECT count(*) FROM nova_admin.credentials_clientwrite WHERE client_id = %s"
    return connection.execute(query, [client_id]).fetchone()[0]


def test_adoption_leaves_every_table_and_row_as_it_is(uri, connection):
    make_tables(connection)
    before = nova.catalogue(connection, NOVA_TABLES), nova.contents(connection, NOVA_TABLES)

    migrate(uri)

    assert nova.catalogue(connection, NOVA_TABLES) == before[0]
    assert nova.contents(connection, NOVA_TABLES) == before[1]


def test_adoption_makes_the_one_table_that_is_missing(uri, connection):
    without_mail = [table for table in nova.TABLES if table is not nova.EMAILS]
    make_tables(
        connection, without_mail, rows="INSERT INTO public.clients (name, slug) VALUES ('A', 'a')"
    )
    kept = [table for table in NOVA_TABLES if table != "client_email_credentials"]
    before = nova.catalogue(connection, kept), nova.contents(connection, kept)

    migrate(uri)

    assert (nova.catalogue(connection, kept), nova.contents(connection, kept)) == before
    connection.execute(
        "INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)"
        " VALUES (1, 'u', 'p')"
    )


def test_an_empty_database_gets_the_tables_that_novas_sql_makes(uri, connection):
    three = NOVA_TABLES[:3]
    with nova.database() as other, psycopg.connect(other, autocommit=True) as made_by_nova:
        for table in (nova.CLIENTS, nova.DATABASES, nova.EMAILS):
            made_by_nova.execute(table)
        expected = nova.catalogue(made_by_nova, three)

    migrate(uri)

    assert nova.catalogue(connection, three) == expected
    connection.execute(nova.ROWS.partition("INSERT INTO public.client_database_schemas")[0])


def test_a_second_migrate_changes_nothing(uri, connection):
    make_tables(connection)
    migrate(uri)
    triggers = "SELECT tgrelid::regclass::text, tgname, oid FROM pg_trigger ORDER BY 1, 2"
    before = connection.execute(triggers).fetchall()

    migrate(uri)

    assert connection.execute(triggers).fetchall() == before


def test_every_write_to_any_of_the_tables_is_counted(uri, connection):
    make_tables(connection)
    migrate(uri)
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
    make_tables(connection)
    migrate(uri)

    connection.execute(
        "UPDATE public.client_database_credentials SET client_id = 1 WHERE client_id = 2"
    )

    assert (writes(connection, 1), writes(connection, 2)) == (1, 1)


def test_nova_deletes_a_client_as_before(uri, connection):
    make_tables(connection)
    migrate(uri)
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


def test_the_aws_logins_refer_to_the_clients_that_nova_made_anew(uri, connection):
    make_tables(connection)
    migrate(uri)
    connection.execute(
        "CREATE TABLE anew (LIKE public.clients INCLUDING ALL); INSERT INTO anew TABLE public.clients;"
        "ALTER TABLE public.clients RENAME TO before; ALTER TABLE anew RENAME TO clients"
    )

    migrate(uri)

    refers = "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = %s"
    found = connection.execute(refers, ["client_aws_credentials_client_id_fkey"]).fetchall()
    assert found == [("clients",)]


@pytest.fixture
def novas_role(uri, connection) -> Iterator[psycopg.Connection]:
    """NOVA's own connection: a role that has its own tables, and no right on this app's."""
    make_tables(connection)
    migrate(uri)
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


def grant_triggers(connection) -> None:
    connection.execute(f"GRANT TRIGGER, REFERENCES ON {', '.join(NOVA_TABLES[:3])} TO {APP}")


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
    make_tables(connection, [nova.CLIENTS, nova.DATABASES], rows="")

    said = migrate(uri)

    assert "Made, because they were missing: public.client_email_credentials." in said
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON public.client_email_credentials TO" in said
    assert "Made" not in migrate(uri)


def test_a_missing_table_without_the_right_to_refer_to_clients_is_one_line(
    without_trigger_right, connection
):
    connection.execute("DROP TABLE public.client_email_credentials")

    done = nova.manage("migrate", DATABASE_URL=without_trigger_right)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"GRANT REFERENCES ON public.clients TO {APP}" in done.stderr


def test_migrating_back_takes_the_triggers_away(uri, connection):
    make_tables(connection)
    migrate(uri)
    warnings = []
    connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))

    done = nova.manage("migrate", "credentials", "zero", DATABASE_URL=uri)

    assert done.returncode == 0, done.stderr
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert warnings == []
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'nova_admin_count_write'"
    assert connection.execute(triggers).fetchone() == (0,)
    migrate(uri)
    assert connection.execute(triggers).fetchone() == (4,)


# A first release's database

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


def make_first_release(connection) -> None:
    """As the first release left a database: its tables in `public`, its function on the triggers."""
    connection.execute(
        "DROP TABLE nova_admin.credentials_countinggap, nova_admin.credentials_countingproof,"
        " nova_admin.credentials_countingtriggers;"
        " DELETE FROM nova_admin.django_migrations WHERE app = 'credentials' AND name = '0003_counting'"
    )
    checks = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE conname LIKE '%_reason_is_short'"
    for table, name in connection.execute(checks).fetchall():
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for table in CARRIED_OVER:
        if connection.execute("SELECT to_regclass(%s)", [f"nova_admin.{table}"]).fetchone()[0]:
            connection.execute(f"ALTER TABLE nova_admin.{table} SET SCHEMA public")
    connection.execute("DROP SCHEMA nova_admin CASCADE")
    put_old_triggers(connection, "public.client_aws_credentials")


def put_old_triggers(connection, aws_table: str) -> None:
    connection.execute(FIRST_FUNCTION)
    for table in (*NOVA_TABLES[:3], aws_table):
        connection.execute(
            f"CREATE OR REPLACE TRIGGER nova_admin_count_write AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION public.nova_admin_count_write()"
        )


@pytest.fixture
def owner(uri, connection) -> Iterator[str]:
    """The URI of the role that ran the first release's `migrate`: no superuser, and not the owner of NOVA's tables."""
    make_tables(connection)
    connection.execute(f"CREATE ROLE {APP} LOGIN")
    try:
        connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO {APP}")
        connection.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {APP}")
        for table in NOVA_TABLES[:3]:
            connection.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO {APP}")
            connection.execute(f"GRANT USAGE ON {table}_id_seq TO {APP}")
        grant_triggers(connection)
        as_owner = psycopg.conninfo.make_conninfo(uri, user=APP)
        migrate(as_owner)
        with psycopg.connect(as_owner, autocommit=True) as session:
            make_first_release(session)
        yield as_owner
    finally:
        connection.execute(f"DROP OWNED BY {APP} CASCADE")
        connection.execute(f"DROP ROLE {APP}")


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


def test_an_owner_without_the_right_to_make_triggers_keeps_the_old_ones_that_count_safely(
    owner, connection
):
    connection.execute(f"REVOKE TRIGGER ON {', '.join(NOVA_TABLES[:3])} FROM {APP}")

    done = nova.manage("migrate", DATABASE_URL=owner)

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


def test_who_does_not_own_the_first_release_is_told_what_to_run_and_changes_nothing(
    owner, uri, connection
):
    connection.execute("ALTER FUNCTION public.nova_admin_count_write() OWNER TO CURRENT_USER")

    done = nova.manage("migrate", DATABASE_URL=owner)

    assert done.returncode == 1
    assert f"ALTER FUNCTION public.nova_admin_count_write() OWNER TO {APP};" in done.stderr
    assert "TABLE" not in done.stderr
    before = counted_of(connection, "public", 2)
    connection.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")
    assert counted_of(connection, "public", 2) == before + 1

    connection.execute(f"ALTER FUNCTION public.nova_admin_count_write() OWNER TO {APP}")
    migrate(owner)
    assert connection.execute("SELECT nova_admin.writes_are_counted()").fetchone()[0]


def test_while_another_roles_old_function_stands_migrate_replaces_the_triggers_and_exits_with_1(
    owner, connection
):
    migrate(owner)
    put_old_triggers(connection, "nova_admin.client_aws_credentials")

    done = nova.manage("migrate", DATABASE_URL=owner)

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


def test_where_the_first_release_is_in_use_nothing_is_changed(owner, uri, connection):
    with psycopg.connect(uri) as writer:
        writer.execute("UPDATE public.clients SET name = 'Other' WHERE id = 2")

        done = nova.manage("migrate", DATABASE_URL=owner)

    assert done.returncode == 1
    assert "in use. Nothing was changed; run migrate again" in done.stderr
    assert counted_of(connection, "public", 2) >= 0


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


def test_adoption_of_a_live_database_leaves_no_gap(uri, connection):
    make_tables(connection)

    migrate(uri)

    gaps = "SELECT count(*) FROM nova_admin.credentials_countinggap"
    assert connection.execute(gaps).fetchone() == (0,)
