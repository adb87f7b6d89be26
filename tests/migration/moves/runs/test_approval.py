"""Runs of moves that need a second user: the run is approved as a whole, and each gate counts at its client's turn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from migration.core.audit import APPROVAL_EVENT, REFUSAL_EVENT, REQUEST_EVENT, ReasonError
from migration.core.sentences import ASK_BY_COMMAND
from migration.models import AuditEvent, ClientMigration, PasswordReset, PhaseChange
from migration.moves.approvals import ApprovalStepRefused, approve_run, cancel_run_request
from migration.moves.moves import NEEDS_APPROVAL, move
from migration.moves.rules import CLEAN_STREAK
from migration.moves.runs import ASKED_FOR_BY
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs import engine
from migration.runs.items import RUN_STOPPED, Outcome
from migration.runs.models import Run, WithdrawnRunError
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.moves.clients import phase_of, write_password
from tests.migration.moves.runs.moved import codes_of, make_clients, move_all, once, outcomes, start


@pytest.fixture(autouse=True)
def approval_is_required(settings):
    settings.NOVA_REQUIRE_APPROVAL = True


@pytest.fixture
def ana() -> User:
    return make_user("ana", "migration.approve_move")


def request(by: User, **options) -> Run:
    return start(Phase.DUAL_READ, Phase.AWS, by=by, reason="INC-42", **options)


def by_another_session(act: Callable[[], object]) -> None:
    def act_and_close() -> None:
        try:
            act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(act_and_close).result(30)


def work(run: Run) -> None:
    engine.work_on_run(run_id=run.pk)
    run.refresh_from_db()


def test_nobody_moves_until_somebody_else_approves(maria, ana):
    pks = make_clients(2, Phase.DUAL_READ)
    run = request(maria)
    work(run)
    assert (run.state, outcomes(run)) == (Run.State.REQUESTED, {"client-0": "", "client-1": ""})
    with pytest.raises(ApprovalStepRefused, match="Someone else"):
        approve_run(run_id=run.pk, by=maria)

    write_password(pks[1], "example-new")
    work(approve_run(run_id=run.pk, by=ana))

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.REFUSED}
    change = PhaseChange.objects.get(run=run)
    assert (change.client_id, change.by, change.reason) == (pks[0], ana, "INC-42")
    assert change.note.codes == [ASKED_FOR_BY.key, MOVED_BY_RUN.key]
    recorded = AuditEvent.objects.filter(correlation=f"run {run.pk}").values_list("code", "who")
    assert {(REQUEST_EVENT, "maria"), (APPROVAL_EVENT, "ana")} <= set(recorded)


def test_a_request_wants_a_user_and_a_reason(maria):
    make_clients(1, Phase.DUAL_READ)

    for by, reason in ((maria, ""), (None, "INC-42"), (None, "")):
        with pytest.raises(ApprovalStepRefused) as refused:
            start(Phase.DUAL_READ, Phase.AWS, by=by, reason=reason)
        assert refused.value.message == ASK_BY_COMMAND()

    assert not Run.objects.filter(kind=Run.Kind.MOVE).exists()


def test_who_could_have_acted_as_the_requester_approves_nothing(maria, ana):
    make_clients(1, Phase.DUAL_READ)
    run = request(maria)
    PasswordReset.objects.record(user=maria, by=ana, what=PasswordReset.What.PASSWORD)

    with pytest.raises(ApprovalStepRefused):
        approve_run(run_id=run.pk, by=ana)

    assert Run.objects.get(pk=run.pk).state == Run.State.REQUESTED
    assert AuditEvent.objects.filter(code=REFUSAL_EVENT, who="ana").exists()


def test_refused_clients_of_an_approved_run_need_another_approval(maria, ana):
    pk, _other = make_clients(2, Phase.DUAL_READ)
    write_password(pk, "example-new")
    run = request(maria)
    work(approve_run(run_id=run.pk, by=ana))
    assert outcomes(run) == {"client-0": Outcome.REFUSED, "client-1": Outcome.MOVED}

    run.reopen_failed(by=maria)
    work(run)

    assert (run.state, run.approved_by_name) == (Run.State.REQUESTED, "")
    assert phase_of(pk) == Phase.DUAL_READ


def test_a_client_that_left_the_second_request_leaves_the_others_to_be_approved(maria, ana):
    pks = make_clients(2, Phase.DUAL_READ)
    for pk in pks:
        write_password(pk, "example-new")
    run = request(maria)
    work(approve_run(run_id=run.pk, by=ana))
    assert set(outcomes(run).values()) == {Outcome.REFUSED}
    run.reopen_failed(by=maria, item_id=run.items.get(client_id=pks[0]).pk)
    move(client_id=pks[0], new=Phase.DUAL_WRITE, by=ana)
    run = Run.objects.get(pk=run.pk)
    assert (run.state, run.approved_by_name) == (Run.State.FINISHED, "")

    run.reopen_failed(by=maria)

    assert run.state == Run.State.REQUESTED
    with pytest.raises(ApprovalStepRefused, match="Someone else"):
        approve_run(run_id=run.pk, by=maria)
    work(approve_run(run_id=run.pk, by=ana))
    assert NEEDS_APPROVAL.key not in codes_of(run, "client-1")


def test_who_could_have_acted_as_who_had_it_go_on_approves_nothing(maria, ana):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    write_password(pk, "example-new")
    run = request(maria)
    run.approve(by=ana)
    work(run)
    eva = make_user("eva")
    run.reopen_failed(by=eva)
    PasswordReset.objects.record(user=ana, by=eva, what=PasswordReset.What.PASSWORD)

    with pytest.raises(ApprovalStepRefused, match="one person could have requested"):
        approve_run(run_id=run.pk, by=ana)


def test_who_approves_is_told_that_a_client_left_the_request(maria, ana):
    pks = make_clients(2, Phase.DUAL_READ)
    run = request(maria)
    shown = str(run.read_request())
    move(client_id=pks[0], new=Phase.DUAL_WRITE, by=ana)

    with pytest.raises(ApprovalStepRefused, match="the page showed 2, and now it would be 1"):
        approve_run(run_id=run.pk, by=ana, shown=shown)


def test_a_cancelled_request_moves_nobody_and_is_approved_by_nobody(maria, ana):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    run = request(maria)

    cancel_run_request(run_id=run.pk, by=ana)

    with pytest.raises(ApprovalStepRefused, match="stopped"):
        approve_run(run_id=run.pk, by=ana)
    run.refresh_from_db()
    assert (outcomes(run), run.finished_at is None) == ({"client-0": Outcome.SKIPPED}, False)
    with pytest.raises(ApprovalStepRefused):
        cancel_run_request(run_id=run.pk, by=maria)
    assert phase_of(pk) == Phase.DUAL_READ


def test_an_open_request_keeps_no_other_gate_shut(maria, settings):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    request(maria)
    settings.NOVA_REQUIRE_APPROVAL = False

    move_all(Phase.DUAL_READ, Phase.AWS)

    assert phase_of(pk) == Phase.AWS


def test_a_run_that_began_before_approval_was_required_moves_nobody_over(settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    (pk,) = make_clients(1, Phase.DUAL_READ)
    run = start(Phase.DUAL_READ, Phase.AWS)
    settings.NOVA_REQUIRE_APPROVAL = True

    work(run)

    assert codes_of(run, "client-0") == [NEEDS_APPROVAL.key]
    assert phase_of(pk) == Phase.DUAL_READ


def test_who_may_not_move_may_not_request_it(ana):
    make_clients(1, Phase.DUAL_READ)

    with pytest.raises(ApprovalStepRefused):
        request(ana)

    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["reason", "override_reason"])
def test_a_reason_that_can_not_be_stored_starts_nothing(name):
    make_clients(1, Phase.DUAL_READ)

    with pytest.raises(ReasonError):
        start(Phase.DUAL_READ, Phase.AWS, **{name: "INC\0"})

    assert not Run.objects.exists()


def test_an_override_covers_what_was_missing_when_it_was_requested_and_no_more(
    ana, settings
):  # fmt: skip
    settings.NOVA_MIN_READS = 20
    joan = make_user("joan", "migration.move_client", "migration.override_gate")
    pks = make_clients(2, Phase.DUAL_READ)
    run = request(joan, override_reason="Test clients")
    assert set(run.moves.override_lines) == {"reads", "processes"}

    ClientMigration.objects.filter(pk=pks[1]).update(clean_streak=0)
    work(approve_run(run_id=run.pk, by=ana))

    assert outcomes(run) == {"client-0": Outcome.MOVED, "client-1": Outcome.REFUSED}
    assert codes_of(run, "client-1") == [CLEAN_STREAK.key]
    change = PhaseChange.objects.get(run=run)
    assert (change.override_reason, len(change.overridden)) == ("Test clients", 2)


def test_an_override_that_nobody_approves_covers_what_is_missing_at_each_clients_turn(settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    settings.NOVA_MIN_READS = 20
    joan = make_user("joan", "migration.move_client", "migration.override_gate")
    pks = make_clients(2, Phase.DUAL_READ)
    run = request(joan, override_reason="Test clients")
    assert run.moves.override_lines == ()

    ClientMigration.objects.filter(pk=pks[1]).update(clean_streak=0)
    work(run)

    assert outcomes(run) == dict.fromkeys(("client-0", "client-1"), Outcome.MOVED)
    overridden = {change.client_id: len(change.overridden) for change in run.phase_changes.all()}
    assert overridden == {pks[0]: 2, pks[1]: 3}


def test_an_override_ends_with_the_user_who_asked_for_it(settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    settings.NOVA_MIN_READS = 20
    joan = make_user("joan", "migration.move_client", "migration.override_gate")
    make_clients(1, Phase.DUAL_READ)
    run = request(joan, override_reason="Test clients")
    Run.objects.filter(pk=run.pk).update(by=None)

    work(run)

    assert outcomes(run) == {"client-0": Outcome.REFUSED}


def test_a_user_who_may_not_override_is_named(maria, settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    settings.NOVA_MIN_READS = 20
    make_clients(1, Phase.DUAL_READ)

    run = request(maria, override_reason="Test clients")
    work(run)

    assert "may_not_override" in codes_of(run, "client-0")


def test_the_rest_of_an_approved_run_needs_another_approval_by_whatever_way_it_goes_on(maria, ana):
    pk, _other = make_clients(2, Phase.DUAL_READ)
    run = request(maria)
    run = approve_run(run_id=run.pk, by=ana)
    run.stop(by=ana)
    engine.skip_free_items_of_stopped_run(run)
    make_user("operator", "migration.add_run", "migration.move_client")

    with pytest.raises(CommandError, match="once someone else approves it") as left:
        call_command("run", "resume", str(run.pk), "--inline", "--by", "operator")

    run.refresh_from_db()
    assert (left.value.returncode, run.state) == (1, Run.State.REQUESTED)
    assert phase_of(pk) == Phase.DUAL_READ


def test_who_may_not_make_the_move_has_no_run_of_it_go_on(maria, ana):
    make_clients(2, Phase.DUAL_READ)
    run = approve_run(run_id=request(maria).pk, by=ana)
    run.stop(by=ana)
    make_user("eva", "migration.add_run")

    with pytest.raises(CommandError, match="eva lacks the permission") as left:
        call_command("run", "resume", str(run.pk), "--inline", "--by", "eva")

    run.refresh_from_db()
    assert (left.value.returncode, run.state) == (2, Run.State.STOPPED)


def test_a_cancelled_run_does_not_go_on_and_one_of_before_this_was_known_moves_nobody(maria, ana):
    (pk,) = make_clients(1, Phase.DUAL_READ)
    run = request(maria)
    cancel_run_request(run_id=run.pk, by=ana)
    run.refresh_from_db()
    with pytest.raises(WithdrawnRunError):
        run.reopen_never_begun(by=maria)

    run.items.update(message=RUN_STOPPED())
    run.reopen_never_begun(by=maria)
    work(run)

    assert outcomes(run) == {"client-0": Outcome.REFUSED}
    assert phase_of(pk) == Phase.DUAL_READ


def test_who_cancels_a_run_that_another_approved_meanwhile_is_told(maria, ana, monkeypatch):
    make_clients(2, Phase.DUAL_READ)
    run = request(maria)
    approve = partial(approve_run, run_id=run.pk, by=ana)
    # The one who cancels has read the run as a request when the other decides, in a session of their own.
    decided = once(partial(by_another_session, approve), Run.stop_unapproved)
    monkeypatch.setattr(Run, "stop_unapproved", decided)
    with pytest.raises(ApprovalStepRefused, match="not waiting for approval"):
        cancel_run_request(run_id=run.pk, by=maria)

    run.refresh_from_db()
    assert (run.approved_by_name, run.state) == ("ana", Run.State.RUNNING)


@pytest.mark.parametrize("other", ["approve", "cancel"])
def test_who_decides_while_another_approves_waits_and_is_told(maria, ana, monkeypatch, other):
    make_clients(2, Phase.DUAL_READ)
    run, eva = request(maria), make_user("eva", "migration.approve_move")
    decide = {
        "approve": partial(approve_run, run_id=run.pk, by=eva),
        "cancel": partial(cancel_run_request, run_id=run.pk, by=maria),
    }[other]
    with ThreadPoolExecutor(1) as thread:
        waiting = []

        def begin() -> None:
            waiting.append(thread.submit(by_another_session, decide))

        monkeypatch.setattr(Run, "approve", once(begin, Run.approve))
        approve_run(run_id=run.pk, by=ana)
        with pytest.raises(ApprovalStepRefused, match="not waiting for approval"):
            waiting[0].result(30)

    run.refresh_from_db()
    assert (run.approved_by_name, run.state) == ("ana", Run.State.RUNNING)
