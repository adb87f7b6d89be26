"""The faults of `reliability.py` during runs of moves: forward, cut over and rolled back by real workers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule, mixed_rules
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from migration.runs.models import Run
    from tests.studies.reliability import Stage

# A round trip that leaves time to strike while a run is at it.
ROUND_TRIP = 0.05
# Batch reads a second while somebody strikes: the batches of a run come one after the other.
SLOW_READS = 4.0
WAY = (
    (Phase.DUAL_WRITE, Phase.DUAL_READ),
    (Phase.DUAL_READ, Phase.AWS),
    (Phase.AWS, Phase.DUAL_READ),
)
# The clients have gone to AWS and back.
END = WAY[-1][1]


def move_under(strike: Callable[[Stage, Run], None]) -> Callable[[Stage], list[Run]]:
    """Take every client to AWS and back, and have `strike` happen once each of the three runs is started."""

    def act(stage: Stage) -> list[Run]:
        from migration.core.clients import all_clients
        from migration.runs.models import Run
        from tests import factories

        stage.await_end(factories.start_run(kind=Run.Kind.MIGRATE, chosen=all_clients()))
        return [move_all(stage, old, new, strike) for old, new in WAY]

    return act


def move_all(stage: Stage, old: Phase, new: Phase, strike: Callable[[Stage, Run], None]) -> Run:
    from migration import tasks
    from migration.core.clients import all_clients
    from migration.moves.approvals import start_move_run
    from migration.runs.models import MANY_TRIES

    stage.aws.conditions.set(Conditions(round_trip_seconds=ROUND_TRIP))
    run = start_move_run(chosen=all_clients(), old=old, new=new, tries=MANY_TRIES)
    tasks.enqueue(run)
    strike(stage, run)
    stage.await_end(run)
    return run


def await_moved(stage: Stage, run: Run, number: int) -> None:
    from migration.models import PhaseChange

    stage.until(lambda: PhaseChange.objects.filter(run=run.pk).count() >= number)


def set_read_rate(stage: Stage, rate: float | None) -> None:
    """Keep the batch reads of all workers to this rate: at the usual one a run is over before anybody strikes."""
    from migration.models import Rate

    stage.until(lambda: Rate.objects.set_rates({Rate.Kind.READ: rate}) is None)


def kill_workers(stage: Stage, run: Run) -> None:
    set_read_rate(stage, SLOW_READS)
    before = stage.calls("BatchGetSecretValue")
    stage.until(lambda: stage.calls("BatchGetSecretValue") >= before + 3)
    stage.kill_worker(run)
    set_read_rate(stage, None)
    stage.start_worker()


def crash_postgresql(stage: Stage, run: Run) -> None:
    """Kill one of its processes, after which it ends all and recovers."""
    from django.db import connection

    set_read_rate(stage, SLOW_READS)
    await_moved(stage, run, 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' LIMIT 1"
        )
        pid = cursor.fetchone()[0]
    os.kill(pid, signal.SIGKILL)
    set_read_rate(stage, None)


def strike_calls(*faults: FaultRule) -> Callable[[Stage, Run], None]:
    """Return what has AWS answer with these faults; they end by themselves, or with the run."""
    conditions = Conditions(round_trip_seconds=ROUND_TRIP, faults=faults, seed=1)
    return lambda stage, _run: stage.aws.conditions.set(conditions)


# Name, words, and what happens in each of the three runs.
STRIKES = (
    ("mixed", "all ten faults, 10 % of the calls", strike_calls(*mixed_rules(0.1, hold_seconds=6))),
    (
        "down",
        "AWS down, every call for 10 s",
        strike_calls(FaultRule(fault=Fault.DOWN, seconds=10)),
    ),
    ("killed", "the workers killed by SIGKILL in mid-run, others started", kill_workers),
    ("postgresql", "PostgreSQL crashes and restarts in mid-run", crash_postgresql),
)


def list_faults(runs: list[Run], number: int) -> list[str]:
    """Return what is not as it must be once every client has moved to AWS and back."""
    from migration.models import PhaseChange
    from migration.runs.items import Outcome

    wrong = []
    for run in runs:
        if (moved := run.count_outcomes_and_matches()["moved"]) != number:
            others = run.items.exclude(outcome=Outcome.MOVED)
            codes = {code for item in others if item.message for code in item.message.codes}
            wrong.append(f"{run}: {moved} of {number} moved ({', '.join(sorted(codes))})")
        made = PhaseChange.objects.filter(run=run)
        if made.count() != number or made.values("client").distinct().count() != number:
            wrong.append(f"{run}: {made.count()} moves of {number} clients")
    return wrong
