"""The forecast of a campaign's end, and its waves as columns."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from credentials.models import Client
from migration.campaigns.explain import summarize_campaign
from migration.campaigns.members import CampaignProgress, count_in_campaigns, list_running_campaigns
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.pages import text

pytestmark = pytest.mark.usefixtures("stores")


def end_wave(wave, *, hours: float, ended_hours_ago: float = 0) -> None:
    wave.finished_at = timezone.now() - timedelta(hours=ended_hours_ago)
    wave.began_at = wave.watched_since = wave.finished_at - timedelta(hours=hours)
    wave.save()


def begin_before(wave, *, hours: float) -> None:
    began = timezone.now() - timedelta(hours=hours)
    type(wave).objects.filter(pk=wave.pk).update(began_at=began, watched_since=began)


def hours_left(campaign) -> float | None:
    found = summarize_campaign(campaign).seconds_left
    return found and round(found / 3600, 2)


def test_nothing_is_forecast_before_a_wave_is_done_or_where_the_campaign_does_not_go_on():
    campaign = make_campaign(make_group("a"), make_group("b"))
    assert hours_left(campaign) is None
    wave, _run = begin_wave(campaign, ["a-0"])
    assert hours_left(campaign) is None
    end_wave(wave, hours=2)
    assert hours_left(campaign) == 2
    campaign.stop(by=None)

    assert hours_left(campaign) is None


def test_the_rest_takes_what_past_waves_took_less_what_is_over_of_the_one_in_work():
    campaign = make_campaign(*(make_group(name) for name in "abcd"))
    for name, hours in (("a", 2), ("b", 4)):
        end_wave(begin_wave(campaign, [f"{name}-0"])[0], hours=hours)
    third, _run = begin_wave(campaign, ["c-0"])
    begin_before(third, hours=1)
    assert hours_left(campaign) == 2 + 3
    begin_before(third, hours=9)

    assert hours_left(campaign) == 3  # it takes longer than the others: nobody knows how much


def test_a_group_of_more_clients_than_a_wave_may_have_takes_several():
    campaign = make_campaign(make_group("a", 3), make_group("b", 5), wave_size=2)
    end_wave(begin_wave(campaign, ["a-0"])[0], hours=1)

    # One of a's, and three of b's.
    assert hours_left(campaign) == 4
    summary = summarize_campaign(campaign)
    assert (summary.waves_done, summary.waves_all, summary.percent_done) == (1, 5, 0)
    # Who waits for a later part is in the campaign, too.
    assert list_running_campaigns() == [CampaignProgress(campaign.pk, 0, 8)]
    waiting = list(Client.objects.filter(slug__in=("a-1", "a-2")).values_list("pk", flat=True))
    assert [share.clients for share in count_in_campaigns(waiting)] == [2]
    campaign.stop(by=None)
    campaign.cancel(by=None)
    assert summarize_campaign(campaign).waves_all == 2


def test_a_wave_that_stood_still_is_no_measure_for_the_others():
    campaign = make_campaign(*(make_group(name) for name in "abc"))
    end_wave(begin_wave(campaign, ["a-0"])[0], hours=2)
    stopped, _run = begin_wave(campaign, ["b-0"])
    end_wave(stopped, hours=90)
    type(stopped).objects.filter(pk=stopped.pk).update(
        watched_since=timezone.now() - timedelta(hours=1)
    )

    assert hours_left(campaign) == 2


def test_the_page_says_about_when_and_how_long_a_wave_soaks(client):
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    campaign = make_campaign(
        make_group("a"),
        make_group("b", 2),
        make_group("c"),
        goal=Phase.DUAL_WRITE,
        soak_minutes=180,
    )
    end_wave(begin_wave(campaign, ["a-0"])[0], hours=4)
    begin_wave(campaign, ["b-0"])
    Run.objects.update(finished_at=timezone.now() - timedelta(minutes=30, seconds=-5))

    words = text(client.get(f"/admin/migration/campaign/{campaign.pk}/change/"))

    assert "hours left, if the other waves take as long as those done." in words
    second = words.split("Wave 2 (b)")[-1].split("Wave 3 (c)")[0]
    assert "Being watched about 3 hours left 0 of 2 clients at the goal" in second
    assert "Refused clients warning 1 (limit 1)" in second
    assert summarize_campaign(campaign).waves[0].soaks_until is None
