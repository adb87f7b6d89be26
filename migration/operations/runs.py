"""Works on runs, batch by batch. A batch can be done twice, and by two workers at once."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from credentials.nova_columns import NovaSchemaError
from migration import sentences
from migration.models import (
    PUSHED,
    TRANSIENT,
    Actor,
    ClientMigration,
    Comparison,
    LeaseKind,
    Outcome,
    Run,
    RunItem,
    acting,
)
from migration.models.audit_actors import SYSTEM, process_origin
from migration.operations.aws_writes import find_write_refusal
from migration.operations.comparisons import compare
from migration.operations.leases import NOBODY_HOLDS_BATCH, list_held, try_lease
from migration.operations.move_runs import process_move_items
from migration.operations.pushes import PushResult, push
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator


logger = logging.getLogger(__name__)

# The run's number and the batch's number share the 64 bits of one lease's key.
BATCH_BITS = 24
# The batch number of the lease that the one worker holds that waits for items to be retried.
RETRY_LOCK = (1 << BATCH_BITS) - 1
# While one batch waits for AWS, another is read or stored.
BATCHES_AT_ONCE = 4
# The first batch is read alone: beside the others it would write its first secret later, and AWS's quota would wait.
HEAD_START_SECONDS = 0.05
# More than all workers together hold at any time, so that a free one is among them.
CANDIDATE_BATCHES = 64
# A batch that waits longer for the rate limiter is left; the rest of it is claimed again.
BATCH_SECONDS = 60.0
RETRY_POLL_SECONDS = 0.5


def finish_inline(run: Run) -> None:
    """Work on the run in this process until it is finished; where it is interrupted, its open items fail and say so.

    While this site may not write to AWS it stays open, and workers go on with it afterwards.
    """
    try:
        work_on_run(run_id=run.pk)
    except BaseException:
        # Left open, the items would wait for workers, which may not be there.
        run.items.open().update(
            outcome=Outcome.FAILED,
            error_class=ErrorClass.UNAVAILABLE,
            message=sentences.RUN_INTERRUPTED(),
            finished_at=timezone.now(),
        )
        run.finish_if_done()
        raise
    run.refresh_from_db()


def work_on_run(*, run_id: int, seconds: float | None = None) -> bool:
    """Claim and process free batches, some at once, until none is left or `seconds` are over; True: more is to be done.

    Any number of processes may work on one run. Raises the first batch's DatabaseError once the others are through.
    """
    free = RunItem.objects.filter(run_id=run_id).free()
    batches = free.values("batch").distinct().count()
    worker = RunWorker(run_id, deadline=time.monotonic() + seconds if seconds else None)
    with ThreadPoolExecutor(BATCHES_AT_ONCE) as threads:
        try:
            others = [
                threads.submit(worker.process_batches_in_thread)
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

    def __init__(self, run_id: int, *, deadline: float | None) -> None:
        self.run_id, self.deadline = run_id, deadline
        self.over = threading.Event()

    @property
    def is_late(self) -> bool:
        """Say whether its time is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def process_batches_in_thread(self) -> None:
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
        """Process free batches, one after the other, until none is left."""
        while not self.over.is_set() and not self.is_late:
            run = Run.objects.get(pk=self.run_id)
            if run.state != Run.State.RUNNING or is_held(run) or not self._process_free_batch(run):
                break

    def process_retries(self) -> bool:
        """Wait for items to be retried, and retry them; return whether the run needs another worker's time.

        One process of all does this and holds RETRY_LOCK; the others return at once.
        """
        with _try_lock_batch(self.run_id, RETRY_LOCK) as locked:
            while locked and not self.is_late:
                run = Run.objects.get(pk=self.run_id)
                if run.state != Run.State.RUNNING or is_held(run):
                    break
                if not self._process_free_batch(run):
                    if run.items.next_try_at() is None:
                        break
                    Run.objects.record_work(run.pk)
                    time.sleep(RETRY_POLL_SECONDS)
        run = Run.objects.get(pk=self.run_id)
        if run.state == Run.State.STOPPED:
            skip_open_items(run)
        run.finish_if_done()
        # Before the deadline other workers hold the open items and will finish the run.
        if not self.is_late or run.state != Run.State.RUNNING or is_held(run):
            return False
        return run.items.open().exists()

    def _process_free_batch(self, run: Run) -> bool:
        """Claim a batch that no worker holds and process it; False where there is none."""
        with _lock_free_batch(run) as batch:
            if batch is not None:
                process_batch(run, batch)
            return batch is not None


def is_held(run: Run) -> bool:
    """Say whether the run waits as it would write to AWS, and this site may not; its items stay open, untried."""
    return run.writes_to_aws and find_write_refusal() is not None


def process_batch(run: Run, batch: int) -> None:
    """Give each free item of the batch its outcome. The caller holds the batch's lease."""
    # Read under the lease: who stops a run learns from the leases which batches are still being processed.
    run.refresh_from_db(fields=["state", "approved_by", "approved_by_name"])
    items = {item.client_id: item for item in run.items.free().filter(batch=batch)}
    if run.state != Run.State.RUNNING or not items:
        return
    Run.objects.record_work(run.pk)
    with acting(_get_actor(run)):
        _process_items(run, items)
    RunItem.objects.record(items.values())
    Run.objects.record_work(run.pk)


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
    if moves := run.moves:
        process_move_items(run, moves, items)
    elif run.kind == Run.Kind.COMPARE:
        _compare_items(run, items)
    else:
        _push_items(run, items)


def skip_open_items(run: Run) -> None:
    """Skip the open items of a stopped run, except in batches that a worker still holds: that worker skips the rest."""
    # The state is checked in the same statement, as the run may be retried at any time.
    stopped = run.items.open().filter(run__state=Run.State.STOPPED)
    stopped.exclude(batch__in=held_batches(run.pk)).update(
        outcome=Outcome.SKIPPED, message=sentences.RUN_STOPPED(), finished_at=timezone.now()
    )
    run.finish_if_done()


def held_batches(run_id: int) -> set[int]:
    """Return the batches that workers hold now, on whichever host."""
    first = run_id << BATCH_BITS
    return {key - first for key in list_held(LeaseKind.BATCH, first, first | RETRY_LOCK)}


@contextmanager
def _lock_free_batch(run: Run) -> Iterator[int | None]:
    """Lease the first batch with free items that no worker holds, and give its number; None where there is none."""
    batches = run.items.free().order_by("batch").values_list("batch", flat=True).distinct()
    candidates, values = batches[:CANDIDATE_BATCHES].query.sql_with_params()
    first = run.pk << BATCH_BITS
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT batch FROM ({candidates}) AS candidate (batch) WHERE {NOBODY_HOLDS_BATCH}",  # noqa: S608  # Django's own query
            [*values, LeaseKind.BATCH, first],
        )
        free = [batch for (batch,) in cursor.fetchall()]
    for batch in free:
        with _try_lock_batch(run.pk, batch) as leased:
            if leased:
                yield batch
                return
    yield None


@contextmanager
def _try_lock_batch(run_id: int, batch: int) -> Iterator[bool]:
    """Try to lease the batch and say whether it worked. The lease ends when the process dies."""
    with try_lease(LeaseKind.BATCH, run_id << BATCH_BITS | batch, for_good=True) as leased:
        yield leased


def _push_items(run: Run, items: dict[int, RunItem]) -> None:
    migrates = run.kind == Run.Kind.MIGRATE
    results = push(
        client_ids=list(items),
        run=run,
        adopt=run.adopt,
        # A client that writes both stores is kept equal in them, active or not.
        include_inactive=run.include_inactive or not migrates,
        seconds=BATCH_SECONDS,
        include_postgres=migrates,
    )
    for result in results:
        _copy_result(run, items[result.client_id], result)
    for pk in items.keys() - {result.client_id for result in results}:
        items[pk].outcome, items[pk].message = (
            Outcome.SKIPPED,
            sentences.CLIENT_NOT_THERE(),
        )
    if migrates:
        pushed = [result.client_id for result in results if result.outcome in PUSHED]
        ClientMigration.objects.change_phase(
            pushed,
            Phase.POSTGRES,
            Phase.DUAL_WRITE,
            by=run.by,
            note=sentences.MOVED_BY_RUN(run=run.name_message),
            run=run,
        )


def _copy_result(run: Run, item: RunItem, result: PushResult) -> None:
    """Copy the outcome of a push into the client's item."""
    item.outcome, item.message = result.outcome, result.message
    item.error_class = result.error_class
    item.comparison_status = result.comparison.status if result.comparison else ""
    if result.postponed:
        item.outcome, item.next_try_at = "", timezone.now()
    elif result.outcome == Outcome.FAILED and (result.busy or result.error_class in TRANSIENT):
        _schedule_retry(run, item)


def _compare_items(run: Run, items: dict[int, RunItem]) -> None:
    results = compare(client_ids=list(items), run=run)
    for pk, item in items.items():
        comparison = results.get(pk)
        if comparison is None:
            item.outcome, item.message = Outcome.SKIPPED, sentences.NOTHING_TO_COMPARE()
            continue
        item.comparison_status = comparison.status
        item.error_class, item.message = comparison.error_class, comparison.message
        item.outcome = Outcome.COMPARED
        if comparison.status == Comparison.Status.UNCHECKED:
            item.outcome = Outcome.FAILED
            if comparison.error_class in TRANSIENT:
                _schedule_retry(run, item)


def _schedule_retry(run: Run, item: RunItem) -> None:
    if item.attempts + 1 < run.tries:
        item.try_again()
        item.comparison_status = ""
