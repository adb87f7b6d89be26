"""Runs of moves that are killed, stopped, held up or overtaken go on, and never act on what was read before."""

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from credentials.refusals import REFUSED_BY_DATABASE, RefusedByDatabaseError
from migration.clients.history import load_history
from migration.core import aws_store
from migration.core.audit import CANCELLATION_EVENT, REFUSAL_EVENT
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.leases import LeaseKind
from migration.core.sentences import CLIENT_NOT_THERE
from migration.models import AuditEvent, PhaseChange, RunItem
from migration.moves import moves, runs
from migration.moves.moves import (
    AWS_UNREAD,
    COPIED_TO_POSTGRES,
    MOVE_UNDER_WAY,
    MOVED_MEANWHILE,
    NEWER_IN_POSTGRES,
    move,
)
from migration.moves.rules import PUSH_PENDING
from migration.pushes.comparisons import compare
from migration.pushes.pushes import MOVED_BY_RUN, push
from migration.runs import engine
from migration.runs.engine import FAILURE_EVENT
from migration.runs.items import Outcome
from migration.runs.models import LEFT_OUT_EVENT, REQUEST_FAILED, Run
from migration.secrets.deletions import DELETED_ON, DELETION_EVENT
from migration.site.dashboard import list_activity
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import nova_uri, request_run
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import (
    change_in_aws,
    is_pending,
    password,
    phase_of,
    write_password,
)
from tests.migration.moves.runs.moved import codes_of, make_clients, move_all, once, outcomes, start


class Killed(BaseException):
    """The worker is gone: nothing catches this."""


def kill(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("old", "new"),
    [(Phase.POSTGRES, Phase.DUAL_WRITE), (Phase.DUAL_READ, Phase.AWS), (Phase.AWS, Phase.PURGED)],
)
def test_a_worker_killed_before_it_noted_its_moves_leaves_them_made(monkeypatch, old, new):
    pks = make_clients(2, old)
    run = start(old, new)
    with monkeypatch.context() as patch:
        patch.setattr(type(RunItem.objects), "record", kill)
        with pytest.raises(Killed):
            engine.work_on_run(run_id=run.pk)
    assert {phase_of(pk) for pk in pks} == {new}

    engine.work_on_run(run_id=run.pk)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
    assert PhaseChange.objects.filter(run=run).count() == 2
    assert codes_of(run, "client-0") == [MOVED_BY_RUN.key]
    others = (REFUSAL_EVENT, FAILURE_EVENT, DELETION_EVENT)
    assert not AuditEvent.objects.filter(code__in=others).exists()


def test_a_client_that_nova_deleted_after_its_worker_was_killed_was_moved_all_the_same(monkeypatch):
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE)
    with monkeypatch.context() as patch:
        patch.setattr(type(RunItem.objects), "record", kill)
        with pytest.raises(Killed):
            engine.work_on_run(run_id=run.pk)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks[0]])

    engine.work_on_run(run_id=run.pk)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}


def test_a_worker_killed_before_it_had_secrets_deleted_leaves_that_to_the_next(monkeypatch):
    make_clients(1, Phase.DUAL_WRITE)
    run = start(Phase.DUAL_WRITE, Phase.POSTGRES, schedule_deletion=True)
    with monkeypatch.context() as patch:
        patch.setattr("migration.moves.moves.schedule_secret_deletion", kill)
        with pytest.raises(Killed):
            engine.work_on_run(run_id=run.pk)

    engine.work_on_run(run_id=run.pk)

    assert codes_of(run, "client-0") == [DELETED_ON.key]
    assert aws_store.secrets_manager().describe_secret("nova/clients/client-0").deleted_at


def test_a_move_of_a_killed_worker_is_found_once_its_client_is_free(monkeypatch):
    monkeypatch.setattr(runs, "LOCK_WAIT_SECONDS", 0)
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE, tries=2)
    with monkeypatch.context() as patch:
        patch.setattr(type(RunItem.objects), "record", kill)
        with pytest.raises(Killed):
            engine.work_on_run(run_id=run.pk)

    with held_elsewhere(LeaseKind.CLIENT, pks[1]):
        engine.process_batch_if_running(run.pk, 0)
        assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": ""}
        assert codes_of(run, "client-1") == [MOVE_UNDER_WAY.key]
    run.items.update(next_try_at=None)
    engine.process_batch_if_running(run.pk, 0)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}


def test_who_was_moved_before_nova_changed_its_tables_counts_as_moved(monkeypatch):
    pks = make_clients(3, Phase.AWS)
    run = start(Phase.AWS, Phase.PURGED)
    commit, table = moves.MoveBatch.commit, "public.client_database_credentials"

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME {old} TO {new}")

    def commit_and_rename(*args) -> set[int]:
        moved = commit(*args)
        rename("db_host", "address")
        return moved

    monkeypatch.setattr(moves.MoveBatch, "commit", commit_and_rename)
    try:
        engine.process_batch_if_running(run.pk, 0)
    finally:
        rename("address", "db_host")

    assert outcomes(run) == {
        "client-0": Outcome.MOVED, "client-1": Outcome.REFUSED, "client-2": Outcome.REFUSED,
    }  # fmt: skip
    assert [phase_of(pk) for pk in pks] == [Phase.PURGED, Phase.AWS, Phase.AWS]


def test_rows_that_nova_writes_while_the_batch_compares_are_not_cut_over(monkeypatch):
    pks = make_clients(2, Phase.DUAL_READ)
    compare_all = moves.compare_and_refuse_differing
    writes = once(lambda: write_password(pks[1], "example-new"), compare_all)
    monkeypatch.setattr(moves, "compare_and_refuse_differing", writes)

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert (phase_of(pks[0]), phase_of(pks[1])) == (Phase.AWS, Phase.DUAL_READ)
    assert codes_of(run, "client-1") == [PUSH_PENDING.key]


def test_rows_that_nova_holds_are_waited_for_alone(monkeypatch):
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0.1)
    pks = make_clients(2, Phase.DUAL_READ)
    with psycopg.connect(nova_uri()) as nova:
        nova.execute("SELECT FROM public.clients WHERE id = %s FOR UPDATE", [pks[1]])

        run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.REFUSED}
    assert phase_of(pks[1]) == Phase.DUAL_READ


def test_a_client_that_somebody_else_works_on_is_tried_again(monkeypatch):
    monkeypatch.setattr(runs, "LOCK_WAIT_SECONDS", 0)
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE, tries=2)

    with held_elsewhere(LeaseKind.CLIENT, pks[1]):
        engine.process_batch_if_running(run.pk, 0)

        assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": ""}
        item = run.items.get(slug="client-1")
        assert (item.attempts, item.message.codes) == (1, [MOVE_UNDER_WAY.key])
        run.items.update(next_try_at=None)
        engine.process_batch_if_running(run.pk, 0)  # the second of two tries

    assert outcomes(run)["client-1"] == Outcome.REFUSED


def test_while_aws_writes_are_stopped_a_run_forward_waits_and_refuses_nobody():
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS)
    stop_aws_writes(reason="Somebody looks")

    engine.work_on_run(run_id=run.pk)
    assert outcomes(run) == {"client-0": "", "client-1": ""}

    start_aws_writes()
    engine.work_on_run(run_id=run.pk)
    assert {phase_of(pk) for pk in pks} == {Phase.AWS}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        (Phase.DUAL_READ, Phase.AWS, "read_secrets"),
        (Phase.POSTGRES, Phase.DUAL_WRITE, "push"),
    ],
)
def test_writes_that_are_stopped_in_the_middle_of_a_batch_leave_it_open(
    monkeypatch, old, new, step
):
    make_clients(2, old)
    run = start(old, new)
    stops = once(lambda: stop_aws_writes(reason="Somebody looks"), getattr(moves, step))
    monkeypatch.setattr(moves, step, stops)

    engine.work_on_run(run_id=run.pk)

    assert is_left_due(run)


def is_left_due(run: Run) -> bool:
    """Whether nothing was tried of the run's items, and who waits for items to try is told of them."""
    untried = set(run.items.values_list("outcome", "attempts")) == {("", 0)}
    due_at = run.items.next_try_at()
    return untried and due_at is not None and due_at <= timezone.now()


def test_no_move_is_begun_once_the_time_of_its_batch_is_over(monkeypatch):
    pks = make_clients(2, Phase.AWS)
    run = start(Phase.AWS, Phase.PURGED)
    monkeypatch.setattr(runs, "BATCH_SECONDS", -1)

    engine.process_batch_if_running(run.pk, 0)

    assert is_left_due(run)
    assert {phase_of(pk) for pk in pks} == {Phase.AWS}


def test_who_is_moved_or_deleted_just_before_its_turn_is_left(monkeypatch):
    pks = make_clients(3, Phase.AWS)
    run = start(Phase.AWS, Phase.PURGED)

    def overtake() -> None:
        move(client_id=pks[0], new=Phase.DUAL_READ)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks[1]])

    monkeypatch.setattr(runs, "move_items", once(overtake, runs.move_items))
    engine.process_batch_if_running(run.pk, 0)

    assert outcomes(run) == {
        "client-0": Outcome.REFUSED, "client-1": Outcome.SKIPPED, "client-2": Outcome.MOVED,
    }  # fmt: skip
    assert codes_of(run, "client-0") == [shared.STALE_PHASE.key]
    assert codes_of(run, "client-1") == [CLIENT_NOT_THERE.key]


def test_whose_rows_postgresql_does_not_let_be_held_together_is_moved_alone(monkeypatch):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS)

    def refuse() -> None:
        raise RefusedByDatabaseError(REFUSED_BY_DATABASE(code="P0001"))

    monkeypatch.setattr(moves, "hold_rows_if_all_free", once(refuse, moves.hold_rows_if_all_free))
    engine.process_batch_if_running(run.pk, 0)

    assert (outcomes(run), phase_of(pk)) == ({"client-0": Outcome.MOVED}, Phase.AWS)


def test_a_rollback_waits_neither_for_aws_writes_nor_for_aws(settings, monkeypatch):
    pks = make_clients(2, Phase.AWS)
    # One after the other, each would wait for AWS anew.
    monkeypatch.setattr(moves.MoveBatch, "leave", None)
    stop_aws_writes(reason="Somebody looks")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    run = move_all(Phase.AWS, Phase.DUAL_READ)

    assert {phase_of(pk) for pk in pks} == {Phase.DUAL_READ}
    assert codes_of(run, "client-0") == [AWS_UNREAD.key]
    note = PhaseChange.objects.filter(run=run).first().note
    assert note.codes == [MOVED_BY_RUN.key, AWS_UNREAD.key]


def test_a_rollback_copies_what_was_changed_in_aws_and_keeps_what_aws_lacks():
    pks = make_clients(3, Phase.AWS)
    change_in_aws(aws_store.secrets_manager(), "nova/clients/client-1", password="example-theirs")
    write_password(pks[2], "example-novas")

    run = move_all(Phase.AWS, Phase.DUAL_READ)

    assert set(outcomes(run).values()) == {Outcome.MOVED}
    assert codes_of(run, "client-0") == []
    assert codes_of(run, "client-1") == [COPIED_TO_POSTGRES.key]
    assert codes_of(run, "client-2") == [NEWER_IN_POSTGRES.key]
    assert (password(pks[1]), password(pks[2])) == ("example-theirs", "example-novas")
    assert is_pending(pks[2])


def test_a_paused_run_begins_no_further_move(monkeypatch):
    pks = make_clients(2, Phase.AWS)
    run = start(Phase.AWS, Phase.PURGED)

    move_items = runs.move_items

    def move_and_pause(*items, **options):
        left = move_items(*items, **options)
        Run.objects.get(pk=run.pk).pause(by=None)
        return left

    with monkeypatch.context() as patch:
        patch.setattr(runs, "move_items", move_and_pause)
        engine.work_on_run(run_id=run.pk)
    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": ""}

    run.refresh_from_db(), run.resume(by=None)
    engine.work_on_run(run_id=run.pk)
    assert {phase_of(pk) for pk in pks} == {Phase.PURGED}


def test_refused_clients_are_retried():
    pks = make_clients(2, Phase.DUAL_READ)
    write_password(pks[1], "example-new")
    run = move_all(Phase.DUAL_READ, Phase.DUAL_WRITE)
    assert set(outcomes(run).values()) == {Outcome.MOVED}
    run = move_all(Phase.DUAL_WRITE, Phase.DUAL_READ)
    assert outcomes(run)["client-1"] == Outcome.REFUSED
    push(client_ids=[pks[1]]), compare(client_ids=[pks[1]])

    run.reopen_failed(by=None)
    engine.work_on_run(run_id=run.pk)

    assert set(outcomes(run).values()) == {Outcome.MOVED}
    assert PhaseChange.objects.filter(run=run).count() == 2


def test_a_move_of_a_run_closes_the_clients_open_request(maria):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    asked = request_run(pk, by=maria)

    move_all(Phase.DUAL_READ, Phase.AWS)

    asked.refresh_from_db()
    assert (asked.state, asked.finished_at is None) == (Run.State.STOPPED, False)
    item = asked.items.get()
    assert (item.outcome, item.message.key) == (Outcome.SKIPPED, MOVED_MEANWHILE.key)


def test_who_is_moved_otherwise_leaves_a_request_for_many_and_the_others_stay(maria, settings):
    pks = make_clients(3, Phase.DUAL_READ)
    settings.NOVA_REQUIRE_APPROVAL = True
    asked = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="T")
    shown = str(asked.read_request())

    move(client_id=pks[0], new=Phase.DUAL_WRITE, by=maria)

    asked.refresh_from_db()
    assert asked.state == Run.State.REQUESTED
    assert outcomes(asked) == {"client-0": Outcome.SKIPPED, "client-1": "", "client-2": ""}
    assert asked.read_request().find_difference(shown)
    told = AuditEvent.objects.get(code=LEFT_OUT_EVENT)
    assert (told.client_id, told.message.key) == (pks[0], REQUEST_FAILED.key)


def test_recent_activity_tells_of_a_request_for_one_alone_and_histories_of_larger_ones(
    maria, settings
):
    pks = make_clients(3, Phase.DUAL_READ)
    settings.NOVA_REQUIRE_APPROVAL = True
    start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="T")
    for_one = request_run(pks[0], by=maria)

    move_all(Phase.DUAL_READ, Phase.DUAL_WRITE)

    assert {run.state for run in Run.objects.exclude(move_to="dual_write")} == {Run.State.STOPPED}
    activity = [each.event for each in list_activity(lambda _: True)]
    (told,) = [event for event in activity if event.message.key == REQUEST_FAILED.key]
    assert (told.code, told.correlation) == (CANCELLATION_EVENT, f"run {for_one.pk}")
    kinds = [
        [
            line.kind
            for line in load_history(pk, has_permission=lambda _: True).lines
            if line.message.key == REQUEST_FAILED.key
        ]
        for pk in pks
    ]
    left_out = LEFT_OUT_EVENT.label
    assert kinds == [[CANCELLATION_EVENT.label, left_out], [left_out], [left_out]]


def test_what_aws_throttles_is_tried_again_and_moved_once_it_answers(monkeypatch):
    make_clients(2, Phase.DUAL_WRITE)
    run = start(Phase.DUAL_WRITE, Phase.DUAL_READ, tries=3)

    def throttle(_self, names):
        return {
            name: SecretsManagerError.from_code("ThrottlingException", "BatchGetSecretValue", name)
            for name in names
        }

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "batch_get", throttle)
        engine.process_batch_if_running(run.pk, 0)

    assert outcomes(run) == {"client-0": "", "client-1": ""}
    assert set(run.items.values_list("attempts", "error_class")) == {(1, "throttled")}
    # The comparison that could not check doesn't keep the gate shut once AWS answers again.
    run.items.update(next_try_at=None)
    engine.process_batch_if_running(run.pk, 0)
    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}


def test_a_sweep_that_could_not_read_aws_keeps_no_gate_shut_once_it_answers(monkeypatch):
    pks = make_clients(2, Phase.DUAL_READ)
    with monkeypatch.context() as patch:
        patch.setattr(
            SecretsManager,
            "batch_get",
            lambda _self, names: {
                name: SecretsManagerError.from_code(
                    "InternalServiceError", "BatchGetSecretValue", name
                )
                for name in names
            },
        )
        results = compare(client_ids=pks)
    assert {result.status for result in results.values()} == {"unchecked"}

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
