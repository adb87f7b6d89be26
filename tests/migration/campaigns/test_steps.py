"""The order of groups and steps, whom a wave takes, how long it soaks, and in which hours a step begins."""

import json
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.models import Client
from migration.core.audit import RUN_EVENT, AuditEvent
from migration.core.audit_export import export_cutover, verify_file
from migration.core.clients import all_clients
from migration.models import Campaign, ClientGroup, WaveClient
from migration.moves.moves import move
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_many
from tests.migration.campaigns.taken import (
    begin,
    go,
    make_group,
    members,
    minutes_later,
    outcomes,
    phases,
    put,
    steps,
    sweep,
    take,
    taken,
    work,
)
from tests.migration.moves.clients import LINE

MOVES = list(pairwise(LINE[:4]))


def test_groups_are_taken_in_their_order_each_to_the_goal_and_wait_for_those_behind():
    north, south = make_group("north", 1), make_group("south", 1)
    put("north", *members(make_group("beyond", 1, Phase.AWS)))
    put("north", *members(make_group("ahead", 1, Phase.DUAL_WRITE)))
    campaign = begin(south, north, goal=Phase.DUAL_READ, reason="INC-42")

    go(campaign)

    assert steps(campaign) == [(g, *step) for g in ("south", "north") for step in MOVES[:2]]
    assert phases(north) + phases(south) == [
        Phase.DUAL_READ, Phase.AWS, Phase.DUAL_READ, Phase.DUAL_READ,
    ]  # fmt: skip
    assert taken(campaign) == [["south-0"], ["ahead-0", "north-0"]]
    assert campaign.state == Campaign.State.FINISHED
    runs = Run.objects.filter(wave__campaign=campaign).order_by("pk")
    assert {(run.reason, run.override_reason) for run in runs} == {("INC-42", "")}
    moved = Outcome.MOVED
    assert [outcomes(run) for run in runs[2:]] == [
        {"north-0": moved}, {"ahead-0": moved, "north-0": moved},
    ]  # fmt: skip


def test_its_runs_begin_and_end_among_its_own_events_which_the_export_of_a_cutover_has():
    north = make_group("north", 1, Phase.DUAL_READ)
    campaign = begin(north)

    go(campaign)

    (run,) = Run.objects.filter(wave__campaign=campaign)
    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", code=RUN_EVENT, slug="")
    events = told.order_by("pk")
    assert [(event.message.key, event.who) for event in events] == [
        ("moves_started", "system"),
        ("run_ended_well", "system"),
    ]
    assert [event.message.values["run"] for event in events] == [run.name_message] * 2
    client = Client.objects.get(slug="north-0")
    exported = export_cutover(client=client, by=None, for_auditor=True)
    entries = {entry["id"] for entry in json.loads(exported)["export"]["entries"]}
    assert {str(event.pk) for event in events} <= entries
    assert verify_file(exported).is_genuine


def test_a_large_group_is_taken_in_parts_and_each_as_it_is_when_its_wave_begins():
    north = make_group("north", 5)
    south = put("south", members(north)[0], *(make_full_client(f"south-{n}") for n in range(2)))
    nobody = ClientGroup.objects.get_or_add("nobody")
    campaign = begin(nobody, north, south, goal=Phase.DUAL_WRITE, wave_size=2)
    south.rename("far south")  # a new name is not told

    work(take(campaign)), work(take(campaign))
    put("north", make_full_client("north-9")), put("far south", make_full_client("earlier"))
    south.remove_clients(all_clients().filter(slug="south-0"))
    go(campaign)

    # An empty group is passed, and a client moves with its first group.
    assert taken(campaign) == [
        [], ["north-0", "north-1"], ["north-2", "north-3"], ["north-4", "north-9"], ["earlier", "south-1"],
    ]  # fmt: skip
    assert [(wave.position, wave.part) for wave in campaign.waves.begun()] == [
        (1, 1), (2, 1), (2, 2), (2, 3), (3, 1),
    ]  # fmt: skip
    assert campaign.state == Campaign.State.FINISHED
    assert [name for name, *_ in steps(campaign)] == ["north"] * 3 + ["south"]


def test_clients_that_nova_deletes_are_left_out_and_stop_nothing():
    north = make_group("north", 3)
    campaign = begin(north, goal=Phase.DUAL_READ)
    run = take(campaign)
    gone = members(north)[:2]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = ANY(%s)", [gone])

    work(run), go(campaign)

    assert outcomes(run) == {
        "north-0": Outcome.SKIPPED, "north-1": Outcome.SKIPPED, "north-2": Outcome.MOVED,
    }  # fmt: skip
    assert (phases(north), campaign.state) == ([Phase.DUAL_READ], Campaign.State.FINISHED)


def test_a_client_that_somebody_moves_back_is_not_taken_forward_again():
    north = make_group("north", 2, Phase.DUAL_WRITE)
    campaign = begin(north)
    work(take(campaign))
    move(client_id=members(north)[0], new=Phase.DUAL_WRITE)

    go(campaign)

    assert phases(north) == [Phase.DUAL_WRITE, Phase.AWS]
    assert campaign.state == Campaign.State.FINISHED


# Soak time


def test_a_step_soaks_from_the_end_of_its_run_before_the_next_begins(monkeypatch):
    north = make_group("north", 1, Phase.DUAL_WRITE)
    campaign = begin(north, soak_minutes=60)
    run = take(campaign)
    minutes_later(monkeypatch, 600)
    assert take(campaign) is None  # the run is not over
    work(run)

    sweep()

    minutes_later(monkeypatch, 59)
    assert take(campaign) is None
    minutes_later(monkeypatch, 61)
    run = take(campaign)

    assert run is not None
    assert (run.move_from, run.move_to) == (Phase.DUAL_READ, Phase.AWS)


def test_the_last_step_of_a_wave_soaks_before_the_next_wave_begins(monkeypatch):
    north, south = make_group("north", 1), make_group("south", 1)
    campaign = begin(north, south, goal=Phase.DUAL_WRITE, soak_minutes=60)
    work(take(campaign))
    minutes_later(monkeypatch, 59)
    assert take(campaign) is None
    assert taken(campaign) == [["north-0"]]

    minutes_later(monkeypatch, 61)

    assert outcomes(take(campaign)) == {"south-0": ""}


# Hours of the day


@pytest.mark.parametrize(
    ("hours", "let_in"),
    [
        (None, range(24)),
        ((9, 17), range(9, 17)),
        ((22, 6), [22, 23, *range(6)]),
        ((0, 1), [0]),
        ((23, 0), [23]),
        ((8, 8), range(24)),
    ],
)
def test_a_step_may_begin_in_the_hours_of_the_sites_time_zone(settings, hours, let_in):
    settings.TIME_ZONE = "Asia/Tokyo"
    begins, ends = (time(hour) for hour in hours) if hours else (None, None)
    campaign = Campaign(begins_at=begins, ends_at=ends)
    midnight = datetime(2026, 7, 1, tzinfo=UTC)

    with timezone.override("America/New_York"):  # whoever looks on
        found = [h for h in range(24) if campaign.hours_allow_step(midnight + timedelta(hours=h))]

    assert sorted((hour + 9) % 24 for hour in found) == sorted(let_in)


def test_the_first_minute_counts_and_the_last_does_not():
    campaign = Campaign(begins_at=time(9), ends_at=time(17))
    nine = datetime(2026, 7, 1, 9, tzinfo=UTC)

    def may(at: datetime) -> bool:
        return campaign.hours_allow_step(at)

    assert may(nine)
    assert not may(nine - timedelta(microseconds=1))
    assert may(nine + timedelta(hours=8, microseconds=-1))
    assert not may(nine + timedelta(hours=8))


def test_neither_a_wave_nor_a_step_begins_out_of_hours_and_a_run_in_work_goes_on(monkeypatch):
    north = make_group("north", 1, Phase.DUAL_WRITE)
    campaign = begin(north, begins_at=time(9), ends_at=time(17))
    monkeypatch.setattr(Campaign, "hours_allow_step", lambda *_: False)
    assert take(campaign) is None
    assert taken(campaign) == []

    with monkeypatch.context() as patch:
        patch.setattr(Campaign, "hours_allow_step", lambda *_: True)
        run = take(campaign)
    assert outcomes(work(run)) == {"north-0": Outcome.MOVED}

    assert take(campaign) is None
    assert phases(north) == [Phase.DUAL_READ]


# Many clients


@pytest.mark.parametrize("many", [20, pytest.param(2000, marks=pytest.mark.nightly)])
def test_many_clients_cost_as_many_queries_as_two(many):
    def count(number: int, name: str) -> int:
        before = set(all_clients().values_list("pk", flat=True))
        make_many(number, phase="dual_read")
        group = put(name, *all_clients().exclude(pk__in=before).values_list("pk", flat=True))
        campaign = begin(group)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            take(campaign)
        assert WaveClient.objects.filter(wave__campaign=campaign).count() == number
        with CaptureQueriesContext(connection) as again:
            take(campaign)
        return len(captured) + len(again)

    few = count(2, "few")

    assert count(many, "many") <= few + 2  # items are stored a thousand at a time
