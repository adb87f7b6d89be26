"""Runs: one request over many clients, taken batch by batch. A batch can be done twice, and by two workers at once."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from migration import sentences
from migration.models import PUSHED, ClientMigration, Comparison, Outcome, Run, RunItem
from migration.models.runs import ITEMS_AT_ONCE
from migration.operations.comparisons import compare
from migration.operations.pushes import PushResult, push
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from migration.models import ClientsByPhase

logger = logging.getLogger(__name__)

# So many batches a run can have: its number and the batch's share one 64-bit lock key.
BATCH_BITS = 24
# In place of a batch: the lock of the one worker that waits until items may be tried again.
WAITER = (1 << BATCH_BITS) - 1
# While one batch waits for AWS, another is read or stored.
BATCHES_AT_ONCE = 4
# More than all workers together have in their hands.
LOOK_AT_BATCHES = 64
# A batch that waits for its turns longer than that is left, and its rest taken again.
BATCH_SECONDS = 60.0
NAP_SECONDS = 0.5

# What passes by itself: the same call can succeed later.
PASSES = (ErrorClass.THROTTLED, ErrorClass.UNAVAILABLE, ErrorClass.PERMISSION)


def start(
    *,
    kind: Run.Kind,
    chosen: ClientsByPhase,
    hand_over: Callable[[Run, int], None] | None = None,
    by: User | None = None,
    adopt: bool = False,
    include_inactive: bool = False,
    tries: int = 1,
) -> Run:
    """Stores a run over the chosen clients and hands it with the number of its batches over, in one transaction."""
    with transaction.atomic():
        run = Run.objects.create(
            kind=kind, by=by, adopt=adopt, include_inactive=include_inactive, tries=tries
        )
        rows = chosen.order_by("pk").values_list("pk", "slug")
        batches = run.add_items(rows.iterator(chunk_size=ITEMS_AT_ONCE))
        if not batches:
            run.finish_if_done()
        elif hand_over:
            hand_over(run, batches)
    return run


def finish_inline(run: Run) -> None:
    """Takes a run through its batches in this process; ended before its end, it says so of what is left."""
    try:
        work(run_id=run.pk)
    except BaseException:
        # Without a word its items would wait for the workers, who may not be there.
        run.items.open().update(
            outcome=Outcome.FAILED,
            error_class=ErrorClass.UNAVAILABLE,
            message=sentences.RUN_INTERRUPTED(),
            finished_at=timezone.now(),
        )
        run.finish_if_done()
        raise
    run.refresh_from_db()


def work(*, run_id: int, seconds: float | None = None) -> bool:
    """Takes free batches of the run, some at once, until none is left or the time is up; True: there is more to do.

    Any number of processes may be at it. Raises the first batch's DatabaseError once the others are through.
    """
    free = RunItem.objects.filter(run_id=run_id).free()
    batches = free.values("batch").distinct().count()
    shift = Shift(run_id, deadline=time.monotonic() + seconds if seconds else None)
    with ThreadPoolExecutor(BATCHES_AT_ONCE) as threads:
        try:
            others = [
                threads.submit(shift.take_in_thread)
                for _ in range(min(BATCHES_AT_ONCE, batches) - 1)
            ]
            shift.take()
            for other in others:
                other.result()
            return shift.wait_and_take()
        finally:
            shift.over.set()


class Shift:
    """One process at work on a run, in one or more threads."""

    def __init__(self, run_id: int, *, deadline: float | None) -> None:
        self.run_id, self.deadline = run_id, deadline
        self.over = threading.Event()

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def take_in_thread(self) -> None:
        try:
            self.take()
        except BaseException:
            self.over.set()
            raise
        finally:
            connection.close()

    def take(self) -> None:
        """Free batches, one after the other, while there are any."""
        while not self.over.is_set() and not self.late:
            run = Run.objects.get(pk=self.run_id)
            if run.state != Run.State.RUNNING or not self._take_one(run):
                break

    def wait_and_take(self) -> bool:
        """The same as long as items are to be tried again; one process does, and the others leave it to it."""
        with _lock(self.run_id, WAITER) as mine:
            while mine and not self.late:
                run = Run.objects.get(pk=self.run_id)
                if run.state != Run.State.RUNNING:
                    break
                if not self._take_one(run):
                    if run.items.next_try_at() is None:
                        break
                    Run.objects.touch(run.pk)
                    time.sleep(NAP_SECONDS)
        run = Run.objects.get(pk=self.run_id)
        if run.state == Run.State.STOPPED:
            close_stopped(run)
        run.finish_if_done()
        # Before that, what is open is in others' hands: they come here too, and to come back at once would be vain.
        return self.late and run.state == Run.State.RUNNING and run.items.open().exists()

    def _take_one(self, run: Run) -> bool:
        """Does a batch that nobody has; False where there is none."""
        free = run.items.free().order_by("batch").values_list("batch", flat=True).distinct()
        for batch in free[:LOOK_AT_BATCHES]:
            with _lock(run.pk, batch) as mine:
                if mine:
                    run_batch(run, batch)
                    return True
        return False


def run_batch(run: Run, batch: int) -> None:
    """Gives the batch's items whose turn it is their outcomes. The caller holds the batch's lock."""
    # Read under the lock: whoever stops a run sees in the locks which batches are still being worked on.
    run.refresh_from_db(fields=["state"])
    items = {item.client_id: item for item in run.items.free().filter(batch=batch)}
    if run.state != Run.State.RUNNING or not items:
        return
    Run.objects.touch(run.pk)
    _do(run, items)
    RunItem.objects.record(items.values())
    Run.objects.touch(run.pk)


def _do(run: Run, items: dict[int, RunItem]) -> None:
    """Each item gets its outcome, or is to be tried again, whatever happens; raises where the database is gone."""
    try:
        (_compare if run.kind == Run.Kind.COMPARE else _push)(run, items)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 (nobody foresaw it)
        # One client must not hold up the others, nor the run for ever.
        if len(items) > 1:
            for pk, item in items.items():
                _do(run, {pk: item})
            return
        kind, where = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s: %s at\n%s", run, kind, where)  # noqa: TRY400 (its text can hold a value)
        for item in items.values():
            item.outcome, item.error_class = Outcome.FAILED, ErrorClass.UNAVAILABLE
            item.message = sentences.UNEXPECTED_ERROR(code=kind)
            _try_again(run, item)


def close_stopped(run: Run) -> None:
    """Skips what a stopped run has left, except the batches that a worker still has: that one closes the rest."""
    # Asked in the same statement: somebody may have retried it meanwhile.
    stopped = run.items.open().filter(run__state=Run.State.STOPPED)
    stopped.exclude(batch__in=held_batches(run.pk)).update(
        outcome=Outcome.SKIPPED, message=sentences.RUN_STOPPED(), finished_at=timezone.now()
    )
    run.finish_if_done()


def held_batches(run_id: int) -> set[int]:
    """The batches that some worker has in its hands now, wherever it runs."""
    low_bits = 32 - BATCH_BITS
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT objid::bigint & %s FROM pg_locks JOIN pg_database ON pg_database.oid = database
            WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 1 AND granted
                AND classid::bigint = %s AND objid::bigint >> %s = %s
            """,
            [WAITER, run_id >> low_bits, BATCH_BITS, run_id & ((1 << low_bits) - 1)],
        )
        return {batch for (batch,) in cursor.fetchall()}


@contextmanager
def _lock(run_id: int, batch: int) -> Iterator[bool]:
    """Whether this process may work on the batch. PostgreSQL lets go of it when the process dies."""
    key = run_id << BATCH_BITS | batch
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        mine = cursor.fetchone()[0]
    try:
        yield mine
    finally:
        if mine and connection.connection and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])


def _push(run: Run, items: dict[int, RunItem]) -> None:
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
        _fill(run, items[result.client_id], result)
    for pk in items.keys() - {result.client_id for result in results}:
        items[pk].outcome, items[pk].message = (
            Outcome.SKIPPED,
            sentences.CLIENT_NOT_THERE(),
        )
    if migrates:
        pushed = [result.client_id for result in results if result.outcome in PUSHED]
        ClientMigration.objects.move(
            pushed,
            Phase.POSTGRES,
            Phase.DUAL_WRITE,
            by=run.by,
            note=sentences.MOVED_BY_RUN(run=run.named),
            run=run,
        )


def _fill(run: Run, item: RunItem, result: PushResult) -> None:
    """Copies what became of a client into its item."""
    item.outcome, item.message = result.outcome, result.message
    item.error_class = result.error_class
    item.comparison_status = result.comparison.status if result.comparison else ""
    if result.postponed:
        item.outcome, item.next_try_at = "", timezone.now()
    elif result.outcome == Outcome.FAILED and (result.busy or result.error_class in PASSES):
        _try_again(run, item)


def _compare(run: Run, items: dict[int, RunItem]) -> None:
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
            if comparison.error_class in PASSES:
                _try_again(run, item)


def _try_again(run: Run, item: RunItem) -> None:
    if item.attempts + 1 < run.tries:
        item.try_again()
        item.comparison_status = ""
