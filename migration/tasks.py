"""The background tasks; the only module that knows django-q. Tasks carry ids and can run twice."""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error, connection, transaction
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import Schedule
from django_q.tasks import async_task

from credentials import proof
from credentials.models import ClientRevision, ProofOutcome
from credentials.triggers import count_every_write, writes_are_counted
from migration.models import MANY_TRIES, WRITES_BOTH, Comparison, Run, Worker, clients
from migration.operations import runs

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from migration.models import ClientsByPhase

GIVE_UP_ON_A_RUN_AFTER = timedelta(minutes=10)
# So many workers take to one run; the others are there for other runs.
WORKERS_A_RUN = 4
# Then the task ends and comes again, behind what waits in the queue.
WORK_SECONDS = 60.0
BEAT_SECONDS = 5.0
MANY_TASKS = 100

logger = logging.getLogger(__name__)


def start_run(
    *,
    kind: Run.Kind,
    chosen: ClientsByPhase,
    by: User | None = None,
    adopt: bool = False,
    include_inactive: bool = False,
    tries: int = MANY_TRIES,
) -> Run:
    """Starts a run whose batches the workers take; run and tasks are stored in one transaction."""
    return runs.start(
        kind=kind,
        chosen=chosen,
        by=by,
        adopt=adopt,
        include_inactive=include_inactive,
        tries=tries,
        hand_over=_hand_over,
    )


def _hand_over(run: Run, batches: int = WORKERS_A_RUN) -> None:
    for _number in range(min(batches, WORKERS_A_RUN)):
        if settings.NOVA_REDIS_URL:
            # Its workers would look for a run that is not committed yet.
            transaction.on_commit(partial(_enqueue, run.pk))
        else:
            _enqueue(run.pk)


def _enqueue(run_id: int) -> None:
    async_task("migration.tasks.work_on", run_id, task_name=f"run {run_id}")


def work_on(run_id: int) -> None:
    """Takes batches of a run for a while, and comes again as long as there are some."""
    if runs.work(run_id=run_id, seconds=WORK_SECONDS):
        _enqueue(run_id)


def resume(run: Run, *, by: User | None) -> None:
    """Lets a paused run go on; StaleRunError where it isn't paused."""
    with transaction.atomic():
        run.resume(by=by)
        _hand_over(run)


def retry_failed(run: Run, *, by: User | None, item_id: int | None = None) -> None:
    """Takes the failed items of a run, or one of them, up again; StaleRunError where it isn't over."""
    with transaction.atomic():
        run.retry_failed(by=by, item_id=item_id)
        _hand_over(run)


def refuse(function: str) -> None:
    """Run in the place of a function that is none of this module's (see `task_queue`): recorded as failed."""
    raise PermissionError(f"no task of this site: {function}")


def take_up() -> None:
    """Scheduled every minute: runs that no worker has, because it was killed or never came, go on."""
    # Where the workers are busy with so much, this run's tasks are among it: more of them each minute would pile up.
    busy = get_broker().queue_size() >= MANY_TASKS
    for run in Run.objects.standing_still():
        if runs.held_batches(run.pk):
            continue
        if run.state == Run.State.STOPPED:
            runs.close_stopped(run)
            continue
        if busy:
            continue
        with transaction.atomic():
            Run.objects.touch(run.pk)
            _hand_over(run)


def push_pending() -> None:
    """Scheduled every minute: a push of every client whose newest rows are not in AWS."""
    ClientRevision.objects.fold_writes()
    _start_unless_running(Run.Kind.PUSH, clients().to_push())


def keep_counting() -> None:
    """Scheduled every minute: where writes to NOVA's tables aren't counted, puts that right."""
    for refusal in count_every_write():
        logger.warning("Writes to NOVA's tables are not counted: %s", refusal.why)


def prove_counting() -> None:
    """Scheduled every hour: tries on each of NOVA's tables whether an update is counted, and undoes it."""
    for table, outcome in proof.prove_counting().items():
        if outcome == ProofOutcome.FAILED:
            logger.warning("An update of %s, tried and undone, was not counted", table)


def sweep() -> None:
    """Scheduled every `NOVA_SWEEP_MINUTES`: a comparison of every client that writes both stores."""
    Comparison.objects.forget_old()
    Run.objects.forget_sweeps()
    Worker.objects.forget_old()
    in_both = clients().in_phases(*WRITES_BOTH)
    if not writes_are_counted():
        # Nobody knows what NOVA wrote: the push finds it out.
        _start_unless_running(Run.Kind.PUSH, in_both)
    _start_unless_running(Run.Kind.COMPARE, in_both)


def _start_unless_running(kind: Run.Kind, chosen: ClientsByPhase) -> None:
    """One run of the schedule at a time."""
    # One that has got nowhere for so long is left behind rather than waited for: doing it twice is harmless.
    # Nor is one waited for that tries again for an hour: somebody started it, and over whichever clients.
    unfinished = Run.objects.filter(
        kind=kind,
        tries=1,
        state=Run.State.RUNNING,
        created_at__gt=timezone.now() - GIVE_UP_ON_A_RUN_AFTER,
    )
    if chosen.exists() and not unfinished.exists():
        # The schedule itself is what tries again: one client in trouble must not hold up the next run.
        start_run(kind=kind, chosen=chosen, tries=1)


def ensure_schedules(**_: object) -> None:
    """After every `migrate`: what the workers do by the clock."""
    for name, function, minutes in (
        ("Push pending clients", push_pending, 1),
        ("Take up runs that stand still", take_up, 1),
        ("Keep counting NOVA's writes", keep_counting, 1),
        ("Prove that NOVA's writes are counted", prove_counting, 60),
        ("Compare both stores", sweep, settings.NOVA_SWEEP_MINUTES),
    ):
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": f"migration.tasks.{function.__name__}",
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
            },
        )


def start_heartbeat(**_: object) -> None:
    """In each worker process, when it starts: a thread that says every few seconds that the process lives."""
    threading.Thread(target=_beat, name="heartbeat", daemon=True).start()


def _beat() -> None:
    name = f"{socket.gethostname()}:{os.getpid()}"
    never = threading.Event()
    while True:
        try:
            Worker.objects.seen(name)
        except Error:
            # Of a PostgreSQL that restarts; the next beat finds it again.
            connection.close()
        never.wait(BEAT_SECONDS)
