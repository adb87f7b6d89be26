"""Works on runs, batch by batch. A batch can be done twice, and by two workers at once."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TypeAlias

from django.contrib.postgres.expressions import ArraySubquery
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Count,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import GreaterThan, In
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.nova_columns import NovaSchemaError
from migration.core.audit import SYSTEM, Actor, AuditEvent, EventKind, acting, process_origin
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import PhaseChange
from migration.core.leases import HELD_LEASES, NOBODY_HOLDS_BATCH, LeaseKind, list_held, try_lease
from migration.core.sentences import CLIENT_NOT_THERE
from migration.runs.items import (
    CAN_BE_RETRIED,
    RUN_INTERRUPTED,
    RUN_STOPPED,
    TRANSIENT,
    Outcome,
    RunItem,
)
from migration.runs.models import Run, StaleRunError
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Message, MessageError, Sentence

FAILURE_EVENT = EventKind("failure", _("Failed in a run"), icon="error", in_history=True)
FAILED_IN_RUN = Sentence("failed_in_run", "%(run)s failed: %(why)s")
REFUSED_IN_RUN = Sentence("refused_in_run", "%(run)s refused it: %(why)s")

logger = logging.getLogger(__name__)

# While some batches wait for AWS, others are read or stored: so many that one process reaches the read limit, or
# nearly, on slow processors too. Each takes a connection to PostgreSQL.
BATCHES_AT_ONCE = 8
# Batches begin one after the other: all at once they would write their first secret later, and AWS's quota would wait.
HEAD_START_SECONDS = 0.03
RETRY_POLL_SECONDS = 0.5
# No client is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# The outcomes of a batch are stored part by part, each of about so long, so that pages see progress every second. Work
# that takes many together, such as pushes, may take longer.
PART_SECONDS = 1.0
# How much larger a part may be than the one before.
GROWTH = 5

# Items that failed and may succeed at another try.
ItemsToRetry = list[RunItem]
# Gives each item of a batch, by its client's id, an outcome, or leaves it open; a batch may be done twice.
Work: TypeAlias = Callable[[Run, dict[int, RunItem]], ItemsToRetry]
# What each kind of run does, and to how many clients together at least.
WORK: dict[str, tuple[Work, int]] = {}


def works_on(*kinds: Run.Kind, together: int) -> Callable[[Work], Work]:
    """Make the function what runs of these kinds do.

    `together`: how many clients cost hardly more than one, as AWS is read for all at once; 1 where each is done alone.
    """

    def register(work: Work) -> Work:
        WORK.update(dict.fromkeys(kinds, (work, together)))
        return work

    return register


def work_on_run(
    *, run_id: int, seconds: float | None = None, interrupted: threading.Event | None = None
) -> bool:
    """Claim and process free batches, some at once, until none is left or `seconds` are over.

    Returns whether the run needs more of a worker's time. Any number of processes may work on one run. Once
    `interrupted` is set no batch is begun any more. Raises the first batch's DatabaseError once the others are through.
    """
    free = RunItem.objects.filter(run_id=run_id).due_now()
    batches = free.values("batch").distinct().count()
    deadline = time.monotonic() + seconds if seconds else None
    run = Run.objects.get(pk=run_id)
    worker = RunWorker(run, deadline=deadline, interrupted=interrupted or threading.Event())
    with ContextThreads(BATCHES_AT_ONCE) as threads:
        try:
            others = [
                threads.submit(
                    worker.process_batches_and_disconnect, begins_after=place * HEAD_START_SECONDS
                )
                for place in range(1, min(BATCHES_AT_ONCE, batches))
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
        self.over, self.pace = threading.Event(), Pace(run.kind)

    @property
    def is_late_or_interrupted(self) -> bool:
        """Say whether its time is over, or somebody interrupted it."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late or self.interrupted.is_set()

    def process_batches_and_disconnect(self, *, begins_after: float) -> None:
        """Process batches and close the thread's own connection; an error ends the other threads too."""
        try:
            self.over.wait(begins_after)
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

    def process_retries(self) -> bool:
        """Wait for items to be retried, and retry them; return whether the run needs more of a worker's time.

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
            return batch is not None and process_batch_if_running(self.run.pk, batch, self.pace)


def is_held_by_writes(run: Run) -> bool:
    """Say whether the run waits as it would write to AWS, and this site may not; its items stay open, untried."""
    return run.needs_aws_writes_allowed and find_write_refusal() is not None


class Pace:
    """How many clients of a kind of run take a second, by those that were done last."""

    def __init__(self, kind: str) -> None:
        _work, self.least = WORK[kind]
        self.clients = self.least

    @contextmanager
    def measure(self, clients: int) -> Iterator[None]:
        """Measure how long so many take. A few that took no time say little of the next ones."""
        began = time.monotonic()
        yield
        seconds = max(time.monotonic() - began, PART_SECONDS / GROWTH)
        self.clients = max(self.least, min(Run.BATCH, int(clients * PART_SECONDS / seconds)))


def process_batch_if_running(run_id: int, batch: int, pace: Pace | None = None) -> bool:
    """Give each free item of the batch its outcome; False where the run is not running. The caller holds the lease.

    Each part that takes a second is stored at once. After BATCH_SECONDS the rest stays open.
    """
    until, left = time.monotonic() + BATCH_SECONDS, None
    while left is None or (left and time.monotonic() < until):
        # Read under the lease: who stops a run learns from the leases which batches are still being processed.
        run = Run.objects.record_work_if_running(run_id)
        if run is None:
            return False
        pace = pace or Pace(run.kind)
        if left is None:
            left = list(run.items.due_now().filter(batch=batch))
        part, left = left[: pace.clients], left[pace.clients :]
        if part:
            with pace.measure(len(part)):
                _process_part(run, {item.client_id: item for item in part})
    return True


def _process_part(run: Run, items: dict[int, RunItem]) -> None:
    def find_name() -> str:
        return run.by.get_username() if run.by else SYSTEM

    # In the audit acts who started the run, from this process.
    with acting(Actor(process_origin(), correlation=f"run {run.pk}", find_name=find_name)):
        _process_items(run, items)
        _store_outcomes(run, items.values())


# What fails in these runs of the schedule, which come again soon, is told again after so long.
EACH_MINUTE = (Run.Kind.PUSH, Run.Kind.ROTATE)
FAILURE_IS_NEWS_AFTER = timedelta(days=1)


def _store_outcomes(run: Run, items: Collection[RunItem]) -> None:
    """Store outcomes, or the times of the next tries, with an event of each item that ends as failed or refused.

    What an event tells already (`RunItem.is_told`) has no other.
    """
    if all(item.outcome not in CAN_BE_RETRIED for item in items):
        RunItem.objects.record(items)
        return
    with transaction.atomic():
        # Of two workers that did the batch, the first tells of an item.
        stored = RunItem.objects.record(items)
        if run.is_of_schedule and run.kind == Run.Kind.COMPARE:
            return  # a sweep is told by its results
        events = [
            AuditEvent.make_signed(
                FAILURE_EVENT,
                describe_failure(run.name_message, item.outcome, item.message or item.error_class),
                client_id=item.client_id,
                slug=item.slug,
                reason=run.reason,
            )
            for item in stored
            if item.outcome in CAN_BE_RETRIED and not item.is_told
        ]
        if run.is_of_schedule and run.kind in EACH_MINUTE and events:
            told = _list_told_lately([event.client_id for event in events])
            events = [event for event in events if _name_failure(event) not in told]
        AuditEvent.objects.insert_already_signed(events)


def describe_failure(run: Message, outcome: str, why: Message | str) -> Message:
    """Say that a client failed in the run, or was refused; `run` is the run's name."""
    sentence = REFUSED_IN_RUN if outcome == Outcome.REFUSED else FAILED_IN_RUN
    return sentence(run=run, why=why)


def _list_told_lately(client_ids: Collection[int | None]) -> set[tuple[object, ...]]:
    """Return what failed at these clients within FAILURE_IS_NEWS_AFTER, each as `_name_failure` does."""
    lately = GreaterThan(Coalesce("happened_at", "at"), timezone.now() - FAILURE_IS_NEWS_AFTER)
    of_these = AuditEvent.objects.filter(lately, client_id__in=client_ids, code=FAILURE_EVENT)
    return {_name_failure(event) for event in of_these}


def _name_failure(event: AuditEvent) -> tuple[object, ...]:
    """Return which client failed at what and why: the same for every run of one kind."""
    facts = event.message
    run, why = facts.values.get("run"), facts.values.get("why")
    return (
        event.client_id,
        facts.key,
        run.key if isinstance(run, Message) else "",
        tuple(part.key or part.text for part in why.parts)
        if isinstance(why, Message)
        else str(why),
    )


UNEXPECTED_ERROR = Sentence(
    "unexpected_error", "Unexpected error %(code)s: the worker's log shows where."
)


def _process_items(run: Run, items: dict[int, RunItem]) -> None:
    """Give each item its outcome, or the time of its next try; raises only where the database is gone."""
    try:
        work, _together = WORK[run.kind]
        for item in work(run, items):
            _schedule_retry(run, item)
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
            item.message = UNEXPECTED_ERROR(code=kind)
            _schedule_retry(run, item)


def _schedule_retry(run: Run, item: RunItem) -> None:
    if item.attempts + 1 < run.tries:
        item.set_next_try()
        item.comparison_status = ""


class ItemFailedError(MessageError):
    """The client stays as it is, wholly or in part: the message says why."""

    def __init__(self, message: Message, error_class: str = ErrorClass.CONFLICT) -> None:
        super().__init__(message)
        self.error_class = error_class


def process_one_by_one(
    run: Run,
    items: dict[int, RunItem],
    work: Callable[[int], tuple[Outcome, Message | None]],
) -> ItemsToRetry:
    """Give each item the outcome of `work`; leave it open if the run or AWS writes stop, or BATCH_SECONDS are over.

    Returns the items that may succeed at another try.

    `work` is called with the client's id, and may raise `ItemFailedError` and `Client.DoesNotExist`.
    """
    until = time.monotonic() + BATCH_SECONDS
    for pk, item in items.items():
        if (
            time.monotonic() > until
            or not Run.objects.is_running(run.pk)
            or find_write_refusal() is not None
        ):
            item.set_next_try_now()
            continue
        try:
            item.outcome, item.message = work(pk)
        except ItemFailedError as refusal:
            item.outcome, item.error_class = Outcome.FAILED, refusal.error_class
            item.message = refusal.message
        except Client.DoesNotExist:
            item.outcome, item.message = Outcome.SKIPPED, CLIENT_NOT_THERE()
    return [
        item
        for item in items.values()
        if item.outcome == Outcome.FAILED and item.error_class in TRANSIENT
    ]


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
    skip_free_items_of_stopped_run(run, why=RUN_INTERRUPTED())


def skip_free_items_of_stopped_run(run: Run, *, why: Message | None = None) -> None:
    """Skip the open items of a stopped run, except in batches that a worker still holds: that worker skips the rest.

    They say why; without `why` that the run was stopped.
    """
    # The state is checked in the same statement, as the run may be retried at any time.
    stopped = run.items.open().filter(run__state=Run.State.STOPPED)
    free = stopped.exclude(batch__in=held_batches(run.pk))
    # A worker that was killed may have moved them, and not noted it.
    made = PhaseChange.objects.filter(run=run)
    note = made.filter(client_id=OuterRef("client_id")).values("note")[:1]
    free.filter(_is_client_of(made)).update(
        outcome=Outcome.MOVED, message=Subquery(note), finished_at=timezone.now()
    )
    free.update(
        outcome=Outcome.SKIPPED,
        message=why or RUN_STOPPED(),
        finished_at=timezone.now(),
    )
    run.finish_if_done()


def _is_client_of(moves: QuerySet[PhaseChange]) -> Func:
    """Return the condition that an item's client is in one of the moves, which are read once and not for each item."""
    ids = ArraySubquery(moves.order_by().values("client_id"))
    condition = "%(expressions)s)"
    return Func(
        F("client_id"), ids, template=condition, arg_joiner=" = ANY(", output_field=BooleanField()
    )


# A batch is leased to one worker, and comes free when that one dies.

# The run's number and the batch's number share the 64 bits of one lease's key.
BATCH_BITS = 24
# The batch number of the lease that the one worker holds that waits for items to be retried.
RETRY_LOCK = (1 << BATCH_BITS) - 1
# The largest key of PostgreSQL's bigint.
LAST_KEY = 2**63 - 1
# More than all workers together hold at any time, so that a free one is among them.
CANDIDATE_BATCHES = 64
# From batch to batch by the index of items, no farther than is asked for: not every item of a long run is looked at.
NEXT_BATCH = """
SELECT batch FROM migration_runitem AS item
WHERE run_id = %(run)s AND outcome = '' AND (next_try_at IS NULL OR next_try_at <= %(now)s) AND batch > {last}
ORDER BY batch LIMIT 1
"""
FREE_BATCHES = f"""
WITH RECURSIVE candidate (batch) AS (
    ({NEXT_BATCH.format(last=-1)})
    UNION ALL SELECT ({NEXT_BATCH.format(last="candidate.batch")}) FROM candidate WHERE batch IS NOT NULL
)
SELECT batch FROM candidate WHERE batch IS NOT NULL AND {NOBODY_HOLDS_BATCH} LIMIT %(most)s
"""  # noqa: S608  # constants


def held_batches(run_id: int) -> set[int]:
    """Return the numbers of the run's batches that workers hold now, on whichever host."""
    first = run_id << BATCH_BITS
    return {key - first for key in list_held(LeaseKind.BATCH, first, first | RETRY_LOCK)}


def list_runs_in_work() -> set[int]:
    """Return the ids of the runs of which workers hold batches now, on whichever host."""
    return {key >> BATCH_BITS for key in list_held(LeaseKind.BATCH, 0, LAST_KEY)}


def is_in_work() -> Q:
    """Return the condition that an item is in a batch that a worker holds now. One look at all leases."""
    values = [LeaseKind.BATCH, 0, LAST_KEY]
    held = RawSQL(HELD_LEASES, values, output_field=BigIntegerField())  # noqa: S611  # constants
    run = Cast("run_id", BigIntegerField()).bitleftshift(BATCH_BITS)
    return Q(In(run + F("batch"), held))


def count_in_work(runs: Collection[Run]) -> dict[int, int]:
    """Return the id of each of the runs -> the number of its open items that workers hold now."""
    pks = [run.pk for run in runs if run.finished_at is None]
    if not pks:
        return {}
    held = list_held(LeaseKind.BATCH, min(pks) << BATCH_BITS, max(pks) << BATCH_BITS | RETRY_LOCK)
    in_work = Q(pk__in=[])
    for key in held:
        run_id, batch = key >> BATCH_BITS, key & RETRY_LOCK
        if run_id in pks and batch != RETRY_LOCK:
            in_work |= Q(run=run_id, batch=batch)
    items = RunItem.objects.open().filter(in_work).order_by().values_list("run")
    return dict(items.annotate(n=Count("pk")))


@contextmanager
def lock_free_batch(run_id: int) -> Iterator[int | None]:
    """Lease the first batch with free items that no worker holds, and give its number; None where there is none."""
    due: dict[str, int | str | datetime] = {
        "run": run_id,
        "now": timezone.now(),
        "kind": LeaseKind.BATCH,
        "first": run_id << BATCH_BITS,
        "most": CANDIDATE_BATCHES,
    }
    with connection.cursor() as cursor:
        cursor.execute(FREE_BATCHES, due)
        free = [batch for (batch,) in cursor.fetchall()]
    for batch in free:
        with try_lock_batch(run_id, batch) as leased:
            if leased:
                yield batch
                return
    yield None


@contextmanager
def try_lock_batch(run_id: int, batch: int) -> Iterator[bool]:
    """Try to lease the batch until the block ends; gives whether it worked. It ends too when the process dies."""
    with try_lease(LeaseKind.BATCH, run_id << BATCH_BITS | batch, delete_row=True) as leased:
        yield leased
