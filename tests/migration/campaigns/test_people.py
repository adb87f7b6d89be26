"""What people do with a campaign at a bad moment: whose clients it moves then, and who watches them."""

import pytest
from django.urls import reverse

from migration import tasks
from migration.campaigns import steps
from migration.campaigns.models import StaleCampaignError
from migration.campaigns.steps import approve_campaign, cancel_campaign, stop_campaign
from migration.core.clients import all_clients
from migration.models import Campaign
from migration.moves.approvals import ApprovalStepRefused
from migration.moves.moves import move
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_user
from tests.migration.campaigns.taken import (
    begin,
    begin_cutover,
    cut_over,
    differ,
    go,
    make_group,
    members,
    phases,
    put,
    soak,
    stand,
    take,
    taken,
    work,
)
from tests.migration.pages import page_of

STOPPED = Campaign.State.STOPPED


@pytest.mark.parametrize("act", [stop_campaign, cancel_campaign])
def test_who_stops_or_cancels_it_stops_its_run_in_work_as_nobody_watches_it_then(act, maria):
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group)
    run = take(campaign)

    act(campaign, by=maria)

    run.refresh_from_db()
    assert run.state == Run.State.STOPPED
    assert run.finished_at
    work(run)
    assert phases(group) == [Phase.DUAL_READ] * 2


def test_every_wave_that_broke_the_rule_is_rolled_back():
    first, second = (
        make_group("first", 1, Phase.DUAL_READ),
        make_group("second", 1, Phase.DUAL_READ),
    )
    campaign = begin(first, second, rolls_back=True, most_failed_reads=1)
    cut_over(campaign), cut_over(campaign)
    for group in (first, second):
        count_reads(members(group)[0], aws_failures=1)

    run = take(campaign)

    assert stand(campaign)[1].count("failed_reads_reached") == 2
    while run:
        work(run)
        run = take(campaign)
    assert phases(first) == phases(second) == [Phase.DUAL_READ]


def test_a_button_of_a_page_from_before_the_rule_stopped_it_takes_no_rollback_back(maria, client):
    campaign, group = begin_cutover(rolls_back=True)
    stop_campaign(campaign, by=maria)
    seen = campaign.changed_at
    campaign.go_on(by=maria)
    differ(members(group)[0])
    take(campaign)
    assert stand(campaign)[0] == STOPPED

    with pytest.raises(StaleCampaignError):
        campaign.go_on(by=maria, seen=seen)

    client.force_login(make_user("ops", "migration.change_campaign", "migration.move_client"))
    steer = reverse("admin:migration_campaign_steer", args=[campaign.pk])
    client.post(steer, {"order": "go_on", "seen": seen.isoformat()})
    assert stand(campaign)[0] == STOPPED
    assert client.post(steer, {"order": "go_on", "seen": "yesterday"}).status_code == 400


def test_an_approval_covers_the_clients_that_were_in_the_groups_then(maria, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    group = make_group("north", 1)
    campaign = begin(group, by=maria, reason="INC-42")
    approve_campaign(campaign, by=make_user("ana", "migration.approve_move"))
    late = make_group("late", 1)
    put("north", *members(late))

    go(campaign)

    assert taken(campaign) == [["north-0"]]
    assert phases(late) == [Phase.POSTGRES]


def test_who_has_it_go_on_is_not_the_one_who_approves_that(maria, settings, client):
    settings.NOVA_REQUIRE_APPROVAL = True
    rights = ("migration.approve_move", "migration.view_campaign")
    ana, peter = (make_user(name, *rights) for name in ("ana", "peter"))
    campaign = begin(make_group("north", 1), by=maria, reason="INC-42")
    approve_campaign(campaign, by=ana)
    campaign.refresh_from_db()
    stop_campaign(campaign, by=ana)
    campaign.go_on(by=ana)

    with pytest.raises(ApprovalStepRefused):
        approve_campaign(campaign, by=ana)
    for user, is_offered in ((ana, False), (peter, True)):
        client.force_login(user)
        shown = client.get(page_of("migration_campaign", campaign.pk))
        assert shown.context["may_approve"] == is_offered

    assert approve_campaign(campaign, by=peter).state == Campaign.State.RUNNING


def test_whom_somebody_moved_back_stays_where_they_are_while_the_others_go_on():
    campaign, group = begin_cutover(2, rolls_back=True)
    differ(members(group)[0])
    work(take(campaign))
    campaign.go_on(by=None)
    move(client_id=members(group)[1], new=Phase.DUAL_WRITE)

    soak()
    take(campaign)

    assert phases(group)[1] == Phase.DUAL_WRITE


def test_who_was_taken_out_of_the_group_before_the_goal_is_left_when_it_goes_on(maria):
    group = make_group("north", 2)
    campaign = begin(group)
    work(take(campaign))
    stop_campaign(campaign, by=maria)
    group.remove_clients(all_clients().filter(slug="north-0"))

    campaign.go_on(by=maria)
    go(campaign)

    assert [phases_of(slug) for slug in ("north-0", "north-1")] == [Phase.DUAL_WRITE, Phase.AWS]


def phases_of(slug: str) -> str:
    return all_clients().with_phase().values_list("phase", flat=True).get(slug=slug)


def test_a_campaign_that_fails_keeps_no_other_from_being_stopped(monkeypatch):
    campaign, group = begin_cutover()
    other = begin(make_group("south", 1))
    differ(members(group)[0])
    advance_campaign = steps.advance_campaign

    def fail_of_the_newest(campaign_id):
        if campaign_id == other.pk:
            raise LookupError("example")
        return advance_campaign(campaign_id)

    monkeypatch.setattr(steps, "advance_campaign", fail_of_the_newest)

    tasks.take_campaigns_further()

    assert stand(campaign)[0] == STOPPED
