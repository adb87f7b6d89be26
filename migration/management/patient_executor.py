"""Begins a schema migration again that met a lock, as none waits long for one (`nova_admin/database/editor.py`).

Each is recorded in its own transaction: Django records some after it, and whoever ends `migrate` in between has one
that is done and can't be done again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable

from migration.management.backward_plans import require_nothing_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations import Migration
    from django.db.migrations.recorder import MigrationRecorder
    from django.db.migrations.state import ProjectState

# Some ten seconds: a transaction that is open for longer has to end before an upgrade.
TRIES = 20
PAUSE_SECONDS = 0.5


class PatientExecutor(MigrationExecutor):
    """Django's executor, but tries a schema migration again that met a lock, for some ten seconds.

    It takes nothing away that a client needs whose values AWS decides.
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
    """A schema migration that leaves nothing to be done, nor recorded, after its transaction."""

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
        self._recorder.record_unapplied(self._migration.app_label, self._migration.name)
        return state


def execute_deferred(editor: BaseDatabaseSchemaEditor) -> None:
    """Execute now what Django leaves for the end of a schema migration: foreign keys and indexes."""
    while editor.deferred_sql:
        editor.execute(editor.deferred_sql.pop(0), None)


def try_often(step: Callable[[], ProjectState]) -> ProjectState:
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
