"""Work that stands open over an upgrade from 0.2.0: everything goes on after it. Over the way back, what can be."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

from migration.campaigns.steps import advance_campaign, approve_campaign, start_campaign
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.logins.models import RotationOutcome
from migration.models import Campaign, ClientGroup, Resolution
from migration.moves.approvals import approve_run, request_move, start_move_run
from migration.moves.gates import Override
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.logins.rotations.conftest import login, login_server, role, role_in
from tests.migration.logins.rotations.killed import (
    PASSWORD_SET,
    go_on,
    rotate_and_kill,
    rotate_and_list,
)
from tests.migration.moves.clients import (
    change_in_aws,
    enter_phase,
    enter_phase_together,
    phase_of,
)
from tests.migration.moves.runs.moved import outcomes
from tests.migration.pages import make_plan, start_plan

__all__ = ["login", "login_server", "role", "role_in"]

ASKED = ("by", "by_name", "reason", "created_at", "move_to", "override_reason", "override_lines")
# What a gate is overridden for, and the line that 0.2.0 kept of it.
KEYS_OF_BEFORE = {"copies": "copies_not_searched", "copies_found": "copies_found"}
BEFORE = "0053_evidence_layouts_and_slugs"


def upgrade() -> None:
    """Bring the database back to the state of 0.2.0, and up again, as an upgrade does."""
    go_back()
    go_up()


def go_back() -> None:
    call_command("migrate", "migration", BEFORE, verbosity=0)


def go_up() -> None:
    connection.close()
    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def approval_is_required(stores, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    settings.NOVA_CLEAN_STREAK = 0
    settings.NOVA_DUAL_READ_HOURS = 0


@pytest.fixture
def maria():
    return make_user("maria", "migration.move_client", "migration.change_campaign")


@pytest.fixture
def ana():
    return make_user("ana", "migration.approve_move")


def in_dual_read(*slugs: str) -> list[int]:
    pks = [make_full_client(slug) for slug in slugs]
    enter_phase_together(pks, Phase.DUAL_READ)
    compare(client_ids=pks)
    return pks


def test_requests_plans_runs_and_campaigns_of_before_go_on(client, maria, ana):
    one, *two = in_dual_read("one", "two-1", "two-2")
    three = in_dual_read("three-1", "three-2")
    make_full_client("four")
    plan = make_plan(by=maria)
    request_move(client_id=one, new=Phase.AWS, by=maria, reason="INC-1")
    asked = start_move_run(
        chosen=all_clients().filter(pk__in=two),
        old=Phase.DUAL_READ,
        new=Phase.AWS,
        by=maria,
        reason="INC-2",
    )
    group = ClientGroup.objects.create(name="pilot")
    group.put_clients(all_clients().filter(pk__in=three), by=maria)
    campaign = start_campaign(groups=[group], goal=Phase.AWS, by=maria, reason="INC-3")
    compared = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=maria)

    upgrade()

    engine.work_on_run(run_id=compared.pk)
    compared.refresh_from_db()
    assert compared.state == Run.State.FINISHED
    request = Run.objects.find_requested([one])[one]
    assert (request.by, request.reason, request.move_shown) == (maria, "INC-1", asked.move_shown)
    approve_run(run_id=request.pk, by=ana)
    approved = approve_run(run_id=asked.pk, by=ana)
    engine.work_on_run(run_id=approved.pk)
    approve_campaign(campaign, by=ana)
    advance_campaign(campaign.pk)
    for run in Run.objects.filter(wave__campaign=campaign):
        engine.work_on_run(run_id=run.pk)
    advance_campaign(campaign.pk)
    assert {phase_of(pk) for pk in (one, *two, *three)} == {Phase.AWS}
    assert Campaign.objects.get().state == Campaign.State.FINISHED
    assert not Run.objects.filter(state=Run.State.REQUESTED).exists()
    plan = Run.objects.get(state=Run.State.PLANNED)
    client.force_login(make_user("eva", "migration.add_run", "credentials.view_client"))
    start_plan(client, plan)
    # The others were moved since.
    engine.work_on_run(run_id=plan.pk)
    assert outcomes(plan) == {"four": Outcome.CREATED}


def test_the_way_back_and_up_keeps_requests_permissions_and_logins_and_takes_runs_that_copy(
    client, maria, settings
):
    settings.NOVA_MIN_READS = 20
    (pk,) = in_dual_read("one")
    purged = [make_full_client(slug) for slug in ("two", "three")]
    boss = make_user(
        "boss", "migration.move_client", "migration.purge_client", "migration.override_gate"
    )
    override = Override("Test client", boss, kinds=frozenset({"reads"}))
    request_move(client_id=pk, new=Phase.AWS, by=boss, reason="INC-1", override=override)
    enter_phase_together(purged, Phase.AWS)
    for each, kind in zip(purged, KEYS_OF_BEFORE, strict=True):
        request_move(client_id=each, new=Phase.PURGED, by=boss, reason="INC-2")
        Run.objects.filter(items__client_id=each).update(
            override_reason="Test client", override_lines=[kind]
        )
    before = list(Run.objects.order_by("pk").values(*ASKED))
    approver = make_user("approver", "migration.approve_move")
    viewers = Group.objects.create(name="Viewers of requests")
    viewers.user_set.add(viewer := make_user("viewer"))
    eva = make_user("eva", "credentials.view_client")
    client.force_login(eva)
    # The release before has no word for runs that copy; what one did stays.
    copied = make_full_client("idom")
    enter_phase(copied, Phase.DUAL_WRITE)
    change_in_aws(secrets_manager(), port=1)
    compare(client_ids=[copied])
    idom = all_clients().filter(pk=copied)
    done = Run.start(kind=Run.Kind.TO_AWS, chosen=idom, reason="INC-42")
    engine.finish_inline(done)
    Run.start(kind=Run.Kind.TO_POSTGRES, chosen=idom, reason="INC-42")
    other = Run.start(kind=Run.Kind.COMPARE, chosen=idom)

    go_back()
    assert list(Run.objects.values_list("pk", flat=True)) == [other.pk]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT line ->> 'key' FROM migration_moverequest, jsonb_array_elements(overridden) AS line"
            " WHERE new = 'purged' ORDER BY migration_moverequest.id"
        )
        assert cursor.fetchall() == [(key,) for key in KEYS_OF_BEFORE.values()]
    viewers.permissions.add(Permission.objects.get(codename="view_moverequest"))
    Permission.objects.get(codename="view_moverequest").user_set.add(approver)
    go_up()

    requested = Run.objects.filter(state=Run.State.REQUESTED).order_by("pk")
    assert list(requested.values(*ASKED)) == before
    assert set(Run.objects.all()) == {other, *requested}
    assert Resolution.objects.get().kind == Resolution.Kind.TO_AWS
    assert [each["override_lines"] for each in before] == [
        ["reads"],
        *([k] for k in KEYS_OF_BEFORE),
    ]
    assert [item.client_id for run in requested for item in run.items.open()] == [pk, *purged]
    for user in (User.objects.get(pk=approver.pk), User.objects.get(pk=viewer.pk)):
        assert user.has_perm("migration.view_run")
    assert User.objects.get(pk=approver.pk).has_perm("migration.approve_move")
    (approve,) = Permission.objects.filter(codename="approve_move")
    assert approve.content_type.model == "run"
    assert Group.objects.get(name="Approver").permissions.filter(pk=approve.pk).exists()
    assert not Permission.objects.filter(codename__endswith="_moverequest").exists()
    assert not ContentType.objects.filter(model="moverequest").exists()
    assert client.get(f"/admin/credentials/client/{pk}/change/").status_code == 200
    assert client.session["_auth_user_id"] == str(eva.pk)


@pytest.mark.nightly
def test_a_rotation_that_was_killed_before_the_upgrade_is_ended_after_it(role_in):
    role = role_in(Phase.DUAL_WRITE)
    # One point behind that at which the database has the password and neither store has.
    at = rotate_and_list(role.client_id).index(PASSWORD_SET) + 1
    assert rotate_and_kill(role.client_id, at)

    upgrade()

    assert go_on(role.client_id).outcome == RotationOutcome.ROTATED
    assert role.logs_in(role.in_row())
    assert role.in_aws() == role.in_row()
