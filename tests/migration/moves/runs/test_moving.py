"""Runs of moves: each pair of phases, each client through its gate, what is recorded and what is asked once."""

from collections import Counter
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.core import aws_store
from migration.core.audit import REFUSAL_EVENT
from migration.core.clients import GATE_EVENT, MOVE_EVENT, all_clients
from migration.models import AuditEvent, ClientMigration, PhaseChange
from migration.moves.approvals import start_move_run
from migration.moves.moves import COMPARED_JUST_NOW, READS_AWS, move
from migration.moves.rules import CLEAN_STREAK, IN_A_RUN, NEVER_COMPARED, PUSH_PENDING
from migration.pushes.comparisons import compare
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs import engine
from migration.runs.engine import FAILURE_EVENT
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import MOVES, IllegalMove, Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import (
    LINE,
    change_in_aws,
    enter_phase,
    password,
    phase_of,
    write_password,
)
from tests.migration.moves.runs.moved import codes_of, make_clients, move_all, outcomes, start

# Every move, of those in its phase and of nobody else

THERE_AND_BACK = [*LINE, *LINE[-2::-1]]


def test_every_move_takes_those_in_its_phase_and_no_other(maria):
    pks = make_clients(2, Phase.POSTGRES)
    enter_phase(elsewhere := make_full_client("elsewhere"), Phase.DUAL_WRITE)
    in_postgres = {pk: password(pk) for pk in pks}

    for old, new in pairwise(THERE_AND_BACK):
        ClientMigration.objects.filter(pk=elsewhere).update(phase=new)
        if old != Phase.POSTGRES:
            compare(client_ids=pks)
        run = move_all(old, new, by=maria, reason="INC-42")

        assert run.state == Run.State.FINISHED
        assert not run.schedule_deletion
        assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
        assert {phase_of(pk) for pk in pks} == {new}
        changes = PhaseChange.objects.filter(run=run)
        assert {(row.client_id, row.by, row.reason) for row in changes} == {
            (pk, maria, "INC-42") for pk in pks
        }
        assert all(MOVED_BY_RUN.key in row.note.codes for row in changes)
        moved = AuditEvent.objects.filter(code=MOVE_EVENT, correlation=f"run {run.pk}")
        assert {row.client_id for row in moved} == set(pks)
        kept = {pk for pk in pks if password(pk) == in_postgres[pk]}
        assert kept == (set() if new == Phase.PURGED else set(pks))
    assert {*pairwise(THERE_AND_BACK)} == {*MOVES}
    description = aws_store.secrets_manager().describe_secret("nova/clients/client-0")
    assert description.deleted_at is None


def test_who_may_not_be_cut_over_is_refused_with_every_reason_and_the_others_move(maria):
    pks = make_clients(6, Phase.DUAL_READ)
    write_password(pks[1], "example-new")
    change_in_aws(aws_store.secrets_manager(), "nova/clients/client-2", password="example-theirs")
    # The gate is judged before the comparison that the move itself makes.
    ClientMigration.objects.filter(pk=pks[3]).update(comparison=None, clean_streak=0)
    # Its own items keep no gate shut, those of another run do.
    other = Run.start(kind=Run.Kind.PUSH, chosen=all_clients().filter(pk=pks[4]))

    run = move_all(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")

    refused = dict.fromkeys([f"client-{n}" for n in range(1, 5)], Outcome.REFUSED)
    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-5": Outcome.MOVED} | refused
    codes = [codes_of(run, f"client-{n}") for n in range(6)]
    assert codes == [
        [READS_AWS.key],
        [PUSH_PENDING.key],
        [COMPARED_JUST_NOW.key],
        [NEVER_COMPARED.key, CLEAN_STREAK.key],
        [IN_A_RUN.key],
        [READS_AWS.key],
    ]
    assert [phase_of(pk) for pk in pks] == [Phase.AWS, *[Phase.DUAL_READ] * 4, Phase.AWS]
    assert other.items.open().count() == 1
    assert run.items.get(slug="client-2").comparison_status == "mismatch"
    assert ClientMigration.objects.get(pk=pks[2]).comparison_status == "mismatch"
    failures = AuditEvent.objects.filter(code=FAILURE_EVENT)
    assert [
        (event.client_id, event.who, event.reason, event.message.values["why"].codes)
        for event in failures.order_by("client_id")
    ] == [(pk, "maria", "INC-42", [*why]) for pk, why in zip(pks[1:5], codes[1:5], strict=True)]
    assert not AuditEvent.objects.filter(code=REFUSAL_EVENT).exists()
    gates = AuditEvent.objects.filter(code=GATE_EVENT)
    assert {row.client_id for row in gates} == {pks[0], pks[5]}


def test_a_run_to_dual_write_tells_of_each_push_what_became_of_it():
    for slug in ("client-0", "b d", "idom-abc123"):
        make_full_client(slug)
    run = start(Phase.POSTGRES, Phase.DUAL_WRITE)
    run.items.update(comparison_status="unchecked")  # of an earlier try

    engine.finish_inline(run)

    facts = ("slug", "outcome", "error_class", "comparison_status")
    assert set(run.items.values_list(*facts)) == {
        ("client-0", Outcome.MOVED, "", "match"),
        ("b d", Outcome.REFUSED, "data", ""),
        ("idom-abc123", Outcome.MOVED, "", "match"),
    }
    assert codes_of(run, "client-0") == []
    assert codes_of(run, "b d") == [shared.CHARACTER_NOT_ALLOWED.key]
    assert codes_of(run, "idom-abc123") == [shared.NAME_LIKE_ARN.key]
    # The history tells of the move: what AWS may take the name for is no matter of it.
    changes = PhaseChange.objects.filter(run=run)
    assert [change.note.codes for change in changes] == [[MOVED_BY_RUN.key]] * 2


def test_who_was_moved_or_deleted_meanwhile_is_left():
    pks = make_clients(3, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE)
    move(client_id=pks[0], new=Phase.DUAL_WRITE)
    move(client_id=pks[0], new=Phase.POSTGRES)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks[1]])

    engine.finish_inline(run)

    assert outcomes(run) == {
        "client-0": Outcome.REFUSED, "client-1": Outcome.SKIPPED, "client-2": Outcome.MOVED,
    }  # fmt: skip
    assert phase_of(pks[0]) == Phase.POSTGRES


def test_a_run_never_takes_a_step_back_from_a_phase_that_it_does_not_name():
    """A run to dual read that began in dual write rolls nobody back who was cut over meanwhile."""
    (pk,) = make_clients(1, Phase.AWS)
    run = start(Phase.AWS, Phase.DUAL_READ)
    Run.objects.update(move_from=Phase.DUAL_WRITE)

    engine.finish_inline(run)

    assert phase_of(pk) == Phase.AWS


def test_a_run_between_phases_that_have_no_move_is_refused():
    with pytest.raises(IllegalMove):
        start(Phase.POSTGRES, Phase.AWS)


def test_the_account_is_asked_once_a_run(monkeypatch):
    monkeypatch.setattr(Run, "BATCH", 2)
    make_clients(3, Phase.DUAL_READ)
    put, asked = SecretsManager.put_value, []
    monkeypatch.setattr(
        SecretsManager, "put_value", lambda self, name, *a, **k: (asked.append(name), put(self, name, *a, **k))[1]
    )  # fmt: skip
    monkeypatch.setattr(engine, "BATCHES_AT_ONCE", 1)

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert set(outcomes(run).values()) == {Outcome.MOVED}
    assert len(asked) == 1


# What a batch asks of AWS, by the move: before a cutover which secrets share a key, and if one of them may be written.
CALLS = {
    (Phase.DUAL_WRITE, Phase.DUAL_READ): {"BatchGetSecretValue": 1},
    (Phase.DUAL_READ, Phase.AWS): {
        "BatchGetSecretValue": 1, "ListSecrets": 1, "GetSecretValue": 1, "PutSecretValue": 1,
    },
    (Phase.AWS, Phase.DUAL_READ): {"BatchGetSecretValue": 1},
}  # fmt: skip


def test_more_clients_in_a_batch_need_no_more_statements_and_calls_of_aws(stores):
    pks = make_clients(6, Phase.DUAL_WRITE)
    chosen = all_clients().filter(slug__in=["client-0", "client-1"])
    for (old, new), calls in CALLS.items():
        counted = []
        for some, number in ((chosen, 2), (all_clients(), 4)):
            run = start_move_run(chosen=some, old=old, new=new)
            assert run.items.count() == number
            before = count_calls(stores)
            with CaptureQueriesContext(connection) as queries:
                engine.process_batch_if_running(run.pk, 0)
            assert set(outcomes(run).values()) == {Outcome.MOVED}
            assert count_calls(stores) - before == Counter(calls)
            counted.append(len(queries))
        assert counted[1] <= counted[0], counted
        compare(client_ids=pks)


def count_calls(aws) -> Counter[str]:
    calls = aws.conditions.report()["calls"]
    return Counter({operation: counts["calls"] for operation, counts in calls.items()})
