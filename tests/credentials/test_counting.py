"""What "counted" means, what is put right and remembered where writes aren't, and the proof of it."""

import threading
import time

import psycopg
import pytest
from django.db import connection, transaction

from credentials import triggers
from credentials.models import (
    Client,
    ClientRevision,
    ClientWrite,
    CountingGap,
    CountingProof,
    ProofOutcome,
)
from credentials.models.counting import CountingGapQuerySet
from credentials.proof import prove_counting
from credentials.triggers import (
    count_every_write,
    counted_tables,
    writes_are_counted,
)
from migration import tasks
from nova_credentials.tables import COUNTED_TABLES
from tests.factories import make_client, make_full_client, nova_connected, update

pytestmark = pytest.mark.usefixtures("stores")

MAIL = "public.client_email_credentials"
DATABASES = "public.client_database_credentials"


AS_BEFORE = f"""
RESET session_replication_role;
DROP SCHEMA IF EXISTS elsewhere CASCADE;
DROP RULE IF EXISTS swallow ON {MAIL};
DROP TRIGGER IF EXISTS swallow ON {MAIL};
DROP TRIGGER IF EXISTS notify ON {MAIL};
DROP TRIGGER IF EXISTS twice ON {DATABASES};
DO $$ BEGIN
    IF to_regclass('{MAIL}_old') IS NOT NULL THEN
        DROP TABLE IF EXISTS {MAIL};
        ALTER TABLE {MAIL}_old RENAME TO client_email_credentials;
    END IF;
END $$
"""


@pytest.fixture(autouse=True)
def triggers_again(stores):
    """Whatever a test does to the tables is undone after it."""
    execute("DELETE FROM nova_admin.credentials_countinggap")
    yield
    execute(AS_BEFORE)
    count_every_write()
    execute("DROP FUNCTION IF EXISTS public.swallow(), public.notify(), public.twin()")


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


def execute(statement: str, *values: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def writes(client_id: int) -> int:
    return ClientWrite.objects.filter(client_id=client_id).count()


def asked_in_sql() -> bool:
    """What NOVA's reader is told."""
    return execute("SELECT nova_admin.writes_are_counted()")[0][0]


# "Counted"

EVERY_WRITE = "AFTER INSERT OR UPDATE OR DELETE"
COUNTS = "FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write()"
REPLACE = "CREATE OR REPLACE TRIGGER nova_admin_count_write"
TRIGGER_FUNCTION = "CREATE FUNCTION public.{}() RETURNS trigger LANGUAGE plpgsql AS '{}'"
NOT_COUNTED = {
    "disabled": f"ALTER TABLE {MAIL} DISABLE TRIGGER nova_admin_count_write",
    "for replicas alone": f"ALTER TABLE {MAIL} ENABLE REPLICA TRIGGER nova_admin_count_write",
    "TRUNCATE disabled": f"ALTER TABLE {MAIL} DISABLE TRIGGER nova_admin_count_truncate",
    "TRUNCATE dropped": f"DROP TRIGGER nova_admin_count_truncate ON {MAIL}",
    "under a condition": f"""
        {REPLACE} {EVERY_WRITE} ON {MAIL}
        FOR EACH ROW WHEN (pg_trigger_depth() > 9) EXECUTE FUNCTION nova_admin.count_write()
    """,
    "for one column": f"{REPLACE} AFTER INSERT OR DELETE OR UPDATE OF imap_port ON {MAIL} {COUNTS}",
    "not for DELETE": f"{REPLACE} AFTER INSERT OR UPDATE ON {MAIL} {COUNTS}",
    "another function": f"""
        {TRIGGER_FUNCTION.format("twin", "BEGIN RETURN NULL; END")};
        {REPLACE} {EVERY_WRITE} ON {MAIL} FOR EACH ROW EXECUTE FUNCTION public.twin()
    """,
    "on the table that was renamed": f"""
        ALTER TABLE {MAIL} RENAME TO client_email_credentials_old;
        CREATE TABLE {MAIL} (LIKE {MAIL}_old INCLUDING ALL)
    """,
    "on a table of another schema, and twice on one of ours": f"""
        DROP TRIGGER nova_admin_count_write ON {MAIL};
        CREATE SCHEMA elsewhere;
        CREATE TABLE elsewhere.client_email_credentials (LIKE {MAIL});
        {REPLACE} {EVERY_WRITE} ON elsewhere.client_email_credentials {COUNTS};
        CREATE TRIGGER twice {EVERY_WRITE} ON {DATABASES} {COUNTS}
    """,
}


@pytest.mark.parametrize("obstacle", NOT_COUNTED)
def test_a_trigger_counts_only_on_the_very_table_enabled_and_for_every_write(idom, obstacle):
    assert counted_tables() == dict.fromkeys(COUNTED_TABLES, True)
    assert writes_are_counted()
    assert asked_in_sql()

    execute(NOT_COUNTED[obstacle])
    assert counted_tables() == dict.fromkeys(COUNTED_TABLES, True) | {MAIL: False}
    assert not writes_are_counted()
    assert not asked_in_sql()

    assert count_every_write() == []

    assert writes_are_counted()
    assert asked_in_sql()


def test_an_always_enabled_trigger_under_another_name_counts_too():
    execute(f"ALTER TRIGGER nova_admin_count_write ON {MAIL} RENAME TO other")
    execute(f"ALTER TABLE {MAIL} ENABLE ALWAYS TRIGGER other")
    try:
        assert count_every_write() == []
        assert writes_are_counted()
        there = "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE 'nova_admin%%'"
        assert execute(there, MAIL) == [("nova_admin_count_truncate",)]
    finally:
        execute(f"DROP TRIGGER other ON {MAIL}")


def test_a_table_that_is_gone_is_not_counted():
    execute(f"ALTER TABLE {MAIL} RENAME TO client_email_credentials_old")

    assert counted_tables()[MAIL] is False
    assert not asked_in_sql()
    assert [refusal.why for refusal in count_every_write()] == [
        f"{MAIL}: UndefinedTable (SQLSTATE 42P01)"
    ]
    assert CountingGap.objects.open().exists()


# Gaps


def test_a_gap_ends_with_every_client_counted_once(idom):
    other = make_client("other")
    ClientWrite.objects.all().delete()
    prove_counting()
    execute(NOT_COUNTED["disabled"])
    row = Client.objects.get(pk=idom).emails.get().pk
    update("client_email_credentials", row, imap_port=1)

    tasks.keep_counting()
    tasks.keep_counting()

    assert (writes(idom), writes(other)) == (1, 1)
    gap = CountingGap.objects.get()
    assert gap.proved_at < gap.found_at < gap.ended_at
    update("client_email_credentials", row, imap_port=2)
    assert writes(idom) == 2


def test_a_trigger_that_was_off_for_one_transaction_is_noticed_at_once(idom):
    """As a restore with `--disable-triggers` does it: afterwards everything stands as before."""
    ClientWrite.objects.all().delete()
    with nova_connected() as nova:
        nova.execute(f"ALTER TABLE {MAIL} DISABLE TRIGGER USER")
        nova.execute(f"UPDATE {MAIL} SET imap_port = 1")
        nova.execute(f"ALTER TABLE {MAIL} ENABLE TRIGGER USER")
        nova.commit()

    assert all(counted_tables().values())
    assert not writes_are_counted()
    assert not asked_in_sql()
    tasks.keep_counting()
    assert writes_are_counted()
    assert asked_in_sql()
    assert writes(idom) == 1


def test_a_gap_that_is_cut_short_is_ended_by_the_next_look(idom, monkeypatch):
    ClientWrite.objects.all().delete()
    execute(NOT_COUNTED["disabled"])
    with monkeypatch.context() as patched:
        patched.setattr(triggers, "COUNT_EACH_CLIENT", "SELECT 1/0")
        with pytest.raises(Exception, match="DivisionByZero"):
            count_every_write()

    assert all(counted_tables().values())
    assert not writes_are_counted()
    assert not asked_in_sql()
    count_every_write()
    assert writes_are_counted()
    assert writes(idom) == 1


@pytest.mark.parametrize("replaced", ["count_write", "writes_are_counted"])
def test_a_function_with_another_body_is_replaced(idom, replaced):
    returns = {"count_write": "trigger", "writes_are_counted": "boolean"}[replaced]
    execute(
        f"CREATE OR REPLACE FUNCTION nova_admin.{replaced}() RETURNS {returns}"
        " LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )

    tasks.keep_counting()

    before = writes(idom)
    update("clients", idom, name="Other")
    assert writes(idom) == before + 1
    assert asked_in_sql()
    assert CountingGap.objects.get().ended_at


def test_novas_writers_never_queue_behind_the_installation(idom, monkeypatch):
    """One of NOVA's transactions is open for long; the others must not wait for it by way of the installation."""
    monkeypatch.setattr(triggers, "TRIES", 4)
    execute(NOT_COUNTED["disabled"])
    refused, waits = [], []
    with nova_connected() as long, nova_connected() as short:
        long.execute(f"UPDATE {MAIL} SET imap_port = 1 WHERE client_id = %s", [idom])

        def install():
            refused.extend(count_every_write())
            connection.close()

        thread = threading.Thread(target=install)
        thread.start()
        while thread.is_alive():
            start = time.monotonic()
            short.execute(
                f"INSERT INTO {MAIL} (client_id, email_user, email_password_encrypted) VALUES (%s, 'a', 'b')",
                [idom],
            )
            short.commit()
            waits.append(time.monotonic() - start)
        thread.join()
        long.rollback()

    assert [refusal.why for refusal in refused] == [f"{MAIL} is in use; run migrate again"]
    assert len(waits) > 10
    assert max(waits) < 0.5
    assert CountingGap.objects.open().exists()
    assert count_every_write() == []


def test_a_write_that_commits_while_the_gap_is_closed_is_counted_with_the_rest(idom, monkeypatch):
    """What was written by a transaction that began before the triggers stood has to be seen by the next push."""
    execute(NOT_COUNTED["disabled"])
    with nova_connected() as nova:
        nova.execute(f"UPDATE {MAIL} SET imap_port = 4 WHERE client_id = %s", [idom])
        thread = threading.Timer(0.4, nova.commit)
        thread.start()

        assert count_every_write() == []

        assert not thread.is_alive()
    assert Client.objects.get(pk=idom).emails.get().imap_port == 4
    assert writes_are_counted()


# The proof

SWALLOW = f"CREATE TRIGGER swallow BEFORE UPDATE ON {MAIL} FOR EACH ROW EXECUTE FUNCTION"
SWALLOWED = {
    "a rule": f"CREATE RULE swallow AS ON UPDATE TO {MAIL} DO INSTEAD NOTHING",
    "a trigger before it": f"""
        {TRIGGER_FUNCTION.format("swallow", "BEGIN RETURN NULL; END")}; {SWALLOW} public.swallow()
    """,
    "an error": f"""
        {TRIGGER_FUNCTION.format("swallow", "BEGIN RAISE EXCEPTION ''no''; END")};
        {SWALLOW} public.swallow()
    """,
    "a session without triggers": "SET session_replication_role = replica",
}


@pytest.mark.parametrize("obstacle", SWALLOWED)
def test_what_stands_and_does_not_count_is_found_by_the_proof(idom, obstacle):
    assert prove_counting() == dict.fromkeys(COUNTED_TABLES, ProofOutcome.HOLDS)
    execute(SWALLOWED[obstacle])
    assert writes_are_counted()

    tasks.prove_counting()

    assert MAIL in CountingProof.objects.list_failed_tables()
    assert not writes_are_counted()
    assert not asked_in_sql()
    tasks.keep_counting()  # the cause is still there
    assert not writes_are_counted()
    execute(AS_BEFORE)
    ClientWrite.objects.all().delete()
    tasks.keep_counting()
    assert writes_are_counted()
    assert writes(idom) == 1
    assert CountingProof.objects.get(table=MAIL).held_at
    assert CountingGap.objects.get().ended_at


def test_a_failed_proof_and_its_gap_are_stored_together(idom, monkeypatch):
    execute(SWALLOWED["a rule"])
    with monkeypatch.context() as patched:
        patched.setattr(CountingGapQuerySet, "begin", lambda _gaps: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prove_counting()
    assert not CountingProof.objects.list_failed_tables()

    prove_counting()

    assert CountingProof.objects.list_failed_tables() == [MAIL]
    assert not asked_in_sql()


def test_a_proof_that_fails_while_a_gap_is_being_ended_leaves_one_open(idom):
    CountingGap.objects.begin()
    execute(SWALLOWED["a rule"])

    def prove():
        prove_counting()
        connection.close()

    thread = threading.Thread(target=prove)
    with transaction.atomic():
        CountingGap.objects.end()
        thread.start()
        thread.join(1)
    thread.join()
    assert not asked_in_sql()
    assert CountingGap.objects.count() == 2

    with transaction.atomic():
        CountingGap.objects.end()
    assert CountingGap.objects.open().exists()


def test_the_proof_changes_nothing_holds_nothing_and_notifies_nobody(idom):
    execute(
        TRIGGER_FUNCTION.format(
            "notify", "BEGIN PERFORM pg_notify(''nova'', ''x''); RETURN NULL; END"
        )
    )
    execute(
        f"CREATE TRIGGER notify AFTER UPDATE ON {MAIL} FOR EACH ROW EXECUTE FUNCTION public.notify()"
    )
    before = [execute(f"SELECT * FROM {table} ORDER BY id") for table in COUNTED_TABLES]
    counted = writes(idom)
    with nova_connected() as listener:
        listener.execute("LISTEN nova")
        listener.commit()

        assert prove_counting() == dict.fromkeys(COUNTED_TABLES, ProofOutcome.HOLDS)

        assert list(listener.notifies(timeout=0.3)) == []
        listener.execute("SET lock_timeout = '1ms'")
        for table in COUNTED_TABLES:
            listener.execute(f"SELECT 1 FROM {table} FOR UPDATE NOWAIT")
        listener.rollback()
    assert [execute(f"SELECT * FROM {table} ORDER BY id") for table in COUNTED_TABLES] == before
    assert writes(idom) == counted


def test_the_proof_takes_no_row_that_nova_holds_and_waits_for_nobody(idom):
    with nova_connected() as nova:
        nova.execute(f"UPDATE {MAIL} SET imap_port = 1 WHERE client_id = %s", [idom])
        start = time.monotonic()

        assert prove_counting()[MAIL] == ProofOutcome.BUSY
        make_full_client("other")
        assert prove_counting()[MAIL] == ProofOutcome.HOLDS

        assert time.monotonic() - start < 2
        nova.execute(f"LOCK TABLE {DATABASES} IN ACCESS EXCLUSIVE MODE")
        assert prove_counting()[DATABASES] == ProofOutcome.BUSY
        nova.rollback()
    assert writes_are_counted()
    assert CountingProof.objects.get(table=DATABASES).outcome == ProofOutcome.HOLDS


def test_what_others_count_meanwhile_proves_nothing(idom, monkeypatch):
    execute(SWALLOWED["a rule"])

    def meanwhile(execute, statement, params, many, context):
        if statement.startswith("UPDATE public.client_email"):
            with nova_connected() as nova:
                nova.execute(
                    f"INSERT INTO {MAIL} (client_id, email_user, email_password_encrypted)"
                    " SELECT id, 'other', 'example' FROM public.clients"
                )
                nova.commit()
        return execute(statement, params, many, context)

    with connection.execute_wrapper(meanwhile):
        assert prove_counting()[MAIL] == ProofOutcome.FAILED


def test_an_empty_table_has_nothing_to_prove():
    assert prove_counting() == dict.fromkeys(COUNTED_TABLES, ProofOutcome.EMPTY)
    assert writes_are_counted()


def test_the_proof_is_of_a_real_change(idom):
    """A trigger of NOVA's that leaves out updates which change nothing is no reason to doubt."""
    execute(f"{SWALLOW} suppress_redundant_updates_trigger()")

    assert prove_counting()[MAIL] == ProofOutcome.HOLDS


# TRUNCATE


@pytest.fixture
def three(idom) -> tuple[int, int, int]:
    """One client with rows, one without, and one that is gone and was pushed."""
    without = make_client("without")
    gone = make_client("gone")
    Client.objects.filter(pk=gone).delete()
    ClientRevision.objects.record_pushed([(gone, 1)])
    ClientWrite.objects.all().delete()
    return idom, without, gone


@pytest.mark.parametrize("table", COUNTED_TABLES)
def test_truncate_is_a_write_of_every_client(three, table):
    with nova_connected() as nova:
        nova.execute(f"TRUNCATE {table} CASCADE")
        nova.commit()

    assert all(writes(pk) > 0 for pk in three)


def test_truncate_counts_those_who_had_rows_in_a_table_that_is_emptied_with_it(idom):
    ClientWrite.objects.all().delete()

    with nova_connected() as nova:
        nova.execute(f"TRUNCATE {', '.join(COUNTED_TABLES)} CASCADE")
        nova.commit()

    assert writes(idom) > 0


def test_a_truncate_that_is_rolled_back_is_not_counted(three):
    with nova_connected() as nova:
        nova.execute("TRUNCATE public.clients CASCADE")
        nova.rollback()

    assert not ClientWrite.objects.exists()


def test_truncate_waits_for_no_table_that_somebody_holds(three):
    """It counts those with a revision then, which are all that were ever pushed."""
    idom, without, gone = three
    ClientRevision.objects.record_pushed([(idom, 1)])
    with nova_connected() as holder, nova_connected() as nova:
        holder.execute(f"LOCK TABLE {DATABASES} IN ACCESS EXCLUSIVE MODE")
        nova.execute("SET lock_timeout = '3s'")
        start = time.monotonic()
        nova.execute(f"TRUNCATE {MAIL}")
        took = time.monotonic() - start
        assert nova.execute("SHOW lock_timeout").fetchone() == ("3s",)
        nova.commit()
        holder.rollback()

    assert took < 0.5
    assert (writes(idom), writes(without), writes(gone)) == (1, 0, 1)


def test_two_who_empty_different_tables_at_once_wait_for_each_other_no_more_than_without_us(idom):
    """Each reads what the other holds or wants: neither waits for the other, and neither is ended as a deadlock."""
    with nova_connected() as one, nova_connected() as other:
        for session in (one, other):
            session.execute("SET lock_timeout = '2s'")
        one.execute(f"TRUNCATE {MAIL}")
        other.execute(f"TRUNCATE {DATABASES}")
        one.execute("TRUNCATE nova_admin.client_aws_credentials")
        one.commit()
        other.commit()

    assert writes(idom) > 0


@pytest.mark.parametrize("table", ["credentials_clientwrite", "credentials_clientrevision"])
def test_an_error_while_truncate_is_counted_does_not_fail_it(idom, table):
    execute(f"ALTER TABLE nova_admin.{table} RENAME TO aside")
    try:
        with nova_connected() as nova:
            nova.execute("SET lock_timeout = '7s'")
            nova.execute(f"TRUNCATE {MAIL}")
            assert nova.execute("SHOW lock_timeout").fetchone() == ("7s",)
            nova.commit()
    finally:
        execute(f"ALTER TABLE nova_admin.aside RENAME TO {table}")
    assert execute(f"SELECT count(*) FROM {MAIL}") == [(0,)]


def test_a_truncate_in_a_transaction_of_one_moment_is_counted(three):
    with nova_connected() as nova:
        nova.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        nova.execute(f"TRUNCATE {MAIL}")
        nova.commit()

    assert all(writes(pk) for pk in three)


def test_nothing_is_open_after_a_look(idom):
    """The look of every minute holds no transaction open, and takes three statements where all is well."""
    with connection.execute_wrapper(lambda execute, *args: seen.append(args[0]) or execute(*args)):
        seen: list[str] = []
        assert count_every_write() == []
    assert len(seen) == 3
    assert not transaction.get_connection().in_atomic_block
