"""Examines whether this site's worker processes are alive, and seal the audit."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.db.models import Max, Min
from django.utils import timezone

from migration.models.workers import Worker
from migration.operations.audit_chain import find_unsealed_since
from migration.operations.doctor import process_sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


# The schedule has tasks for every minute.
IDLE_AFTER = timedelta(minutes=10)


def examine_sealing(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the audit's newest entries were put into its chain: until then their removal is not noticed."""
    if since := find_unsealed_since():
        message = process_sentences.AUDIT_NOT_SEALED(ago=since)
        yield report_failure(CheckName.AUDIT, message, process_sentences.SEAL_THE_AUDIT())
    else:
        yield report_ok(CheckName.AUDIT, process_sentences.AUDIT_IS_SEALED())


def examine_workers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that worker processes are alive and do something, and that each is of the schema's release."""
    found = list(Worker.objects.alive().order_by("name"))
    yield from _examine_releases(found)
    names = tuple(_name_worker(worker) for worker in found if worker.idle_because is None)
    if names:
        alive = Worker.objects.alive().taking_tasks()
        yield report_ok(
            CheckName.WORKERS, process_sentences.WORKERS_ARE_ALIVE(n=len(names), names=names)
        )
        began = alive.aggregate(at=Min("started_at"))["at"]
        ended = apps.get_model("django_q", "Task").objects.aggregate(at=Max("stopped"))["at"]
        last = max(began, ended) if ended else began
        if timezone.now() - last > IDLE_AFTER:
            idle = process_sentences.WORKERS_DO_NOTHING(ago=last)
            yield report_failure(CheckName.WORKERS, idle, process_sentences.START_WORKERS_ANEW())
        return
    last = Worker.objects.last_seen_at()
    message = (
        process_sentences.WORKERS_ARE_GONE(ago=last) if last else process_sentences.NO_WORKER_EVER()
    )
    yield report_failure(CheckName.WORKERS, message, process_sentences.START_A_WORKER())


def _examine_releases(alive: list[Worker]) -> Iterator[Finding]:
    """Report the workers that take no tasks, by reason, and those of a release that doesn't ask whether it may."""
    idle = [(worker.name, worker.idle_because) for worker in alive if worker.idle_because]
    for why in dict.fromkeys(str(why) for _name, why in idle):
        names = tuple(name for name, each in idle if str(each) == why)
        message = next(each for _name, each in idle if str(each) == why)
        told = process_sentences.WORKERS_TAKE_NO_TASKS(n=len(names), names=names, why=message)
        yield report_failure(CheckName.WORKERS, told, process_sentences.CORRECT_OR_UPGRADE())
    if before := tuple(worker.name for worker in alive if not worker.release):
        told = process_sentences.WORKERS_ARE_OLD(n=len(before), names=before)
        yield report_failure(CheckName.WORKERS, told, process_sentences.STOP_OLD_WORKERS())


def _name_worker(worker: Worker) -> str:
    return f"{worker.name} ({worker.release or '?'})"
