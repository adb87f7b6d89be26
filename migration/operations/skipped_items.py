"""Skips what a stopped run has not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, F, Func, OuterRef, Subquery
from django.utils import timezone

from migration import sentences
from migration.models.moves import PhaseChange
from migration.models.run_items import Outcome
from migration.models.runs import Run
from migration.operations.run_batches import held_batches

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from nova_credentials.messages import Message


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
        message=why or sentences.RUN_STOPPED(),
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
