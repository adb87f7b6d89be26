"""Examines whether NOVA reads through the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models import ReaderProcess
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding


def examine_readers(_asked: Asked) -> Iterator[Finding]:
    """Say how many processes of NOVA read through the package in the last hour, and whether AWS fails any of them."""
    summary = ReaderProcess.objects.summarize()
    if summary.last_read_at is None:
        yield report_unlooked(
            CheckName.READERS, sentences.READER_NEVER_READ(), sentences.LET_NOVA_READ()
        )
    elif not summary.seen:
        yield report_failure(
            CheckName.READERS,
            sentences.READERS_ARE_GONE(ago=summary.last_read_at),
            sentences.LET_NOVA_READ(),
        )
    elif summary.failing:
        yield report_failure(
            CheckName.READERS,
            sentences.AWS_FAILS_READERS(n=summary.failing, seen=summary.seen),
            sentences.SEE_THE_READERS(),
        )
    else:
        message = sentences.READERS_ARE_SEEN(n=summary.seen, ago=summary.last_read_at)
        yield report_ok(CheckName.READERS, message)
