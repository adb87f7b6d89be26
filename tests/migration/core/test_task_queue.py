"""Workers run the functions of `migration.tasks` and nothing else, however it came into the queue or the schedule."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from migration import tasks
from migration.runs.models import Run
from migration.task_queue import REFUSE, KnownTasksQueue, is_task_name
from nova_admin.embedded import run_while_parent_lives
from tests.factories import nova_uri

ROOT = Path(__file__).parents[3]
SECONDS = 300
# A module that leaves a file behind as soon as it is imported, and another where its function is called.
CANARY = """
from pathlib import Path
(Path(__file__).parent / "imported").touch()
def sing(*args, **kwargs): (Path(__file__).parent / "called").touch()
"""
# The workers' settings: their schedule is looked at as soon as they start, and not after half a minute.
AT_ONCE = """
from nova_admin.settings import *
Q_CLUSTER["guard_cycle"] = 30
"""


class Evil:
    def __init__(self, *command: str) -> None:
        self.command = command

    def __reduce__(self):
        return subprocess.run, (list(self.command),)


@pytest.mark.parametrize(
    "name",
    [
        "work_on_run",
        "push_pending",
        "resume_stalled_runs",
        "resume_dead_searches",
        "sweep",
        "refuse",
    ],
)
def test_public_functions_of_the_module_are_tasks(name):
    assert is_task_name(f"migration.tasks.{name}")


@pytest.mark.parametrize(
    "function",
    [
        *("os.system", "builtins.eval", "migration.tasks", "work_on_run", "", None, os.system),
        *("migration.tasks.os.system", "migration.tasks._enqueue_work", "migration.tasks.partial"),
        *("migration.tasks.Run", "migration.tasks.engine.finish_inline", "migration.tasks.get_broker"),
        *("migration.tasks.work_on_run.__globals__", "migration..tasks.work_on_run", " migration.tasks.sweep"),
        tasks.sweep,
    ],
)  # fmt: skip
def test_nothing_else_is_a_task(function):
    assert not is_task_name(function)


def test_what_is_scheduled_and_queued_is_a_task(db):
    tasks.ensure_schedules()
    tasks._enqueue_work(1)

    names = [
        *Schedule.objects.values_list("func", flat=True),
        *(queued.func() for queued in OrmQ.objects.all()),
    ]
    assert len(names) >= 4
    assert all(map(is_task_name, names))


def queue(**package: object) -> None:
    """Into the table as somebody who has the key would put it."""
    whole = {
        "id": os.urandom(16).hex(),
        "name": "queued",
        "args": (),
        "kwargs": {},
        "started": timezone.now(),
    }
    OrmQ.objects.create(
        key="nova_admin", payload=SignedPackage.dumps(whole | package), lock=timezone.now()
    )


@pytest.mark.parametrize(
    "package",
    [
        {"func": "os.system", "args": ("true",)},
        {"func": os.system, "args": ("true",)},
        {"func": "migration.tasks.sweep", "args": (os.system,)},
        {"func": "migration.tasks.sweep", "kwargs": {"x": Evil("true")}},
        {"func": tasks.sweep},
        {"func": tasks.sweep, "args": (Evil("true"),)},
        {},
        {
            "func": "os.system",
            "sync": True,
            "cached": True,
            "hook": "os.system",
            "chain": ["os.system"],
        },
    ],
)
def test_a_package_comes_out_of_the_queue_as_one_that_fails(db, package):
    queue(**package)

    ((_, payload),) = KnownTasksQueue("nova_admin").dequeue()

    held = SignedPackage.loads(payload)
    assert held["func"] == REFUSE
    assert set(held) <= {"id", "name", "group", "started", "func", "args", "kwargs", "ack_failure"}


def test_a_package_of_ours_comes_out_as_it_went_in(db):
    tasks._enqueue_work(7)
    (queued,) = OrmQ.objects.all()

    assert KnownTasksQueue("nova_admin").dequeue() == [(queued.pk, queued.payload)]


CALLED = []


def test_a_task_that_names_a_hook_calls_nothing(db):
    hook, now = f"{__name__}.{called.__name__}", timezone.now()
    Task.objects.create(id="a" * 32, name="x", func="x", hook=hook, started=now, stopped=now)

    assert CALLED == []


def called(task: Task) -> None:
    CALLED.append(task)


def test_another_function_that_is_queued_here_fails_too(db):
    with pytest.raises(PermissionError, match=r"no task of this site: os\.system"):
        tasks.refuse("os.system")

    async_task("os.system", "true", sync=True)

    (queued,) = OrmQ.objects.all()
    assert SignedPackage.loads(queued.payload)["func"] == REFUSE


@pytest.fixture
def canary(tmp_path) -> Path:
    (tmp_path / "canary.py").write_text(CANARY)
    return tmp_path


def plant(canary: Path) -> int:
    """Everything that somebody with the database, and even the key, could have the workers call; how many it is."""
    touch = f"touch {canary / 'called'}"
    due = {"schedule_type": Schedule.ONCE, "next_run": "2020-01-01T00:00Z"}
    for function, arguments, more in (
        ("os.system", f"{touch!r}", {}),
        ("subprocess.run", f"{touch.split()!r},", {}),
        ("builtins.eval", f"\"__import__('os').system({touch!r})\"", {}),
        ("canary.sing", "", {}),
        ("migration.tasks.os.system", f"{touch!r}", {}),
        ("canary.sing", "", {"kwargs": "{'q_options': {'sync': True}}"}),
        ("canary.sing", "", {"hook": "canary.sing"}),
    ):
        Schedule.objects.create(
            name=f"bad {function}", func=function, args=arguments, **due, **more
        )
    Schedule.objects.create(
        name="bad hook", func="migration.tasks.resume_stalled_runs", hook="canary.sing", **due
    )
    # Its own function is allowed; what is chained to it is not.
    queue(
        func="migration.tasks.resume_stalled_runs",
        chain=[("canary.sing",)],
        group="chain",
        cached=False,
        sync=False,
    )
    queue(func="os.system", args=(touch,))
    queue(func=os.system, args=(touch,))
    queue(func="migration.tasks.resume_stalled_runs", args=(Evil(*touch.split()),))
    queue(func=tasks.resume_stalled_runs, args=(Evil(*touch.split()),))
    return 1 + 4


@pytest.mark.django_db
def test_the_queue_keeps_no_states_of_workers():
    get_broker().set_stat("state", "working", 3)

    assert get_broker().get_stat("state") is None


def test_a_real_worker_calls_and_imports_nothing_else(stores, canary, tmp_path_factory):
    refused = plant(canary)
    settings = tmp_path_factory.mktemp("settings")
    (settings / "at_once.py").write_text(AT_ONCE)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "at_once",
        "DATABASE_URL": nova_uri(),
        "NOVA_WORKERS": "1",
        "PYTHONPATH": f"{canary}{os.pathsep}{settings}",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid()),
         sys.executable, "manage.py", "qcluster"],
        cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            failed = Task.objects.filter(success=False, func=REFUSE).count()
            bad = Schedule.objects.filter(name__startswith="bad")
            if failed >= refused and not bad.exists() and not OrmQ.objects.exists():
                break
            time.sleep(0.3)
    finally:
        worker.terminate()
        worker.wait(60)

    assert sorted(path.name for path in canary.iterdir()) == ["canary.py"]
    assert Task.objects.filter(success=False, func=REFUSE).count() == refused
    assert {task.func for task in Task.objects.filter(success=True)} >= {
        "migration.tasks.resume_stalled_runs"
    }
    assert set(Schedule.objects.values_list("name", flat=True)) == set(tasks.list_schedules())
    assert not Run.objects.exists()
