"""A lease is held by one session, and ends with it, however that ends."""

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction

from migration.core import leases
from migration.core.leases import (
    LeaseKind,
    LeaseLostError,
    hold_until_commit,
    list_held,
    refuse_lost_client_locks,
    refuse_lost_leases,
    release_leases,
    take_leases,
    try_lease,
)
from migration.core.rate_limiter import rate_limiter
from migration.models import Lease, Rate
from nova_admin.database.base import SESSION
from tests.held_leases import held_elsewhere, wait_for_end

CLIENT, BATCH = LeaseKind.CLIENT, LeaseKind.BATCH

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_several_clients_those_that_are_free_are_taken():
    with held_elsewhere(CLIENT, 2, 4):
        assert take_leases(CLIENT, [1, 2, 3, 4]) == {1, 3}
        assert list_held(CLIENT, 1, 9) == {1, 2, 3, 4}
    release_leases(CLIENT, [1, 3])
    assert list_held(CLIENT, 1, 9) == set()


def test_another_kind_is_another_lease():
    with held_elsewhere(CLIENT, 1), try_lease(BATCH, 1) as taken:
        assert taken


def test_what_a_session_holds_it_can_take_again_and_keeps_until_the_last_release():
    with try_lease(CLIENT, 1):
        with try_lease(CLIENT, 1) as again:
            assert again
        assert list_held(CLIENT, 1, 1) == {1}
    assert list_held(CLIENT, 1, 1) == set()


def test_the_lease_of_a_session_that_broke_is_free_at_once():
    with held_elsewhere(CLIENT, 1):
        pass
    assert Lease.objects.filter(key=1, pid__isnull=False).exists()
    assert list_held(CLIENT, 1, 1) == set()
    with try_lease(CLIENT, 1) as taken:
        assert taken


def break_connection() -> None:
    """Another connection sees to it that PostgreSQL has noticed: this one stays closed."""
    backend = connection.connection.info.backend_pid
    connection.close()

    def wait() -> None:
        wait_for_end([backend])
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(wait).result()


def reset_session() -> None:
    """What PgBouncer does when it gives the session to somebody else."""
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")
        cursor.execute(SESSION)


LOSSES = pytest.mark.parametrize("lose", [break_connection, reset_session])


@contextmanager
def learning_of_the_loss(kind: LeaseKind, key: int) -> Iterator[None]:
    """Hold a lease that is lost meanwhile, which its holder learns at the end."""
    with pytest.raises(LeaseLostError), try_lease(kind, key):
        yield


@LOSSES
def test_whose_session_is_lost_holds_nothing_and_takes_nothing_from_the_next_holder(lose):
    with learning_of_the_loss(CLIENT, 1):
        lose()
        assert list_held(CLIENT, 1, 1) == set()
        with held_elsewhere(CLIENT, 1):
            with pytest.raises(LeaseLostError):
                release_leases(CLIENT, [1])
            assert list_held(CLIENT, 1, 1) == {1}


@LOSSES
def test_a_lost_lease_can_be_taken_again_once_its_holder_has_learnt_it(lose):
    with learning_of_the_loss(CLIENT, 1):
        lose()
    with try_lease(CLIENT, 1) as taken:
        assert taken


@LOSSES
def test_the_holder_learns_it_before_an_act(lose, monkeypatch):
    monkeypatch.setattr(leases, "PROVEN_FOR_SECONDS", 0)
    with learning_of_the_loss(CLIENT, 1):
        refuse_lost_leases()
        refuse_lost_client_locks()
        lose()
        for refuse in (refuse_lost_leases, refuse_lost_client_locks):
            with pytest.raises(LeaseLostError):
                refuse()


@LOSSES
def test_the_holder_learns_it_when_it_takes_another_lease(lose):
    with learning_of_the_loss(BATCH, 1):
        lose()
        with pytest.raises(LeaseLostError):
            take_leases(CLIENT, [1])
        with try_lease(CLIENT, 2) as taken:  # it was told
            assert taken


def fail_without_a_connection() -> None:
    connection.close()
    raise ZeroDivisionError


def test_a_lost_lease_hides_no_other_error():
    with pytest.raises(ZeroDivisionError), try_lease(CLIENT, 1):
        fail_without_a_connection()


@LOSSES
def test_a_session_that_was_lost_while_it_held_nothing_takes_leases_as_ever(lose):
    with try_lease(CLIENT, 1):
        pass
    lose()
    with try_lease(CLIENT, 1):
        assert list_held(CLIENT, 1, 1) == {1}
        refuse_lost_client_locks()


def test_for_a_while_the_lock_is_believed_without_a_statement(django_assert_num_queries):
    with try_lease(CLIENT, 1), django_assert_num_queries(0):
        refuse_lost_leases()


def forget_proof() -> None:
    leases.find_thread_session().proven_at = -math.inf


def reserve_turns() -> None:
    rate_limiter().take_turn_before_others("BatchGetSecretValue")


def test_a_reservation_of_turns_proves_the_lock_too(monkeypatch):
    asked = []
    monkeypatch.setattr(leases, "_read_proofs", lambda *_, **__: asked.append(1) or [])
    with try_lease(CLIENT, 1):
        forget_proof()
        reserve_turns()
        refuse_lost_leases()
        assert not asked

        forget_proof()
        with pytest.raises(LeaseLostError):
            refuse_lost_leases()
        assert asked


@LOSSES
def test_a_reservation_of_turns_does_not_prove_a_lock_that_is_lost(lose):
    with learning_of_the_loss(CLIENT, 1):
        forget_proof()
        lose()
        reserve_turns()
        with pytest.raises(LeaseLostError):
            refuse_lost_leases()


def test_a_reservation_of_turns_proves_only_the_sessions_whose_lock_is_there():
    """Each by its own process id and number."""
    with try_lease(CLIENT, 1):
        mine = leases.find_thread_session()
        another = SimpleNamespace(pid=mine.pid, key=mine.key ^ 1)
        elsewhere = SimpleNamespace(pid=mine.pid + 1, key=mine.key)
        for asked, proven in (
            ([mine], [1]),
            ([another, mine, elsewhere, mine], [2, 4]),
            ([another, elsewhere], []),
            ([], []),
        ):
            kind = Rate.Kind.READ
            reserved = Rate.objects.reserve(connection, kind, seconds=0.2, sessions_to_prove=asked)
            assert sorted(reserved.proven_places) == proven


def test_a_lease_that_is_younger_than_the_statement_is_never_taken_for_dead():
    with held_elsewhere(CLIENT, 1):
        pass
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE migration_lease SET taken_at = clock_timestamp() + interval '1 hour'"
        )
    assert take_leases(CLIENT, [1]) == set()
    assert list_held(CLIENT, 1, 1) == {1}


def test_a_lease_of_a_process_id_that_another_session_has_now_is_free():
    with held_elsewhere(CLIENT, 1), connection.cursor() as cursor:
        cursor.execute("UPDATE migration_lease SET session_key = session_key # 1")
        assert take_leases(CLIENT, [1]) == {1}
        release_leases(CLIENT, [1])


def test_many_who_take_at_once_share_without_waiting_or_overlap():
    start = threading.Barrier(4)

    def take(number: int) -> list[set[int]]:
        keys = list(range(40)) if number % 2 else list(range(39, -1, -1))
        taken = []
        try:
            connection.ensure_connection()
            for _ in range(5):
                start.wait(30)
                taken.append(take_leases(CLIENT, keys))
                start.wait(30)
                release_leases(CLIENT, taken[-1])
        finally:
            connection.close()
        return taken

    with ThreadPoolExecutor(4) as threads:
        rounds = zip(*threads.map(take, range(4)), strict=True)
    for one_round in rounds:
        assert sum(len(taken) for taken in one_round) == len(set.union(*one_round))


def test_a_transaction_that_is_rolled_back_leaves_nothing_held():
    with pytest.raises(ZeroDivisionError), transaction.atomic(), try_lease(CLIENT, 1):
        raise ZeroDivisionError
    assert list_held(CLIENT, 1, 1) == set()


def test_until_its_commit_a_save_holds_the_lease_and_others_do_not_wait():
    with try_lease(CLIENT, 1):
        pass
    with transaction.atomic():
        assert hold_until_commit(CLIENT, 1)
        assert asked_elsewhere(1) == set()
    assert asked_elsewhere(1) == {1}


def test_a_save_does_not_wait_for_who_holds_the_lease():
    with held_elsewhere(CLIENT, 1), transaction.atomic():
        assert not hold_until_commit(CLIENT, 1)


def test_a_save_of_a_client_that_nobody_has_worked_on_holds_its_lease():
    with transaction.atomic():
        assert hold_until_commit(CLIENT, 1)
        assert hold_until_commit(CLIENT, 1)
    assert asked_elsewhere(1) == {1}


def test_a_first_lease_is_waited_for_as_little():
    """Two rows of one key that aren't committed would wait for each other."""
    with transaction.atomic():
        assert hold_until_commit(CLIENT, 1)
        assert asked_elsewhere(1) == set()
        assert not asked_elsewhere(1, hold_at_once)
    assert asked_elsewhere(1, hold_at_once)


def test_no_row_is_left_of_what_comes_once():
    with try_lease(BATCH, 1, delete_row=True):
        assert Lease.objects.filter(kind=BATCH).exists()
    assert not Lease.objects.filter(kind=BATCH).exists()


def test_a_crash_of_postgresql_empties_the_table():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence::text FROM pg_class WHERE oid = 'migration_lease'::regclass"
        )
        assert cursor.fetchone() == ("u",)


def test_taking_and_releasing_are_a_statement_each(django_assert_num_queries):
    release_leases(CLIENT, take_leases(CLIENT, [0]))  # the session takes its lock once
    with django_assert_num_queries(2):
        taken = take_leases(CLIENT, range(1, 100))
        release_leases(CLIENT, taken)


def take_one(key: int) -> set[int]:
    return take_leases(CLIENT, [key])


def hold_at_once(key: int) -> bool:
    with transaction.atomic():
        return hold_until_commit(CLIENT, key)


def asked_elsewhere(key: int, ask: Callable[[int], Any] = take_one) -> Any:
    """The answer to another session, whose connection ends then. It fails where it would have to wait."""

    def connect_and_ask() -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '300ms'")
            return ask(key)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(connect_and_ask).result(20)
