"""Missing evidence is overridden by those who may, with a reason, and that is kept; facts never are."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from migration.core.audit import ReasonError
from migration.core.clients import GATE_EVENT
from migration.models import AuditEvent, ClientMigration, PhaseChange, Run, SearchedClient
from migration.moves.approvals import ApprovalStepRefused, RequestedMove, approve_run, request_move
from migration.moves.gates import MAY_NOT_OVERRIDE, Override, ShutGate
from migration.moves.moves import LINE_OVERRIDDEN, move
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import VIEW, give_evidence, make_copy_search, make_full_client, make_user
from tests.migration.moves.clients import enter_phase, phase_of, write_password

MISSING = ["clean_streak", "time_in_phase", "too_few_reads", "no_reader_process"]
MOVE, OVERRIDE, APPROVE = (
    "migration.move_client",
    "migration.override_gate",
    "migration.approve_move",
)


@pytest.fixture
def maria():
    return make_user("maria", *VIEW, MOVE, OVERRIDE, APPROVE)


@pytest.fixture
def ana():
    """She may move clients and approve moves, and not override."""
    return make_user("ana", *VIEW, MOVE, APPROVE)


def override(by=None, reason: str = "Test client") -> Override:
    return Override(reason, by)


def test_an_override_moves_and_keeps_what_was_missing_and_why(idom, maria):
    moved = move(client_id=idom, new=Phase.AWS, by=maria, override=override(maria))

    change = PhaseChange.objects.first()
    assert phase_of(idom) == Phase.AWS
    assert [line.key for line in change.overridden] == MISSING
    assert "NOVA's reader: 0 of 20 reads since dual read began." in map(str, change.overridden)
    assert change.override_reason == "Test client"
    assert "Missing evidence was overridden: Matching comparisons" in str(
        moved.message_with_overridden
    )
    gate = AuditEvent.objects.filter(code=GATE_EVENT).latest("pk").message.values["lines"]
    overridden = [line.values["line"].key for line in gate if line.key == LINE_OVERRIDDEN.key]
    assert overridden == MISSING
    assert len(gate) > len(MISSING)


def test_an_override_covers_no_fact(idom, maria):
    write_password(idom, "example-new")

    with pytest.raises(ShutGate) as refusal:
        move(client_id=idom, new=Phase.AWS, by=maria, override=override(maria))

    assert refusal.value.codes == ["push_pending"]
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_not_override_is_refused(idom, ana):
    with pytest.raises(ShutGate) as refusal:
        move(client_id=idom, new=Phase.AWS, by=ana, override=override(ana))

    assert refusal.value.codes == [*MISSING, MAY_NOT_OVERRIDE.key]
    assert not any(check.passed for check in refusal.value.shut)
    assert phase_of(idom) == Phase.DUAL_READ


def test_where_nothing_is_missing_an_override_changes_nothing_and_is_not_kept(proven, ana):
    moved = move(client_id=proven, new=Phase.AWS, by=ana, override=override(ana))

    change = PhaseChange.objects.first()
    assert (change.overridden, change.override_reason, moved.overridden) == ([], "", ())


@pytest.mark.parametrize("new", [Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_on_a_move_that_wants_no_evidence_it_is_not_kept(idom, maria, new):
    if new == Phase.DUAL_READ:
        move(client_id=idom, new=Phase.DUAL_WRITE)

    move(client_id=idom, new=new, by=maria, override=override(maria))

    assert PhaseChange.objects.first().override_reason == ""


def test_an_override_of_certain_kinds_covers_no_other(idom, maria):
    shown = frozenset({"streak", "time", "processes"})

    with pytest.raises(ShutGate) as refusal:
        move(client_id=idom, new=Phase.AWS, by=maria, override=Override("Test", maria, shown))

    assert refusal.value.codes == ["too_few_reads"]
    assert phase_of(idom) == Phase.DUAL_READ


def test_a_reason_that_can_not_be_stored_moves_nobody(idom, maria):
    with pytest.raises(ReasonError):
        move(client_id=idom, new=Phase.AWS, by=maria, override=override(maria, "x" * 501))

    assert phase_of(idom) == Phase.DUAL_READ


# With approval


@pytest.fixture
def approval(settings):
    settings.NOVA_REQUIRE_APPROVAL = True


def ask(pk: int, by) -> RequestedMove:
    return request_move(client_id=pk, new=Phase.AWS, by=by, reason="INC-42", override=override(by))


def test_an_approver_approves_the_override_that_the_request_shows(idom, maria, ana, approval):
    asked = ask(idom, maria)
    assert (asked.waits_for, asked.run.override_reason) == ([], "Test client")
    assert set(asked.run.override_lines) == {"streak", "time", "reads", "processes"}
    assert [line.key for line in asked.overridden] == MISSING

    approve_run(run_id=asked.run.pk, by=ana)

    change = PhaseChange.objects.first()
    assert (change.by, change.reason, change.override_reason) == (ana, "INC-42", "Test client")
    assert [line.key for line in change.overridden] == MISSING


def test_evidence_that_is_missing_besides_keeps_the_gate_shut(proven, maria, ana, approval):
    give_evidence(proven, matches=-21)  # one read too few
    asked = ask(proven, maria)
    assert [line.key for line in asked.overridden] == ["too_few_reads"]
    compare(client_ids=[proven])
    ClientMigration.objects.update(clean_streak=2)

    with pytest.raises(ShutGate) as refusal:
        approve_run(run_id=asked.run.pk, by=ana)

    assert refusal.value.codes == ["clean_streak"]
    asked.run.refresh_from_db()
    assert asked.run.override_lines == ["reads"]
    assert asked.run.state == Run.State.REQUESTED


def test_an_approver_of_no_search_approves_no_copies_that_were_found_since(proven, ana, settings):
    move(client_id=proven, new=Phase.AWS)
    settings.NOVA_REQUIRE_APPROVAL = True
    give_evidence(proven)
    SearchedClient.objects.all().delete()
    compare(client_ids=[proven])
    boss = make_user("boss", *VIEW, "migration.purge_client", OVERRIDE)
    asked = request_move(
        client_id=proven, new=Phase.PURGED, by=boss, reason="INC-42", override=override(boss)
    )
    assert asked.run.override_lines == ["copies"]
    make_copy_search(proven, rows_found=3)

    with pytest.raises(ShutGate) as refusal:
        approve_run(run_id=asked.run.pk, by=ana)

    assert refusal.value.codes == ["copies_found"]
    assert phase_of(proven) == Phase.AWS


def test_who_may_not_override_can_not_ask_for_it_either(idom, ana, approval):
    with pytest.raises(ApprovalStepRefused, match="ana may not override"):
        ask(idom, ana)

    assert not Run.objects.exists()


def test_an_override_ends_with_the_permission_of_who_asked(idom, maria, ana, approval):
    asked = ask(idom, maria)
    maria.user_permissions.clear()

    with pytest.raises(ShutGate, match="maria may not override"):
        approve_run(run_id=asked.run.pk, by=ana)

    assert phase_of(idom) == Phase.DUAL_READ


def test_a_request_where_nothing_is_missing_overrides_nothing(proven, maria, approval):
    asked = ask(proven, maria)

    assert (asked.overridden, asked.run.override_reason) == ([], "")


def test_a_request_that_overrides_still_waits_for_facts(idom, maria, approval):
    write_password(idom, "example-new")

    asked = ask(idom, maria)

    assert [line.key for line in asked.waits_for] == ["push_pending"]


# The command


def run_command(*arguments: str) -> tuple[int, list[dict]]:
    out, code = io.StringIO(), 0
    try:
        call_command("move_clients", *arguments, "--format", "json", stdout=out)
    except SystemExit as ended:
        code = ended.code
    return code, json.loads(out.getvalue())


def test_the_command_overrides_with_a_reason(idom):
    code, (told,) = run_command("aws", "idom", "--override", "Test client")

    assert (code, told["moved"], told["phase"]) == (0, True, "aws")
    assert told["codes"] == ["reads_aws", "overridden"]
    assert PhaseChange.objects.first().override_reason == "Test client"


def test_without_it_the_command_says_what_is_missing(idom):
    code, (told,) = run_command("aws", "idom")

    assert (code, told["moved"], told["codes"]) == (1, False, MISSING)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_an_override_without_a_storable_reason_is_wrong_use(idom, reason):
    with pytest.raises(CommandError) as refused:
        call_command("move_clients", "aws", "idom", "--override", reason)

    assert refused.value.returncode == 2
    assert phase_of(idom) == Phase.DUAL_READ


def test_the_permission_of_who_is_named_counts(idom, ana, maria):
    arguments = ("aws", "idom", "--override", "Test client", "--by")
    code, (told,) = run_command(*arguments, "ana")
    assert (code, told["moved"], told["codes"][-1]) == (1, False, "may_not_override")

    assert run_command(*arguments, "maria")[0] == 0


def test_the_command_tells_for_how_many_clients_each_line_was_used(proven):
    other = make_full_client("other")
    enter_phase(other, Phase.DUAL_READ)
    out = io.StringIO()

    call_command("move_clients", "aws", "idom", "other", "--override", "Test", stdout=out)

    assert "Overridden: reads by NOVA, for 1 of 2 clients." in out.getvalue()


def test_a_request_by_the_command_carries_the_override(idom, maria, approval):
    arguments = ("aws", "idom", "--by", "maria", "--reason", "INC-42", "--override", "Test client")

    code, (told,) = run_command(*arguments)

    assert (code, told["codes"]) == (1, ["asked_for", "overrides"])
    assert Run.objects.get().override_reason == "Test client"
