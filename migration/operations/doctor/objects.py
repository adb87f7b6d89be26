"""Examines what others have put on NOVA's tables that runs their code as whoever uses a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials.shown_names import escape_name
from migration.nova.tables import list_nova_objects, split_unknown_accepted
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# An owner can make thousands of objects; nobody reads so many lines.
MOST_OBJECTS = 50


def examine_objects(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report each object on NOVA's tables that runs its owner's code, until somebody accepts it as it is now."""
    unknown, accepted = split_unknown_accepted(list_nova_objects())
    for each in unknown[:MOST_OBJECTS]:
        message = sentences.FOREIGN_OBJECT(
            kind=each.kind.value,
            name=escape_name(each.name) or "–",
            table=escape_name(each.table),
            owner=escape_name(each.owner),
        )
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.SEE_NOVA_TABLES())
    if len(unknown) > MOST_OBJECTS:
        message = sentences.MORE_OBJECTS(n=len(unknown) - MOST_OBJECTS)
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.SEE_NOVA_TABLES())
    if accepted:
        message = sentences.OBJECTS_WERE_ACCEPTED(n=len(accepted))
        yield report_ok(CheckName.NOVA_OBJECTS, message)
    if not unknown and not accepted:
        yield report_ok(CheckName.NOVA_OBJECTS, sentences.NO_FOREIGN_OBJECTS())
