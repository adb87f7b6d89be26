"""Examines the site's own schema: whether it exists, whose it is, and whether its tables are this release's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from credentials.shown_names import escape_name
from credentials.site_schema import FOREIGN_IN_SCHEMA, OWNER_AND_CREATORS, SCHEMA
from migration.models.workers import KNOWN_MIGRATIONS
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.doctor.process_sentences import UPGRADE_THIS_HOST
from migration.sentences import RELEASE_IS_OLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from migration.operations.doctor.findings import DoctorOptions, Finding

# Of a schema full of another role's objects.
MOST_NAMES = 20
ROLE_AND_RIGHT = (
    "SELECT quote_ident(current_user), has_database_privilege(current_database(), 'CREATE')"
)


def examine_site_schema(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the schema exists, belongs to the site's role, and is nobody else's to create in."""
    with connection.cursor() as cursor:
        cursor.execute(ROLE_AND_RIGHT)
        role, may_create = cursor.fetchone()
        cursor.execute(OWNER_AND_CREATORS, [SCHEMA])
        row = cursor.fetchone()
        if row is None:
            yield _report_missing_schema(role, may_create=may_create)
            return
        found = list(_list_problems(cursor, role, *row))
    yield from found or [
        report_ok(CheckName.SCHEMA, sentences.SCHEMA_IS_OURS(schema=SCHEMA, role=escape_name(role)))
    ]


def _report_missing_schema(role: str, *, may_create: bool) -> Finding:
    missing = sentences.SCHEMA_IS_MISSING(schema=SCHEMA)
    if may_create:
        return report_failure(CheckName.SCHEMA, missing, sentences.MIGRATE_FIRST())
    return report_failure(
        CheckName.SCHEMA,
        missing,
        sentences.MAKE_THE_SCHEMA(),
        statements=(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role};",),
    )


def _list_problems(
    cursor: CursorWrapper, role: str, owner: str, is_ours: bool, creators: str | None
) -> Iterator[Finding]:
    if not is_ours:
        yield report_failure(
            CheckName.SCHEMA,
            sentences.SCHEMA_IS_FOREIGN(
                schema=SCHEMA, owner=escape_name(owner), role=escape_name(role)
            ),
            sentences.CONNECT_AS_OWNER(owner=escape_name(owner)),
            statements=(f"ALTER SCHEMA {SCHEMA} OWNER TO {role};",),
        )
        return  # everything in it is the other role's
    if creators:
        yield report_failure(
            CheckName.SCHEMA,
            sentences.OTHERS_MAY_CREATE(schema=SCHEMA, roles=escape_name(creators)),
            sentences.TAKE_THE_RIGHT_AWAY(),
            statements=(f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM {creators};",),
        )
    cursor.execute(FOREIGN_IN_SCHEMA, [SCHEMA])
    if foreign := cursor.fetchone()[0]:
        yield report_failure(
            CheckName.SCHEMA,
            sentences.FOREIGN_OBJECTS(
                schema=SCHEMA, objects=_shorten_list(escape_name(foreign).split(", "))
            ),
            sentences.DROP_OR_HAND_OVER(),
        )


def _shorten_list(names: list[str]) -> tuple[str, ...]:
    return (*names[:MOST_NAMES], *(["…"] if len(names) > MOST_NAMES else []))


def examine_schema_migrations(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that `migrate` of this release has run, and of no newer one."""
    executor = MigrationExecutor(connection)
    ours = {app for app, _name in KNOWN_MIGRATIONS}
    applied = {each for each in executor.loader.applied_migrations if each[0] in ours}
    if unknown := applied - KNOWN_MIGRATIONS:
        names = _shorten_list([f"{app}.{name}" for app, name in sorted(unknown)])
        yield report_failure(
            CheckName.SCHEMA_MIGRATIONS,
            RELEASE_IS_OLDER(names=names),
            UPGRADE_THIS_HOST(),
        )
        return
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        yield report_failure(
            CheckName.SCHEMA_MIGRATIONS,
            sentences.NOT_MIGRATED(n=len(plan)),
            sentences.MIGRATE_FIRST(),
        )
    else:
        yield report_ok(CheckName.SCHEMA_MIGRATIONS, sentences.MIGRATED())
