"""TRUNCATE is a write of every client who had rows."""

import time

import psycopg
import pytest

from credentials.models import Client, ClientRevision, ClientWrite
from nova_credentials.tables import COUNTED_TABLES
from tests.credentials.counting.statements import DATABASES, MAIL, execute, writes
from tests.factories import make_client, nova_connected

pytestmark = pytest.mark.usefixtures("stores")


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
