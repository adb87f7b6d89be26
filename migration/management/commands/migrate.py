"""Runs `migrate` so that no statement of NOVA waits long for it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db.utils import OperationalError

from migration.management.patient_executor import PatientExecutor, met_lock

# Django's command makes its executor by this name. The plan that it tells to whoever listens stays the first one.
migrate.MigrationExecutor = PatientExecutor  # type: ignore[attr-defined]  # imported there, not declared


class Command(migrate.Command):
    """Django's own, with an executor that tries again, and a sentence where that was in vain."""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        except OperationalError as error:
            if not met_lock(error):
                raise
            raise CommandError(
                "A table is in use by a transaction that does not end. What is printed with OK is done."
                " End that transaction, then run migrate again.",
                returncode=1,
            ) from None
