"""What is told of a campaign: what it waits for, its waves against their limits, and the clients that were left."""

import json
from datetime import time, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.localization import show_moment
from migration.campaigns.explain import (
    NAMED_IN_ALL,
    NAMED_OF_A_RUN,
    RUNS_LISTED,
    SOAKS,
    STEP_IS_DUE,
    WAITS_FOR_HOURS,
    WAITS_FOR_PAUSED_RUN,
    WAITS_FOR_REQUESTED_RUN,
    WAITS_FOR_ROLLBACK,
    WAITS_FOR_RUN,
    WaveState,
    summarize_campaign,
)
from migration.campaigns.models import (
    STOPPED_BY_COMMAND,
    WAITS_FOR_APPROVAL,
    Wave,
    WaveCounts,
)
from migration.campaigns.steps import advance_campaign
from migration.core.sentences import NO_WORKER
from migration.models import Campaign, WaveClient, Worker
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison, make_many, make_user
from tests.migration.campaigns.shown import begin_wave, do_next, make_campaign, make_group
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.usefixtures("stores")


def waits_for(campaign: Campaign) -> list[str]:
    found = summarize_campaign(campaign).waits_for
    return found.codes if found else []


def worker_lives() -> None:
    Worker.objects.record_heartbeat("worker:1")


def test_a_requested_campaign_waits_for_somebody_else(settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", "migration.move_client")
    campaign = make_campaign(goal=Phase.AWS, by=maria, reason="CHG-1", soak_minutes=60 * 24 * 30)

    assert waits_for(campaign) == [WAITS_FOR_APPROVAL.key]


def test_it_waits_for_its_run_for_the_soak_time_and_for_nothing_once_it_is_finished():
    campaign = make_campaign(goal=Phase.DUAL_READ, soak_minutes=30)
    worker_lives()
    assert waits_for(campaign) == [STEP_IS_DUE.key]

    run = advance_campaign(campaign.pk)
    assert waits_for(campaign) == [WAITS_FOR_RUN.key]
    assert summarize_campaign(campaign).unfinished_run == run
    run.pause(by=None)
    assert waits_for(campaign) == [WAITS_FOR_PAUSED_RUN.key]
    run.resume(by=None)
    Run.objects.update(state=Run.State.REQUESTED)
    assert waits_for(campaign) == [WAITS_FOR_REQUESTED_RUN.key]
    Run.objects.update(state=Run.State.RUNNING)

    do_next(campaign)
    Run.objects.update(finished_at=timezone.now(), state=Run.State.FINISHED)
    soaks = summarize_campaign(campaign)
    until = Run.objects.get(wave__campaign=campaign).finished_at + timedelta(minutes=30)
    assert soaks.waits_for.codes == [SOAKS.key]
    assert f"until {show_moment(until)}" in str(soaks.waits_for)
    assert soaks.waves[0].state == WaveState.SOAKING

    Run.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    assert waits_for(campaign) == [STEP_IS_DUE.key]
    campaign.finish()
    assert waits_for(campaign) == []


def test_outside_its_hours_it_names_them_and_the_time_zone():
    now = timezone.localtime()
    begins, ends = (now + timedelta(hours=n) for n in (2, 3))
    campaign = make_campaign(
        begins_at=time(begins.hour, 30), ends_at=time(ends.hour, 30), soak_minutes=0
    )

    found = summarize_campaign(campaign).waits_for

    assert found == WAITS_FOR_HOURS(begin=f"{begins:%H}:30", end=f"{ends:%H}:30", zone="UTC")


def test_without_a_worker_it_does_not_say_that_it_goes_further():
    campaign = make_campaign()
    assert waits_for(campaign) == [NO_WORKER.key]
    worker_lives()
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert waits_for(campaign) == [NO_WORKER.key]


def test_a_stopped_campaign_waits_for_a_rollback_alone():
    campaign = make_campaign(rolls_back=True)
    campaign.stop(by=None)
    assert waits_for(campaign) == []

    campaign.waves.update(rollback_is_due=True)
    assert waits_for(campaign) == [WAITS_FOR_ROLLBACK.key]


def test_a_wave_tells_of_its_clients_by_phase_against_the_limits():
    group = make_group("Spain", 4, Phase.DUAL_WRITE)
    campaign = make_campaign(group, make_group("Italy"), goal=Phase.DUAL_READ)
    slugs = [f"spain-{n}" for n in range(4)]
    wave, run = begin_wave(campaign, slugs[:2], move_from="dual_write", move_to="dual_read")
    pks = dict(WaveClient.objects.values_list("slug", "client_id"))
    make_comparison(pks["spain-0"], "mismatch")
    count_reads(pks["spain-1"], aws_failures=3)
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM public.client_database_credentials WHERE client_id = %s", [pks["spain-3"]]
        )
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks["spain-3"]])

    summary = summarize_campaign(campaign)

    assert (summary.groups, summary.waves_done, summary.waves_all) == (("Spain", "Italy"), 0, 2)
    spain, italy = summary.waves
    assert (spain.clients, spain.deleted) == (4, 1)
    assert {phase: n for phase, n in spain.phases.items() if n} == {Phase.DUAL_WRITE: 3}
    assert spain.counts == WaveCounts(mismatches=1, failed_reads=3, refused=2)
    assert spain.counts == wave.count_against_rule()
    assert (spain.runs, spain.state) == ((run,), WaveState.BEGUN)
    assert (italy.state, italy.clients, italy.counts, italy.runs) == (
        WaveState.NOT_BEGUN,
        0,
        None,
        (),
    )


def test_each_wave_is_counted_since_it_is_watched():
    campaign = make_campaign(make_group("Spain", 2), make_group("Italy"))
    spain, _ = begin_wave(campaign, ["spain-0", "spain-1"])
    italy, _ = begin_wave(campaign, ["italy-0"])
    counts = campaign.waves.count_against_rule()
    assert {pk: each.refused for pk, each in counts.items()} == {spain.pk: 2, italy.pk: 1}

    campaign.waves.filter(pk=spain.pk).restart_stop_rule_counts(campaign)

    counts = campaign.waves.count_against_rule()
    assert {pk: each.refused for pk, each in counts.items()} == {spain.pk: 0, italy.pk: 1}
    assert summarize_campaign(campaign).left[0].run.wave == italy


def test_a_wave_that_was_rolled_back_says_so_until_the_campaign_goes_on():
    campaign = make_campaign(make_group("Spain", 1, Phase.DUAL_READ), goal=Phase.AWS)
    _, run = begin_wave(campaign, [], only_where_equal=True, move_from="aws", move_to="dual_read")
    assert summarize_campaign(campaign).waves[0].state == WaveState.ROLLED_BACK
    Run.objects.filter(pk=run.pk).update(finished_at=None)
    assert summarize_campaign(campaign).waves[0].state == WaveState.ROLLING_BACK

    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())
    campaign.waves.restart_stop_rule_counts(campaign)
    assert summarize_campaign(campaign).waves[0].state != WaveState.ROLLED_BACK


def test_clients_that_a_run_left_are_named_while_they_stand_there():
    campaign = make_campaign(make_group("Spain", NAMED_OF_A_RUN + 3))
    slugs = [f"spain-{n}" for n in range(NAMED_OF_A_RUN + 3)]
    _, run = begin_wave(campaign, slugs)
    run.items.filter(slug="spain-5").update(outcome="failed")
    moved = WaveClient.objects.get(slug="spain-0").client_id

    enter_phase(moved, Phase.DUAL_WRITE)

    (left,) = summarize_campaign(campaign).left

    assert (left.run, left.refused, left.failed) == (run, NAMED_OF_A_RUN + 1, 1)
    assert [item.slug for item in left.items] == slugs[1 : NAMED_OF_A_RUN + 1]
    assert left.not_named == 2


def test_no_more_queries_and_no_longer_lists_with_more_waves_runs_and_clients():
    make_many(60, phase="dual_write")
    campaign = make_campaign(*(make_group(f"g{n}", 2) for n in range(12)))

    def measure() -> tuple[int, object]:
        with CaptureQueriesContext(connection) as asked:
            found = summarize_campaign(campaign)
        return len(asked), found

    begin_wave(campaign, ["g0-0"])
    few, _ = measure()
    many = [f"many-{n}" for n in range(1, 41)]
    for number in range(1, 12):
        wave, _ = begin_wave(campaign, many, move_from="dual_write")
        for _ in range(RUNS_LISTED + 2 if number == 1 else 0):
            Run.objects.create(
                kind=Run.Kind.MOVE, wave=wave, move_from="postgres", move_to="dual_write"
            ).finish_if_done()
    more, summary = measure()

    assert more == few <= 16
    assert [len(wave.runs) for wave in summary.waves[:2]] == [1, RUNS_LISTED]
    assert [wave.runs[-1].pk for wave in summary.waves[1:2]] == [
        Run.objects.filter(wave=summary.waves[1].wave).latest("pk").pk
    ]
    assert sum(len(left.items) for left in summary.left) == NAMED_IN_ALL
    assert sum(left.number for left in summary.left) == 11 * 40 + 1


def test_as_plain_data_it_holds_what_commands_print():
    campaign = make_campaign(
        make_group("Spain", 2), begins_at=time(22), ends_at=time(6, 30), reason="CHG-1"
    )
    begin_wave(campaign, ["spain-0"])
    campaign.stop(by=None)

    data = json.loads(json.dumps(summarize_campaign(campaign).to_json()))

    assert (data["campaign"], data["state"], data["goal"]) == (campaign.pk, "stopped", "dual_write")
    assert (data["groups"], data["reason"]) == (["Spain"], "CHG-1")
    assert data["stopped_because"] == {
        "message": "Stopped by a command.",
        "codes": [STOPPED_BY_COMMAND.key],
    }
    assert data["waits_for"] == {"message": "", "codes": []}
    assert (data["settings"]["begins_at"], data["settings"]["ends_at"]) == ("22:00", "06:30")
    (wave,) = data["waves"]
    assert (wave["clients"], wave["phases"]["postgres"], wave["counts"]["refused"]) == (2, 2, 1)
    (left,) = data["left"]
    assert (left["run"], left["refused"], left["clients"][0]["slug"]) == (
        wave["runs"][0]["run"],
        1,
        "spain-0",
    )


def test_waves_of_divided_groups_are_numbered_in_one_row_by_one_question():
    campaign = make_campaign(make_group("a", 4), make_group("b", 4), wave_size=2)
    for wave in campaign.waves.all():
        Wave.objects.create(
            campaign=campaign,
            position=wave.position,
            part=2,
            group=wave.group,
            group_name=wave.group_name,
        )
    waves = summarize_campaign(campaign).waves

    with CaptureQueriesContext(connection) as asked:
        named = [wave.wave.name_message.values["number"] for wave in waves]

    # One for all of them: whether the campaign has one group.
    assert (named, len(asked)) == (["1", "2", "3", "4"], 1)
    assert [wave.wave.number for wave in waves] == [
        Wave.objects.get(pk=wave.wave.pk).number for wave in waves
    ]
