"""Runs: one request over many clients, taken batch by batch. A batch can be done twice, and by two workers at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.utils import timezone

from credentials.runtime.secrets_manager import ErrorClass
from migration.models import PUSHED, ClientMigration, Comparison, Outcome, Run, RunItem
from migration.operations.comparing import compare
from migration.operations.pushing import Pushed, push
from migration.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from migration.models import ClientsByPhase

# So many batches a run can have: its number and the batch's share one 64-bit lock key.
BATCH_BITS = 24


def start(
    *,
    kind: Run.Kind,
    chosen: ClientsByPhase,
    enqueue: Callable[[Run, int], None] | None = None,
    by: User | None = None,
    adopt: bool = False,
    include_inactive: bool = False,
) -> Run:
    """Stores a run over the chosen clients and hands each of its batches to `enqueue`, in one transaction."""
    with transaction.atomic():
        run = Run.objects.create(kind=kind, by=by, adopt=adopt, include_inactive=include_inactive)
        batches = run.add_items(chosen.order_by("pk").values_list("pk", "slug"))
        for batch in range(batches):
            if enqueue:
                enqueue(run, batch)
        if not batches:
            run.finish_if_done()
    return run


def finish_inline(run: Run) -> None:
    """Takes a run through its batches in this process; ended before its end, it says so of what is left."""
    try:
        for batch in run.items.open().order_by("batch").values_list("batch", flat=True).distinct():
            run_batch(run_id=run.pk, batch=batch)
    except BaseException:
        # No worker has these: without a word they would be waiting for ever.
        run.items.open().update(
            outcome=Outcome.FAILED,
            error_class=ErrorClass.UNAVAILABLE,
            message="The run was interrupted.",
            finished_at=timezone.now(),
        )
        run.finish_if_done()
        raise
    run.refresh_from_db()


def run_batch(*, run_id: int, batch: int) -> None:
    """Gives every open item of the batch its outcome; does nothing where another worker is at it."""
    with _batch_lock(run_id, batch) as mine:
        if not mine:
            return
        run = Run.objects.get(pk=run_id)
        items = {item.client_id: item for item in run.items.open().filter(batch=batch)}
        if items:
            work = _compare if run.kind == Run.Kind.COMPARE else _push
            work(run, items)
            for item in items.values():
                if not item.outcome:
                    item.outcome, item.message = Outcome.SKIPPED, "The client is no longer there."
            RunItem.objects.close(items.values())
        run.finish_if_done()


@contextmanager
def _batch_lock(run_id: int, batch: int) -> Iterator[bool]:
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
        include_postgres=migrates,
    )
    for result in results:
        fill(items[result.client_id], result)
    if migrates:
        pushed = [result.client_id for result in results if result.outcome in PUSHED]
        ClientMigration.objects.move(
            pushed,
            Phase.POSTGRES,
            Phase.DUAL_WRITE,
            by=run.by,
            reason=f"Migration {run.pk}",
            run=run,
        )


def fill(item: RunItem, result: Pushed) -> None:
    """Copies what became of a client into its item."""
    item.outcome, item.error_class, item.message = (
        result.outcome,
        result.error_class,
        result.message,
    )
    item.comparison_status = result.comparison.status if result.comparison else ""


def _compare(run: Run, items: dict[int, RunItem]) -> None:
    results = compare(client_ids=list(items), run=run)
    for pk, item in items.items():
        comparison = results.get(pk)
        if comparison is None:
            item.outcome, item.message = Outcome.SKIPPED, "Nothing to compare in either store."
            continue
        item.comparison_status = comparison.status
        item.error_class, item.message = comparison.error_class, comparison.message
        unchecked = comparison.status == Comparison.Status.UNCHECKED
        item.outcome = Outcome.FAILED if unchecked else Outcome.COMPARED
