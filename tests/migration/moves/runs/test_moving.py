"""Runs of moves: each pair of phases, each client through its gate, what is recorded and what is asked once."""

from collections import Counter

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.core import aws_store
from migration.core.audit import REFUSAL_EVENT
from migration.core.clients import GATE_EVENT, MOVE_EVENT, all_clients
from migration.models import AuditEvent, ClientMigration, PhaseChange
from migration.moves.approvals import start_move_run
from migration.moves.moves import COMPARED_JUST_NOW, READS_AWS, move
from migration.moves.rules import IN_A_RUN, NEVER_COMPARED, PUSH_PENDING
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs import engine
from migration.runs.engine import FAILURE_EVENT
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import MOVES, IllegalMove, Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import change_in_aws, password, phase_of, write_password
from tests.migration.moves.runs.moved import codes_of, make_clients, move_all, outcomes, start


@pytest.mark.parametrize(("old", "new"), [pair for pair in MOVES if Phase.PURGED not in pair])
def test_every_client_in_the_phase_moves_and_no_other(maria, old, new):
    pks = make_clients(2, old)
    run = move_all(old, new, by=maria, reason="INC-42")

    assert run.state == Run.State.FINISHED
    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
    assert {phase_of(pk) for pk in pks} == {new}
    changes = PhaseChange.objects.filter(run=run)
    assert {(row.client_id, row.by, row.reason) for row in changes} == {
        (pk, maria, "INC-42") for pk in pks
    }
    assert all(MOVED_BY_RUN.key in row.note.codes for row in changes)
    moved = AuditEvent.objects.filter(code=MOVE_EVENT, correlation=f"run {run.pk}")
    assert {row.client_id for row in moved} == set(pks)


def test_clients_in_other_phases_are_no_part_of_the_run():
    make_clients(1, Phase.DUAL_READ), make_full_client("elsewhere")

    assert outcomes(start(Phase.DUAL_READ, Phase.DUAL_WRITE)) == {"client-0": ""}


def test_an_item_keeps_no_comparison_of_an_earlier_try():
    make_full_client("b d")
    run = start(Phase.POSTGRES, Phase.DUAL_WRITE)
    run.items.update(comparison_status="unchecked")

    engine.process_batch_if_running(run.pk, 0)

    item = run.items.get()
    assert (item.outcome, item.comparison_status) == (Outcome.REFUSED, "")


def test_a_run_purges_and_another_restores():
    pks = make_clients(2, Phase.AWS)
    before = {pk: password(pk) for pk in pks}

    purged = move_all(Phase.AWS, Phase.PURGED)

    assert outcomes(purged) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
    assert all(password(pk) != before[pk] for pk in pks)
    restored = move_all(Phase.PURGED, Phase.AWS)
    assert outcomes(restored) == {"client-0": Outcome.MOVED, "client-1": Outcome.MOVED}
    assert {pk: password(pk) for pk in pks} == before


def test_a_client_whose_gate_is_shut_is_refused_with_every_reason_and_the_others_move(maria):
    pks = make_clients(3, Phase.DUAL_READ)
    write_password(pks[1], "example-new")

    run = move_all(Phase.DUAL_READ, Phase.AWS, by=maria, reason="INC-42")

    assert outcomes(run) == {
        "client-0": Outcome.MOVED, "client-1": Outcome.REFUSED, "client-2": Outcome.MOVED,
    }  # fmt: skip
    assert codes_of(run, "client-1") == [PUSH_PENDING.key]
    assert codes_of(run, "client-0") == [READS_AWS.key]
    assert phase_of(pks[1]) == Phase.DUAL_READ
    refused = AuditEvent.objects.get(code=FAILURE_EVENT)
    assert (refused.client_id, refused.who, refused.reason) == (pks[1], "maria", "INC-42")
    assert refused.message.values["why"].key == PUSH_PENDING.key
    assert not AuditEvent.objects.filter(code=REFUSAL_EVENT).exists()
    gates = AuditEvent.objects.filter(code=GATE_EVENT)
    assert {row.client_id for row in gates} == {pks[0], pks[2]}


def test_what_differs_in_aws_is_refused_as_compared_just_now():
    pks = make_clients(2, Phase.DUAL_READ)
    change_in_aws(aws_store.secrets_manager(), "nova/clients/client-1", password="example-theirs")

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert codes_of(run, "client-1") == [COMPARED_JUST_NOW.key]
    assert run.items.get(slug="client-1").comparison_status == "mismatch"
    assert ClientMigration.objects.get(pk=pks[1]).comparison_status == "mismatch"
    assert (phase_of(pks[0]), phase_of(pks[1])) == (Phase.AWS, Phase.DUAL_READ)


def test_a_run_to_dual_write_tells_of_each_push_what_became_of_it():
    for slug in ("client-0", "b d", "idom-abc123"):
        make_full_client(slug)

    run = move_all(Phase.POSTGRES, Phase.DUAL_WRITE)

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


def test_the_gate_is_judged_before_the_comparison_that_the_move_itself_makes():
    make_clients(1, Phase.DUAL_READ)
    ClientMigration.objects.update(comparison=None, clean_streak=0)

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert NEVER_COMPARED.key in codes_of(run, "client-0")


def test_a_client_that_somebody_moved_meanwhile_is_left_where_it_is():
    pks = make_clients(2, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE)
    move(client_id=pks[0], new=Phase.DUAL_WRITE)
    move(client_id=pks[0], new=Phase.POSTGRES)

    engine.finish_inline(run)

    assert outcomes(run) == {"client-0": Outcome.REFUSED, "client-1": Outcome.MOVED}
    assert phase_of(pks[0]) == Phase.POSTGRES


def test_a_run_never_takes_a_step_back_from_a_phase_that_it_does_not_name():
    """A run to dual read that began in dual write rolls nobody back who was cut over meanwhile."""
    (pk,) = make_clients(1, Phase.AWS)
    run = start(Phase.AWS, Phase.DUAL_READ)
    Run.objects.update(move_from=Phase.DUAL_WRITE)

    engine.finish_inline(run)

    assert phase_of(pk) == Phase.AWS


def test_its_own_items_keep_no_gate_shut_and_those_of_another_run_do():
    pks = make_clients(2, Phase.DUAL_READ)
    other = Run.start(kind=Run.Kind.PUSH, chosen=all_clients().filter(pk=pks[0]))

    run = move_all(Phase.DUAL_READ, Phase.AWS)

    assert codes_of(run, "client-0") == [IN_A_RUN.key]
    assert phase_of(pks[1]) == Phase.AWS
    assert other.items.open().count() == 1


def test_a_run_between_phases_that_have_no_move_is_refused():
    with pytest.raises(IllegalMove):
        start(Phase.POSTGRES, Phase.AWS)


def test_a_client_that_is_gone_is_skipped():
    make_clients(1, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.DUAL_WRITE)
    with connection.cursor() as cursor:
        for table in ("client_database_credentials", "client_email_credentials"):
            cursor.execute(f"DELETE FROM public.{table}")
        cursor.execute("DELETE FROM nova_admin.client_aws_credentials; DELETE FROM public.clients")

    engine.finish_inline(run)

    assert outcomes(run) == {"client-0": Outcome.SKIPPED}


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


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        (Phase.DUAL_WRITE, Phase.DUAL_READ, {}),
        # Which secrets share a key, and whether one of these may be written.
        (
            Phase.DUAL_READ,
            Phase.AWS,
            {"ListSecrets": 1, "GetSecretValue": 1, "PutSecretValue": 1},
        ),
    ],
)
def test_aws_is_asked_for_a_batch_and_for_no_client_by_itself(stores, old, new, more):
    make_clients(3, old)
    before = count_calls(stores)

    run = move_all(old, new)

    assert set(outcomes(run).values()) == {Outcome.MOVED}
    assert count_calls(stores) - before == Counter({"BatchGetSecretValue": 1} | more)


def count_calls(aws) -> Counter[str]:
    calls = aws.conditions.report()["calls"]
    return Counter({operation: counts["calls"] for operation, counts in calls.items()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Phase.DUAL_WRITE, Phase.DUAL_READ),
        (Phase.DUAL_READ, Phase.AWS),
        (Phase.AWS, Phase.DUAL_READ),
    ],
)
def test_more_clients_in_a_batch_need_no_more_statements(old, new):
    chosen, counted = all_clients().filter(slug__in=["client-0", "client-1"]), []
    make_clients(6, old)
    for some, number in ((chosen, 2), (all_clients(), 4)):
        run = start_move_run(chosen=some, old=old, new=new)
        assert run.items.count() == number
        with CaptureQueriesContext(connection) as queries:
            engine.process_batch_if_running(run.pk, 0)
        assert set(outcomes(run).values()) == {Outcome.MOVED}
        counted.append(len(queries))

    assert counted[1] <= counted[0], counted


def test_a_run_back_to_postgres_schedules_no_deletion_unless_that_is_asked():
    make_clients(1, Phase.DUAL_WRITE)

    run = move_all(Phase.DUAL_WRITE, Phase.POSTGRES)

    assert outcomes(run) == {"client-0": Outcome.MOVED}
    assert not run.schedule_deletion
    description = aws_store.secrets_manager().describe_secret("nova/clients/client-0")
    assert description.deleted_at is None
