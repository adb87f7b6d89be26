"""The way there and back, and the gates that shut it."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import Client
from migration.core.audit import REFUSAL_EVENT, ReasonError
from migration.core.aws_writes import stop_aws_writes, write_guard
from migration.core.comparisons import STATUSES
from migration.core.snapshots import read_snapshot
from migration.models import (
    AuditEvent,
    ClientMigration,
    Comparison,
    DatabaseClaim,
    PhaseChange,
    ReadCount,
    RunItem,
)
from migration.moves import gates, moves
from migration.moves.gates import Override, evaluate_gate, explain_shut
from migration.moves.moves import COMPARED_JUST_NOW, move
from migration.moves.rules import CLEAN_STREAK, IN_NO_RUN, PUSH_PENDING, Ask, Check, judge_gates
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.models import Run
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.factories import count_reads, make_full_client
from tests.migration.moves.clients import (
    LINE,
    NAME,
    advance,
    change_in_aws,
    codes,
    compare_apart,
    document,
    enter_phase,
    refusal_of,
    write_password,
)
from tests.migration.moves.runs.moved import once

pytestmark = pytest.mark.usefixtures("stores")


def test_a_client_goes_to_the_end_of_the_line_and_all_the_way_back(idom, sm):
    before = document(idom)

    advance(idom, Phase.PURGED)
    for phase in reversed(LINE[:-1]):
        move(client_id=idom, new=phase, reason="There and back")

    assert document(idom) == before
    assert json.loads(sm.get_value(NAME).text) == before
    walked = list(PhaseChange.objects.order_by("pk").values_list("new", flat=True))
    assert walked == [*LINE[1:], *reversed(LINE[:-1])]
    assert PhaseChange.objects.filter(reason="There and back").count() == 4


def test_an_illegal_move_names_the_phase_and_those_that_are_allowed(idom):
    with pytest.raises(
        IllegalMove,
        match=r"idom is in PostgreSQL. It can move to Dual write, not to AWS \(cut over\)",
    ):
        move(client_id=idom, new=Phase.AWS)


def test_the_first_move_pushes_and_is_refused_where_the_push_fails():
    pk = make_full_client("b d")

    refusal = refusal_of(pk, Phase.DUAL_WRITE)
    assert refusal.codes == [shared.CHARACTER_NOT_ALLOWED.key]
    assert "does not allow a space" in str(refusal)


def test_the_first_move_says_what_its_push_said():
    pk = make_full_client("idom-abc123")

    moved = move(client_id=pk, new=Phase.DUAL_WRITE)

    assert moved.message.key == shared.NAME_LIKE_ARN.key


def test_while_writes_are_stopped_the_first_move_is_refused_before_aws_is_asked(idom, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    stop_aws_writes(reason="Somebody looks")

    refusal = refusal_of(idom, Phase.DUAL_WRITE)

    assert (refusal.codes, refusal.error_class) == (["writes_stopped"], "")


def test_writes_that_are_stopped_while_it_is_pushed_refuse_the_first_move(idom, monkeypatch):
    stops = once(lambda: stop_aws_writes(reason="Somebody looks"), moves.push)
    monkeypatch.setattr(moves, "push", stops)

    assert codes(idom, Phase.DUAL_WRITE) == ["writes_stopped"]
    assert AuditEvent.objects.get(code=REFUSAL_EVENT).client_id == idom


def test_the_first_move_names_every_reason_why_nothing_may_be_written(idom):
    stop_aws_writes(reason="Somebody looks")
    DatabaseClaim.objects.update(database_oid=1, place="elsewhere/nova")
    write_guard().forget_state()

    assert codes(idom, Phase.DUAL_WRITE) == ["database_is_copy", "writes_stopped"]


def test_the_first_move_has_the_checks_of_this_site_and_that_no_run_has_the_client(idom):
    first = read_snapshot(idom)

    checks = judge_gates(Ask([idom]), Phase.DUAL_WRITE)[idom]

    assert [check.code for check in checks] == [
        "database_is_copy",
        "writes_stopped",
        "in_a_run",
    ]
    assert all(check.passed for check in checks)
    assert evaluate_gate(first, Phase.DUAL_WRITE) == []


def test_a_client_that_was_never_compared_stays_in_dual_write(idom):
    enter_phase(idom, Phase.DUAL_WRITE)
    ClientMigration.objects.update(comparison=None)

    assert codes(idom, Phase.DUAL_READ) == ["never_compared"]


def test_a_shut_gate_names_every_reason(idom, settings, counting_again):
    enter_phase(idom, Phase.DUAL_READ)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0)
    ClientMigration.objects.update(comparison_status=Comparison.Status.MISMATCH)
    RunItem.objects.create(
        run=Run.objects.create(kind=Run.Kind.PUSH), client_id=idom, slug="idom", batch=0
    )
    ReadCount.objects.create(
        client_id=idom, last_mismatch_at=ClientMigration.objects.get().phase_changed_at
    )
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.clients DISABLE TRIGGER nova_admin_count_write")

    refusal = refusal_of(idom, Phase.AWS)

    assert refusal.codes == [
        "push_pending",
        "newest_comparison",
        "in_a_run",
        "writes_not_counted",
        "reader_met_mismatch",
        CLEAN_STREAK.key,
        "account_not_ready",
    ]
    assert re.search(r"Newest comparison: Mismatch, \d+ seconds? ago\.", str(refusal))
    assert "Matching comparisons in a row in this phase: 0 of 1" in str(refusal)


@pytest.mark.parametrize(
    ("worked", "is_shut"), [(timedelta(minutes=1), True), (timedelta(minutes=61), False)]
)
def test_a_run_that_takes_hours_touches_the_client_until_no_worker_works_on_it(
    idom, worked, is_shut
):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    now = timezone.now()
    run = Run.objects.create(
        kind=Run.Kind.PUSH, created_at=now - timedelta(hours=3), worked_at=now - worked
    )
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0)

    if is_shut:
        assert codes(idom, Phase.AWS) == ["in_a_run"]
    else:
        move(client_id=idom, new=Phase.AWS)


def test_the_gate_wants_a_comparison_of_the_last_half_hour(idom):
    enter_phase(idom, Phase.DUAL_WRITE)
    half_an_hour_ago = timezone.now() - timedelta(minutes=30)
    ClientMigration.objects.update(compared_at=half_an_hour_ago - timedelta(seconds=1))

    assert codes(idom, Phase.DUAL_READ) == ["comparison_too_old"]

    ClientMigration.objects.update(compared_at=half_an_hour_ago + timedelta(seconds=30))
    move(client_id=idom, new=Phase.DUAL_READ)


def test_an_account_that_may_not_write_shuts_the_gate_to_aws(idom, sm, monkeypatch):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    versions = sm.describe_secret(NAME).versions

    def denied(*_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", NAME)

    with monkeypatch.context() as patched:
        patched.setattr(SecretsManager, "put_value", denied)
        assert codes(idom, Phase.AWS) == ["account_not_ready"]
    move(client_id=idom, new=Phase.AWS)
    assert sm.describe_secret(NAME).versions == versions  # trying it made no version


def meet_mismatch() -> None:
    ReadCount.objects.update(last_mismatch_at=timezone.now())


@pytest.mark.parametrize("old", [Phase.DUAL_READ, Phase.AWS])
@pytest.mark.parametrize(
    ("happens", "code"),
    [(meet_mismatch, "reader_met_mismatch"), (stop_aws_writes, "writes_stopped")],
)
def test_the_gate_sees_what_happens_while_aws_is_asked_about_the_account(
    idom, monkeypatch, old, happens, code
):
    enter_phase(idom, old)
    compare(client_ids=[idom])
    count_reads(idom, reads=1, matches=1)
    given = {"reason": "Somebody looks"} if happens is stop_aws_writes else {}
    ask = once(lambda: happens(**given), gates.find_account_problem)
    monkeypatch.setattr(gates, "find_account_problem", ask)

    assert code in codes(idom, LINE[LINE.index(old) + 1])


def test_a_shut_gate_says_first_what_nobody_can_override(idom):
    checks = [
        Check("push_pending", False, PUSH_PENDING()),
        Check("streak", True, IN_NO_RUN(), evidence="streak"),
        Check("time", False, IN_NO_RUN(), evidence="time"),
    ]

    assert str(explain_shut(checks)) == (
        "These checks can't be overridden: A push is pending: the latest values are not in AWS "
        "yet. Not enough evidence either: time in the phase."
    )
    assert str(explain_shut(checks[1:])).startswith("Not enough evidence yet")
    assert explain_shut(checks[1:2]) is None


def test_an_open_gate_still_compares_at_the_moment_of_the_move(idom, sm):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    change_in_aws(sm, password="example-theirs")

    (reason,) = refusal_of(idom, Phase.AWS).reasons
    assert reason == COMPARED_JUST_NOW(result=STATUSES["mismatch"]())


def test_a_read_back_does_not_lengthen_the_streak_and_a_mismatch_ends_it(idom, sm):
    enter_phase(idom, Phase.DUAL_WRITE)
    push(client_ids=[idom])
    assert ClientMigration.objects.get().clean_streak == 0
    compare_apart(idom, times=2)
    assert ClientMigration.objects.get().clean_streak == 2
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    assert ClientMigration.objects.get().clean_streak == 0


def test_who_believes_it_elsewhere_is_told(idom):
    enter_phase(idom, Phase.DUAL_READ)

    with pytest.raises(StalePhase, match="no longer in Dual write"):
        move(client_id=idom, new=Phase.DUAL_READ, seen=Phase.DUAL_WRITE)


def test_with_a_secret_a_service_a_client_goes_there_and_back_too(settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    before = document(pk)

    advance(pk, Phase.PURGED)
    email = Client.objects.get(pk=pk).emails.get()
    assert email.email_password == f"aws-secretsmanager:{NAME}/email"
    for phase in reversed(LINE[:-1]):
        move(client_id=pk, new=phase)

    assert document(pk) == before


@pytest.mark.parametrize("typed", ["x" * 10_001, "a\0b"])
def test_a_reason_that_cannot_be_stored_is_refused_before_anything_moves(idom, typed):
    with pytest.raises(ReasonError):
        move(client_id=idom, new=Phase.DUAL_WRITE, reason=typed)
    with pytest.raises(ReasonError):
        move(client_id=idom, new=Phase.DUAL_WRITE, override=Override(typed, None))

    assert not PhaseChange.objects.exists()


def test_a_client_that_is_gone_is_told_of():
    with pytest.raises(Client.DoesNotExist):
        move(client_id=999_999, new=Phase.DUAL_WRITE)
