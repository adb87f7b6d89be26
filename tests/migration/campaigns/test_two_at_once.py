"""A process killed at any statement, two processes, people, and two campaigns: no step is lost or made twice."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg
import pytest
from django.db import connection

from migration.campaigns import models as waves
from migration.campaigns import steps as campaign_steps
from migration.campaigns.models import StaleCampaignError
from migration.campaigns.steps import advance_campaign
from migration.core.comparisons import COMPARISON_EVENT
from migration.models import (
    AuditEvent,
    Campaign,
    ClientGroup,
    ClientMigration,
    RunItem,
    Wave,
    WaveClient,
)
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_comparison, make_full_client, nova_uri
from tests.held_leases import wait_for_end
from tests.migration.campaigns.taken import (
    begin,
    go,
    make_group,
    members,
    minutes_later,
    once,
    outcomes,
    phases,
    put,
    stand,
    steps,
    take,
    taken,
    work,
)

STOPPED = Campaign.State.STOPPED
WRITES = ("INSERT", "UPDATE", "DELETE", "LOCK")


def fork(act: Callable[[], object], *, steps: int = 1000) -> tuple[int, int]:
    """A process of its own that acts, and is killed after so many steps: commits, and writes outside of a transaction.

    Whatever else it is killed at, PostgreSQL holds what it holds at the next step. Returns its id and a pipe that tells
    its backend, and at its end that it came there.
    """
    hear, tell = os.pipe()
    connection.close()
    if pid := os.fork():
        os.close(tell)
        return pid, hear
    try:
        left = iter(range(steps))

        def step() -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        def before_a_statement(execute, statement, *query):
            if not connection.in_atomic_block and statement.lstrip().startswith(WRITES):
                step()
            return execute(statement, *query)

        commit = connection._commit
        connection._commit = lambda: (step(), commit())
        connection.ensure_connection()
        os.write(tell, f"{connection.connection.info.backend_pid}\n".encode())
        with connection.execute_wrapper(before_a_statement):
            act()
        os.write(tell, b"done")
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def end(process: tuple[int, int]) -> bool:
    """Wait for the process and its backend; say whether it came to its end."""
    pid, hear = process
    os.waitpid(pid, 0)
    with os.fdopen(hear) as told:
        backend, done = told.read().split("\n")
    wait_for_end([int(backend)])
    return done == "done"


# What is next in a campaign whose group has two clients, of which one is in aws


def begins_its_wave(group: ClientGroup) -> Campaign:
    return begin(group, soak_minutes=60, rolls_back=True)


def begins_the_next_part(group: ClientGroup) -> Campaign:
    campaign = begins_its_wave(group)
    take(campaign).items.update(outcome=Outcome.MOVED)
    Run.objects.update(finished_at="2026-01-01T00:00Z", state=Run.State.FINISHED)
    Campaign.objects.update(wave_size=1)
    WaveClient.objects.filter(client=members(group)[1]).delete()
    return campaign


def stops_and_rolls_back(group: ClientGroup) -> Campaign:
    campaign = begins_its_wave(group)
    run = take(campaign)
    run.items.filter(client=members(group)[0]).update(outcome=Outcome.MOVED)
    ClientMigration.objects.filter(pk=members(group)[0]).update(phase=Phase.AWS)
    make_comparison(members(group)[0], "mismatch")
    return campaign


def describe(campaign: Campaign) -> list[object]:
    campaign.refresh_from_db()
    found = Run.objects.filter(wave__campaign=campaign).order_by("pk")
    # Each act is recorded once, whatever its number. The situation's comparison finds the same each time.
    found_before = AuditEvent.objects.exclude(code=COMPARISON_EVENT)
    acts = sorted(found_before.values_list("code", flat=True))
    return [
        campaign.state, taken(campaign), steps(campaign), acts,
        list(campaign.waves.order_by("pk").values_list("position", "part", "rollback_is_due")),
        [wave.finished_at is None for wave in campaign.waves.all()],
        [(run.state, run.only_where_equal, outcomes(run)) for run in found],
    ]  # fmt: skip


SITUATIONS = [begins_its_wave, begins_the_next_part, stops_and_rolls_back]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.__name__)
def test_killed_at_any_step_it_is_done_again_once_and_whole(situation):
    group = make_group("north", 2, Phase.DUAL_READ)

    def reset() -> Campaign:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("DELETE FROM migration_auditevent")
            cursor.execute("SET session_replication_role = origin")
        Run.objects.all().delete(), Campaign.objects.all().delete()
        ClientMigration.objects.update(
            phase=Phase.DUAL_READ, comparison_status="match", clean_streak=1
        )
        return situation(group)

    campaign = reset()
    take(campaign)
    expected = describe(campaign)
    campaign = reset()
    before, at, done = describe(campaign), 0, False
    while not done:
        done = end(fork(partial(advance_campaign, campaign.pk), steps=at))
        at += 1
        if describe(campaign) == before:  # nothing was committed: as if nobody had come
            continue
        take(campaign)
        assert describe(campaign) == expected, at
        campaign = reset()
    assert at > 1


def test_of_two_processes_one_makes_the_step():
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group)
    hear, tell = os.pipe()

    def take_at_once() -> None:
        os.read(hear, 1)
        advance_campaign(campaign.pk)

    processes = [fork(take_at_once) for _ in range(4)]
    os.write(tell, b"1234")

    assert [end(process) for process in processes] == [True] * 4
    os.close(hear), os.close(tell)
    assert len(steps(campaign)) == Wave.objects.count() == 1
    assert WaveClient.objects.count() == 2


def test_whoever_comes_while_another_is_at_it_waits_for_nobody():
    campaign = begin(make_group("north", 1, Phase.DUAL_READ))
    with psycopg.connect(nova_uri()) as other:
        other.execute("SELECT FROM nova_admin.migration_campaign FOR UPDATE")

        assert take(campaign) is None

    assert take(campaign) is not None


def test_a_run_whose_worker_was_killed_before_it_was_finished_is_finished():
    group = make_group("north", 1, Phase.DUAL_READ)
    campaign = begin(group)
    work(take(campaign))
    Run.objects.update(finished_at=None, state=Run.State.RUNNING)

    take(campaign)

    assert stand(campaign) == (Campaign.State.FINISHED, [])


# People at the same moment


class Meanwhile:
    """Somebody who acts, with a connection of their own, before a function goes on, and may have to wait for it."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.errors = act, list[BaseException]()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            self.act()
        except BaseException as error:  # noqa: BLE001  # raised by `join`
            self.errors.append(error)
        finally:
            connection.close()

    def begin(self) -> None:
        self.thread.start()
        self.thread.join(0.3)

    def join(self) -> None:
        self.thread.join()
        assert self.errors == []


@pytest.fixture
def meanwhile(monkeypatch):
    def meanwhile(module: object, name: str, act: Callable[[], object]) -> Meanwhile:
        they = Meanwhile(act)
        monkeypatch.setattr(module, name, once(they.begin, getattr(module, name)))
        return they

    return meanwhile


@pytest.mark.parametrize("act", ["stop", "cancel"])
def test_somebody_stops_or_cancels_while_a_step_begins_and_no_other_does(meanwhile, act):
    group = make_group("north", 1, Phase.DUAL_WRITE)
    campaign = begin(group)
    them = Campaign.objects.get()
    they = meanwhile(campaign_steps, "_start_step", lambda: getattr(them, act)(by=None))

    run = take(campaign)
    they.join()
    work(run), go(campaign)

    assert campaign.state == {"stop": STOPPED, "cancel": Campaign.State.CANCELLED}[act]
    assert phases(group) == [Phase.DUAL_READ]


def test_somebody_goes_on_while_the_rule_stops_it_and_it_is_watched_from_then_on(meanwhile):
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group, soak_minutes=60, rolls_back=True)
    work(take(campaign))
    make_comparison(members(group)[0], "mismatch")
    them = Campaign.objects.get()
    they = meanwhile(campaign_steps, "_start_due_rollback", lambda: them.go_on(by=None))

    rollback = take(campaign)
    they.join()

    assert rollback.only_where_equal
    assert stand(campaign) == (Campaign.State.RUNNING, [])
    assert take(campaign) is None  # it waits for the rollback


def test_of_two_people_who_go_on_one_is_told_so():
    campaign = begin(make_group("north", 1))
    campaign.stop(by=None)
    one, two = Campaign.objects.get(), Campaign.objects.get()
    one.go_on(by=None)

    with pytest.raises(StaleCampaignError):
        two.go_on(by=None)


# Two campaigns


def test_a_client_of_two_campaigns_moves_in_one_of_them_until_that_one_is_over():
    pk = make_full_client("shared")
    north, south = put("north", pk), put("south", pk, make_full_client("south-0"))
    first, second = (begin(group, goal=Phase.DUAL_WRITE) for group in (north, south))
    work(take(first))

    go(second)
    assert (taken(first), taken(second)) == ([["shared"]], [["south-0"]])
    go(first)
    third = begin(south, goal=Phase.DUAL_READ)
    take(third)

    assert taken(third) == [["shared", "south-0"]]


def test_of_two_campaigns_that_begin_a_wave_at_once_one_takes_the_client(meanwhile):
    pk = make_full_client("shared")
    north, south = put("north", pk), put("south", pk)
    first, second = begin(north), begin(south)
    they = meanwhile(waves, "_note_reads", lambda: advance_campaign(second.pk))

    take(first)
    they.join()

    assert (taken(first), taken(second)) == ([["shared"]], [[]])
    assert RunItem.objects.count() == 1


def test_a_campaign_cancelled_with_a_run_in_work_and_the_next_one_move_a_client_once(monkeypatch):
    group = make_group("north", 2, Phase.DUAL_READ)
    first = begin(group)
    run = take(first)
    first.cancel(by=None)
    second = begin(group, most_refused=9)
    assert take(second) is None  # they are in the run of the first
    minutes_later(monkeypatch, 61)
    other = take(second)

    work(other), work(run)

    assert phases(group) == [Phase.AWS, Phase.AWS]
    moved = [*outcomes(run).values(), *outcomes(other).values()]
    assert sorted(moved) == [Outcome.MOVED] * 2 + [Outcome.REFUSED] * 2


def test_a_client_that_is_deleted_leaves_no_campaign_behind_that_takes_it():
    group = make_group("north", 1)
    campaign = begin(group)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients")

    with suppress(StaleCampaignError):
        go(campaign)

    assert (stand(campaign), taken(campaign)) == ((Campaign.State.FINISHED, []), [[]])
