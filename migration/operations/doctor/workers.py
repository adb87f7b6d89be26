"""Examines whether this site's worker processes are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models import Worker
from migration.operations.doctor import process_sentences as sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding


def examine_workers(_asked: Asked) -> Iterator[Finding]:
    """Say how many worker processes are alive."""
    names = tuple(Worker.objects.alive().order_by("name").values_list("name", flat=True))
    if names:
        yield report_ok(CheckName.WORKERS, sentences.WORKERS_ARE_ALIVE(n=len(names), names=names))
        return
    last = Worker.objects.last_seen_at()
    message = sentences.WORKERS_ARE_GONE(ago=last) if last else sentences.NO_WORKER_EVER()
    yield report_failure(CheckName.WORKERS, message, sentences.START_A_WORKER())
