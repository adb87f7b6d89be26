"""A stopped campaign goes on without the clients that it could not move; what is finished stays so."""

import re
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from migration.campaigns.explain import WaveState, summarize_campaign
from migration.campaigns.members import (
    find_stuck_slugs,
    find_stuck_slugs_of_all_waves,
    go_on_without,
)
from migration.campaigns.models import CampaignNotChangedError
from migration.core.clients import all_clients, digest_clients
from migration.models import (
    AuditEvent,
    Campaign,
    ClientGroup,
    ClientMigration,
    ReadCount,
    WaveClient,
)
from migration.runs.failures import count_failed_clients
from migration.runs.items import Act, Outcome
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison, make_many, make_user
from tests.migration.campaigns.shown import begin_wave
from tests.migration.campaigns.taken import (
    begin,
    cut_over,
    go,
    make_group,
    members,
    outcomes,
    phases,
    put,
    stand,
    take,
    taken,
    work,
)
from tests.migration.campaigns.test_two_at_once import end, fork
from tests.migration.moves.clients import write_password
from tests.migration.pages import page_of, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")


def stop_with_refused(number: int = 3, **options) -> Campaign:
    """Stopped, as NOVA wrote the first client in the moment before its turn."""
    group = make_group("north", number, Phase.DUAL_WRITE)
    campaign = begin(group, **options)
    run = take(campaign)
    write_password(members(group)[0], "example-new")
    work(run), take(campaign)
    assert stand(campaign)[0] == Campaign.State.STOPPED
    return campaign


def without_stuck(campaign: Campaign, **options) -> int:
    return go_on_without(campaign, find=find_stuck_slugs, **options)


def left_out() -> list[str]:
    found = WaveClient.objects.filter(left_out_at__isnull=False)
    return list(found.order_by("slug").values_list("slug", flat=True))


def test_it_goes_on_without_them_and_what_they_do_later_counts_no_more():
    campaign = stop_with_refused(2, wave_size=3)
    ana = make_user("ana")

    assert without_stuck(campaign, by=ana, reason="INC-9") == 1
    pk = members(campaign.waves.get().group)[0]
    make_comparison(pk, "mismatch")
    take(campaign)
    assert stand(campaign) == (Campaign.State.RUNNING, [])
    go(campaign)

    assert (left_out(), stand(campaign)) == (["north-0"], (Campaign.State.FINISHED, []))
    assert phases(campaign.waves.get().group) == [Phase.DUAL_WRITE, Phase.AWS]
    (wave,) = summarize_campaign(campaign).waves
    assert (wave.clients, wave.left_out, wave.at_goal) == (1, 1, 1)
    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", reason="INC-9")
    assert {(event.slug, event.who) for event in told} == {("", "ana"), ("north-0", "ana")}
    # Another campaign may take them.
    make_group("other", 1)
    second = begin(put("other", pk), goal=Phase.DUAL_READ, most_mismatches=9)
    take(second)
    assert taken(second) == [["north-0", "other-0"]]


def test_an_operator_sees_whom_it_stopped_over_and_goes_on_without_them(client, log_in):
    """Two clients differ and are mended one after the other; one of a later wave differs all the time."""
    north, later = make_group("north", 3, Phase.DUAL_READ), make_group("later", 1, Phase.DUAL_READ)
    campaign = begin(north, later, most_mismatches=1, soak_minutes=60)
    cut_over(campaign)
    one, two, _three = members(north)
    make_comparison(one, "mismatch"), make_comparison(members(later)[0], "mismatch")
    take(campaign)
    assert stand(campaign) == (Campaign.State.STOPPED, ["mismatches_reached"])
    url = page_of("migration_campaign", campaign.pk)

    def read() -> dict[str, object]:
        """Return what the page is given of its buttons; the page itself is not made."""
        names = ("to_fix", "to_leave_out", "fix_variant", "go_on_variant")
        with pages_left_out():
            context = client.get(url).context_data
        return {name: context[name] for name in names}

    log_in("Operator")
    page = (shown := client.get(url)).content.decode()
    (button,) = re.findall(r"bg-primary-600 border-transparent.*?</(?:a|button)>", page, re.DOTALL)
    assert strip_tags(f"<i {button}").split(maxsplit=1)[1].strip() == "See what to fix"
    words = text(shown)
    assert "Fix this client first, then continue." in words
    assert "Stop: nothing starts" not in words
    assert "Cancel: ends the campaign" in words
    assert "Continue without these 2 clients…" in words
    assert f'/client/{one}/change/?tab=comparison"' in page
    assert f'href="{address(campaign)}"' in page
    make_comparison(two, "mismatch")
    assert read() == {
        "to_fix": 2, "to_leave_out": 3, "fix_variant": "primary", "go_on_variant": "default",
    }  # fmt: skip
    make_comparison(one, "match"), make_comparison(two, "match")
    assert read() == {
        "to_fix": 0, "to_leave_out": 1, "fix_variant": "default", "go_on_variant": "primary",
    }  # fmt: skip

    make_comparison(two, "mismatch")
    words = text(client.get(address(campaign)))
    assert "Stores differ: 1 client" in words
    assert "Leave out only the client blocked now" in words
    assert "north-1" in words
    assert "north-0" not in words
    sent = form(campaign) | {"reason": "INC-9"}
    assert refuse_malformed_forms(client, campaign, sent) == []
    for user in (
        make_user("clerk", "migration.view_campaign", "migration.change_campaign"),
        log_in("Viewer"),
    ):
        client.force_login(user)
        assert client.post(address(campaign), sent).status_code == 403
    assert client.get(address(campaign)).status_code == 403
    assert read()["to_leave_out"] == 0
    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)

    log_in("Operator", "olga")
    words = text(client.post(address(campaign), sent, follow=True))
    assert "The campaign continues. 1 client was left out." in words
    assert "Clients left out" in words
    assert "1 left out" in words
    assert "Continue without" not in words
    # Of the later wave nobody was left out: that was not chosen.
    assert (left_out(), stand(campaign)) == (["north-1"], (Campaign.State.RUNNING, []))
    assert "The campaign is not stopped" in text(client.get(address(campaign)))
    assert client.get("/admin/migration/campaign/999/go-on-without/").status_code == 404


def refuse_malformed_forms(client, campaign: Campaign, sent: dict[str, str]) -> list:
    """Send forms that are malformed or late; return those whose answer was not the expected one."""
    expected = [
        ({"reason": ""}, 200),
        ({"reason": " "}, 200),
        ({"clients": "x" * 64}, 302),
        ({"reason": "x" * 501}, 200),
        ({"reason": "a\0b"}, 200),
        ({"seen": "2020-01-01T00:00:00+00:00"}, 302),
        ({"seen": "x"}, 400),
        ({"clients": ""}, 400),
    ]
    with pages_left_out():
        answers = [client.post(address(campaign), sent | more).status_code for more, _ in expected]
    return [each for each, answer in zip(expected, answers, strict=True) if each[1] != answer]


def test_whom_the_next_comparison_mends_it_keeps_and_who_only_has_to_wait_may_be_left_out(client):
    group = make_group("north", 4, Phase.DUAL_READ)
    campaign, north = begin(group), members(group)
    begin_wave(campaign, []), campaign.stop(by=None)
    make_comparison(north[0], "unchecked"), make_comparison(north[1], "mismatch")
    make_comparison(north[2], "unchecked")
    ClientMigration.objects.filter(client_id=north[2]).update(phase=Phase.AWS)
    count_reads(north[3], aws_failures=1)
    ReadCount.objects.filter(client_id=north[3]).update(last_failure_at=timezone.now())
    client.force_login(User.objects.create_superuser("root"))

    # The last one for half an hour, and all the others of its wave with it.
    assert find_stuck_slugs(campaign) == {north[1]: "north-1", north[3]: "north-3"}
    page = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "Continue without these 2 clients…" in page
    assert "Fix these clients first, then continue." in page
    assert "Fix in bulk" in page
    assert "north-0" in page
    words = text(client.get(address(campaign)))
    assert re.findall(r"north-\d", words) == ["north-1", "north-3"]

    make_comparison(north[0], "match"), make_comparison(north[1], "match")
    page = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "Nothing to fix: this client only has to wait, and you can continue." in page
    assert "Correct each" not in page
    assert "Continue without this client…" in page
    assert without_stuck(campaign, by=None) == 1
    assert left_out() == ["north-3"]


def stop_with_blocked_later(client, **options) -> Campaign:
    """Stopped by a refused client in the first wave, while two clients differ whose wave has not begun."""
    later = make_group("later", 3, Phase.DUAL_WRITE)
    north = make_group("north", 3, Phase.DUAL_WRITE)
    campaign = begin(north, later, goal=Phase.DUAL_READ, **options)
    run = take(campaign)
    write_password(members(north)[0], "example-new")
    work(run), take(campaign)
    for pk in members(later)[:2]:
        make_comparison(pk, "mismatch")
    client.force_login(User.objects.create_superuser("root"))
    return campaign


@pytest.mark.parametrize("wave_size", [2, pytest.param(0, marks=pytest.mark.nightly)])
def test_whom_a_later_wave_would_stop_at_are_left_out_at_once_if_they_were_shown(client, wave_size):
    campaign = stop_with_blocked_later(client, wave_size=wave_size)
    shown = text(client.get(address(campaign)))
    for slug in ("north-0", "later-0", "later-1"):
        assert slug in shown
    sent = form(campaign) | {"reason": "T", "of_all": "1"}
    last = members(ClientGroup.objects.get(name="later"))[2]
    make_comparison(last, "mismatch")
    for late in (sent, sent | form(campaign) | {"every_client": ""}):
        client.post(address(campaign), late)
    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)
    make_comparison(last, "match")

    done = client.post(address(campaign), sent)
    *_, message = get_messages(done.wsgi_request)
    assert str(message) == "The campaign continues. 3 clients were left out."
    go(campaign)

    assert left_out() == ["later-0", "later-1", "north-0"]
    assert stand(campaign) == (Campaign.State.FINISHED, [])
    assert sum("later" in slug for slugs in taken(campaign) for slug in slugs) == 3
    later = ClientGroup.objects.get(name="later")
    assert phases(later) == [Phase.DUAL_WRITE, Phase.DUAL_WRITE, Phase.DUAL_READ]
    assert summarize_campaign(campaign).left_out == 3
    # Another campaign may take them.
    second = begin(put("second", *members(later)[:2]), goal=Phase.DUAL_READ, most_mismatches=9)
    take(second)
    assert taken(second) == [["later-0", "later-1"]]


def test_it_is_refused_where_others_are_stuck_a_run_is_in_work_or_somebody_went_on_and_done_whole():
    campaign = stop_with_refused(1)
    seen, runs = campaign.changed_at, campaign.waves.get().runs
    ended = runs.get().finished_at

    with pytest.raises(CampaignNotChangedError, match="another client is blocked now"):
        without_stuck(campaign, by=None, digest=digest_clients([1, 2]))
    runs.update(finished_at=None)
    with pytest.raises(CampaignNotChangedError, match="is still running"):
        without_stuck(campaign, by=None)
    runs.update(finished_at=ended)
    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)

    # Killed at any step it is done whole or not at all.
    at, done = 0, False
    while not done:
        done = end(
            fork(partial(without_stuck, Campaign.objects.get(), by=None, seen=seen), steps=at)
        )
        at += 1
        if not done:
            went_on = Campaign.objects.get().state == Campaign.State.RUNNING
            recorded = AuditEvent.objects.filter(facts__contains="left_out_of_campaign").count()
            assert (left_out() == ["north-0"], recorded == 1) == (went_on, went_on), at
    assert at > 1
    assert left_out() == ["north-0"]

    for options in ({"seen": seen}, {}):
        with pytest.raises(CampaignNotChangedError):
            without_stuck(campaign, by=None, **options)
    assert stand(campaign)[0] == Campaign.State.RUNNING
    assert AuditEvent.objects.filter(facts__contains="goes_on_without").count() == 1


@pytest.mark.parametrize("many", [20, pytest.param(2000, marks=pytest.mark.nightly)])
def test_many_cost_as_many_queries_as_two(many):
    def count(number: int, name: str) -> int:
        group = make_group(name, 1)
        before = set(all_clients().values_list("pk", flat=True))
        make_many(number, phase="dual_write")
        group.put_clients(all_clients().exclude(pk__in=before))
        campaign = begin(group, goal=Phase.DUAL_READ)
        slugs = list(
            all_clients()
            .in_group(group.pk)
            .in_phases(Phase.DUAL_WRITE)
            .values_list("slug", flat=True)
        )
        begin_wave(campaign, slugs, move_from="dual_write", move_to="dual_read")
        campaign.stop(by=None)
        with CaptureQueriesContext(connection) as asked:
            assert without_stuck(campaign, by=None) == number
        return len(asked)

    few = count(2, "few")

    assert count(many, "many") <= few + 2  # the audit is written some at a time


# The page


def address(campaign: Campaign) -> str:
    return f"/admin/migration/campaign/{campaign.pk}/go-on-without/"


def form(campaign: Campaign) -> dict[str, str]:
    """Return what the page's form sends beside the reason."""
    return {
        "clients": digest_clients(find_stuck_slugs(campaign)),
        "every_client": digest_clients(find_stuck_slugs_of_all_waves(campaign)),
        "seen": campaign.changed_at.isoformat(),
    }


# What is finished, and what a stopped campaign tells


def test_a_finished_wave_stays_finished_unless_it_has_clients_to_move():
    first, second = make_group("north", 1, Phase.DUAL_READ), make_group("south", 1, Phase.DUAL_READ)
    campaign = begin(first, second, soak_minutes=60)
    cut_over(campaign)
    finished = timezone.now()
    campaign.waves.begun().update(finished_at=finished)
    begin_wave(campaign, ["south-0"], move_from="dual_read", move_to="aws")

    campaign.stop(by=None), campaign.go_on(by=None)
    assert campaign.waves.get(position=1).finished_at == finished
    assert summarize_campaign(campaign).waves_done == 1

    ClientMigration.objects.filter(pk=members(first)[0]).update(phase=Phase.DUAL_READ)
    campaign.stop(by=None), campaign.go_on(by=None)
    assert campaign.waves.get(position=1).finished_at is None


def test_the_failure_of_whom_the_command_leaves_out_is_over_and_a_wave_without_clients_does_not_soak(
    capsys,
):
    campaign = stop_with_refused(1, soak_minutes=120)
    wave = campaign.waves.get()
    (shown,) = summarize_campaign(campaign).waves
    assert (shown.state, shown.soaks_until) == (WaveState.BEGUN, None)
    assert outcomes(shown.runs[-1])["north-0"] == Outcome.REFUSED
    assert count_failed_clients().by_act == {Act.MOVE: 1}
    assert wave.soaks_until(timezone.now())
    call_command("campaign", "status")
    assert "Most often, 1 of 1 clients: " in capsys.readouterr().out
    go_on = "campaign", "go_on", str(campaign.pk), "--without-refused"
    with pytest.raises(CommandError, match="unrecognized arguments"):
        call_command("campaign", "stop", str(campaign.pk), "--without-refused")

    call_command(*go_on, "--reason", "INC-9")

    assert left_out() == ["north-0"]
    assert "Goes on without: north-0" in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command(*go_on)
    assert count_failed_clients().by_act == {}
    assert wave.soaks_until(timezone.now()) is None
    assert [each.state for each in summarize_campaign(campaign).waves] == [WaveState.FINISHED]


def test_who_became_inactive_before_dual_read_is_left_out_and_holds_nobody_up():
    """NOVA reads no inactive client: there it would lack its reads for good, and its wave would stop over it."""
    group = make_group("north", 3, Phase.DUAL_WRITE)
    first, unset, _last = members(group)
    all_clients().filter(pk=first).update(is_active=False)
    all_clients().filter(pk=unset).update(is_active=None)
    campaign = begin(group, goal=Phase.DUAL_READ)

    go(campaign)

    assert stand(campaign) == (Campaign.State.FINISHED, [])
    assert phases(group) == [Phase.DUAL_WRITE, Phase.DUAL_WRITE, Phase.DUAL_READ]
    assert left_out() == ["north-0", "north-1"]
    (wave,) = summarize_campaign(campaign).waves
    assert (wave.clients, wave.left_out, wave.at_goal) == (1, 2, 1)
    told = [
        (event.slug, event.who)
        for event in AuditEvent.objects.all()
        if event.message.key == "left_out_as_inactive"
    ]
    assert set(told) == {("north-0", "system"), ("north-1", "system")}
