"""Moves at once, and who waits for whom."""

import threading
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from credentials.models import Client
from credentials.models.clients import NOVA_IS_WRITING
from migration.core import aws_store
from migration.core.sentences import NOVA_WROTE
from migration.models import ClientMigration, PhaseChange
from migration.moves import moves
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes import pushes, resolutions
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase, StalePhase
from tests.factories import (
    add_mail_and_commit,
    nova_connected,
    while_someone_waits_for_rows,
    write_uncommitted,
)
from tests.migration.moves.clients import (
    LINE,
    change_in_aws,
    codes,
    enter_phase,
    password,
    phase_of,
    refusal_of,
    write_password,
)

pytestmark = pytest.mark.usefixtures("stores")


def test_a_move_waits_five_seconds_for_the_client(idom, monkeypatch):
    waits = []

    @contextmanager
    def hold(client_ids, *, wait_seconds):
        waits.append((list(client_ids), wait_seconds))
        yield set()

    monkeypatch.setattr(moves, "hold_client_locks", hold)

    refusal_of(idom, Phase.DUAL_WRITE)

    assert waits == [([idom], 5)]


def test_of_two_who_move_at_once_one_wins(idom):
    enter_phase(idom, Phase.DUAL_READ)
    results = []
    start = threading.Barrier(2)

    def press():
        start.wait()
        try:
            results.append(move(client_id=idom, new=Phase.DUAL_WRITE, seen=Phase.DUAL_READ))
        except (StalePhase, ShutGate) as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert sorted(type(result).__name__ for result in results) == ["MoveResult", "StalePhase"]
    assert PhaseChange.objects.filter(new=Phase.DUAL_WRITE, old=Phase.DUAL_READ).count() == 1


def test_a_cutover_waits_for_no_writer_of_novas(idom):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    written, done = threading.Event(), threading.Event()

    def nova():
        with transaction.atomic():
            write_password(idom, "example-late")
            written.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=nova)
    thread.start()
    written.wait(30)
    try:
        assert codes(idom, Phase.AWS) == [NOVA_IS_WRITING.key]
    finally:
        done.set()
        thread.join()


def test_a_move_that_waits_for_novas_transaction_holds_none_of_the_rows_it_needs(idom, monkeypatch):
    """With one of them in hand it would be a deadlock, which may end NOVA's transaction."""
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    with nova_connected() as nova:
        write_uncommitted(nova, idom)
        while_someone_waits_for_rows(monkeypatch, lambda: add_mail_and_commit(nova, idom))

        assert codes(idom, Phase.AWS) == [NOVA_WROTE.key]

    assert Client.objects.get(pk=idom).emails.count() > 1


@pytest.fixture
def asked(monkeypatch) -> list[bool]:
    """Whether each client of AWS that is asked for gives up early."""
    asked, manager = [], aws_store._make_manager
    monkeypatch.setattr(
        aws_store,
        "_make_manager",
        lambda pid, waits, *more: asked.append(waits) or manager(pid, waits, *more),
    )
    return asked


def test_whoever_waits_for_a_move_or_a_check_waits_for_no_patient_client_of_aws(idom, asked):
    for phase in [*LINE[1:], *reversed(LINE[:-1])]:
        resolutions.check_again(client_id=idom)
        move(client_id=idom, new=phase, schedule_deletion=True)
        if phase == Phase.DUAL_READ:
            resolutions.copy_to_aws(client_id=idom)
            resolutions.copy_to_postgres(client_id=idom)

    assert asked
    assert all(asked)


def test_a_rollback_keeps_what_it_replaces_by_no_patient_client_of_aws(idom, sm, asked):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-novas")
    change_in_aws(sm, password="example-theirs")
    asked.clear()

    move(client_id=idom, new=Phase.DUAL_READ)

    assert password(idom) == "example-theirs"
    assert all(asked)


def test_a_push_a_page_and_a_move_wait_for_a_busy_client_only_so_long(idom, monkeypatch):
    waited = []

    @contextmanager
    def hold_nothing(client_ids, *, wait_seconds):
        waited.append(wait_seconds)
        yield set()

    for module in (pushes, moves):
        monkeypatch.setattr(module, "hold_client_locks", hold_nothing)

    (busy,) = pushes.push(client_ids=[idom])
    pushes.push(client_ids=[idom], interactive=True)
    refusal_of(idom, Phase.DUAL_WRITE)

    assert (busy.busy, busy.refused, busy.postponed) == (True, False, False)
    assert waited == [30, 1, 5]


def test_a_phase_that_was_changed_past_the_lock_is_told_and_nothing_is_moved(idom, monkeypatch):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    compare_stores = moves.compare_and_refuse_differing

    def compare_and_be_overtaken(*args):
        compare_stores(*args)
        ClientMigration.objects.filter(pk=idom).update(phase=Phase.DUAL_WRITE)

    monkeypatch.setattr(moves, "compare_and_refuse_differing", compare_and_be_overtaken)

    with pytest.raises(StalePhase, match="no longer in Dual read"):
        move(client_id=idom, new=Phase.AWS)

    assert phase_of(idom) == Phase.DUAL_WRITE
    assert not PhaseChange.objects.filter(new=Phase.AWS).exists()
