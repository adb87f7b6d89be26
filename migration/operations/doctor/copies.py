"""Examines where else in the database a search for copies found secret values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_unlooked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding


def examine_copies(_asked: Asked) -> Iterator[Finding]:
    """Report the newest search for copies. None is stored yet, so this is never well."""
    yield report_unlooked(
        CheckName.COPIES, sentences.COPIES_NOT_LOOKED_FOR(), sentences.LOOK_FOR_COPIES()
    )
