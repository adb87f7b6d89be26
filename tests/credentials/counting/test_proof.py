"""The proof of counting finds triggers that stand and count nothing, and disturbs nobody."""

import threading
import time

import pytest
from django.db import connection, transaction

from credentials.models import (
    ClientWrite,
    CountingGap,
    CountingProof,
    ProofOutcome,
)
from credentials.models.counting import CountingGapQuerySet
from credentials.triggers import ensure_writes_are_counted, prove_counting, writes_are_counted
from migration import tasks
from nova_credentials.tables import COUNTED_TABLES
from tests.credentials.counting.statements import (
    AS_BEFORE,
    DATABASES,
    MAIL,
    TRIGGER_FUNCTION,
    asked_in_sql,
    execute,
    writes,
)
from tests.factories import make_full_client, nova_connected

pytestmark = pytest.mark.usefixtures("stores")

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
    assert [refusal.why for refusal in ensure_writes_are_counted() if MAIL in refusal.why]
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
        CountingGap.objects.end_unless_proof_failed()
        thread.start()
        thread.join(1)
    thread.join()
    assert not asked_in_sql()
    assert CountingGap.objects.count() == 2

    with transaction.atomic():
        CountingGap.objects.end_unless_proof_failed()
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
