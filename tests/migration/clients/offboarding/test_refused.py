"""What keeps a client from leaving or coming back, and that nothing is changed then."""

from datetime import timedelta

from django.utils import timezone

from credentials.models import Client
from migration.clients.offboarding import bring_back_as_inactive, offboard_client, set_activity
from migration.core import aws_store
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.clients import all_clients
from migration.core.secrets import OtherSecretsState
from migration.models import (
    ClientGroup,
    ClientMigration,
    Offboarding,
    ReadCount,
    Rotation,
    RotationSchedule,
)
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.models import Run
from migration.secrets.layouts import change_layout
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_client, make_full_client
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    deactivate,
    is_scheduled,
    make_inactive,
    refusal_of,
    rows_of,
    write_row,
)
from tests.migration.moves.clients import NAME, advance, change_in_aws, enter_phase, phase_of
from tests.migration.pushes.pushed import make_anew


def assert_nothing_changed(pk: int, phase: Phase) -> None:
    assert phase_of(pk) == phase
    assert not Offboarding.objects.exists()
    assert is_scheduled(NAME) in (False, None)
    if phase != Phase.PURGED:
        assert PASSWORDS["email"] in rows_of(pk).values()


def test_each_reason_keeps_a_client_as_long_as_it_stands(settings):
    pk = make_inactive(Phase.AWS)
    refused = lambda: refusal_of(offboard_client, pk)  # noqa: E731
    activate(pk)
    said = [refused()]
    deactivate(pk)
    count_reads(pk, reads=1)
    said.append(refused())
    # A read of long ago keeps nobody.
    ReadCount.objects.update(last_read_at=timezone.now() - timedelta(days=8))
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients().filter(pk=pk))
    said.append(refused())
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    Rotation.objects.begin(Client.objects.get(pk=pk), "database", None, by=None)
    said.append(refused())
    Rotation.objects.all().delete()
    migration = ClientMigration.objects.filter(pk=pk)
    before = migration.get().other_secrets
    migration.update(other_secrets=OtherSecretsState.BEGUN)
    said.append(refused())
    migration.update(other_secrets=before)
    settings.NOVA_REQUIRE_APPROVAL = True
    said.append(refused())
    settings.NOVA_REQUIRE_APPROVAL = False
    stop_aws_writes(reason="INC-1")
    said.append(refused())
    start_aws_writes()
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    said.append(refused())
    change_in_aws(aws_store.secrets_manager(), password=PASSWORDS["database"])

    reasons = (
        "The client is active",
        "still read this client in the last 7 days",
        "Queued in",
        "A rotation of this client is not finished",
        "layout was interrupted",
        "needs somebody else's approval",
        "stopped all AWS writes",
        "Its rows could not be pushed",
    )
    found = [[reason for reason in reasons if reason in each] for each in said]
    assert found == [[reason] for reason in reasons]
    assert_nothing_changed(pk, Phase.AWS)
    offboard_client(client_id=pk, reason="CHG-7")
    stop_aws_writes(reason="INC-1")
    assert "stopped all AWS writes" in refusal_of(bring_back_as_inactive, pk)
    assert is_scheduled(NAME)
    start_aws_writes()


def test_what_nova_writes_and_who_makes_it_active_meanwhile_is_seen(monkeypatch):
    pk = make_inactive(Phase.DUAL_READ)
    read = aws_store.read_aws

    def refuse_if(happens) -> str:
        def read_first(snapshot, *, sm):
            found = read(snapshot, sm=sm)
            happens()
            return found

        monkeypatch.setattr("migration.clients.offboarding.read_aws", read_first)
        return refusal_of(offboard_client, pk)

    assert "made the client active meanwhile" in refuse_if(lambda: activate(pk))
    assert_nothing_changed(pk, Phase.DUAL_READ)
    deactivate(pk)
    said = refuse_if(lambda: write_row(pk, "written meanwhile"))
    assert "NOVA has just written them" in said
    assert_nothing_changed(pk, Phase.DUAL_READ)
    assert rows_of(pk)["database"] == "written meanwhile"


def test_a_purged_client_leaves_without_an_approval_and_not_with_values_nor_a_secret_of_others(
    settings,
):
    pk, sm = make_inactive(Phase.PURGED), aws_store.secrets_manager()
    settings.NOVA_REQUIRE_APPROVAL = True
    pointer = rows_of(pk)["database"]
    write_row(pk, "written after the purge")

    said = refusal_of(offboard_client, pk)

    assert "These rows hold values that were written after the purge" in said
    assert "written after the purge" not in said.replace("were written after the purge", "")
    assert_nothing_changed(pk, Phase.PURGED)
    write_row(pk, pointer)
    # Somebody else scheduled its deletion: it has a whole window all the same.
    sm.sm.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    offboard_client(client_id=pk, reason="CHG-7")
    left = Offboarding.objects.get().first_deletion - timezone.now()
    there = sm.sm.describe_secret(SecretId=NAME)["DeletedDate"] - timezone.now()
    assert min(left, there) > timedelta(days=29)
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    make_anew(sm, NAME)

    said = str(offboard_client(client_id=pk, reason="CHG-9"))

    assert said == f"{NAME} stays: this site did not create it."
    assert is_scheduled(NAME) is False
    assert Offboarding.objects.get().deletions == {}


def test_secrets_of_both_layouts_go_and_come_back():
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    deactivate(pk)
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


def test_its_own_schedule_of_rotations_ends_and_that_of_a_group_leaves_it_out():
    pk, other = make_inactive(Phase.POSTGRES), make_full_client("other")
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    RotationSchedule.objects.set_days(5, client=Client.objects.get(pk=pk), by=None)
    RotationSchedule.objects.set_days(30, group=group, by=None)
    assert RotationSchedule.objects.find_next_days().keys() == {pk, other}

    offboard_client(client_id=pk, reason="CHG-7")

    assert RotationSchedule.objects.find_next_days().keys() == {other}
    assert not RotationSchedule.objects.filter(client=pk).exists()


def test_its_activity_is_nova_s_own_column_and_leaves_nothing_pending():
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    for phase in (Phase.AWS, Phase.PURGED):
        advance(pk, phase)

        set_activity(client_id=pk, active=False)

        assert Client.objects.get(pk=pk).is_active is False
        found = all_clients().filter_push_pending().filter(pk=pk).exists()
        assert found == (phase != Phase.PURGED)
        set_activity(client_id=pk, active=True)
        assert Client.objects.get(pk=pk).is_active is True
        if phase == Phase.AWS:
            push(client_ids=[pk], overwrite=True)
