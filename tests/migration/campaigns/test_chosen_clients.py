"""Pages that act on chosen clients say which of them are in a campaign that is not over."""

import re
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.campaigns.members import (
    NewMemberVerdict,
    count_in_campaigns,
    list_newest_waves_of_groups,
)
from migration.models import Campaign, GroupMember
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client
from tests.migration.acts import act_page, press
from tests.migration.campaigns.taken import begin, make_group, members, put, take
from tests.migration.moves.clients import enter_phase_together
from tests.migration.pages import CLIENTS, login, page_of, text


def count(*pks: int) -> list[tuple[int, int]]:
    return [(share.campaign.pk, share.clients) for share in count_in_campaigns(pks)]


def test_who_is_in_a_wave_that_began_or_in_the_group_of_a_later_one_is_in_the_campaign(stores):
    first, later, free = make_group("first", 2), make_group("later", 1), make_client("free")
    campaign = begin(first, later)
    take(campaign)
    pks = [*members(first), *members(later), free]

    with CaptureQueriesContext(connection) as captured:
        assert count(*pks) == [(campaign.pk, 3)]
    assert len(captured) == 1
    assert count(free) == []
    # Taken once; the group is looked at no more.
    GroupMember.objects.filter(group=first).delete()
    assert count(*pks) == [(campaign.pk, 3)]


def test_a_campaign_that_is_over_has_nobody(stores, maria):
    group = make_group("first", 1)
    campaign = begin(group)
    take(campaign)
    campaign.refresh_from_db()
    campaign.cancel(by=maria)

    assert count(*members(group)) == []


def test_who_came_into_the_group_after_the_approval_is_not_in_it(stores):
    group, late = make_group("first", 1), make_client("late")
    campaign = begin(group)
    put("first", late)
    assert count(late) == [(campaign.pk, 1)]

    before = timezone.now() - timedelta(minutes=1)
    GroupMember.objects.exclude(client_id=late).update(added_at=before - timedelta(minutes=1))
    Campaign.objects.update(asked_at=before)

    assert count(*members(group)) == [(campaign.pk, 1)]
    assert count(late) == []


@pytest.mark.parametrize("may_view", [True, False])
def test_the_page_of_an_action_names_the_campaign_and_links_it_for_who_may_view_it(
    stores, client, may_view
):
    group, free = make_group("first", 1), make_client("free")
    campaign = begin(group)
    rights = ["migration.view_campaign"] if may_view else []
    rights += ["credentials.view_client", "migration.change_clientgroup"]
    login(client, "ana", *rights)

    response = client.get(act_page("put_into_group", free, members(group)[0]))

    note = f"1 of these clients is in Campaign {campaign.pk}, which moves its clients by itself"
    assert note in text(response).replace(" ,", ",")
    assert (page_of("migration_campaign", campaign.pk) in response.content.decode()) == may_view


def test_of_a_client_that_is_at_the_goal_none_says_that_the_campaign_moves_it(stores, client):
    group = make_group("first", 2)
    one, _two = members(group)
    campaign = begin(group, goal=Phase.DUAL_WRITE)
    take(campaign)
    enter_phase_together([one], Phase.DUAL_WRITE)
    login(client, "ana", "credentials.view_client", "migration.move_client")

    assert "This client is in" not in text(client.get(f"{CLIENTS}{one}/change/"))
    note = f"1 of these clients is in Campaign {campaign.pk}"
    assert note in text(client.get(act_page("dual_read", *members(group))))
    # It may be rolled back by it.
    Campaign.objects.update(rolls_back=True)
    assert "This client is in" in text(client.get(f"{CLIENTS}{one}/change/"))


def test_of_a_group_whose_wave_has_begun_it_is_said_whether_another_one_takes_new_members(stores):
    def judge() -> NewMemberVerdict:
        ((_wave, verdict),) = list_newest_waves_of_groups([group.pk])
        return verdict

    group = make_group("first", 3)
    campaign = begin(group, wave_size=2)
    assert judge() == NewMemberVerdict.LATER

    take(campaign)
    assert judge() == NewMemberVerdict.IN_ANOTHER_PART
    Campaign.objects.update(wave_size=0)
    assert judge() == NewMemberVerdict.TOO_LATE


def test_of_a_campaign_that_stands_still_none_says_that_it_moves_clients(stores, client):
    group = make_group("first", 2)
    campaign = begin(group)
    campaign.stop(by=None)
    login(client, "ana", "credentials.view_client", "migration.change_clientgroup")

    chosen = members(group)
    of_one = text(client.get(f"{CLIENTS}{chosen[0]}/change/"))
    of_both = text(client.get(act_page("put_into_group", *chosen)))

    still = f"Campaign {campaign.pk}, which is not moving clients (stopped)."
    assert f"This client is in {still}" in of_one
    assert f"2 of these clients are in {still}" in of_both


def test_one_that_is_stopped_moves_clients_until_its_run_has_ended_and_its_rollback_is_made(
    stores, client
):
    def moves_clients() -> bool:
        (share,) = count_in_campaigns(members(group))
        words = text(client.get(f"{CLIENTS}{members(group)[0]}/change/"))
        assert share.moves_clients == ("what it has in work still moves clients" in words)
        return share.moves_clients

    group = make_group("first", 1)
    campaign = begin(group)
    run = take(campaign)
    login(client, "ana", "credentials.view_client")
    campaign.refresh_from_db()
    campaign.stop(by=None)
    assert moves_clients()  # its run ends with its batches
    for waits in ("requested", "paused"):
        Run.objects.filter(pk=run.pk).update(state=waits)
        assert not moves_clients()

    Run.objects.filter(pk=run.pk).update(state="stopped")
    assert moves_clients()
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    assert not moves_clients()
    campaign.waves.update(rollback_is_due=True)
    assert moves_clients()


def test_who_is_put_into_a_group_of_one_that_has_to_be_approved_again_is_taken_then(stores):
    group = make_group("first", 1)
    campaign = begin(group)
    Campaign.objects.update(asked_at=timezone.now())
    late = make_client("late")
    put("first", late)
    ((_wave, verdict),) = list_newest_waves_of_groups([group.pk])
    assert (verdict, count(late)) == (NewMemberVerdict.NOT_APPROVED, [])

    campaign.stop(by=None)
    ((_wave, verdict),) = list_newest_waves_of_groups([group.pk])
    assert (verdict, count(late)) == (NewMemberVerdict.LATER, [(campaign.pk, 1)])


def test_who_is_put_into_a_group_of_a_campaign_is_told_whether_it_takes_them(stores, client):
    group, free = make_group("first", 1), make_client("free")
    campaign = begin(group)
    rights = ["credentials.view_client", "migration.change_clientgroup", "migration.view_campaign"]
    login(client, "ana", *rights)
    page = act_page("put_into_group", free)
    takes = f"Campaign {campaign.pk} takes the clients of first when their wave begins"

    assert takes in text(client.get(page))
    done = press(client, page, group=group.pk, first="1")
    said = " ".join(map(str, get_messages(done.wsgi_request)))
    assert takes in re.sub("<.*?>", "", said)
    assert "each when its wave begins" in text(client.get(f"{CLIENTS}{free}/change/"))

    campaign.waves.update(began_at=timezone.now())
    assert "has begun its wave of first, and leaves out" in text(client.get(page))
    Campaign.objects.update(asked_at=timezone.now())
    assert "it was requested without them" in text(client.get(page))


def test_the_page_of_one_move_says_it(stores, client):
    group = make_group("first", 1, "dual_read")
    campaign = begin(group)
    rights = ["credentials.view_client", "migration.move_client", "migration.add_run"]
    login(client, "ana", *rights)

    response = client.get(act_page("cutover", *members(group)))

    assert f"This client is in Campaign {campaign.pk}" in text(response)
