"""A release is an order: a process that is older or newer than the schema takes no tasks, and everybody sees it."""

import re

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from migration import tasks
from migration.core import heartbeat
from migration.core.problems import Look
from migration.core.releases import known_migrations
from migration.doctor import site as workers
from migration.management.commands import qcluster
from migration.models import Worker
from migration.task_queue import KnownTasksQueue
from nova_credentials import VERSION

pytestmark = pytest.mark.usefixtures("stores")
NEWEST = max(name for app, name in known_migrations() if app == "migration")
ADD = (
    "INSERT INTO nova_admin.django_migrations (app, name, applied) VALUES ('migration', %s, now())"
)
REMOVE = "DELETE FROM nova_admin.django_migrations WHERE app = 'migration' AND name = %s"


def run(statement: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [name])


@pytest.fixture
def newer_schema():
    """A later release ran its `migrate`."""
    run(ADD, "9999_of_a_later_release")
    yield
    run(REMOVE, "9999_of_a_later_release")


@pytest.fixture
def older_schema():
    """This release has not run its `migrate` yet."""
    run(REMOVE, NEWEST)
    yield
    run(ADD, NEWEST)


@pytest.fixture(autouse=True)
def taker(monkeypatch):
    """What a host that has just begun knows: nothing. It doesn't sleep while it is idle."""
    from migration import task_queue

    made = heartbeat.TaskTaker()
    for module in (task_queue, qcluster):
        monkeypatch.setattr(module, "task_taker", made)
    monkeypatch.setattr(task_queue, "IDLE_SECONDS", 0)
    return made


def list_codes(*finders) -> list[str]:
    look = Look()
    return [code for find in finders for each in find(look) for code in each.message.codes]


@pytest.mark.parametrize(
    ("skew", "code"),
    [("newer_schema", "release_is_older"), ("older_schema", "release_is_newer")],
)
def test_a_process_of_another_release_than_the_schema_takes_no_task(request, skew, code, taker):
    tasks._enqueue_work(7)
    request.getfixturevalue(skew)
    queue = KnownTasksQueue("nova_admin")
    before = list(OrmQ.objects.values_list("pk", "lock"))

    assert heartbeat.explain_idleness().key == code
    assert list(queue.dequeue()) == []
    assert list(OrmQ.objects.values_list("pk", "lock")) == before
    assert code in list_codes(workers.find_release_skew) or code == "release_is_newer"


def test_it_takes_tasks_again_once_it_may(taker, newer_schema):
    tasks._enqueue_work(7)
    queue = KnownTasksQueue("nova_admin")
    assert queue.dequeue() == []

    run(REMOVE, "9999_of_a_later_release")
    taker._asked_at -= heartbeat.KEPT_SECONDS

    assert len(queue.dequeue()) == 1


def test_it_queues_nothing_of_the_schedule_either(monkeypatch, newer_schema):
    """What it queues, others may be unable to read."""
    queued = []
    monkeypatch.setattr(qcluster.timetable, "queue_due_tasks", queued.append)

    qcluster.queue_due_tasks()
    assert queued == []

    qcluster.task_taker._may_take = True
    qcluster.queue_due_tasks()
    assert queued == [None]


def test_a_worker_that_takes_no_tasks_is_named_and_counts_as_none(newer_schema):
    """One of a release 450 commits older was listed as alive."""
    why = heartbeat.explain_idleness()
    Worker.objects.record_heartbeat("north:1", idle_because=why)

    for find in (workers.find_missing_worker, workers.find_idle_workers):
        (each,) = find(Look())
        assert each.message.key == "workers_take_no_tasks"
        assert {"north:1", "9999_of_a_later_release"} <= set(
            re.findall(r"[\w:]+", str(each.message))
        )
        assert (each.remedy.key, each.statements) == ("correct_or_upgrade", ())
    skew = list(workers.find_release_skew(Look()))
    assert [each.message.key for each in skew] == ["workers_take_no_tasks", "release_is_older"]
    assert "9999_of_a_later_release" in str(skew[0].message)
    assert Worker.objects.last_seen_at() is None

    Worker.objects.record_heartbeat("north:1")
    assert list_codes(workers.find_missing_worker) == ["worker_is_alive"]
    Worker.objects.update(seen_at="2020-01-01T00:00:00Z", idle_because=why)
    assert list_codes(workers.find_missing_worker) == ["no_worker_ever"]
    Worker.objects.record_heartbeat("north:1")
    assert Worker.objects.get().schema == NEWEST


def test_a_worker_of_a_release_that_notes_none_is_named():
    """It can't know that it should take no tasks."""
    Worker.objects.create(name="north:1", seen_at=timezone.now())
    Worker.objects.record_heartbeat("south:1")

    (old,) = workers.find_release_skew(Look())
    others = list(workers.find_idle_workers(Look()))

    assert old.message.codes == ["workers_are_old"]
    assert "north:1" in str(old.message)
    assert f"south:1 ({VERSION})" in str(others[0].message)


def test_a_host_that_differs_takes_no_task_and_its_heartbeat_says_why(settings, monkeypatch):
    from migration.core.database_identity import note_facts_after_migrate

    note_facts_after_migrate("default")
    tasks._enqueue_work(7)
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"

    assert KnownTasksQueue("nova_admin").dequeue() == []
    assert heartbeat.explain_idleness().key == "host_differs"
