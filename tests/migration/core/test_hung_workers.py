"""A process that hangs with leases keeps them for ten minutes, not for ever; one that works keeps them."""

import threading
from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from migration import tasks
from migration.core import leases
from migration.core.leases import LeaseKind
from migration.runs import engine
from nova_admin.database.base import DatabaseWrapper
from tests.factories import nova_uri

pytestmark = pytest.mark.django_db(transaction=True)


class Holder(threading.Thread):
    """Holds a lease in a session of its own and hangs until it is told to go on."""

    def __init__(self, kind: LeaseKind, key: int) -> None:
        super().__init__(daemon=True)
        self.kind, self.key = kind, key
        self.held, self.go_on = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with leases.try_lease(self.kind, self.key, delete_row=True) as taken:
                assert taken
                self.held.set()
                self.go_on.wait(30)
                leases.refuse_lost_client_locks()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.error = error
        finally:
            connection.close()


@pytest.fixture
def hold():
    holders = []

    def hold(kind: LeaseKind, key: int) -> Holder:
        holder = Holder(kind, key)
        holders.append(holder)
        holder.start()
        assert holder.held.wait(10)
        return holder

    yield hold
    for holder in holders:
        holder.go_on.set()
        holder.join()


def test_the_session_of_one_that_hangs_is_ended_and_it_learns_so(hold, monkeypatch):
    """Before, a batch of a stopped process or a frozen host was never done."""
    holder = hold(LeaseKind.BATCH, 5 << engine.BATCH_BITS)
    tasks.resume_stalled_runs()
    assert engine.held_batches(5) == {0}

    monkeypatch.setattr(leases, "HUNG_AFTER", timedelta(0))
    tasks.resume_stalled_runs()

    assert engine.held_batches(5) == set()
    holder.go_on.set()
    holder.join()
    assert holder.error is not None


def test_a_search_for_copies_that_reads_by_another_connection_is_left_alone(hold, monkeypatch):
    holder = hold(LeaseKind.SEARCH, 7)
    monkeypatch.setattr(leases, "HUNG_AFTER", timedelta(0))

    assert leases.end_hung_sessions() == 0

    holder.go_on.set()
    holder.join()
    assert holder.error is None


def test_sessions_without_leases_are_left_alone(monkeypatch):
    monkeypatch.setattr(leases, "HUNG_AFTER", timedelta(0))
    with psycopg.connect(nova_uri(), autocommit=True) as idle:
        idle.execute("SELECT 1")
        assert leases.end_hung_sessions() == 0
        idle.execute("SELECT 1")


def test_both_ends_of_a_connection_look_whether_the_other_one_is_there():
    """Before, PostgreSQL kept the leases of a host without power for two hours, or as postgresql.conf said."""
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, source FROM pg_settings WHERE name ~ '^tcp_'")
        asked = dict(cursor.fetchall())

    assert asked == dict.fromkeys(
        (
            "tcp_keepalives_count",
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_user_timeout",
        ),
        "session",
    )
    ours = connection.connection.info.get_parameters()
    assert (ours["keepalives_idle"], ours["tcp_user_timeout"]) == ("30", "60000")


def test_what_the_databases_address_says_of_it_comes_first():
    own = DatabaseWrapper(
        connection.settings_dict
        | {"OPTIONS": connection.settings_dict["OPTIONS"] | {"keepalives_idle": "7"}}
    )

    parameters = own.get_connection_params()

    assert (parameters["keepalives_idle"], parameters["keepalives_count"]) == ("7", 3)
