"""A gap in the counting is noticed, remembered and ended with every client counted once."""

import threading
import time

import pytest
from django.db import connection, transaction

from credentials import triggers
from credentials.models import Client, ClientWrite, CountingGap, CountingTriggers
from credentials.trigger_sql import ON_A_SAFE_PATH
from credentials.triggers import (
    ensure_writes_are_counted,
    find_is_counted_by_table,
    functions_are_current,
    prove_counting,
    writes_are_counted,
)
from migration import tasks
from tests.credentials.counting.statements import MAIL, NOT_COUNTED, asked_in_sql, execute, writes
from tests.factories import make_client, nova_connected, update

pytestmark = pytest.mark.usefixtures("stores")


# Gaps


def test_a_gap_ends_with_every_client_counted_once_and_is_told(idom, caplog):
    other = make_client("other")
    ClientWrite.objects.all().delete()
    prove_counting()
    execute(NOT_COUNTED["disabled"])
    row = Client.objects.get(pk=idom).emails.get().pk
    update("client_email_credentials", row, imap_port=1)

    tasks.keep_counting()
    tasks.keep_counting()

    told = [each.message for each in caplog.records if each.name == tasks.__name__]
    assert ["not counted for a time" in each for each in told] == [True]

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

    assert all(find_is_counted_by_table().values())
    assert not writes_are_counted()
    assert not asked_in_sql()
    tasks.keep_counting()
    assert writes_are_counted()
    assert asked_in_sql()
    assert writes(idom) == 1


def test_triggers_that_were_never_looked_at_are_known_from_the_next_look_on():
    CountingTriggers.objects.all().delete()
    assert ensure_writes_are_counted() == []

    execute(f"ALTER TABLE {MAIL} DISABLE TRIGGER USER; ALTER TABLE {MAIL} ENABLE TRIGGER USER")

    assert all(find_is_counted_by_table().values())
    assert not writes_are_counted()


def test_a_gap_that_is_cut_short_is_ended_by_the_next_look(idom, monkeypatch):
    ClientWrite.objects.all().delete()
    execute(NOT_COUNTED["disabled"])
    with monkeypatch.context() as patched:
        patched.setattr(triggers, "COUNT_EACH_CLIENT", "SELECT 1/0")
        with pytest.raises(Exception, match="DivisionByZero"):
            ensure_writes_are_counted()

    assert all(find_is_counted_by_table().values())
    assert not writes_are_counted()
    assert not asked_in_sql()
    ensure_writes_are_counted()
    assert writes_are_counted()
    assert writes(idom) == 1


CHANGED = {
    "another body": "CREATE OR REPLACE FUNCTION nova_admin.{name}() RETURNS {returns} LANGUAGE plpgsql"
    f" SECURITY DEFINER {ON_A_SAFE_PATH} AS 'BEGIN RETURN NULL; END'",
    "the rights of who calls it": "ALTER FUNCTION nova_admin.{name}() SECURITY INVOKER",
    "another path": "ALTER FUNCTION nova_admin.{name}() SET search_path = public, pg_catalog",
    "policies that filter": "ALTER FUNCTION nova_admin.{name}() RESET row_security",
}


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("name", ["count_write", "writes_are_counted"])
def test_a_function_that_somebody_changed_is_replaced(idom, name, change):
    returns = {"count_write": "trigger", "writes_are_counted": "boolean"}[name]
    execute(CHANGED[change].format(name=name, returns=returns))
    assert not functions_are_current()

    tasks.keep_counting()

    assert functions_are_current()
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
            refused.extend(ensure_writes_are_counted())
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
    assert ensure_writes_are_counted() == []


def test_a_write_that_commits_while_the_gap_is_closed_is_counted_with_the_rest(idom, monkeypatch):
    """What was written by a transaction that began before the triggers stood has to be seen by the next push."""
    execute(NOT_COUNTED["disabled"])
    with nova_connected() as nova:
        nova.execute(f"UPDATE {MAIL} SET imap_port = 4 WHERE client_id = %s", [idom])
        thread = threading.Timer(0.4, nova.commit)
        thread.start()

        assert ensure_writes_are_counted() == []

        assert not thread.is_alive()
    assert Client.objects.get(pk=idom).emails.get().imap_port == 4
    assert writes_are_counted()


# TRUNCATE


def test_nothing_is_open_after_a_look(idom):
    """The look of every minute holds no transaction open, and takes three statements where all is well."""
    with connection.execute_wrapper(lambda execute, *args: seen.append(args[0]) or execute(*args)):
        seen: list[str] = []
        assert ensure_writes_are_counted() == []
    assert len(seen) == 3
    assert not transaction.get_connection().in_atomic_block
