"""Who may start a campaign over which groups, and how it is approved."""

import threading
from datetime import time
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from migration.campaigns import steps as campaigns
from migration.campaigns.models import CAMPAIGN_EVENT, StaleCampaignError
from migration.campaigns.steps import (
    GOAL_NOT_POSSIBLE,
    GROUP_NOT_THERE,
    GROUP_TAKEN,
    GROUP_TWICE,
    NO_GROUPS,
    SOAKS_TOO_SHORT,
    CampaignStartRefusedError,
    approve_campaign,
)
from migration.core import refused_acts
from migration.core.audit import APPROVAL_EVENT, REFUSAL_EVENT, REQUEST_EVENT, RUN_EVENT
from migration.models import AuditEvent, Campaign, ClientGroup, PasswordReset, PhaseChange
from migration.moves.approvals import ApprovalStepRefused
from migration.moves.moves import NEEDS_APPROVAL
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.migration.campaigns.taken import (
    CUTOVER,
    begin,
    go,
    make_group,
    once,
    outcomes,
    phases,
    stand,
    steps,
    take,
    work,
)


def refusal(*groups: ClientGroup, **options) -> str:
    with pytest.raises(CampaignStartRefusedError) as refused:
        begin(*groups, **options)
    return refused.value.message.key


@pytest.mark.parametrize("goal", [Phase.POSTGRES, Phase.PURGED])
def test_it_goes_neither_to_postgresql_nor_to_a_purge(goal):
    group = make_group("north", 1)

    assert refusal(group, goal=goal) == GOAL_NOT_POSSIBLE.key
    with pytest.raises(IntegrityError), transaction.atomic():
        Campaign.objects.create(goal=goal)


def test_its_groups_are_there_once_each_and_no_other_campaigns(settings):
    north, south = make_group("north", 1), make_group("south", 1)
    assert refusal() == NO_GROUPS.key
    assert refusal(north, south, north) == GROUP_TWICE.key
    first = begin(north)
    assert refusal(south, north) == GROUP_TAKEN.key

    first.cancel(by=None)
    begin(south, north)
    south.delete_group()

    assert refusal(south) == GROUP_NOT_THERE.key
    assert not Campaign.objects.filter(waves=None).exists()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"most_mismatches": 0}, "limit_too_low"),
        ({"most_failed_reads": 0}, "limit_too_low"),
        ({"most_refused": -1}, "limit_too_low"),
        ({"wave_size": -1}, "limit_too_low"),
        ({"most_refused": 2**31}, "limit_too_high"),
        ({"begins_at": time(9)}, "half_the_hours"),
        ({"ends_at": time(9)}, "half_the_hours"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, key):
    assert refusal(make_group("north", 1), **options) == key


def test_a_soak_time_after_which_every_gate_would_be_shut_is_refused(settings):
    settings.NOVA_DUAL_READ_HOURS = 24
    group = make_group("north", 1)

    assert refusal(group, soak_minutes=24 * 60 - 1) == SOAKS_TOO_SHORT.key
    begin(group, soak_minutes=24 * 60)


def test_of_two_that_start_over_one_group_at_once_one_is_refused(monkeypatch):
    group, told = make_group("north", 1), []

    def start_too() -> None:
        try:
            begin(group)
        except CampaignStartRefusedError as error:
            told.append(error.message.key)
        finally:
            connection.close()

    other = threading.Thread(target=start_too)

    def let_the_other_begin() -> None:
        other.start()
        other.join(0.5)  # it waits for this one

    saves = once(let_the_other_begin, campaigns.Wave.save)
    monkeypatch.setattr(campaigns.Wave, "save", saves)

    begin(group)
    other.join()

    assert told == [GROUP_TAKEN.key]
    assert Campaign.objects.count() == 1


def test_what_it_does_stands_in_the_audit_under_its_name(maria):
    campaign = begin(make_group("north", 1), by=maria, reason="INC-42", goal=Phase.DUAL_WRITE)
    go(campaign)

    found = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}").order_by("id")
    assert (found[0].who, found[0].reason) == ("maria", "INC-42")
    # Its start, its wave, the wave's run, its end
    of_run = [RUN_EVENT] * 2
    assert [row.code for row in found] == [*[CAMPAIGN_EVENT] * 2, *of_run, CAMPAIGN_EVENT]


# Where the cutover needs two


@pytest.fixture
def two_are_needed(settings) -> None:
    settings.NOVA_REQUIRE_APPROVAL = True


@pytest.mark.usefixtures("two_are_needed")
class TestApproval:
    def test_nothing_begins_until_somebody_else_approves(self, maria, ana):
        group = make_group("north", 1)
        campaign = begin(group, by=maria, reason="INC-42")
        assert (campaign.state, take(campaign)) == (Campaign.State.REQUESTED, None)
        with pytest.raises(ApprovalStepRefused):
            approve_campaign(campaign, by=maria)
        assert stand(campaign) == (Campaign.State.REQUESTED, [])

        approve_campaign(campaign, by=ana)
        go(campaign)

        assert phases(group) == [Phase.AWS]
        by = dict(PhaseChange.objects.values_list("new", "by"))
        assert by == {Phase.DUAL_WRITE: maria.pk, Phase.DUAL_READ: maria.pk, Phase.AWS: ana.pk}
        recorded = set(AuditEvent.objects.values_list("code", "who"))
        assert {(REQUEST_EVENT, "maria"), (APPROVAL_EVENT, "ana")} <= recorded
        assert (REFUSAL_EVENT, "maria") in recorded

    def test_a_request_has_a_reason_and_somebody_who_may_move(self, maria):
        group, nobody = make_group("north", 1), User.objects.create_user("nobody")
        for options in ({}, {"by": maria}, {"reason": "T"}, {"by": nobody, "reason": "T"}):
            with pytest.raises(ApprovalStepRefused):
                begin(group, **options)
        assert not Campaign.objects.exists()

    def test_a_goal_before_the_cutover_needs_none(self):
        assert begin(make_group("north", 1), goal=Phase.DUAL_READ).state == Campaign.State.RUNNING

    def test_who_could_have_acted_as_both_approves_nothing(self, maria, ana):
        campaign = begin(make_group("north", 1), by=maria, reason="INC-42")
        PasswordReset.objects.record(user=maria, by=ana, what=PasswordReset.What.PASSWORD)

        with pytest.raises(ApprovalStepRefused):
            approve_campaign(campaign, by=ana)

        assert stand(campaign) == (Campaign.State.REQUESTED, [])

    def test_who_is_refused_again_and_again_does_not_fill_the_audit(self, monkeypatch, maria):
        monkeypatch.setattr(refused_acts, "time", SimpleNamespace(time=lambda: 1_800_000_000.0))
        campaign = begin(make_group("north", 1), by=maria, reason="INC-42")

        for _ in range(3):
            with pytest.raises(ApprovalStepRefused):
                approve_campaign(campaign, by=maria)

        (refused,) = AuditEvent.objects.filter(code=REFUSAL_EVENT, who="maria")
        assert refused.correlation == f"campaign {campaign.pk}"

    def test_one_that_was_cancelled_is_approved_by_nobody(self, maria, ana):
        campaign = begin(make_group("north", 1), by=maria, reason="INC-42")
        Campaign.objects.get().cancel(by=maria)

        with pytest.raises(StaleCampaignError):
            approve_campaign(campaign, by=ana)

        assert take(campaign) is None

    def test_to_go_on_it_needs_another_approval(self, maria, ana):
        group = make_group("north", 1, Phase.DUAL_READ)
        campaign = begin(group, by=maria, reason="INC-42")
        stale = Campaign.objects.get()  # read before the approval
        approve_campaign(campaign, by=ana)
        campaign.refresh_from_db(), campaign.stop(by=maria)

        stale.go_on(by=maria)

        assert stand(campaign)[0] == Campaign.State.REQUESTED
        assert (campaign.approved_by, campaign.approved_by_name, take(campaign)) == (None, "", None)
        approve_campaign(campaign, by=ana)
        go(campaign)
        assert phases(group) == [Phase.AWS]

    def test_switched_off_in_the_middle_the_requester_moves(self, maria, ana, settings):
        group = make_group("north", 1, Phase.DUAL_READ)
        campaign = begin(group, by=maria, reason="INC-42")
        approve_campaign(campaign, by=ana)
        settings.NOVA_REQUIRE_APPROVAL = False

        go(campaign)

        change = PhaseChange.objects.latest("pk")
        assert (phases(group), change.new, change.by) == ([Phase.AWS], Phase.AWS, maria)


def test_switched_on_in_the_middle_it_waits_for_an_approval_at_the_cutover(maria, ana, settings):
    group = make_group("north", 1, Phase.DUAL_WRITE)
    campaign = begin(group, by=maria, reason="INC-42")
    work(take(campaign))
    settings.NOVA_REQUIRE_APPROVAL = True

    go(campaign)

    assert stand(campaign) == (Campaign.State.REQUESTED, [])
    assert phases(group) == [Phase.DUAL_READ]
    assert ("north", *CUTOVER) not in steps(campaign)
    approve_campaign(campaign, by=ana)
    go(campaign)
    assert phases(group) == [Phase.AWS]
    assert PhaseChange.objects.latest("pk").by == ana


def test_switched_on_while_the_cutover_is_queued_it_refuses_every_client(maria, settings):
    group = make_group("north", 1, Phase.DUAL_READ)
    campaign = begin(group, by=maria, reason="INC-42")
    run = take(campaign)
    settings.NOVA_REQUIRE_APPROVAL = True

    work(run)

    assert outcomes(run) == {"north-0": Outcome.REFUSED}
    assert run.items.get().message.codes == [NEEDS_APPROVAL.key]
    take(campaign)
    assert stand(campaign) == (Campaign.State.STOPPED, ["refusals_reached"])


def test_no_row_of_a_run_of_a_campaign_overrides_or_purges():
    campaign = begin(make_group("north", 1, Phase.DUAL_READ))
    run = take(campaign)

    for columns in ({"override_reason": "because"}, {"move_to": Phase.PURGED}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Run.objects.filter(pk=run.pk).update(**columns)
