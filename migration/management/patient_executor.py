"""Begins a schema migration again that met a lock, as none waits long for one (`nova_admin/database/editor.py`)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.migrations import Migration
    from django.db.migrations.state import ProjectState

# Some ten seconds: a transaction that is open for longer has to end before an upgrade.
TRIES = 20
PAUSE_SECONDS = 0.5


class PatientExecutor(MigrationExecutor):
    """Django's own; a schema migration that met a lock was undone, or can be begun again where it stopped."""

    def apply_migration(
        self,
        state: ProjectState,
        migration: Migration,
        fake: bool = False,
        fake_initial: bool = False,
    ) -> ProjectState:
        apply = super().apply_migration
        # Applying changes the state, also where it fails.
        return try_often(lambda: apply(state.clone(), migration, fake, fake_initial))

    def unapply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False
    ) -> ProjectState:
        unapply = super().unapply_migration
        return try_often(lambda: unapply(state, migration, fake))


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
