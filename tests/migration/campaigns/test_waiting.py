"""A step begins once no client lacks what comes by itself, and waits at most as long again as it soaked."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.campaigns import explain
from migration.campaigns.explain import NO_PACE_OF_READS, WaveState, summarize_campaign
from migration.core.clients import all_clients
from migration.models import Campaign, ClientMigration, ReadCount, Worker
from migration.moves.rules import (
    FEW_MATCHES,
    FEW_READS,
    NOT_COMPARED,
    READER_MET_TROUBLE,
    TOO_OLD,
    WAITS_FOR_PUSH,
    Blocker,
)
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison, make_many, make_user
from tests.migration.campaigns.taken import (
    begin,
    codes_of,
    make_group,
    members,
    minutes_later,
    only_wave,
    outcomes,
    phases,
    put,
    soak,
    stand,
    sweep,
    take,
    work,
)
from tests.migration.moves.clients import write_password
from tests.migration.pages import page_of, text

pytestmark = pytest.mark.usefixtures("stores")


def waited_for(campaign: Campaign) -> dict[Blocker, int]:
    step = summarize_campaign(campaign).waiting
    return {blocker: each.number for blocker, each in step.numbers.items()} if step else {}


SO_FAR = "2 with too few reads by NOVA: 5 of 20 on average, fewest 3"


@pytest.fixture
def waits_for_reads(settings) -> tuple[Campaign, list[int]]:
    """A campaign that has soaked in dual read, and of whose two clients NOVA has read none as often as it must."""
    settings.NOVA_MIN_READS = 20
    Worker.objects.record_heartbeat("worker:1")
    group = make_group("north", 2, Phase.DUAL_WRITE)
    campaign = begin(group, soak_minutes=120)
    work(take(campaign)), sweep(), soak()
    return campaign, members(group)


def test_a_step_begins_once_nova_has_read_the_last_client_often_enough(waits_for_reads):
    campaign, (one, two) = waits_for_reads

    def usual() -> list[str]:
        return [str(told) for told in summarize_campaign(campaign).waiting.usual_durations]

    assert usual() == [str(NO_PACE_OF_READS())]
    count_reads(one, reads=6, matches=6), count_reads(two, reads=4, matches=4)
    ClientMigration.objects.update(phase_changed_at=timezone.now() - timedelta(minutes=10))
    # Half a read a minute, and the slower of the two lacks 16.
    assert usual() == ["About 32 minutes left at NOVA's current pace of reads."]

    count_reads(one, reads=14, matches=14)
    assert take(campaign) is None
    assert waited_for(campaign) == {FEW_READS: 1}
    assert stand(campaign) == (Campaign.State.RUNNING, [])

    count_reads(two, reads=16, matches=16)

    run = take(campaign)
    assert set(outcomes(run)) == {"north-0", "north-1"}
    assert (run.move_from, run.move_to) == (Phase.DUAL_READ, Phase.AWS)


def test_where_nova_never_reads_the_step_begins_at_the_bound_and_the_rule_stops_it(
    waits_for_reads, monkeypatch
):
    campaign, pks = waits_for_reads
    minutes_later(monkeypatch, 118)
    assert (
        take(campaign) is None
    )  # the bound is two hours from when it is watched: it began a moment ago

    minutes_later(monkeypatch, 121)
    run = work(take(campaign))
    take(campaign)

    assert set(outcomes(run).values()) == {Outcome.REFUSED}
    assert "too_few_reads" in codes_of(run, "north-0")
    assert stand(campaign) == (Campaign.State.STOPPED, ["refusals_reached"])
    assert [ClientMigration.objects.get(pk=pk).phase for pk in pks] == [Phase.DUAL_READ] * 2
    # Who has it go on has it wait again.
    minutes_later(monkeypatch, 0)
    campaign.go_on(by=None), soak()
    assert take(campaign) is None
    assert waited_for(campaign) == {FEW_READS: 2}


def test_a_step_waits_until_the_trouble_that_novas_reader_met_has_passed(client):
    Worker.objects.record_heartbeat("worker:1")
    group = make_group("north", 3, Phase.DUAL_READ)
    failed, differed, _fine = members(group)
    count_reads(failed, reads=1, aws_failures=1), count_reads(differed, reads=1, mismatches=1)
    ReadCount.objects.filter(pk=differed).update(last_mismatch_at=timezone.now())
    campaign = begin(group)

    assert take(campaign) is None

    assert waited_for(campaign) == {READER_MET_TROUBLE: 2}
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    words = text(client.get(page_of("migration_campaign", campaign.pk)))
    assert "2 with a mismatch or a failed read in the last 30 minutes" in words
    assert "wait 30 minutes without another" in words
    an_hour_ago = timezone.now() - timedelta(hours=1)
    ReadCount.objects.update(last_failure_at=an_hour_ago, last_mismatch_at=an_hour_ago)
    assert set(outcomes(take(campaign))) == {"north-0", "north-1", "north-2"}


def test_trouble_that_comes_again_meanwhile_stops_the_campaign_by_its_limit():
    Worker.objects.record_heartbeat("worker:1")
    group = make_group("north", 2, Phase.DUAL_READ)
    failed, _fine = members(group)
    count_reads(failed, reads=1, aws_failures=1)
    campaign = begin(group)
    assert take(campaign) is None

    count_reads(failed, reads=1, aws_failures=1)

    assert take(campaign) is None
    assert stand(campaign) == (Campaign.State.STOPPED, ["failed_reads_reached"])
    assert set(phases(group)) == {Phase.DUAL_READ}


def test_each_thing_that_comes_by_itself_makes_the_first_step_of_a_wave_wait(client):
    Worker.objects.record_heartbeat("worker:1")
    group = make_group("north", 4, Phase.DUAL_READ)
    never, old, streak, pending = members(group)
    kept = ClientMigration.objects
    kept.filter(pk=never).update(comparison_status=None)
    kept.filter(pk=old).update(compared_at=datetime(2026, 1, 1, tzinfo=UTC))
    kept.filter(pk=streak).update(clean_streak=0)
    write_password(pending, "example-new")
    campaign = begin(group)

    assert take(campaign) is None

    assert waited_for(campaign) == dict.fromkeys(
        (NOT_COMPARED, TOO_OLD, FEW_MATCHES, WAITS_FOR_PUSH), 1
    )
    words = str(summarize_campaign(campaign).waits_for)
    assert words.startswith("wave 1 waits for 4 clients until ")
    assert "1 with a pending push" in words

    operator = make_user("olga")
    operator.groups.add(Group.objects.get(name="Operator"))
    client.force_login(operator)
    shown = text(client.get(page_of("migration_campaign", campaign.pk)))
    # Of two things that a comparison brings alike it is said once.
    assert shown.count("workers compare every client every 15 minutes") == 1
    assert "Usually a push is made within a minute." in shown
    assert "Compare now" in shown
    client.post(f"/admin/migration/campaign/{campaign.pk}/steer/", {"order": "compare"})
    run = Run.objects.get(kind=Run.Kind.COMPARE)
    assert set(run.items.values_list("client_id", flat=True)) == {never, old, streak, pending}
    operator.groups.set([])
    operator.user_permissions.set(Permission.objects.filter(codename="change_campaign"))
    refused = client.post(f"/admin/migration/campaign/{campaign.pk}/steer/", {"order": "compare"})
    assert refused.status_code == 403


def test_a_step_whose_run_began_while_its_clients_were_counted_does_not_wait(monkeypatch):
    Worker.objects.record_heartbeat("worker:1")
    campaign = begin(make_group("north", 2, Phase.DUAL_READ))
    ClientMigration.objects.update(comparison_status=None)
    assert take(campaign) is None
    assert waited_for(campaign)

    def count_late(*arguments, **options):
        step = found(*arguments, **options)
        sweep(), take(campaign)
        return step

    found = explain._find_waiting_step
    monkeypatch.setattr(explain, "_find_waiting_step", count_late)
    summary = summarize_campaign(Campaign.objects.get())

    assert summary.waiting is None
    assert summary.waits_for == explain.explain_waiting(campaign, Run.objects.get()).message
    assert summary.unfinished_run == Run.objects.get()


def test_what_does_not_pass_makes_no_step_wait():
    group = make_group("north", 3, Phase.DUAL_WRITE)
    differs, refused, _ = members(group)
    make_comparison(differs, "mismatch")
    found = all_clients().with_revision().get(pk=refused)
    ClientMigration.objects.filter(pk=refused).update(
        refused_revision=found.revision, comparison_status=None
    )
    # Nor does one of the wave that the step does not move.
    (ahead,) = members(make_group("ahead", 1, Phase.DUAL_READ))
    put("north", ahead)
    ClientMigration.objects.filter(pk=ahead).update(comparison_status=None)
    campaign = begin(group, most_mismatches=9, most_refused=9)

    found = outcomes(work(take(campaign)))

    assert set(found) == {"north-0", "north-1", "north-2"}
    assert (found["north-0"], found["north-2"]) == (Outcome.REFUSED, Outcome.MOVED)


# The bound


def test_it_waits_as_long_again_as_it_soaked_and_an_hour_at_least():
    campaign = begin(make_group("north", 1))
    take(campaign)
    for soak_minutes, hours in ((0, 1), (59, 1), (61, 61 / 60), (1440, 24)):
        campaign.soak_minutes = soak_minutes
        wave = only_wave(campaign)
        assert wave.waits_at_most_until() - wave.watched_since == timedelta(hours=hours)


def test_the_bound_counts_from_when_the_hours_of_the_day_let_a_step_begin(settings):
    settings.TIME_ZONE = "Europe/Madrid"
    campaign = Campaign(begins_at=time(9), ends_at=time(17))

    def opens(hour: int) -> datetime:
        return campaign.find_opening(datetime(2026, 7, 1, hour, 30, tzinfo=UTC))

    assert opens(8) == datetime(2026, 7, 1, 8, 30, tzinfo=UTC)  # it is 10:30 there
    assert opens(3) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert opens(20) == datetime(2026, 7, 2, 7, tzinfo=UTC)
    assert Campaign().find_opening(campaign.created_at) == campaign.created_at


# What is told of it


def test_the_page_and_the_command_tell_for_whom_it_waits(waits_for_reads, client, capsys):
    campaign, pks = waits_for_reads
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)

    for pk, number in zip(pks, (3, 7), strict=True):
        count_reads(pk, reads=number, matches=number)

    words = text(client.get(page_of("migration_campaign", campaign.pk)))
    call_command("campaign", "status")
    printed = capsys.readouterr().out
    (wave,) = summarize_campaign(campaign).waves
    data = summarize_campaign(campaign).to_json()

    assert "Wave 1 was watched, and waits for 2 clients until " in words
    assert f"at the latest: {SO_FAR}" in words
    assert f"{SO_FAR}." in printed
    assert "left at NOVA's current pace of reads." in words
    assert "Compare now" not in words
    assert wave.state == WaveState.WAITING
    assert data["waits_for"]["codes"] == ["soaked_and_waits"]
    assert data["waits_for_clients"]["clients"] == {"reads": 2}
    assert (data["waits_for_clients"]["position"], data["waves"][0]["state"]) == (1, "waiting")


@pytest.mark.parametrize("many", [20, pytest.param(2000, marks=pytest.mark.nightly)])
def test_many_clients_are_waited_for_with_as_many_queries_as_two(many):
    def count(number: int, name: str) -> int:
        before = set(all_clients().values_list("pk", flat=True))
        make_many(number, phase="dual_read")
        pks = list(all_clients().exclude(pk__in=before).values_list("pk", flat=True))
        ClientMigration.objects.filter(pk__in=pks).update(comparison_status=None)
        campaign = begin(put(name, *pks))
        assert take(campaign) is None
        waits = only_wave(campaign).count_awaited_by_blocker(Phase.DUAL_READ, timezone.now())
        assert sum(each.number for each in waits.values()) == number
        with CaptureQueriesContext(connection) as asked:
            assert take(campaign) is None
        return len(asked)

    few = count(2, "few")

    assert count(many, "many") == few
