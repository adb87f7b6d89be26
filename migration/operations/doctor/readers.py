"""Examines whether NOVA reads through the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Max

from migration.models import ReadCount
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_ok, report_unlooked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding


def examine_readers(_asked: Asked) -> Iterator[Finding]:
    """Say when NOVA's reader last read a client; reads are counted from `dual_read` on, so none may mean too early."""
    last = ReadCount.objects.aggregate(last=Max("last_read_at"))["last"]
    if last:
        yield report_ok(CheckName.READERS, sentences.READER_READ(ago=last))
    else:
        yield report_unlooked(
            CheckName.READERS, sentences.READER_NEVER_READ(), sentences.LET_NOVA_READ()
        )
