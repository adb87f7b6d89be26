"""TRUNCATE begins a gap, which ends once every client was counted: no push of before it is relied on meanwhile."""

import time

import psycopg
import pytest

from credentials import triggers
from credentials.models import Client, ClientWrite, CountingGap
from credentials.triggers import ensure_writes_are_counted, writes_are_counted
from nova_credentials.tables import COUNTED_TABLES
from tests.credentials.counting.statements import DATABASES, MAIL, execute, writes
from tests.factories import make_client, nova_connected

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def two(idom) -> tuple[int, int]:
    """One client with rows, and one without."""
    without = make_client("without")
    ClientWrite.objects.all().delete()
    return idom, without


@pytest.mark.parametrize("table", COUNTED_TABLES)
def test_truncate_is_a_write_of_every_client(two, table):
    with nova_connected() as nova:
        nova.execute(f"TRUNCATE {table} CASCADE")
        nova.commit()

    assert not writes_are_counted()
    assert ensure_writes_are_counted() == []
    assert writes_are_counted()
    assert {pk for pk in two if writes(pk)} == set(Client.objects.values_list("pk", flat=True))


def test_all_tables_may_be_emptied_at_once(two):
    with nova_connected() as nova:
        nova.execute(f"TRUNCATE {', '.join(COUNTED_TABLES)} CASCADE")
        nova.commit()

    assert not writes_are_counted()
    assert ensure_writes_are_counted() == []
    assert not CountingGap.objects.open().exists()


def test_a_truncate_that_is_rolled_back_is_not_counted(two):
    with nova_connected() as nova:
        nova.execute("TRUNCATE public.clients CASCADE")
        nova.rollback()

    assert writes_are_counted()


def test_the_number_of_clients_makes_no_statement_more(two):
    """NOVA's exclusive lock lasts no longer with a hundred thousand clients than with two."""
    with nova_connected() as nova:
        nova.execute(f"TRUNCATE {MAIL}")
        nova.commit()

    assert not ClientWrite.objects.exists()
    assert CountingGap.objects.count() == 1


def test_truncate_waits_for_no_table_that_somebody_holds(two):
    with nova_connected() as holder, nova_connected() as nova:
        tables = ", ".join({*COUNTED_TABLES} - {MAIL})
        holder.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        nova.execute("SET lock_timeout = '3s'")
        start = time.monotonic()
        nova.execute(f"TRUNCATE {MAIL}")
        took = time.monotonic() - start
        nova.commit()
        holder.rollback()

    assert took < 0.5
    assert not writes_are_counted()


def test_two_who_empty_different_tables_at_once_wait_for_each_other_no_more_than_without_us(two):
    with nova_connected() as one, nova_connected() as other:
        for session in (one, other):
            session.execute("SET lock_timeout = '2s'")
        one.execute(f"TRUNCATE {MAIL}")
        other.execute(f"TRUNCATE {DATABASES}")
        one.execute("TRUNCATE nova_admin.client_aws_credentials")
        one.commit()
        other.commit()

    assert ensure_writes_are_counted() == []
    assert all(writes(pk) for pk in two)


def test_a_truncate_that_is_not_over_while_a_gap_ends_leaves_its_own(two, monkeypatch):
    monkeypatch.setattr(triggers, "TRIES", 1)
    CountingGap.objects.begin()
    with nova_connected() as nova:
        nova.execute("TRUNCATE nova_admin.client_aws_credentials")
        # The look waits for no more than a moment, and leaves the gap open.
        assert ensure_writes_are_counted()
        nova.commit()

    assert not writes_are_counted()
    assert ensure_writes_are_counted() == []
    assert writes_are_counted()


def test_an_error_while_truncate_is_counted_does_not_fail_it(two):
    execute("ALTER TABLE nova_admin.credentials_countinggap RENAME TO aside")
    try:
        with nova_connected() as nova:
            nova.execute(f"TRUNCATE {MAIL}")
            nova.commit()
    finally:
        execute("ALTER TABLE nova_admin.aside RENAME TO credentials_countinggap")
    assert execute(f"SELECT count(*) FROM {MAIL}") == [(0,)]


def test_a_truncate_in_a_transaction_of_one_moment_is_counted(two):
    with nova_connected() as nova:
        nova.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        nova.execute(f"TRUNCATE {MAIL}")
        nova.commit()

    assert not writes_are_counted()
