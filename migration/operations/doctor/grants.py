"""Examines rights: the site's on NOVA's tables, and those of the role by which NOVA's reader connects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.grants import (
    find_lacking_rights,
    list_needed_site_rights,
    list_other_roles_owning_tables,
    list_unneeded_reader_rights,
    make_grants,
    quote_role,
)
from credentials.shown_names import escape_name
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from migration.operations.doctor.findings import DoctorOptions, Finding

# Such a role has rights on every table, which no REVOKE on a table takes away; `examine_boundary` tells so.
HAS_ALL_RIGHTS = """
SELECT bool_or(pg_has_role(%s::name, r.oid, 'MEMBER')) FROM pg_roles r
WHERE r.oid = current_user::regrole OR r.rolname IN ('pg_read_all_data', 'pg_write_all_data')
"""


def examine_site_grants(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the site's role lacks no right on NOVA's tables; `examine_owners` tells of missing tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text, quote_ident(current_user)")
        role, quoted = cursor.fetchone()
        lacking = find_lacking_rights(cursor, role, list_needed_site_rights(cursor)).lacking
    if lacking:
        yield report_failure(
            CheckName.SITE_GRANTS,
            sentences.SITE_LACKS_RIGHTS(role=escape_name(role), n=len(lacking)),
            sentences.GRANT_AS_OWNER(),
            statements=make_grants(lacking, quoted),
        )
    else:
        yield report_ok(CheckName.SITE_GRANTS, sentences.SITE_HAS_RIGHTS(role=escape_name(role)))


def examine_reader_grants(asked: DoctorOptions) -> Iterator[Finding]:
    """Compare the rights of the named role, or of the owners of NOVA's tables, with those that the reader needs."""
    with connection.cursor() as cursor:
        roles = [asked.role] if asked.role else list_other_roles_owning_tables(cursor)
        found = [finding for role in roles for finding in _examine_role(cursor, role)]
    yield from found
    if not roles:
        yield report_unlooked(
            CheckName.READER_GRANTS, sentences.NO_OTHER_ROLE(), sentences.NAME_THE_ROLE()
        )


def _examine_role(cursor: CursorWrapper, role: str) -> Iterator[Finding]:
    checked, quoted = find_lacking_rights(cursor, role), quote_role(cursor, role)
    if checked.lacking:
        yield report_failure(
            CheckName.READER_GRANTS,
            sentences.RIGHTS_ARE_LACKING(role=escape_name(role), n=len(checked.lacking)),
            sentences.GRANT_THEM(),
            statements=make_grants(checked.lacking, quoted),
        )
    if checked.without_object:
        yield report_unlooked(
            CheckName.READER_GRANTS,
            sentences.NOTHING_TO_GRANT_ON(
                objects=tuple(
                    dict.fromkeys(escape_name(right.name) for right in checked.without_object)
                )
            ),
            sentences.MIGRATE_FIRST(),
        )
    cursor.execute(HAS_ALL_RIGHTS, [role])
    (has_all,) = cursor.fetchone()
    others = [] if has_all else list_unneeded_reader_rights(cursor, role)
    if others:
        yield report_failure(
            CheckName.READER_GRANTS,
            sentences.RIGHTS_TOO_MANY(role=escape_name(role), n=len(others)),
            sentences.REVOKE_THEM(),
            statements=make_grants(others, f"{quoted}, PUBLIC", revoke=True),
        )
    if not (checked.lacking or checked.without_object or others):
        right = sentences.RIGHTS_OF_EVERYTHING if has_all else sentences.RIGHTS_ARE_RIGHT
        yield report_ok(CheckName.READER_GRANTS, right(role=escape_name(role)))
