"""What a reader does where PostgreSQL fails."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.factories import make_client, make_database, make_full_client, update
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.reader.questions import AWS_ALONE, change_in_aws, execute, in_time


def database_down(role: str) -> None:
    execute(f"ALTER ROLE {role} NOLOGIN")
    disconnect(role)


def disconnect(role: str) -> None:
    execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", role)


@pytest.mark.parametrize("phase", AWS_ALONE)
def test_once_the_phase_is_known_aws_needs_no_postgresql(
    reader, sm, role, monkeypatch, caplog, phase
):
    pk = make_full_client("idom")
    bring(pk, phase)
    reader.get_primary_credentials("idom")
    database_down(role)
    change_in_aws(sm, "idom", "database", password="example-b")
    monkeypatch.setattr(reader._postgres, "count_read", None)  # nor is it asked to count

    assert reader.get_credential("idom", "database").db_password == "example-b"
    assert reader.get_credential("idom", "database").client_id == reader.client_id("idom") == pk
    said = {r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")}
    assert said == {"PostgreSQL gives no answer (OperationalError); idom is read from AWS"}


def test_before_cutover_postgresql_has_to_answer(reader, role):
    phases = [phase for phase in Phase if phase not in AWS_ALONE]
    for phase in phases:
        bring(make_full_client(phase), phase)
        reader.get_primary_credentials(phase)
    database_down(role)

    for phase in phases:
        with pytest.raises(psycopg.OperationalError):
            reader.get_credential(phase, "database")


def test_what_was_known_is_forgotten_with_the_client(reader, role):
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    reader.get_primary_credentials("idom")
    update("clients", pk, is_active=False)
    with pytest.raises(ValueError, match="idom"):
        reader.get_primary_credentials("idom")
    database_down(role)

    with pytest.raises(psycopg.OperationalError):
        reader.get_primary_credentials("idom")


def test_a_connection_that_was_cut_is_opened_again(reader, role):
    for phase in (Phase.POSTGRES, Phase.DUAL_READ, Phase.AWS):
        bring(make_full_client(phase), phase)
        reader.get_primary_credentials(phase)
        disconnect(role)

        assert reader.get_credential(phase, "database").db_password == "example-password-1"


def test_with_one_connection_all_that_nobody_uses_are_given_up(reader, role):
    bring(make_full_client("idom"), Phase.POSTGRES)
    postgres = reader._postgres
    with postgres._use_connection(postgres._open_connection()):
        reader.get_primary_credentials("idom")
    assert len(postgres._idle) == 2
    disconnect(role)

    reader.get_primary_credentials("idom")

    assert [there.closed for there in postgres._idle] == [False]


def test_a_statement_that_takes_too_long_is_given_up(reader, database_url, monkeypatch):
    make_full_client("idom")
    monkeypatch.setattr(from_postgres, "STATEMENT_TIMEOUT", "100ms")
    reader.get_primary_credentials("idom")
    kept = list(reader._postgres._idle)
    with psycopg.connect(make_conninfo(database_url, user="postgres")) as other:
        other.execute("LOCK TABLE public.clients")
        with pytest.raises(psycopg.errors.QueryCanceled):
            in_time(lambda: reader.get_primary_credentials("idom"))

    # It wasn't asked a second time, by another connection.
    assert reader._postgres._idle == kept
    assert reader.get_primary_credentials("idom")["database"].db_password == "example-password-1"


def test_before_this_app_is_migrated_every_client_is_read_from_nova_s_tables():
    with nova_database.database() as uri:
        with psycopg.connect(uri, autocommit=True) as there:
            for statement in (*nova_database.TABLES, nova_database.ROWS):
                there.execute(statement)
        reader = Reader(uri, cache_seconds=0)
        for _ in range(2):
            assert reader.get_credential("acme", "database").db_password == "example-password-1"
        assert reader.get_primary_credentials("acme")["email"].imap_host is None
        with pytest.raises(ValueError, match="acme"):
            reader.get_credential("acme", "aws")
        reader.close()


def test_a_table_that_another_session_left_in_a_pooled_connection_is_not_taken_for_postgresqls_own():
    with nova_database.database() as uri:
        with psycopg.connect(uri, autocommit=True) as there:
            for statement in (*nova_database.TABLES, nova_database.ROWS):
                there.execute(statement)
        reader = Reader(uri, cache_seconds=0)
        reader.get_credential("acme", "database")
        # As behind PgBouncer, where the sessions of others use the same connection.
        (pooled,) = reader._postgres._idle
        pooled.execute(
            "CREATE TEMP TABLE pg_class AS SELECT 'migration_clientmigration' AS relname"
        )
        pooled.commit()

        assert reader.get_credential("acme", "database").db_password == "example-password-1"
        assert reader._postgres._idle == [pooled]
        reader.close()


def test_while_migrate_has_not_made_the_function_yet_nothing_is_counted(reader, counting_again):
    rows = {}
    for phase in Phase:
        pk = make_client(phase)
        rows[phase] = make_database(pk)
        bring(pk, phase)
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    for phase, row in rows.items():
        if not phase.aws_is_authority:
            update("client_database_credentials", row, db_password_encrypted="example-newer")
    execute("DROP FUNCTION nova_admin.writes_are_counted()")

    for phase in Phase:
        read = reader.get_credential(phase, "database").db_password
        assert read == ("example-password-1" if phase.aws_is_authority else "example-newer"), phase


def test_tables_that_are_there_but_out_of_sight_are_no_missing_tables(reader):
    bring(make_full_client("idom"), Phase.PURGED)
    execute(
        "CREATE SCHEMA aside; ALTER TABLE nova_admin.migration_clientmigration SET SCHEMA aside"
    )
    try:
        with pytest.raises(psycopg.errors.UndefinedTable):
            reader.get_credential("idom", "database")
    finally:
        execute(
            "ALTER TABLE aside.migration_clientmigration SET SCHEMA nova_admin; DROP SCHEMA aside"
        )


@pytest.mark.parametrize(
    ("schema", "table"),
    [("nova_admin", "migration_clientmigration"), ("public", "client_email_credentials")],
)
def test_a_missing_right_is_told(reader, role, schema, table):
    make_full_client("idom")
    execute(f"REVOKE ALL ON {schema}.{table} FROM {role}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=table):
        reader.get_credential("idom", "database")
