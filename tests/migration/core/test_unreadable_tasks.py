"""Tasks that a host can't read: left once to hosts that can, then dropped and told; never in the way of others."""

import os
from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import PickleSerializer, SignedPackage

from migration import task_queue, tasks
from migration.core.problems import Look
from migration.doctor import site as queue
from migration.runs.models import Run
from migration.task_queue import KnownTasksQueue, count_queued_tasks
from tests.checkout import manage
from tests.factories import nova_uri
from tests.migration.runs.steering.runs import start
from tests.redis_server import REDIS_SERVER, RedisServer, do_without

OLD, NEW = "example-key-of-before-" * 3, "example-key-of-today-" * 3
TASK = "migration.tasks.work_on_run"


@pytest.fixture
def has_keys(settings, monkeypatch):
    """Be a host with these keys, the newest first, which was not told yet that it differs from others."""
    monkeypatch.setattr(task_queue.task_taker, "takes_tasks", lambda: True)

    def has_keys(key: str, *former: str) -> KnownTasksQueue:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(former)
        monkeypatch.setattr(Conf, "SECRET_KEY", key)
        return KnownTasksQueue("nova_admin")

    return has_keys


def package(key: str, function: str = TASK) -> str:
    whole = {"id": os.urandom(16).hex(), "name": "queued", "func": function, "args": (7,)}
    whole |= {"kwargs": {}, "started": timezone.now()}
    return signing.dumps(whole, key=key, salt="nova_admin", serializer=PickleSerializer)


def put(*payloads: str, **columns: object) -> None:
    row = {"key": "nova_admin", "lock": timezone.now()} | columns
    OrmQ.objects.bulk_create(OrmQ(payload=payload, **row) for payload in payloads)


def take(host: KnownTasksQueue) -> list[dict[str, object]]:
    """What django-q would decode of what this host takes from the queue, looking twice."""
    host._looked_at -= task_queue.LOOK_AT_RETURNED_SECONDS
    taken = [*host.dequeue(), *host.dequeue()]
    return [SignedPackage.loads(payload) for _, payload in taken]


def list_codes() -> list[str]:
    found = queue.find_dropped_tasks(Look())
    return [code for finding in found if not finding.ok for code in finding.message.codes]


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(Conf, "POLL", 0)


@pytest.mark.usefixtures("db", "quick")
class TestKeys:
    def test_a_task_that_waited_over_a_change_of_keys_is_read_with_the_former_key(self, has_keys):
        """Before, it was dropped."""
        put(package(OLD))

        (task,) = take(has_keys(NEW, OLD))

        assert (task["func"], task["args"]) == (TASK, (7,))

    def test_another_function_is_refused_with_the_former_key_too(self, has_keys):
        put(package(OLD, "os.system"))

        (task,) = take(has_keys(NEW, OLD))

        assert task["func"] == task_queue.REFUSE

    def test_a_host_with_another_key_leaves_the_task_to_one_that_reads_it(self, has_keys):
        """Before, it dropped each task that it took, and counted as healthy."""
        put(package(NEW))

        assert take(has_keys(OLD)) == []
        assert take(has_keys(OLD)) == []
        (task,) = take(has_keys(NEW, OLD))

        assert task["args"] == (7,)
        assert list_codes() == []

    def test_a_task_that_no_host_reads_is_dropped_after_some_minutes_and_told(
        self, has_keys, caplog
    ):
        put(package("example-key-of-nobody" * 3), "garbage", "", ":::", "x" * 1000)
        host = has_keys(NEW, OLD)
        for _ in range(3):
            assert take(host) == []
        assert OrmQ.objects.count() == 5
        OrmQ.objects.update(lock=timezone.now() - timedelta(minutes=6))

        assert take(host) == []

        assert not OrmQ.objects.exists()
        assert list_codes() == ["tasks_were_dropped"]
        assert "Tasks that no host could read, dropped: 5" in caplog.text


@pytest.mark.usefixtures("quick")
def test_rows_that_nobody_could_bear_are_dropped_and_keep_no_task_from_being_taken(db, has_keys):
    host = has_keys(NEW)
    put("x" * 5_000_000, "(" * 100_000, lock=timezone.now() - timedelta(days=1))
    put(package(NEW), lock=timezone.now() - timedelta(seconds=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO nova_admin.django_q_ormq (key, payload, lock)"
            " VALUES ('nova_admin', 'x', '-infinity'), ('nova_admin', 'x', NULL)"
        )

    (task,) = take(host)

    assert task["args"] == (7,)
    assert OrmQ.objects.count() == 1  # the one that is being worked on
    assert list_codes() == ["tasks_were_dropped"]


def test_unreadable_tasks_count_as_no_work_and_stop_no_stalled_run(stores):
    """Before, a hundred of them kept runs whose worker was killed from being taken up again."""
    run = start()
    OrmQ.objects.all().delete()
    Run.objects.filter(pk=run.pk).update(worked_at=timezone.now() - timedelta(minutes=2))
    put(*(package(OLD) for _ in range(tasks.MANY_TASKS)), *("garbage",) * tasks.MANY_TASKS)
    assert count_queued_tasks() == 0

    tasks.resume_stalled_runs()

    ours = [row for row in OrmQ.objects.all() if row.name() == f"run {run.pk}"]
    assert len(ours) == 1
    assert count_queued_tasks() == 1


# In a process of its own, whose settings name Redis.
IN_REDIS = """
import redis
from django.conf import settings
from django.core import signing
from django_q.conf import Conf
from django_q.signing import PickleSerializer, SignedPackage
from migration import task_queue
from migration.models import Condition

task_queue.task_taker.takes_tasks = lambda: True
wait = redis.Redis.blpop
redis.Redis.blpop = lambda self, keys, timeout: wait(self, keys, timeout / 50)

def host(key, *former):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS, Conf.SECRET_KEY = key, list(former), key
    return task_queue.KnownTasksQueue("nova_admin")

def take(host):
    host._looked_at -= 5
    return [SignedPackage.loads(payload)["args"] for _ in range(2) for _, payload in host.dequeue()]

def package(key):
    task = {"id": "7", "name": "x", "func": "migration.tasks.work_on_run", "args": (7,), "kwargs": {}}
    return signing.dumps(task, key=key, salt="nova_admin", serializer=PickleSerializer)

broker = host("new", "old")
broker.enqueue(package("old"))
print(take(broker))
broker.enqueue(package("new"))
broker.enqueue(b"\\xff garbage")
print(take(host("old")), take(host("old")), take(host("new")), broker.queue_size())
task_queue.RETURNED_FOR *= 0
print(take(host("new")), broker.connection.keys(), list(Condition.objects.values_list("event", flat=True)))
"""


def test_a_queue_in_redis_leaves_them_to_others_too(transactional_db, tmp_path):
    if not REDIS_SERVER:
        do_without()
    with RedisServer(tmp_path) as server:
        server.start()
        done = manage(
            "shell", "-v", "0", "-c", IN_REDIS, NOVA_REDIS_URL=server.url, DATABASE_URL=nova_uri()
        )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[(7,)]",
        "[] [] [(7,)] 0",
        "[] [] ['tasks dropped']",
    ]
