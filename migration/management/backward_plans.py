"""How `migrate` runs: a way back that would take away what a client needs is refused, and a lock is tried for again.

A way back is judged before anything is changed: a client must not lose what its values in AWS are read and restored by.
The way back to the first release (docs/studies/first-release.md) is not refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.db.utils import OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable

from credentials.site_schema import SCHEMA
from migration.core.database_identity import MADE_BY, differs_from_noted, read_identity
from migration.core.write_state import DatabaseClaim
from migration.doctor.nova import QUIET_LOG
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import AWS_TABLE, NOVA_TABLES

# Tries of a schema migration that met a lock, as none waits long for one (`nova_admin/database/base.py`). Some ten
# seconds: a transaction that is open for longer has to end before an upgrade.
TRIES = 20
PAUSE_SECONDS = 0.5

Done = TypeVar("Done")
MOST_NAMES = 20
# The step that makes the table of what the database noted of itself.
NOTED_BY = ("migration", MADE_BY)
# The steps that make the tables of the first release: phases and known secrets, and revisions.
FIRST_RELEASE = ("migration", "0006_first_release"), ("credentials", "0002_first_release")
# Of the others: from which clients `m` in AWS undoing one takes something, in words too, and the way. As JSON, since
# a try that was ended may have taken a column already.
TAKEN = (
    (
        ("migration", "0051_second_release_tables"),
        "EXISTS (SELECT FROM migration_rotation AS r WHERE r.client_id = m.client_id AND r.outcome = '')",
        "have a rotation that isn't finished",
        "finish it, or end it on the client's page (docs/secrets.md)",
    ),
    (
        ("migration", "0053_evidence_layouts_and_slugs"),
        "to_jsonb(m)->>'layout' <> %(layout)s OR to_jsonb(m)->>'other_secrets' <> ''",
        "have secrets of another layout than NOVA_SECRET_LAYOUT",
        "change_layout",
    ),
    (
        ("migration", "0051_second_release_tables"),
        "EXISTS (SELECT FROM migration_offboarding AS o WHERE o.client_id = m.client_id)",
        "are offboarded",
        "offboard_client SLUG --back",
    ),
    (
        ("migration", "0053_evidence_layouts_and_slugs"),
        "to_jsonb(m)->>'secret_slug' IS NOT NULL OR to_jsonb(m)->>'other_slug' IS NOT NULL",
        "have secrets that are named by a former slug",
        "let the workers move them, or run push_pending",
    ),
    (
        ("credentials", "0004_counting_and_mapping"),
        "m.phase = 'purged' AND EXISTS (SELECT FROM credentials_columnmapping WHERE use = 'secret')",
        "are purged, also in a column that is mapped as secret",
        "move_clients aws --all-in purged",
    ),
)
ALL_ARE_TAKEN = (
    "true",
    "are read from AWS alone, and this would take away what says so",
    "move_clients aws --all-in purged, then move_clients dual_read --all-in aws",
)
CLIENTS_IN_AWS = """
SELECT coalesce(c.slug, 'client ' || m.client_id)
FROM migration_clientmigration AS m LEFT JOIN public.clients AS c ON c.id = m.client_id
WHERE m.phase = ANY(%(phases)s) AND ({condition}) ORDER BY 1
"""
# Of what stays: tables in the site's schema, rows of AWS logins, and whether the role owns none of NOVA's tables.
STAYING = f"""
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('{SCHEMA}') AND relkind = 'r'),
    (SELECT count(*) FROM {AWS_TABLE}), quote_ident(current_user), NOT EXISTS (
        SELECT FROM pg_class WHERE oid = ANY(%s::regclass[]) AND pg_has_role(relowner, 'MEMBER')
    )
"""  # noqa: S608  # constants
# Settings that `migrate` made for this role in this database.
SETTINGS = """
SELECT format('ALTER ROLE %%I IN DATABASE %%I RESET %%s;', current_user, current_database(), name)
FROM unnest(%s::text[]) AS name WHERE EXISTS (
    SELECT FROM pg_db_role_setting WHERE setrole = current_user::regrole
        AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND EXISTS (SELECT FROM unnest(setconfig) AS set WHERE starts_with(set, name || '='))
)
"""


def require_nothing_taken(plan: Sequence[tuple[Migration, bool]]) -> None:
    """Raise CommandError, naming the clients, where a backward step of the plan would take what they need."""
    undone = {(step.app_label, step.name) for step, backwards in plan if backwards}
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('migration_clientmigration') IS NOT NULL")
        if not (undone and cursor.fetchone()[0]):
            return
        if NOTED_BY in undone and FIRST_RELEASE[0] not in undone:
            _require_no_duplicate()
        losses = [taken for step, *taken in TAKEN if step in undone]
        if not undone.isdisjoint(FIRST_RELEASE):
            losses.insert(0, [*ALL_ARE_TAKEN])
        for condition, why, way in losses:
            phases = [phase.value for phase in Phase if phase.aws_is_authority]
            values = {"phases": phases, "layout": settings.NOVA_SECRET_LAYOUT}
            cursor.execute(CLIENTS_IN_AWS.format(condition=condition), values)
            if slugs := [escape_name(slug) for (slug,) in cursor.fetchall()]:
                more = len(slugs) - MOST_NAMES
                names = ", ".join(slugs[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
                raise CommandError(
                    f"Nothing was changed. These clients {why}: {names}. First: {way}. Then run migrate again.",
                    returncode=1,
                )


def _require_no_duplicate() -> None:
    """Raise CommandError on a duplicate: the next `migrate` would note it as the one that writes."""
    noted = DatabaseClaim.objects.only("system_identifier", "database_oid", "place").newest()
    connection.ensure_connection()
    reached = read_identity(connection)
    if noted and (reached is None or differs_from_noted(reached, noted.identity)):
        raise CommandError(
            "Nothing was changed. This database is a duplicate, and this would take away by what that is known."
            " First: manage.py claim_database. Or remove the site's tables: migrate credentials zero.",
            returncode=1,
        )


def describe_what_stays() -> tuple[str, list[str]]:
    """Say what stays once both apps are undone, and why; return it with the statements that remove it."""
    with connection.cursor() as cursor:
        cursor.execute(STAYING, [list(NOVA_TABLES)])
        tables, logins, role, is_apart = cursor.fetchone()
        cursor.execute(SETTINGS, [list(QUIET_LOG)])
        settings_of_role = [statement for (statement,) in cursor.fetchall()]
    statements = [f"DROP SCHEMA {SCHEMA} CASCADE;", *settings_of_role]
    if is_apart:
        statements.append(f"REVOKE ALL ON {', '.join(NOVA_TABLES)} FROM {role};")
        statements.append(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role};")
    told = (
        f"NOVA's tables carry nothing of the site's any more. The schema {SCHEMA} stays, with {tables} tables: users,"
        f" sessions and the workers' queue, which other apps own, and {AWS_TABLE} with {logins} AWS logins of clients,"
        " which stand in no other table: copy those that you need. The secrets in AWS stay. To remove the rest, stop"
        " the site and run as the owner:"
    )
    return told, statements


class PatientExecutor(MigrationExecutor):
    """Django's executor, but tries a schema migration again that met a lock, for some ten seconds.

    It takes nothing away that a client needs whose values AWS decides. A file that replaces former schema migrations
    is recorded under their names alone: those are what a former release looks for after a way back.
    """

    def migrate(
        self,
        targets: Sequence[tuple[str, str | None]] | None,
        plan: Sequence[tuple[Migration, bool]] | None = None,
        state: ProjectState | None = None,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        if plan is None:
            plan = self.migration_plan(targets or [])
        if not fake:
            require_nothing_taken(plan)
        return super().migrate(targets, plan, state, fake, fake_initial)

    def record_migration(self, migration: Migration) -> None:  # type: ignore[override]  # the stubs have a former Django's
        """Record it at once, so that nobody finds a part of the names that it replaces."""
        with transaction.atomic(using=self.connection.alias):
            super().record_migration(migration)  # type: ignore[call-arg, arg-type]

    def check_replacements(self) -> None:
        """Record no file under its own name beside those that it replaces."""

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        apply, whole = super().apply_migration, SelfRecordingMigration(migration, self.recorder)
        # Applying changes the state, also where it fails.
        return try_often(lambda: apply(state.clone(), whole, fake, fake_initial))  # type: ignore[arg-type]  # it has what Django uses

    def unapply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False
    ) -> ProjectState:
        unapply, whole = super().unapply_migration, SelfRecordingMigration(migration, self.recorder)
        return try_often(lambda: unapply(state, whole, fake))  # type: ignore[arg-type]  # the same


class SelfRecordingMigration:
    """A schema migration that leaves nothing to be done, nor recorded, after its transaction.

    Django records some after it, and whoever ends `migrate` in between has one that is done and can't be done again.
    """

    def __init__(self, migration: Migration, recorder: MigrationRecorder) -> None:
        self._migration, self._recorder = migration, recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._migration, name)

    def __str__(self) -> str:
        return str(self._migration)

    def apply(self, state: ProjectState, editor: BaseDatabaseSchemaEditor) -> ProjectState:
        """Apply it, deferred statements too: with none left over, Django records it in the same transaction."""
        state = self._migration.apply(state, editor)
        execute_deferred(editor)
        return state

    def unapply(self, state: ProjectState, editor: BaseDatabaseSchemaEditor) -> ProjectState:
        """Undo the schema migration, and record that it is undone."""
        state = self._migration.unapply(state, editor)
        execute_deferred(editor)
        migration = self._migration
        own = (migration.app_label, migration.name)
        with transaction.atomic(using=editor.connection.alias):
            for app, name in migration.replaces or [own]:
                self._recorder.record_unapplied(app, name)
        return state


def execute_deferred(editor: BaseDatabaseSchemaEditor) -> None:
    """Execute now what Django leaves for the end of a schema migration: foreign keys and indexes."""
    while editor.deferred_sql:
        editor.execute(editor.deferred_sql.pop(0), None)


def try_often(step: Callable[[], Done]) -> Done:
    """Take the step, and again after a pause while it meets a lock. The last try raises the lock's error."""
    for _attempt in range(TRIES - 1):
        try:
            return step()
        except OperationalError as error:
            if not met_lock(error):
                raise
        time.sleep(PAUSE_SECONDS)
    return step()


def met_lock(error: OperationalError) -> bool:
    return isinstance(error.__cause__, LockNotAvailable | DeadlockDetected)
