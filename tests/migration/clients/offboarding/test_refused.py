"""What keeps a client from leaving or coming back, and that nothing is changed then."""

from datetime import timedelta

import pytest
from django.utils import timezone

from credentials.models import Client
from migration.clients.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
    set_activity,
)
from migration.core import aws_store
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.clients import OffboardingState, all_clients
from migration.core.secrets import OtherSecretsState
from migration.logins.rotations import NotRotated, rotate_database
from migration.models import ClientMigration, Offboarding, ReadCount, Rotation, RotationSchedule
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.saves import AdminSave, SaveRefusedError
from migration.runs.models import Run
from migration.secrets.layouts import LayoutRefusedError, change_layout
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_client, make_full_client, update
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    is_scheduled,
    make_inactive,
    rows_of,
    write_row,
)
from tests.migration.moves.clients import NAME, advance, change_in_aws, phase_of
from tests.migration.pushes.pushed import make_anew


def refusal_of(act, pk: int, **options) -> str:
    with pytest.raises(OffboardingError) as refused:
        act(client_id=pk, reason="CHG-7", **options)
    return str(refused.value)


def assert_nothing_changed(pk: int, phase: Phase) -> None:
    assert phase_of(pk) == phase
    assert not Offboarding.objects.exists()
    assert is_scheduled(NAME) in (False, None)
    if phase != Phase.PURGED:
        assert PASSWORDS["email"] in rows_of(pk).values()


def test_an_active_client_stays():
    pk = make_full_client("idom")

    assert "The client is active" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.POSTGRES)


def test_a_client_that_nova_read_lately_stays_unless_somebody_says_that_it_is_known():
    pk = make_inactive(Phase.AWS)
    count_reads(pk, reads=1)

    assert "still read this client in the last 7 days" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7", acknowledged=True)
    assert is_scheduled(NAME)


def test_a_read_of_long_ago_keeps_nobody():
    pk = make_inactive(Phase.AWS)
    count_reads(pk, reads=1)
    ReadCount.objects.update(last_read_at=timezone.now() - timedelta(days=8))

    offboard_client(client_id=pk, reason="CHG-7")


def test_a_client_in_an_unfinished_run_stays():
    pk = make_inactive(Phase.AWS)
    Run.start(kind=Run.Kind.PUSH, chosen=all_clients().filter(pk=pk))

    assert "Queued in" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)


def test_a_client_with_an_unfinished_rotation_stays():
    pk = make_inactive(Phase.AWS)
    Rotation.objects.begin(Client.objects.get(pk=pk), "database", None, by=None)

    assert "A rotation of this client is not finished" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)


def test_a_client_whose_change_of_layout_was_interrupted_stays():
    pk = make_inactive(Phase.AWS)
    ClientMigration.objects.filter(pk=pk).update(other_secrets=OtherSecretsState.BEGUN)

    assert "layout was interrupted" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)


def test_while_aws_writes_are_stopped_nobody_leaves_or_comes_back():
    pk = make_inactive(Phase.AWS)
    stop_aws_writes(reason="INC-1")
    try:
        assert "stopped all AWS writes" in refusal_of(offboard_client, pk)
        assert_nothing_changed(pk, Phase.AWS)
        start_aws_writes()
        offboard_client(client_id=pk, reason="CHG-7")
        stop_aws_writes(reason="INC-1")
        assert "stopped all AWS writes" in refusal_of(bring_back_as_inactive, pk)
        assert is_scheduled(NAME)
    finally:
        start_aws_writes()


def test_rows_that_differ_from_aws_keep_their_values():
    pk = make_inactive(Phase.AWS)
    push(client_ids=[pk])
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])

    assert "idom was not offboarded" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)


def test_rows_that_nova_writes_meanwhile_keep_their_values(monkeypatch):
    pk = make_inactive(Phase.DUAL_READ)
    read = aws_store.read_aws

    def read_and_write(snapshot, *, sm):
        found = read(snapshot, sm=sm)
        write_row(pk, "written meanwhile")
        return found

    monkeypatch.setattr("migration.clients.offboarding.read_aws", read_and_write)

    assert "NOVA has just written them" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.DUAL_READ)
    assert rows_of(pk)["database"] == "written meanwhile"


def test_a_client_that_is_made_active_meanwhile_stays(monkeypatch):
    pk = make_inactive(Phase.DUAL_READ)
    read = aws_store.read_aws

    def read_and_activate(snapshot, *, sm):
        found = read(snapshot, sm=sm)
        activate(pk)
        return found

    monkeypatch.setattr("migration.clients.offboarding.read_aws", read_and_activate)

    assert "made the client active meanwhile" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.DUAL_READ)


def test_values_that_were_written_after_the_purge_are_not_left_behind():
    pk = make_inactive(Phase.PURGED)
    write_row(pk, "written after the purge")

    said = refusal_of(offboard_client, pk)

    assert "These rows hold values that were written after the purge" in said
    assert "written after the purge" not in said.replace("were written after the purge", "")
    assert_nothing_changed(pk, Phase.PURGED)


def test_where_a_purge_needs_approval_only_a_purged_client_leaves(settings):
    pk, purged = make_inactive(Phase.AWS), make_inactive(Phase.PURGED, "acme")
    settings.NOVA_REQUIRE_APPROVAL = True

    assert "needs somebody else's approval" in refusal_of(offboard_client, pk)
    assert_nothing_changed(pk, Phase.AWS)
    offboard_client(client_id=purged, reason="CHG-7")


def test_a_secret_of_somebody_else_stays():
    pk = make_inactive(Phase.PURGED)
    make_anew(aws_store.secrets_manager(), NAME)

    said = str(offboard_client(client_id=pk, reason="CHG-7"))

    assert said == f"{NAME} stays: this site did not create it."
    assert is_scheduled(NAME) is False
    assert Offboarding.objects.get().deletions == {}


def test_a_secret_whose_deletion_somebody_else_scheduled_has_a_whole_window():
    pk = make_inactive(Phase.PURGED)
    sm = aws_store.secrets_manager().sm
    sm.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)

    offboard_client(client_id=pk, reason="CHG-7")

    left = Offboarding.objects.get().first_deletion - timezone.now()
    there = sm.describe_secret(SecretId=NAME)["DeletedDate"] - timezone.now()
    assert min(left, there) > timedelta(days=29)


def test_secrets_of_both_layouts_go_and_come_back():
    pk = make_full_client("idom")
    advance(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    update("clients", pk, is_active=False)
    names = {NAME, *(f"{NAME}/{kind}" for kind in PASSWORDS)}

    offboard_client(client_id=pk, reason="CHG-7")

    assert Offboarding.objects.get().deletions.keys() == names
    assert {is_scheduled(name) for name in names} == {True}
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert {is_scheduled(name) for name in names} == {False}
    assert rows_of(pk) == PASSWORDS


def test_a_client_without_any_login_and_secret_leaves_and_comes_back():
    pk = make_client("empty", is_active=False)

    said = str(offboard_client(client_id=pk, reason="CHG-7"))

    assert said == "AWS holds no secret of the client."
    assert phase_of(pk) == Phase.POSTGRES
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert not Offboarding.objects.exists()


def test_once_the_values_are_gone_nobody_comes_back(stores):
    pk = make_inactive(Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")
    sm = aws_store.secrets_manager().sm
    sm.restore_secret(SecretId=NAME)
    sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)

    said = refusal_of(bring_back_as_inactive, pk)

    assert "the values are gone" in said
    assert Offboarding.objects.get().state == OffboardingState.OFFBOARDED


def test_its_own_schedule_of_rotations_ends_and_that_of_a_group_leaves_it_out():
    from migration.models import ClientGroup

    pk, other = make_inactive(Phase.AWS), make_full_client("other")
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    RotationSchedule.objects.set_days(5, client=Client.objects.get(pk=pk), by=None)
    RotationSchedule.objects.set_days(30, group=group, by=None)
    assert RotationSchedule.objects.find_next_days().keys() == {pk, other}

    offboard_client(client_id=pk, reason="CHG-7")

    assert RotationSchedule.objects.find_next_days().keys() == {other}
    assert not RotationSchedule.objects.filter(client=pk).exists()


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.PURGED])
def test_nothing_else_changes_a_client_that_left(phase):
    pk = make_inactive(phase)
    offboard_client(client_id=pk, reason="CHG-7")

    with pytest.raises(ShutGate, match="is offboarded"):
        move(client_id=pk, new=Phase.AWS)
    with pytest.raises(LayoutRefusedError, match="is offboarded"):
        change_layout(client_id=pk, layout=Layout.SERVICE)
    with pytest.raises(NotRotated, match="is offboarded"):
        rotate_database(client_id=pk)
    with pytest.raises(SaveRefusedError, match="is offboarded"):
        AdminSave(pk)
    with pytest.raises(OffboardingError, match="is offboarded"):
        set_activity(client_id=pk, active=True)
    (pushed,) = push(client_ids=[pk])
    assert pushed.outcome == "skipped"
    assert "idom is already offboarded" in refusal_of(offboard_client, pk)
    assert is_scheduled(NAME)
    assert not Client.objects.get(pk=pk).is_active


def test_a_client_that_did_not_leave_does_not_come_back():
    pk = make_inactive(Phase.AWS)

    assert refusal_of(bring_back_as_inactive, pk) == "idom is not offboarded."


@pytest.mark.parametrize("phase", Phase)
def test_its_activity_is_nova_s_own_column_and_leaves_nothing_pending(phase):
    pk = make_full_client("idom")
    advance(pk, phase)

    set_activity(client_id=pk, active=False)

    assert Client.objects.get(pk=pk).is_active is False
    found = all_clients().filter_push_pending().filter(pk=pk).exists()
    assert found == (phase != Phase.PURGED)
    set_activity(client_id=pk, active=True)
    assert Client.objects.get(pk=pk).is_active is True
