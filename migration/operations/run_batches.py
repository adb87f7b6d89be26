"""Leases the batches of runs to workers: a batch is worked on by one of them, and comes free when that one dies."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import Count, F, IntegerField, Q
from django.db.models.expressions import RawSQL
from django.db.models.lookups import In
from django.utils import timezone

from migration.models.leases import LeaseKind
from migration.models.run_items import RunItem
from migration.operations.leases import HELD_LEASES, NOBODY_HOLDS_BATCH, list_held, try_lease

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from migration.models.runs import Run

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


def is_in_work(run_id: int) -> Q:
    """Return the condition that an item of the run is in a batch that a worker holds now. One look at all leases."""
    first = run_id << BATCH_BITS
    query = f"SELECT (key - %s)::int FROM ({HELD_LEASES}) AS held"  # noqa: S608  # constants
    values = [first, LeaseKind.BATCH, first, first | (RETRY_LOCK - 1)]
    held = RawSQL(query, values, output_field=IntegerField())  # noqa: S611  # constants
    return Q(In(F("batch"), held))


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
