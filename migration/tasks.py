"""The background tasks; the only module that knows django-q. Tasks carry ids and can run twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone
from django_q.tasks import async_task

from credentials.models import ClientRevision
from migration.models import Run, clients
from migration.operations import running

GIVE_UP_ON_A_RUN_AFTER = timedelta(minutes=10)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from migration.models import ClientsByPhase


def start_run(
    *,
    kind: Run.Kind,
    chosen: ClientsByPhase,
    by: User | None = None,
    adopt: bool = False,
    include_inactive: bool = False,
) -> Run:
    """Starts a run whose batches the workers take; run and tasks are stored in one transaction."""
    return running.start(
        kind=kind,
        chosen=chosen,
        by=by,
        adopt=adopt,
        include_inactive=include_inactive,
        enqueue=_enqueue,
    )


def _enqueue(run: Run, batch: int) -> None:
    async_task("migration.tasks.run_batch", run.pk, batch, task_name=f"run {run.pk} batch {batch}")


def run_batch(run_id: int, batch: int) -> None:
    """One batch of a run."""
    running.run_batch(run_id=run_id, batch=batch)


def push_pending() -> None:
    """Scheduled every minute: a push of every client whose newest rows are not in AWS."""
    ClientRevision.objects.fold_writes()
    # A run that has got nowhere for so long is left behind rather than waited for: pushing twice is harmless.
    unfinished = Run.objects.filter(
        kind=Run.Kind.PUSH, finished_at=None, created_at__gt=timezone.now() - GIVE_UP_ON_A_RUN_AFTER
    )
    pending = clients().to_push()
    if pending.exists() and not unfinished.exists():
        start_run(kind=Run.Kind.PUSH, chosen=pending)
