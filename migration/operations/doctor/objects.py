"""Examines what others have put on NOVA's tables that runs their code as whoever uses a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.nova_objects import ObjectKind, list_foreign_objects
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import Asked, Finding

# `examine_boundary` tells what is to be said of roles.
OF_ROLES = {
    ObjectKind.SHARED_ROLE,
    ObjectKind.OWNER_IS_SUPERUSER,
    ObjectKind.SITE_IS_SUPERUSER,
    ObjectKind.OWNER_IS_MEMBER,
}
# An owner can make thousands of objects; nobody reads so many lines.
MOST_OBJECTS = 50


def examine_objects(_asked: Asked) -> Iterator[Finding]:
    """Name each object on NOVA's tables that runs code of its owner's as the role that uses the table."""
    with connection.cursor() as cursor:
        found = [each for each in list_foreign_objects(cursor) if each.kind not in OF_ROLES]
    for each in found[:MOST_OBJECTS]:
        message = sentences.FOREIGN_OBJECT(
            kind=each.kind.value, name=each.name or "–", table=each.table, owner=each.owner
        )
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.LOOK_AT_THE_OBJECT())
    if len(found) > MOST_OBJECTS:
        message = sentences.MORE_OBJECTS(n=len(found) - MOST_OBJECTS)
        yield report_failure(CheckName.NOVA_OBJECTS, message, sentences.LOOK_AT_THE_OBJECT())
    if not found:
        yield report_ok(CheckName.NOVA_OBJECTS, sentences.NO_FOREIGN_OBJECTS())
