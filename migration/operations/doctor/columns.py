"""Examines the columns of NOVA's tables: those that NOVA added or changed, and those that the site needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials.nova_columns import ColumnChange, read_nova_columns
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding


def examine_columns(_asked: Asked) -> Iterator[Finding]:
    """Name each change that NOVA made; those that shut gates or stop pushes are failures."""
    changes = read_nova_columns().changes
    for found in changes:
        if found.is_breaking or found.change == ColumnChange.ADDED:
            yield report_failure(CheckName.COLUMNS, found.message, sentences.SEE_NOVA_TABLES())
        else:
            yield report_ok(CheckName.COLUMNS, found.message)
    if not changes:
        yield report_ok(CheckName.COLUMNS, sentences.COLUMNS_ARE_KNOWN())
