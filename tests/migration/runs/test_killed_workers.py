"""A worker process that hangs, or is killed as by a kernel that is out of memory: the host's others go on."""

import os
import signal
from contextlib import contextmanager

from django_q.models import Task
from django_q.tasks import async_task

from migration.models import Worker
from tests.factories import nova_uri
from tests.hosts import running_host, wait_until

TASK = "migration.tasks.note_other_statements"


def do_a_task() -> None:
    async_task(TASK)
    done = Task.objects.filter(func=TASK, success=True)
    before = done.count()
    wait_until(lambda: done.count() > before)


def list_workers() -> set[int]:
    names = Worker.objects.values_list("name", flat=True)
    return {int(name.partition(":")[2]) for name in names}


@contextmanager
def stopped(worker: int):
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


# Nothing else is to do: a worker that is stopped is one that waits.
WITHOUT_SCHEDULE = """
from nova_admin.settings import *
Q_CLUSTER["scheduler"] = False
"""


def test_workers_that_hang_or_are_killed_while_they_wait_leave_the_tasks_to_others(
    stores, tmp_path
):
    """Before, one took the lock of the host's tasks with it: the others and its successors lived, and did nothing."""
    environment = {
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.endpoint,
        "NOVA_WORKERS": "2",
        "DJANGO_SETTINGS_MODULE": "without_schedule",
        "PYTHONPATH": str(tmp_path),
    }
    (tmp_path / "without_schedule.py").write_text(WITHOUT_SCHEDULE)
    with running_host("north", **environment):
        wait_until(lambda: len(list_workers()) == 2)
        first = list_workers()
        for worker in first:
            with stopped(worker):
                do_a_task()
        for worker in first:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(list_workers() - first) == 2)
        do_a_task()
