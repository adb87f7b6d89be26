"""The background tasks; the only module that knows django-q. Tasks carry ids and can run twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task

from credentials.adoption import writes_are_counted
from credentials.models import ClientRevision
from migration.models import WRITES_BOTH, Comparison, Run, clients
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
    _start_unless_running(Run.Kind.PUSH, clients().to_push())


def sweep() -> None:
    """Scheduled every `NOVA_SWEEP_MINUTES`: a comparison of every client that writes both stores."""
    Comparison.objects.forget_old()
    Run.objects.forget_sweeps()
    in_both = clients().in_phases(*WRITES_BOTH)
    if not writes_are_counted():
        # Nobody knows what NOVA wrote: the push finds it out.
        _start_unless_running(Run.Kind.PUSH, in_both)
    _start_unless_running(Run.Kind.COMPARE, in_both)


def _start_unless_running(kind: Run.Kind, chosen: ClientsByPhase) -> None:
    """One run of the schedule at a time."""
    # One that has got nowhere for so long is left behind rather than waited for: doing it twice is harmless.
    unfinished = Run.objects.filter(
        kind=kind, finished_at=None, created_at__gt=timezone.now() - GIVE_UP_ON_A_RUN_AFTER
    )
    if chosen.exists() and not unfinished.exists():
        start_run(kind=kind, chosen=chosen)


def ensure_schedules(**_: object) -> None:
    """After every `migrate`: what the workers do by the clock."""
    for name, function, minutes in (
        ("Push pending clients", push_pending, 1),
        ("Compare both stores", sweep, settings.NOVA_SWEEP_MINUTES),
    ):
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": f"migration.tasks.{function.__name__}",
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
            },
        )
