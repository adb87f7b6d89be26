"""Works on runs, batch by batch. A batch can be done twice, and by two workers at once."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import suppress

from django.db import InterfaceError, OperationalError, connection

from credentials.nova_columns import NovaSchemaError
from migration import sentences
from migration.models.audit_actors import SYSTEM, Actor, acting, process_origin
from migration.models.run_items import Outcome, RunItem
from migration.models.runs import Run
from migration.models.steered_runs import StaleRunError
from migration.operations.aws_writes import find_write_refusal
from migration.operations.run_batches import (
    RETRY_LOCK,
    lock_free_batch,
    try_lock_batch,
)
from migration.operations.single_items import WORK
from migration.operations.skipped_items import skip_free_items_of_stopped_run
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import ErrorClass

logger = logging.getLogger(__name__)

# While one batch waits for AWS, another is read or stored.
BATCHES_AT_ONCE = 4
# The first batch is read alone: beside the others it would write its first secret later, and AWS's quota would wait.
HEAD_START_SECONDS = 0.05
RETRY_POLL_SECONDS = 0.5
# True: the run needs more of a worker's time.
HasMoreToDo = bool


def finish_inline(run: Run, *, interrupted: threading.Event | None = None) -> None:
    """Work on the run in this process until it is finished, or `interrupted` is set and the batches in work are done.

    A run that is interrupted, so or by an error, is stopped: its open items are left out and say why. While this site
    may not write to AWS it stays open, and workers go on with it afterwards.
    """
    try:
        work_on_run(run_id=run.pk, interrupted=interrupted)
    except BaseException:
        _stop_interrupted(run)
        raise
    if interrupted and interrupted.is_set():
        _stop_interrupted(run)
    run.refresh_from_db()


def _stop_interrupted(run: Run) -> None:
    """Stop the run if it is not over: left open, its items would wait for workers, which may not be there."""
    with suppress(StaleRunError):
        run.stop(by=None)
    skip_free_items_of_stopped_run(run, why=sentences.RUN_INTERRUPTED())


def work_on_run(
    *, run_id: int, seconds: float | None = None, interrupted: threading.Event | None = None
) -> HasMoreToDo:
    """Claim and process free batches, some at once, until none is left or `seconds` are over.

    Any number of processes may work on one run. Once `interrupted` is set no batch is begun any more. Raises the first
    batch's DatabaseError once the others are through.
    """
    free = RunItem.objects.filter(run_id=run_id).due_now()
    batches = free.values("batch").distinct().count()
    deadline = time.monotonic() + seconds if seconds else None
    run = Run.objects.get(pk=run_id)
    worker = RunWorker(run, deadline=deadline, interrupted=interrupted or threading.Event())
    with ContextThreads(BATCHES_AT_ONCE) as threads:
        try:
            others = [
                threads.submit(worker.process_batches_and_disconnect)
                for _ in range(min(BATCHES_AT_ONCE, batches) - 1)
            ]
            worker.process_batches()
            for other in others:
                other.result()
            return worker.process_retries()
        finally:
            worker.over.set()


class RunWorker:
    """One process that works on a run, in one or more threads."""

    def __init__(self, run: Run, *, deadline: float | None, interrupted: threading.Event) -> None:
        # As it was at the start: what people change while it runs is read with each batch.
        self.run, self.deadline, self.interrupted = run, deadline, interrupted
        self.over = threading.Event()

    @property
    def is_late_or_interrupted(self) -> bool:
        """Say whether its time is over, or somebody interrupted it."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late or self.interrupted.is_set()

    def process_batches_and_disconnect(self) -> None:
        """Process batches and close the thread's own connection; an error ends the other threads too."""
        try:
            self.over.wait(HEAD_START_SECONDS)
            self.process_batches()
        except BaseException:
            self.over.set()
            raise
        finally:
            connection.close()

    def process_batches(self) -> None:
        """Process free batches one by one until none is left, the run stops, or it may not write to AWS now."""
        while not self.over.is_set() and not self.is_late_or_interrupted:
            if is_held_by_writes(self.run) or not self._process_free_batch():
                break

    def process_retries(self) -> HasMoreToDo:
        """Wait for items to be retried, and retry them.

        One process of all does this and holds RETRY_LOCK; the others return at once.
        """
        with try_lock_batch(self.run.pk, RETRY_LOCK) as locked:
            while locked and not self.is_late_or_interrupted:
                run = Run.objects.get(pk=self.run.pk)
                if run.state != Run.State.RUNNING or is_held_by_writes(run):
                    break
                if not self._process_free_batch():
                    if run.items.next_try_at() is None:
                        break
                    Run.objects.record_worked_at(run.pk)
                    time.sleep(RETRY_POLL_SECONDS)
        run = Run.objects.get(pk=self.run.pk)
        if run.state == Run.State.STOPPED:
            skip_free_items_of_stopped_run(run)
        run.finish_if_done()
        # Before the deadline other workers hold the open items and will finish the run.
        if (
            not self.is_late_or_interrupted
            or run.state != Run.State.RUNNING
            or is_held_by_writes(run)
        ):
            return False
        return run.items.open().exists()

    def _process_free_batch(self) -> bool:
        """Claim a batch that no worker holds and process it; False where there is none, or the run is not running."""
        with lock_free_batch(self.run.pk) as batch:
            return batch is not None and process_batch_if_running(self.run.pk, batch)


def is_held_by_writes(run: Run) -> bool:
    """Say whether the run waits as it would write to AWS, and this site may not; its items stay open, untried."""
    return run.needs_aws_writes_allowed and find_write_refusal() is not None


def process_batch_if_running(run_id: int, batch: int) -> bool:
    """Give each free item of the batch its outcome; False where the run is not running. The caller holds the lease."""
    # Read under the lease: who stops a run learns from the leases which batches are still being processed.
    run = Run.objects.record_work_if_running(run_id)
    if run is None:
        return False
    items = {item.client_id: item for item in run.items.due_now().filter(batch=batch)}
    if items:
        with acting(_get_actor(run)):
            _process_items(run, items)
        RunItem.objects.record(items.values())
    return True


def _get_actor(run: Run) -> Actor:
    """Return who acts in the run, for the audit: who started it, and this process."""

    def find_name() -> str:
        return run.by.get_username() if run.by else SYSTEM

    return Actor(process_origin(), correlation=f"run {run.pk}", find_name=find_name)


def _process_items(run: Run, items: dict[int, RunItem]) -> None:
    """Give each item its outcome, or the time of its next try; raises only where the database is gone."""
    try:
        _give_outcomes(run, items)
    except (OperationalError, InterfaceError):
        raise
    except NovaSchemaError as error:
        for item in items.values():
            item.outcome, item.error_class = Outcome.FAILED, ErrorClass.SCHEMA
            item.message = error.message
    except Exception as error:  # noqa: BLE001 (any defect of ours)
        # One client must not hold up the others, nor the run for ever.
        if len(items) > 1:
            for pk, item in items.items():
                _process_items(run, {pk: item})
            return
        kind, where = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s: %s at\n%s", run, kind, where)  # noqa: TRY400 (its text can hold a value)
        for item in items.values():
            item.outcome, item.error_class = Outcome.FAILED, ErrorClass.UNAVAILABLE
            item.message = sentences.UNEXPECTED_ERROR(code=kind)
            _schedule_retry(run, item)


def _give_outcomes(run: Run, items: dict[int, RunItem]) -> None:
    for item in WORK[run.kind](run, items):
        _schedule_retry(run, item)


def _schedule_retry(run: Run, item: RunItem) -> None:
    if item.attempts + 1 < run.tries:
        item.set_next_try()
        item.comparison_status = ""
