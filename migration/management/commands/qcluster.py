"""`qcluster`: starts django-q's workers, unless a pooler is in between behind which their locks don't hold."""

from __future__ import annotations

from django_q.management.commands.qcluster import Command as ClusterCommand

from migration.operations.audit_starts import record_start
from migration.operations.doctor.pooler import require_own_backends


class Command(ClusterCommand):  # type: ignore[misc]  # django-q has no types
    help = "Starts the workers of this host. Behind a pooler in transaction mode it starts none, and exits with 2."

    def handle(self, *args: object, **options: object) -> None:
        require_own_backends()
        record_start()
        super().handle(*args, **options)
