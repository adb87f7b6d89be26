"""`qcluster`: starts django-q's workers, unless a pooler is in between behind which their locks don't hold."""

from __future__ import annotations

import resource

from django.core.management.base import CommandParser
from django_q import cluster
from django_q.brokers import Broker
from django_q.management.commands.qcluster import Command as ClusterCommand

from migration.core.audit_chain import record_process_start
from migration.core.heartbeat import task_taker
from migration.core.rate_limiter import rate_limiter
from migration.doctor.nova import require_own_backends
from migration.task_queue import KillSafeQueue
from migration.tasks import Timetable

# django-q's cluster makes its queues by this name.
cluster.Queue = KillSafeQueue
timetable = Timetable()


def queue_due_tasks(broker: Broker | None = None) -> None:
    """Queue what the schedule has, unless this host takes no tasks: others may be unable to read what it queues."""
    if task_taker.takes_tasks():
        timetable.queue_due_tasks(broker)
    rate_limiter().close()  # the cluster forks its workers in this process


cluster.scheduler = queue_due_tasks


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
