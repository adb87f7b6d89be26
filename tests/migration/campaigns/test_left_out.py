"""A stopped campaign goes on without the clients that it could not move; what is finished stays so."""

import re
from functools import partial

import pytest
from django.contrib.auth.models import User
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
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison, make_many, make_user
from tests.migration.campaigns.shown import begin_wave
from tests.migration.campaigns.taken import (
    begin,
    begin_cutover,
    go,
    make_group,
    members,
    outcomes,
    phases,
    put,
    soak,
    stand,
    sweep,
    take,
    taken,
    work,
)
from tests.migration.campaigns.test_two_at_once import end, fork
from tests.migration.moves.clients import change_in_aws, write_password
from tests.migration.pages import page_of, text

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
    campaign = stop_with_refused(wave_size=3)
    ana = make_user("ana")

    assert without_stuck(campaign, by=ana, reason="INC-9") == 1
    pk = members(campaign.waves.get().group)[0]
    make_comparison(pk, "mismatch")
    take(campaign)
    assert stand(campaign) == (Campaign.State.RUNNING, [])
    go(campaign)

    assert (left_out(), stand(campaign)) == (["north-0"], (Campaign.State.FINISHED, []))
    assert phases(campaign.waves.get().group) == [Phase.DUAL_WRITE, Phase.AWS, Phase.AWS]
    (wave,) = summarize_campaign(campaign).waves
    assert (wave.clients, wave.left_out, wave.at_goal) == (2, 1, 2)
    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", reason="INC-9")
    assert {(event.slug, event.who) for event in told} == {("", "ana"), ("north-0", "ana")}
    # Another campaign may take them.
    make_group("other", 1)
    second = begin(put("other", pk), goal=Phase.DUAL_READ, most_mismatches=9)
    take(second)
    assert taken(second) == [["north-0", "other-0"]]


def test_an_operator_sees_whom_it_stopped_over_and_goes_on_without_them(client, log_in):
    log_in("Operator")
    campaign, group = begin_cutover(most_mismatches=1)
    change_in_aws(SecretsManager(), "nova/clients/north-1", password="example-other")
    sweep(), take(campaign)
    assert stand(campaign) == (Campaign.State.STOPPED, ["mismatches_reached"])
    shown = client.get(page_of("migration_campaign", campaign.pk))
    assert "Continue without this client…" in text(shown)
    assert f'href="{address(campaign)}"' in shown.content.decode()
    assert "Stop: nothing starts" not in text(shown)
    assert "Cancel: ends the campaign" in text(shown)
    words = text(client.get(address(campaign)))
    assert "Stores differ: 1 client" in words
    assert "north-1" in words

    sent = form(campaign) | {"reason": "INC-9"}
    words = text(client.post(address(campaign), sent, follow=True))
    assert "The campaign continues. 1 client was left out." in words
    assert "Clients left out" in words
    assert "1 left out" in words
    go(campaign)

    assert (left_out(), stand(campaign)) == (["north-1"], (Campaign.State.FINISHED, []))
    assert phases(group) == [Phase.AWS] * 3


def test_whom_the_next_comparison_mends_it_keeps_and_one_at_its_goal_too(client):
    group = make_group("north", 4, Phase.DUAL_READ)
    campaign, north = begin(group), members(group)
    take(campaign).stop(by=None), campaign.stop(by=None)
    campaign.waves.get().runs.update(finished_at=timezone.now())
    make_comparison(north[0], "unchecked"), make_comparison(north[1], "mismatch")
    make_comparison(north[2], "unchecked")
    ClientMigration.objects.filter(client_id=north[2]).update(phase=Phase.AWS)
    ReadCount.objects.filter(client_id=north[3]).delete()
    ReadCount.objects.create(client_id=north[3], aws_failures=1, last_failure_at=timezone.now())
    client.force_login(User.objects.create_superuser("root"))

    # The last one for half an hour, and all the others of its wave with it.
    assert find_stuck_slugs(campaign) == {north[1]: "north-1", north[3]: "north-3"}
    page = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "Continue without these 2 clients…" in page
    assert "Fix these clients first, then continue." in page
    assert "Fix in bulk" in page
    assert "north-0" in page
    words = text(client.get(address(campaign)))
    assert "north-1" in words
    assert "north-3" in words
    assert "north-0" not in words
    assert "north-2" not in words


def test_once_they_are_mended_it_may_still_go_on_without_those_that_only_have_to_wait(client):
    """Before, whoever mended the differing clients first could only have the whole wave wait for half an hour."""
    group = make_group("north", 3, Phase.DUAL_READ)
    campaign, late = begin(group), members(group)[0]
    take(campaign).stop(by=None), campaign.stop(by=None)
    campaign.waves.get().runs.update(finished_at=timezone.now())
    ReadCount.objects.filter(client_id=late).delete()
    count_reads(late, reads=1, mismatches=1)
    ReadCount.objects.filter(client_id=late).update(last_mismatch_at=timezone.now())
    client.force_login(User.objects.create_superuser("root"))

    page = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "Nothing to fix: this client only has to wait, and you can continue." in page
    assert "Correct each" not in page
    assert "Continue without this client…" in page

    assert without_stuck(campaign, by=None) == 1
    assert left_out() == [all_clients().get(pk=late).slug]


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
def test_whom_a_later_wave_would_stop_at_are_left_out_at_once_with_the_others(client, wave_size):
    campaign = stop_with_blocked_later(client, wave_size=wave_size)
    page = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "Continue without these 3 clients…" in page
    shown = client.get(address(campaign))
    for slug in ("north-0", "later-0", "later-1"):
        assert slug in text(shown)

    done = client.post(address(campaign), form(campaign) | {"reason": "T", "of_all": "1"})
    assert "The campaign continues. 3 clients were left out." in str(client.get(done.url).content)
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


def test_only_who_was_shown_is_left_out_and_of_later_waves_only_where_that_was_chosen(client):
    campaign = stop_with_blocked_later(client)
    shown = form(campaign)
    make_comparison(members(ClientGroup.objects.get(name="later"))[2], "mismatch")

    for data in (shown, form(campaign) | {"every_client": ""}):
        client.post(address(campaign), data | {"reason": "T", "of_all": "1"})
    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)

    assert "Leave out only the client blocked now" in text(client.get(address(campaign)))
    client.post(address(campaign), form(campaign) | {"reason": "T"})
    assert left_out() == ["north-0"]


def test_the_button_that_the_text_advises_stands_out(client):
    def read() -> tuple[str, str, str]:
        """The page, its words and its main button."""
        content = (shown := client.get(url)).content.decode()
        (button,) = re.findall(
            r"bg-primary-600 border-transparent.*?</(?:a|button)>", content, re.DOTALL
        )
        return content, text(shown), strip_tags(f"<i {button}").split(maxsplit=1)[1].strip()

    campaign, group = begin_cutover(most_mismatches=1)
    one, two, _three = members(group)
    make_comparison(one, "mismatch"), take(campaign)
    client.force_login(User.objects.create_superuser("root"))
    url = page_of("migration_campaign", campaign.pk)

    page, words, main = read()
    assert "Fix this client first, then continue." in words
    assert main == "See what to fix"
    assert f'/client/{one}/change/?tab=comparison"' in page
    make_comparison(two, "mismatch")
    _, words, main = read()
    assert "Fix these clients first, then continue." in words
    assert main == "See what to fix"
    make_comparison(one, "match"), make_comparison(two, "match")
    _, words, main = read()
    assert "No client of the waves so far is blocked: you can continue." in words
    assert main == "Continue the campaign"


def test_it_is_refused_where_others_are_stuck_a_run_is_in_work_or_somebody_went_on(client, log_in):
    campaign = stop_with_refused()
    seen, runs = campaign.changed_at, campaign.waves.get().runs
    ended = runs.get().finished_at

    with pytest.raises(CampaignNotChangedError, match="another client is blocked now"):
        without_stuck(campaign, by=None, digest=digest_clients([1, 2]))
    runs.update(finished_at=None)
    with pytest.raises(CampaignNotChangedError, match="is still running"):
        without_stuck(campaign, by=None)
    runs.update(finished_at=ended)
    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)

    one, two = Campaign.objects.get(), Campaign.objects.get()
    without_stuck(one, by=None, seen=seen)
    for options in ({"seen": seen}, {}):
        with pytest.raises(CampaignNotChangedError):
            without_stuck(two, by=None, **options)
    assert stand(campaign)[0] == Campaign.State.RUNNING
    assert AuditEvent.objects.filter(facts__contains="goes_on_without").count() == 1

    log_in("Operator")
    assert "Continue without" not in text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "The campaign is not stopped" in text(client.get(address(campaign)))
    assert client.get("/admin/migration/campaign/999/go-on-without/").status_code == 404


def test_killed_at_any_step_it_is_done_whole_or_not_at_all():
    campaign = stop_with_refused()
    at, done = 0, False
    while not done:
        done = end(fork(partial(without_stuck, campaign, by=None), steps=at))
        at += 1
        if not done:
            went_on = Campaign.objects.get().state == Campaign.State.RUNNING
            recorded = AuditEvent.objects.filter(facts__contains="left_out_of_campaign").count()
            assert (left_out() == ["north-0"], recorded == 1) == (went_on, went_on), at
    assert at > 1
    assert left_out() == ["north-0"]


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


def test_a_malformed_or_late_form_and_who_may_not_steer_or_move_leave_nobody_out(client, log_in):
    campaign = stop_with_refused()
    sent = form(campaign) | {"reason": "T"}
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

    log_in("Operator")
    found = [
        (more, client.post(address(campaign), sent | more).status_code) for more, _ in expected
    ]
    assert found == expected
    log_in("Viewer")
    assert "Continue without" not in text(client.get(page_of("migration_campaign", campaign.pk)))
    assert client.get(address(campaign)).status_code == 403
    assert client.post(address(campaign), sent).status_code == 403
    client.force_login(make_user("clerk", "migration.view_campaign", "migration.change_campaign"))
    assert client.post(address(campaign), sent).status_code == 403

    assert (left_out(), stand(campaign)[0]) == ([], Campaign.State.STOPPED)


# The command


def test_the_command_goes_on_without_them(capsys):
    campaign = stop_with_refused()
    call_command("campaign", "status")
    assert "Most often, 1 of 1 clients: " in capsys.readouterr().out

    call_command("campaign", "go_on", str(campaign.pk), "--without-refused", "--reason", "INC-9")

    assert left_out() == ["north-0"]
    assert "Goes on without: north-0" in capsys.readouterr().out
    with pytest.raises(CommandError, match="unrecognized arguments"):
        call_command("campaign", "stop", str(campaign.pk), "--without-refused")
    with pytest.raises(CommandError):
        call_command("campaign", "go_on", str(campaign.pk), "--without-refused")


# What is finished, and what a stopped campaign tells


def test_a_finished_wave_stays_finished_unless_it_has_clients_to_move():
    first, second = make_group("north", 1, Phase.DUAL_READ), make_group("south", 2, Phase.DUAL_READ)
    campaign = begin(first, second, soak_minutes=60)
    work(take(campaign)), soak(), sweep()
    run = take(campaign)
    finished = campaign.waves.get(position=1).finished_at
    write_password(members(second)[0], "example-new")
    work(run), take(campaign)

    campaign.refresh_from_db()
    campaign.go_on(by=None)

    assert campaign.waves.get(position=1).finished_at == finished
    assert summarize_campaign(campaign).waves_done == 1

    ClientMigration.objects.filter(pk=members(first)[0]).update(phase=Phase.DUAL_READ)
    campaign.stop(by=None), campaign.go_on(by=None)
    assert campaign.waves.get(position=1).finished_at is None


def test_the_failure_of_who_was_left_out_is_over_and_a_wave_without_clients_does_not_soak():
    campaign = stop_with_refused(1, soak_minutes=120)
    wave = campaign.waves.get()
    (shown,) = summarize_campaign(campaign).waves
    assert (shown.state, shown.soaks_until) == (WaveState.BEGUN, None)
    assert outcomes(shown.runs[-1])["north-0"] == Outcome.REFUSED
    assert count_failed_clients().by_act == {Act.MOVE: 1}
    assert wave.soaks_until(timezone.now())

    without_stuck(campaign, by=None)

    assert count_failed_clients().by_act == {}
    assert wave.soaks_until(timezone.now()) is None
    assert [each.state for each in summarize_campaign(campaign).waves] == [WaveState.BEGUN]


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
