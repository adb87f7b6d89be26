"""The workers' queue: a Redis that is away, refuses, is full or forgets is named in words, without its password."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from django_q.models import OrmQ

from migration.core.problems import PROBLEMS, Finding, Look, Result
from migration.doctor import site as queue
from migration.doctor.site import QueueTrial
from tests.redis_server import REDIS_SERVER, RedisServer, do_without, find_free_port

WORD = "example-word"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    if not REDIS_SERVER:
        do_without()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        server.start()
        yield server


@pytest.fixture
def admin(server) -> Iterator[redis.Redis]:
    """Somebody who may configure it; afterwards it is as before."""
    with closing(redis.from_url(server.url)) as client:
        yield client
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.acl_deluser("site")


def look() -> list[Finding]:
    look = Look()
    finders = queue.find_missing_queue, queue.find_queue_at_risk, queue.find_left_tasks
    return [finding for find in finders for finding in find(look)]


@pytest.fixture
def examine(settings, db, monkeypatch):
    """Examine the queue at this address: the codes of what failed or was not looked at, else of what is well."""
    # A busy machine is no slow Redis.
    monkeypatch.setattr(queue, "SLOW_SECONDS", 30.0)

    def examine(url: str) -> list[str]:
        settings.NOVA_REDIS_URL = url
        found = look()
        assert WORD not in repr([finding.to_json() for finding in found])
        assert all(finding.ok or finding.remedy for finding in found)
        # That Redis is away keeps anybody from saying whether it forgets.
        bad = [finding for finding in found if finding.state == "failed"]
        bad = bad or [finding for finding in found if not finding.ok]
        well = [each for each in found if each.message.key not in ("redis_takes", "no_task_left")]
        codes = [code for finding in bad or well for code in finding.message.codes]
        return list(dict.fromkeys(codes))

    return examine


def test_a_queue_in_postgresql_is_ok(examine):
    assert examine("") == ["queue_is_in_postgres"]


def test_a_redis_that_keeps_what_it_takes_is_ok_and_left_as_it_was(server, admin, examine):
    admin.rpush("django_q:nova_admin:q", "task")

    assert examine(server.url) == ["redis_takes_tasks"]

    assert admin.keys() == [b"django_q:nova_admin:q"]
    admin.delete("django_q:nova_admin:q")


def test_a_redis_that_is_away_is_named_without_its_password(examine, settings):
    port = find_free_port()
    assert examine(f"redis://site:{WORD}@127.0.0.1:{port}/3") == ["redis_is_away"]

    finding = look()[0]
    assert str(finding.message) == (
        f"Redis at 127.0.0.1:{port}/3 can't be reached (ConnectionError)."
    )


def test_what_answers_and_is_no_redis_is_named(examine):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    caller, _address = server.accept()
                except OSError:
                    return
                with caller:
                    caller.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=answer, daemon=True).start()
        codes = examine(f"redis://:{WORD}@127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)

    assert codes == ["redis_is_away"]


@pytest.mark.parametrize("login", ["", f"site:{WORD}-2@", f"nobody:{WORD}@"])
def test_a_wrong_login_is_told(server, admin, examine, login):
    admin.acl_setuser(
        "site", enabled=True, passwords=[f"+{WORD}"], keys=["*"], categories=["+@all"]
    )
    admin.acl_setuser("default", enabled=False)
    try:
        assert examine(server.url_for(login)) == ["redis_refuses_login"]
        assert examine(server.url_for(f"site:{WORD}@")) == ["redis_takes_tasks"]
    finally:
        admin.acl_setuser("default", enabled=True)


def test_a_user_without_the_queues_commands_is_told(server, admin, examine):
    admin.acl_setuser("site", enabled=True, passwords=[f"+{WORD}"], keys=["*"], commands=["+ping"])

    assert examine(server.url_for(f"site:{WORD}@")) == ["redis_lacks_rights"]


def test_the_rights_that_the_remedy_names_are_enough_and_the_policy_is_not_guessed(
    server, admin, examine
):
    commands = ["+rpush", "+blpop", "+llen", "+ping"]
    keys = ["django_q:nova_admin:*"]
    admin.acl_setuser("site", enabled=True, passwords=[f"+{WORD}"], keys=keys, commands=commands)

    assert examine(server.url_for(f"site:{WORD}@")) == ["redis_policy_unknown"]


def test_a_replica_is_told(server, admin, examine):
    admin.replicaof("127.0.0.1", find_free_port())

    assert examine(server.url) == ["redis_takes_no_writes"]


def test_a_full_redis_is_told(server, admin, examine):
    admin.config_set("maxmemory", "1kb")

    assert examine(server.url) == ["redis_is_full"]


@pytest.mark.parametrize(
    ("policy", "code"),
    [("allkeys-lru", "redis_evicts"), ("volatile-lru", "redis_takes_tasks")],
)
def test_a_redis_that_throws_tasks_away_is_told(server, admin, examine, policy, code):
    admin.config_set("maxmemory-policy", policy)

    assert examine(server.url) == [code]


def test_a_database_that_it_does_not_have_is_told(server, examine):
    assert examine(server.url_for(database=99)) == ["redis_refuses_tasks"]


def test_a_slow_redis_is_told(server, examine, monkeypatch):
    monkeypatch.setattr(queue, "SLOW_SECONDS", 0.0)

    assert examine(server.url) == ["redis_is_slow"]


def test_tasks_that_no_worker_takes_any_more_are_told_with_what_removes_them(server, examine):
    """Somebody has set NOVA_REDIS_URL since they were queued, or not on each host."""
    long_ago = timezone.now() - timedelta(minutes=6)
    OrmQ.objects.create(key="nova_admin", payload="", lock=long_ago)
    OrmQ.objects.create(key="nova_admin", payload="", lock=timezone.now())
    assert examine("") == ["queue_is_in_postgres"]

    assert examine(server.url) == ["tasks_left_in_postgres"]
    (left,) = (f for f in look() if not f.ok)
    assert left.statements == ("DELETE FROM nova_admin.django_q_ormq;",)


@pytest.mark.parametrize(
    ("tried", "is_over"),
    [
        (QueueTrial("x", seconds=0.1), True),
        (QueueTrial("x", seconds=0.1, policy="noeviction"), True),
        (QueueTrial("x", seconds=5), False),
        (QueueTrial("x", error=ConnectionError()), False),
    ],
)
def test_slowness_is_over_once_redis_is_quick_though_it_does_not_say_its_policy(tried, is_over):
    look = Look()
    look.give(queue.try_queue, tried)

    found = Result(PROBLEMS["queue_at_risk"], tuple(queue.find_queue_at_risk(look)), None)

    assert found.is_away == is_over
