"""Leases the batches of runs to workers: a batch is worked on by one of them, and comes free when that one dies."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection

from migration.models import LeaseKind, RunItem
from migration.operations.leases import NOBODY_HOLDS_BATCH, list_held, try_lease

if TYPE_CHECKING:
    from collections.abc import Iterator

# The run's number and the batch's number share the 64 bits of one lease's key.
BATCH_BITS = 24
# The batch number of the lease that the one worker holds that waits for items to be retried.
RETRY_LOCK = (1 << BATCH_BITS) - 1
# More than all workers together hold at any time, so that a free one is among them.
CANDIDATE_BATCHES = 64


def held_batches(run_id: int) -> set[int]:
    """Return the batches that workers hold now, on whichever host."""
    first = run_id << BATCH_BITS
    return {key - first for key in list_held(LeaseKind.BATCH, first, first | RETRY_LOCK)}


@contextmanager
def lock_free_batch(run_id: int) -> Iterator[int | None]:
    """Lease the first batch with free items that no worker holds, and give its number; None where there is none."""
    free_items = RunItem.objects.filter(run_id=run_id).free()
    batches = free_items.order_by("batch").values_list("batch", flat=True).distinct()
    candidates, values = batches[:CANDIDATE_BATCHES].query.sql_with_params()
    first = run_id << BATCH_BITS
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT batch FROM ({candidates}) AS candidate (batch) WHERE {NOBODY_HOLDS_BATCH}",  # noqa: S608  # Django's own query
            [*values, LeaseKind.BATCH, first],
        )
        free = [batch for (batch,) in cursor.fetchall()]
    for batch in free:
        with try_lock_batch(run_id, batch) as leased:
            if leased:
                yield batch
                return
    yield None


@contextmanager
def try_lock_batch(run_id: int, batch: int) -> Iterator[bool]:
    """Try to lease the batch and say whether it worked. The lease ends when the process dies."""
    with try_lease(LeaseKind.BATCH, run_id << BATCH_BITS | batch, for_good=True) as leased:
        yield leased
