"""Examines the columns of NOVA's tables: those that NOVA added or changed, and those that the site needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials.nova_columns import ColumnChange, read_nova_columns
from migration.nova.tables import list_purged_with_values, name_purged_clients_with_values
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credentials.nova_columns import NovaSchema
    from migration.operations.doctor.findings import DoctorOptions, Finding
    from nova_credentials.messages import Message


def examine_columns(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name each change that NOVA made; failures shut gates, stop pushes, or were left by a purge."""
    columns = read_nova_columns()
    changes, kept = columns.changes, list(_name_values_after_purge(columns))
    for message in kept:
        yield report_failure(CheckName.COLUMNS, message, sentences.PURGE_AGAIN())
    for found in changes:
        if found.is_breaking or found.change == ColumnChange.ADDED:
            yield report_failure(CheckName.COLUMNS, found.message, sentences.SEE_NOVA_TABLES())
        else:
            yield report_ok(CheckName.COLUMNS, found.message)
    if not changes and not kept:
        yield report_ok(CheckName.COLUMNS, sentences.COLUMNS_ARE_KNOWN())


def _name_values_after_purge(columns: NovaSchema) -> Iterator[Message]:
    """Yield, for each secret column, which purged clients still have a value in it."""
    for column in columns.added:
        if message := name_purged_clients_with_values(column, list_purged_with_values(column)):
            yield message
