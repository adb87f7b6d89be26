"""Each number on a campaign's page leads to the list of just these clients; waves of several parts have plain names."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from credentials.localization import show_moment
from migration.campaigns.explain import find_counted_clients
from migration.campaigns.members import find_stuck_slugs, go_on_without
from migration.campaigns.models import CAMPAIGN_STEERED
from migration.core.audit import RUN_EVENT
from migration.core.clients import all_clients
from migration.models import (
    AuditCheckpoint,
    AuditEvent,
    Campaign,
    ClientMigration,
    ReadCount,
    Worker,
)
from migration.runs import engine
from migration.runs.models import RUN_STARTED, Run
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison, make_full_client, make_user
from tests.migration.acts import by_verdict, send
from tests.migration.campaigns import taken
from tests.migration.campaigns.shown import begin_wave, do_next, make_campaign, make_group
from tests.migration.moves.clients import enter_phase, enter_phase_together
from tests.migration.pages import CLIENTS, page_of, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def viewer(client):
    user = make_user("vera")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    return client


def page(campaign: Campaign) -> str:
    return page_of("migration_campaign", campaign.pk)


def links_of(response) -> list[tuple[str, str]]:
    """Each link of the page into the client list by a campaign's number: its query and its words."""
    found = re.findall(
        r'(?s)<a [^>]*href="[^"]*/client/\?(campaign=[^"]*)"[^>]*>(.*?)</a>',
        response.content.decode(),
    )
    return [(unescape(query), " ".join(words.split())) for query, words in found]


def read(client, url: str) -> dict:
    """Return what the page is given; the page itself is not made."""
    with pages_left_out():
        return client.get(url).context_data


def listed(client, query: str) -> set[str]:
    return {row.slug for row in read(client, f"{CLIENTS}?{query}")["cl"].result_list}


def slugs(pks: list[int]) -> set[str]:
    return set(all_clients().filter(pk__in=pks).values_list("slug", flat=True))


def test_whom_a_step_waits_for_is_listed_and_how_much_they_lack_is_said(viewer, settings):
    settings.NOVA_MIN_READS, settings.NOVA_CLEAN_STREAK = 20, 3
    Worker.objects.record_heartbeat("worker:1")
    group = taken.make_group("north", 3, Phase.DUAL_READ)
    one, two, three = taken.members(group)
    outside = taken.make_group("south", 1, Phase.DUAL_READ)
    few_matches = [*taken.members(outside), one, two]
    ClientMigration.objects.filter(pk__in=few_matches).update(clean_streak=1)
    ClientMigration.objects.filter(pk=three).update(clean_streak=3)
    campaign = taken.begin(group)
    taken.take(campaign)

    response = viewer.get(page(campaign))

    shown = {words: query for query, words in links_of(response)}
    few = shown["2 with too few matches in a row: at least 1 of 3 each"]
    assert listed(viewer, few) == slugs([one, two])
    reads = shown["1 with too few reads by NOVA: 0 of 20"]
    assert listed(viewer, reads) == slugs([three])
    words = text(viewer.get(f"{CLIENTS}?{few}"))
    assert f"Campaign {campaign.pk}, wave 1: to be moved" in words


def test_each_count_of_a_wave_leads_to_its_clients(viewer):
    campaign = make_campaign(make_group("Spain", 6), goal=Phase.AWS, most_refused=9, soak_minutes=0)
    begin_wave(campaign, ["spain-0", "spain-1"])
    pks = dict(all_clients().values_list("slug", "pk"))
    enter_phase(pks["spain-2"], Phase.DUAL_WRITE), enter_phase(pks["spain-3"], Phase.DUAL_READ)
    make_comparison(pks["spain-2"], "mismatch", slug="spain-2")
    count_reads(pks["spain-3"], reads=5, aws_failures=4)
    campaign.waves.get().taken.filter(client=pks["spain-5"]).update(left_out_at=timezone.now())

    response = viewer.get(page(campaign))

    wave = campaign.waves.get().pk
    expected = {
        f"campaign=wave-{wave}&phase=postgres": ("3", {"spain-0", "spain-1", "spain-4"}),
        f"campaign=wave-{wave}&phase=dual_write": ("1", {"spain-2"}),
        f"campaign=wave-{wave}&phase=dual_read": ("1", {"spain-3"}),
        f"campaign=refused-{wave}": ("see them", {"spain-0", "spain-1"}),
        f"campaign=differing-{wave}": ("see them", {"spain-2"}),
        f"campaign=failed_reads-{wave}": ("see them", {"spain-3"}),
        f"campaign=left_out-{wave}": ("1 left out", {"spain-5"}),
        f"campaign=left-{campaign.waves.get().runs.get().pk}": (
            "2 clients were not moved",
            {"spain-0", "spain-1"},
        ),
    }
    assert dict(links_of(response)) == {query: words for query, (words, _) in expected.items()}
    for query, (_, found) in expected.items():
        word, pk = query.removeprefix("campaign=").split("-") if "&" not in query else ("", "")
        shown = slugs(find_counted_clients(word, int(pk))[1]) if word else listed(viewer, query)
        assert shown == found, query
    assert "Refused clients 2 (limit 9)" in text(response)


def test_whom_a_stopped_campaign_could_not_move_and_what_keeps_them_leads_to_all_of_them(viewer):
    campaign = make_campaign(make_group("Spain", 8), most_refused=1)
    begin_wave(campaign, [f"spain-{n}" for n in range(7)])
    do_next(campaign)
    not_moved = f"campaign=not_moved-{campaign.pk}"
    assert (not_moved, "See these 7 clients") in links_of(viewer.get(page(campaign)))
    assert listed(viewer, not_moved) == {f"spain-{n}" for n in range(7)}
    make_full_client("outside")
    pks = list(all_clients().exclude(slug="spain-7").values_list("pk", flat=True))
    enter_phase_together(pks, Phase.DUAL_WRITE)
    for pk in pks:
        make_comparison(pk, "mismatch")

    response = viewer.get(page(campaign))

    query = f"campaign=kept-{campaign.pk}&next=differs"
    assert (query, "Stores differ: 7 clients") in links_of(response)
    assert listed(viewer, query) == {f"spain-{n}" for n in range(7)}
    go_on_without(campaign, find=find_stuck_slugs, by=None)
    assert listed(viewer, not_moved) == set()


def test_a_value_that_means_nothing_and_a_wave_that_has_not_begun_show_nobody(viewer):
    campaign = make_campaign(make_group("Spain", 2))
    values = ("kept-", "kept-x", "kept-0", "wave-999999999999999999", "nothing-1")
    values += (f"to_move-{campaign.waves.get().pk}",)

    assert [value for value in values if listed(viewer, f"campaign={value}")] == []
    assert listed(viewer, "campaign=") == {"spain-0", "spain-1"}


def test_who_may_not_see_campaigns_has_no_such_filter(client):
    campaign = make_campaign(make_group("Spain", 2), most_refused=1)
    begin_wave(campaign, ["spain-0"])
    client.force_login(make_user("clerk", "credentials.view_client"))

    response = client.get(f"{CLIENTS}?campaign=not_moved-{campaign.pk}")

    assert response.context["cl"].result_count == 0
    assert f"Campaign {campaign.pk}" not in text(response)


# What a stopped campaign says


def test_who_only_has_to_wait_after_it_was_mended_is_told_so(viewer):
    campaign = make_campaign(make_group("Spain", 2), goal=Phase.AWS, most_refused=1, soak_minutes=0)
    begin_wave(campaign, ["spain-0"])
    do_next(campaign)
    pks = dict(all_clients().values_list("slug", "pk"))
    enter_phase(pks["spain-1"], Phase.DUAL_READ), make_comparison(pks["spain-1"], "match")
    count_reads(pks["spain-1"], reads=1, mismatches=1)
    ReadCount.objects.update(last_mismatch_at=timezone.now())

    words = text(viewer.get(page(campaign)))

    when = show_moment(ReadCount.objects.get().last_mismatch_at + timedelta(minutes=30))
    assert (
        "NOVA's reader met a mismatch or a failure lately: 1 client – spain-1 (this passes 30 minutes after the last"
        f" one, at {when}; if the campaign goes on before, the whole wave waits until then)"
        in words
    )
    assert "Nothing to fix" in words
    assert "Stopped" in words
    assert "Step under way" not in words


def test_a_wave_is_rolled_back_from_the_campaigns_page(viewer, client):
    campaign, group = taken.begin_cutover(3)
    assert not read(viewer, page(campaign))["may_roll_back"]
    other = taken.make_group("south", 1, Phase.AWS)
    user = make_user("olga")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    html = client.get(page(campaign)).content.decode()
    (link,) = re.findall(r'href="([^"]*act/rollback/[^"]*)"', html)
    opened = client.get(unescape(link))
    assert sorted(by_verdict(opened)["will"]) == [f"{group}-{n}" for n in range(3)]

    send(client, unescape(link), opened)

    engine.work_on_run(run_id=Run.objects.get(move_from="aws").pk)
    assert taken.phases(group) == [Phase.DUAL_READ] * 3
    assert taken.phases(other) == [Phase.AWS]
    Campaign.objects.update(state="finished")
    campaign.waves.update(finished_at=timezone.now())
    words = text(client.get(page(campaign)))
    assert "Finished in part" in words
    assert "3 clients were moved back by hand: AWS (cut over) → Dual read olga" in words


# Names


def test_the_waves_of_the_only_group_are_counted_and_those_yet_to_be_made_have_a_place(viewer):
    Worker.objects.record_heartbeat("worker:1")
    campaign = make_campaign(make_group("Spain", 5), wave_size=2)
    first = do_next(campaign)
    assert first is not None
    summary = read(viewer, page(campaign))["summary"]
    assert (summary.waves_done, summary.waves_all) == (0, 3)
    campaign.waves.update(finished_at=timezone.now())
    second = do_next(campaign)
    assert second is not None

    words = text(viewer.get(page(campaign)))

    assert "1 of 3 waves done" in words
    assert "1 more wave The rest of the group" in words
    assert "Wave 1 " in words
    assert "Wave 2 " in words
    assert "part 2" not in words
    assert "(Spain)" not in words
    assert f"Campaign {campaign.pk} began wave 2 with 2 clients." in words
    assert "wave 2" in text(viewer.get(page_of("migration_run", second.pk)))
    assert "began wave 1 with" in " ".join(
        str(event.message) for event in AuditEvent.objects.filter(code="campaign")
    )


def test_of_several_groups_a_wave_names_its_own_and_one_that_is_called_like_its_wave_is_named_once():
    groups = make_group("Wave 1", 2), make_group("Spain", 1)
    campaign = make_campaign(*groups, wave_size=1)
    do_next(campaign), do_next(campaign)

    names = [str(wave.name_message) for wave in campaign.waves.order_by("position", "part")]

    assert names == ["wave 1", "wave 2 (Wave 1, part 2)", "wave 3 (Spain)"]


# History


def test_the_history_tells_who_did_what_and_what_each_run_did_with_a_link_to_it(client):
    maria, ana = make_user("maria", "migration.move_client"), make_user("ana")
    user = make_user("olga")
    user.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(user)
    campaign = make_campaign(make_group("Spain", 3), by=maria, reason="CHG-7", most_refused=1)
    _wave, run = begin_wave(campaign, ["spain-0", "spain-1"])
    do_next(campaign)
    go_on_without(campaign, find=find_stuck_slugs, by=ana, reason="CHG-8")

    shown = read(client, page(campaign))

    run_page = page_of("migration_run", run.pk)
    assert [
        (line.message.key, line.who, line.reason, line.part_of_url) for line in shown["history"]
    ] == [
        ("campaign_went_on", "ana", "", ""),
        ("goes_on_without", "ana", "CHG-8", ""),
        ("campaign_stopped", "", "", ""),
        ("run_ended", "", "", run_page),
        ("campaign_started", "maria", "CHG-7", ""),
    ]
    assert all(line.entry_url for line in shown["history"])
    exported = read(client, shown["audit_url"])["rows"]
    assert {row.pk for row in exported if not row.slug} == {
        row.pk for row in AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", slug="")
    }


def test_the_history_tells_the_begin_and_the_end_of_each_run_and_is_whole_on_demand(
    viewer, monkeypatch
):
    campaign = make_campaign(make_group("Spain", 1))
    run = do_next(campaign)
    assert run is not None
    do_next(campaign)

    history = read(viewer, page(campaign))["history"]

    run_page = page_of("migration_run", run.pk)
    assert [(line.message.key, line.part_of_url) for line in history] == [
        ("campaign_finished", ""),
        ("run_ended_well", run_page),
        ("moves_started", run_page),
        ("wave_begun", ""),
        ("campaign_started", ""),
    ]
    monkeypatch.setattr("migration.campaigns.pages.EVENTS_SHOWN", 2)
    words = text(viewer.get(page(campaign)))
    assert "The newest 2 events. Show all" in words
    assert "Started Campaign" not in words
    whole = read(viewer, f"{page(campaign)}?history=all")
    assert (whole["history"], whole["history_has_more"]) == (history, False)


def test_the_history_has_what_was_carried_over_or_recorded_by_a_former_release_and_says_what_it_lacks(
    viewer, monkeypatch
):
    campaign = make_campaign(make_group("Spain", 1))
    Campaign.objects.update(created_at=timezone.now() - timedelta(days=9))
    for state in ("stopped", "running", "requested", "cancelled", "finished", "unknown"):
        facts = CAMPAIGN_STEERED(campaign=campaign.name_message, state=state)
        campaign.record_act(facts, by=None)
    with campaign.grouping_audit_entries():
        for days in (7, 8):
            moment = timezone.now() - timedelta(days=days)
            facts = RUN_STARTED(run="Move 5")
            AuditEvent.make_signed(RUN_EVENT, facts, happened_at=moment).save(force_insert=True)

    shown = read(viewer, page(campaign))

    history = shown["history"]
    assert [(line.message.key, line.is_carried_over) for line in history] == [
        ("campaign_steered", False),
        ("campaign_finished", False),
        ("campaign_cancelled", False),
        ("campaign_asked_again", False),
        ("campaign_went_on", False),
        ("campaign_stopped_by_hand", False),
        ("campaign_started", False),
        ("run_started", True),
        ("run_started", True),
    ]
    assert history[-2].at > history[-1].at
    assert shown["whole_since"] is None

    trimmed = AuditCheckpoint.objects.create(position=10**9, made_at=timezone.now())
    cut = viewer.get(page(campaign))
    assert cut.context["whole_since"] == trimmed.made_at
    assert "The history is complete since" in text(cut)
    monkeypatch.setattr("migration.campaigns.pages.EVENTS_SHOWN", 1)
    (line,) = read(viewer, page(campaign))["history"]
    assert line.message.key == "campaign_steered"
    Campaign.objects.update(created_at=timezone.now())
    assert read(viewer, page(campaign))["whole_since"] is None
