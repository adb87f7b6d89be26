"""The pages of campaigns: their list, the page of one, and where runs and clients name them."""

import re
from datetime import time, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from migration.campaigns import history as campaign_changes
from migration.campaigns import pages as campaign_views
from migration.campaigns.members import measure_campaigns
from migration.campaigns.steps import advance_campaign
from migration.core.clients import MOVE_EVENT, ClientMigration, all_clients
from migration.models import AuditEvent, Campaign, PhaseChange, Wave, WaveClient, Worker
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.deletions import NO_SECRET
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_comparison, make_user
from tests.migration.campaigns.shown import (
    CAMPAIGNS,
    begin_wave,
    do_next,
    make_campaign,
    make_group,
    page,
    press,
)
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import page_of, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")

# The list


def test_the_list_names_groups_goal_state_and_why_it_stands_still(client, log_in):
    log_in("Viewer")
    groups = [make_group(f"Wave {n}") for n in range(5)]
    campaign = make_campaign(*groups, goal=Phase.DUAL_READ, by=make_user("maria"))
    running = make_campaign(make_group("Italy"))
    campaign.stop(by=make_user("ana"))

    words = text(client.get(f"{CAMPAIGNS}?state__exact=stopped"))

    assert f"Campaign {campaign.pk} Wave 0, Wave 1, Wave 2 and 2 more " in words
    assert "stop Stopped 0 of 5 clients ana stopped it. maria" in words
    assert f"Campaign {running.pk} " not in words
    campaign.cancel(by=None)
    words = text(client.get(CAMPAIGNS))
    assert "cancel Cancelled 0 waves maria" in words
    assert f"Campaign {running.pk} " in words


def test_the_list_says_what_a_running_campaign_waits_for(client, log_in, settings):
    settings.NOVA_MIN_READS = 20
    log_in("Viewer")

    def told() -> list[str]:
        with pages_left_out():
            rows = client.get(CAMPAIGNS).context_data["cl"].result_list
        return [row.waits_for.key for row in rows]

    campaign = make_campaign(
        make_group("Spain", 2, Phase.DUAL_READ), goal=Phase.AWS, soak_minutes=1440
    )
    assert told() == ["no_worker"]
    Worker.objects.record_heartbeat("worker:1")
    assert told() == ["step_is_due"]
    assert advance_campaign(campaign.pk) is None
    assert told() == ["waits_for_clients"]
    wave = campaign.waves.get()
    run = Run.objects.create(wave=wave, kind="move", move_from="dual_read", move_to="aws")
    assert told() == ["waits_for_run"]
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    assert told() == ["soaks"]
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", "migration.move_client")
    make_campaign(make_group("Italy"), goal=Phase.AWS, by=maria, reason="CHG-1", soak_minutes=1440)
    assert "It begins once someone else approves it." in text(client.get(CAMPAIGNS))


def test_the_list_asks_no_more_queries_for_more_campaigns(client, log_in):
    log_in("Viewer")

    def count_queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get(CAMPAIGNS)
        return len(asked)

    make_campaign(make_group("first"))
    count_queries()
    few = count_queries()
    for number in range(3):
        make_campaign(make_group(f"a{number}"), make_group(f"b{number}"))

    assert count_queries() == few


def test_who_may_start_a_campaign_is_led_there_from_both_lists(client, log_in):
    for role, leads in (("Viewer", False), ("Operator", True)):
        log_in(role)
        for listing in (CAMPAIGNS, "/admin/migration/clientgroup/"):
            html = client.get(listing).content.decode()
            assert (f'href="{CAMPAIGNS}start/"' in html) == leads, (role, listing)
            assert f'href="{CAMPAIGNS}"' in html  # in the menu


# The page of one


def test_the_page_tells_settings_waves_and_what_it_waits_for(client, log_in):
    log_in("Viewer")
    Worker.objects.record_heartbeat("worker:1")
    campaign = make_campaign(
        make_group("Spain", 2),
        make_group("Italy"),
        goal=Phase.DUAL_READ,
        wave_size=1200,
        soak_minutes=90,
        most_refused=3,
        most_mismatches=2,
        most_failed_reads=1000,
        begins_at=time(0),
        ends_at=time(23, 59, 59),
        rolls_back=True,
        reason="CHG-7",
    )
    begin_wave(campaign, ["spain-0"])
    Run.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    Campaign.objects.update(changed_at=timezone.now() - timedelta(hours=3))

    words = text(client.get(page(campaign)))

    assert "The next step begins within a minute." in words
    assert "0 of 2 waves done" in words
    assert "Clients per wave (max.) 1,200" in words
    assert "Watch time 1 hour 30 minutes" in words
    assert "Steps begin between 00:00 and 23:59 (UTC)" in words
    assert "2 clients that differ 1,000 reads by NOVA that fail at AWS" in words
    assert "Rolls back the wave’s clients" in words
    assert "Reason CHG-7" in words
    shown = "Wave 1 (Spain) play_arrow Next step soon began "
    first = words.split(shown)[1].split("Wave 2")[0]
    assert "0 of 2 clients at the goal database PostgreSQL 2 " in first
    assert (
        "Refused clients 1 (limit 3) see them Mismatches 0 (limit 2) Failed reads 0 (limit 1,000) Move"
        in first
    )
    assert "Wave 2 (Italy) schedule Not started" in words


def test_a_number_that_reached_its_limit_is_marked(client, log_in):
    log_in("Viewer")
    campaign = make_campaign(make_group("Spain", 1, Phase.DUAL_WRITE), goal=Phase.DUAL_READ)
    begin_wave(campaign, ["spain-0"], move_from="dual_write", move_to="dual_read")
    make_comparison(WaveClient.objects.get().client_id, "mismatch")

    words = text(client.get(page(campaign)))

    assert (
        "Refused clients warning 1 (limit 1) see them Mismatches warning 1 (limit 1) see them Failed reads 0"
        in words
    )


def test_why_it_stopped_is_told_until_it_goes_on(client, log_in):
    log_in("Operator")
    campaign = make_campaign()
    begin_wave(campaign, ["spain-0"])
    advance_campaign(campaign.pk)
    campaign.refresh_from_db()

    told = "1 client was refused in wave 1 (limit: 1)."
    words = text(client.get(page(campaign)))
    assert re.search(f"Stopped (now|.{{1,12}} ago) : {re.escape(told)}", words)
    assert "1 client was not moved spain-0 block Refused check Can be retried" in words
    assert "No client of the waves so far is blocked: you can continue." in words
    pk = WaveClient.objects.get().client_id
    enter_phase(pk, Phase.DUAL_WRITE)
    make_comparison(pk, "mismatch")
    words = text(client.get(page(campaign)))
    assert "Blocked now: Stores differ: 1 client – spain-0" in words
    press(client, campaign, "steer", order="go_on")
    response = client.get(page(campaign))
    assert told not in text(response).split("History ")[0]
    assert [(line.message.key, line.who) for line in response.context["history"]] == [
        ("campaign_went_on", "operator"),
        ("campaign_stopped", ""),
        ("run_ended", ""),
        ("campaign_started", ""),
    ]
    campaign.finish()
    words = text(client.get(page(campaign)))
    # However slow this machine is.
    assert re.search(r"0 of 1 waves done ended (now|\d+ seconds? ago)", words)


def test_a_stopped_campaign_tells_who_is_blocked_in_its_later_waves(client, log_in):
    log_in("Operator")
    later = make_group("Italy", 2)
    all_clients().filter(slug="italy-1").update(is_active=False)
    campaign = make_campaign(make_group("Spain"), later)
    begin_wave(campaign, ["spain-0"])
    advance_campaign(campaign.pk)

    response = client.get(page(campaign))

    assert response.context["kept_later"] == 1
    shown = client.get(f"/admin/credentials/client/?{response.context['kept_later_query']}")
    assert [row.slug for row in shown.context["cl"].result_list] == ["italy-1"]


def test_who_is_left_out_or_moved_by_hand_does_not_change_what_a_campaign_counts(client, log_in):
    log_in("Operator")
    spain, italy = (
        make_group("Spain", 2, Phase.DUAL_WRITE),
        make_group("Italy", 2, Phase.DUAL_WRITE),
    )
    campaign = make_campaign(spain, italy, goal=Phase.DUAL_READ)

    def count() -> tuple[int, int]:
        (found,) = measure_campaigns(Campaign.objects.all())
        return found.done, found.clients

    by_hand = all_clients().get(slug="italy-0")
    assert count() == (0, 4)
    ClientMigration.objects.change_phase([by_hand.pk], Phase.DUAL_WRITE, Phase.DUAL_READ)
    assert count() == (1, 4)
    with transaction.atomic():
        campaign.waves.get(position=2).begin(now=timezone.now())
    assert WaveClient.objects.count() == 1
    assert count() == (1, 4)
    WaveClient.objects.update(left_out_at=timezone.now())
    assert count() == (1, 3)
    assert "1 of 3 clients at the goal, 0 of 2 waves done, 1 client left out" in text(
        client.get(page(campaign))
    )


def test_the_run_in_work_is_shown_with_its_progress(client, log_in):
    log_in("Viewer")
    campaign = make_campaign()
    run = advance_campaign(campaign.pk)

    response = client.get(page(campaign))

    assert f"Move {run.pk} of wave 1 is running." in text(response)
    assert "0 of 1 client" in text(response)
    assert f'href="{page_of("migration_run", run.pk)}"' in response.content.decode()


def test_the_clients_that_were_left_are_named_with_reasons_and_links(client, log_in):
    log_in("Viewer")
    campaign = make_campaign(make_group("Spain", 12))
    _, run = begin_wave(campaign, [f"spain-{n}" for n in range(12)])

    response = client.get(page(campaign))
    html, words = response.content.decode(), text(response)

    assert f"Move {run.pk} , wave 1: 12 clients were not moved" in words
    left = WaveClient.objects.get(slug="spain-0").client_id
    assert f'href="{page_of("credentials_client", left)}"' in html
    assert f'href="{page_of("migration_run", run.pk)}?items=refused">… 2 more</a>' in html
    assert "spain-11" not in words


def test_the_page_reloads_itself_until_the_campaign_is_over(client, log_in):
    log_in("Viewer")
    campaign = make_campaign()
    live = reverse("admin:migration_campaign_live", args=[campaign.pk])
    assert f'hx-get="{live}?seen=' in client.get(page(campaign)).content.decode()
    assert "HX-Refresh" not in client.get(live).headers

    # Somebody else may have a stopped one go on.
    campaign.stop(by=None)
    assert f'hx-get="{live}?seen=' in client.get(page(campaign)).content.decode()
    assert "HX-Refresh" not in client.get(live).headers

    campaign.cancel(by=None)

    assert live not in client.get(page(campaign)).content.decode()
    assert client.get(live).headers["HX-Refresh"] == "true"
    assert client.get(f"{CAMPAIGNS}999/live/").status_code == 404


def test_a_page_that_shows_what_holds_is_sent_nothing_until_that_changes(
    client, log_in, monkeypatch
):
    log_in("Viewer")
    # Its clock stands: no minute ends while the test runs.
    clock = SimpleNamespace(moment=timezone.now())
    standing = SimpleNamespace(now=lambda: clock.moment)
    monkeypatch.setattr(campaign_changes, "timezone", standing)
    campaign = make_campaign(make_group("Spain", 2))
    live = reverse("admin:migration_campaign_live", args=[campaign.pk])
    html = client.get(page(campaign)).content.decode()

    def poll() -> int:
        """Ask as the page that was shown last does."""
        nonlocal html
        seen = re.search(r"\?seen=(\w{32})&amp;page=1", html)[1]
        answer = client.get(live, {"seen": seen, "page": "1"})
        html = answer.content.decode() or html
        return answer.status_code

    def happens(act) -> bool:
        act()
        return (poll(), poll()) == (200, 204)

    assert poll() == 204
    run = advance_campaign(campaign.pk)
    assert happens(lambda: None)
    pk, other = WaveClient.objects.values_list("client_id", flat=True)
    assert happens(lambda: run.items.filter(client=pk).update(outcome=Outcome.MOVED))
    assert happens(lambda: PhaseChange.objects.create(client_id=pk, old="aws", new="dual_read"))
    assert happens(lambda: make_comparison(other, "mismatch"))
    assert happens(lambda: AuditEvent.objects.record(MOVE_EVENT, NO_SECRET()))
    assert happens(lambda: Wave.objects.update(watched_since=timezone.now()))
    assert happens(lambda: campaign.stop(by=None))
    # What the digest doesn't hold is shown a minute later at the latest.
    clock.moment += timedelta(seconds=60)
    assert happens(lambda: None)


def test_many_waves_have_pages_and_the_first_shown_is_the_one_in_work(client, log_in, monkeypatch):
    monkeypatch.setattr(campaign_views, "WAVES_A_PAGE", 2)
    log_in("Viewer")
    campaign = make_campaign(*(make_group(f"Wave {n}") for n in range(5)))
    for number in range(3):
        begin_wave(campaign, [f"wave-{number}-0"])

    words = text(client.get(page(campaign)))
    assert "Wave 3 (Wave 2)" in words
    assert "Wave 1 (Wave 0)" not in words
    assert "Page 2 of 3" in words
    assert "Wave 1 (Wave 0)" in text(client.get(f"{page(campaign)}?page=1"))


def test_the_page_asks_no_more_queries_for_more_waves_and_clients(client, log_in):
    log_in("Viewer")

    def count_queries(campaign: Campaign) -> int:
        client.get(page(campaign))
        with CaptureQueriesContext(connection) as asked:
            client.get(page(campaign))
        return len(asked)

    small = make_campaign(make_group("a"), make_group("b"))
    begin_wave(small, ["a-0"])
    large = make_campaign(*(make_group(f"c{n}", 3) for n in range(4)))
    for number in range(3):
        begin_wave(large, [f"c{number}-{n}" for n in range(3)])

    assert count_queries(large) == count_queries(small) <= 40


def test_a_campaign_that_is_none_leads_to_the_dashboard(client, log_in):
    log_in("Viewer")
    for key in ("999999", "x", "9" * 30):
        assert client.get(f"{CAMPAIGNS}{key}/change/").url == "/admin/"


# Where runs and clients name them


def test_a_run_of_a_wave_and_the_history_of_its_client_lead_to_its_campaign(client, log_in):
    log_in("Viewer")
    campaign = make_campaign()
    run = do_next(campaign)
    link = f'href="{page(campaign)}">Campaign {campaign.pk}</a>'

    shown = client.get(page_of("migration_run", run.pk))
    assert link in shown.content.decode()
    assert f"Campaign {campaign.pk} , wave 1" in text(shown)
    assert link in client.get("/admin/migration/run/").content.decode()
    of_client = client.get(
        f"{page_of('credentials_client', run.items.get().client_id)}?tab=history"
    )
    assert f"Part of Move {run.pk} of Campaign {campaign.pk}" in text(of_client)


def test_who_may_not_see_campaigns_is_led_to_none(client):
    client.force_login(make_user("auditor", *VIEW))
    campaign = make_campaign()
    run = advance_campaign(campaign.pk)
    other = Run.objects.create(kind=Run.Kind.COMPARE)

    for address in (
        page_of("migration_run", run.pk),
        page_of("migration_run", other.pk),
        "/admin/migration/run/",
    ):
        shown = client.get(address)
        assert shown.status_code == 200
        assert CAMPAIGNS not in shown.content.decode()
    assert client.get(page(campaign)).status_code == 403
