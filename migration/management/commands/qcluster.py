"""`qcluster`: starts django-q's workers, unless a pooler is in between behind which their locks don't hold."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from django_q import cluster
from django_q.management.commands.qcluster import Command as ClusterCommand

from migration.host_queue import KillSafeQueue
from migration.operations.audit_starts import record_process_start
from migration.operations.doctor.pooler import require_own_backends

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

# django-q's cluster makes its queues by this name.
cluster.Queue = KillSafeQueue


class Command(ClusterCommand):  # type: ignore[misc]  # django-q has no types
    help = (
        "Starts the workers of this host, which NOVA_HOST_NAME names. Behind a pooler in transaction mode it starts"
        " none, and exits with 2."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # Not django-q's --name: it names no host but a queue, and into another queue nothing is put.
        parser.add_argument(
            "--run-once", action="store_true", help="start the workers, and stop them"
        )

    def handle(self, *args: object, **options: object) -> None:
        require_own_backends()
        # The memory of the workers holds credentials: no copy of it is left on a disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        record_process_start()
        super().handle(*args, **options)
