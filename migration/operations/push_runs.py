"""Pushes or compares the clients of a run's batch, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from migration import sentences
from migration.models.clients import ClientMigration
from migration.models.comparisons import Comparison
from migration.models.run_items import PUSHED, TRANSIENT, Outcome
from migration.models.runs import Run
from migration.operations.comparisons import compare
from migration.operations.pushes import push
from migration.operations.secret_writer import DifferingPolicy
from migration.operations.single_items import works_on
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from migration.models.run_items import RunItem
    from migration.operations.push_results import PushResult
    from migration.operations.single_items import ItemsToRetry

# A batch that waits longer for the rate limiter is left; the rest of it is claimed again.
BATCH_SECONDS = 60.0


@works_on(Run.Kind.MIGRATE, Run.Kind.PUSH)
def push_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Push the client of each item, and return those to be tried again. A migration takes clients to dual write."""
    migrates = run.kind == Run.Kind.MIGRATE
    results = push(
        client_ids=list(items),
        run=run,
        differing=_choose_differing(run),
        # A client that writes both stores is kept equal in them, active or not.
        include_inactive=run.include_inactive or not migrates,
        seconds=BATCH_SECONDS,
        include_postgres=migrates,
    )
    again = [
        items[result.client_id]
        for result in results
        if _copy_result(items[result.client_id], result)
    ]
    for pk in items.keys() - {result.client_id for result in results}:
        items[pk].outcome, items[pk].message = (
            Outcome.SKIPPED,
            sentences.CLIENT_NOT_THERE(),
        )
    if migrates:
        pushed = [
            result.client_id
            for result in results
            if result.outcome in PUSHED and result.phase == Phase.POSTGRES
        ]
        ClientMigration.objects.change_phase(
            pushed,
            Phase.POSTGRES,
            Phase.DUAL_WRITE,
            by=run.by,
            note=sentences.MOVED_BY_RUN(run=run.name_message),
            run=run,
        )
    return again


def _choose_differing(run: Run) -> DifferingPolicy:
    """Say what becomes of clients that are known to differ: the schedule pushes them where a write is pending."""
    if run.kind != Run.Kind.MIGRATE:
        return DifferingPolicy.WRITTEN_IF_PENDING
    return DifferingPolicy.WRITTEN if run.overwrite else DifferingPolicy.LEFT_ALONE


def _copy_result(item: RunItem, result: PushResult) -> bool:
    """Copy the outcome of a push into the client's item; say whether it may succeed at another try."""
    item.outcome, item.message = result.outcome, result.message
    item.error_class = result.error_class
    item.comparison_status = result.comparison.status if result.comparison else ""
    if result.postponed:
        item.outcome, item.next_try_at = "", timezone.now()
        return False
    return result.outcome == Outcome.FAILED and (result.busy or result.error_class in TRANSIENT)


@works_on(Run.Kind.COMPARE)
def compare_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Compare both stores of the client of each item; return those that may be read at another try."""
    again = []
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
                again.append(item)
    return again
