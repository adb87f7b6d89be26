"""Examines whether NOVA reads through the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.nova.models import ReaderProcess
from migration.operations.doctor import process_sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


def examine_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that processes of NOVA read through the package, and that AWS fails none of them now."""
    readers = ReaderProcess.objects.summarize()
    if readers.last_read_at is None:
        yield report_unlooked(
            CheckName.READERS,
            process_sentences.READER_NEVER_READ(),
            process_sentences.LET_NOVA_READ(),
        )
    elif not readers.seen:
        yield report_failure(
            CheckName.READERS,
            process_sentences.READERS_ARE_GONE(ago=readers.last_read_at),
            process_sentences.LET_NOVA_READ(),
        )
    else:
        yield report_ok(CheckName.READERS, process_sentences.READER_READ(ago=readers.last_read_at))
    if readers.failing:
        yield report_failure(
            CheckName.READERS,
            process_sentences.READERS_FAIL(n=readers.failing),
            process_sentences.SEE_THE_READERS(),
        )
