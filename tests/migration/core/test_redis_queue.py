"""The queue in Redis: what the pages say while it is down, and that what they stored is done once it is back."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import User
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from migration.core.clients import all_clients
from migration.core.workers import connect_to_redis
from migration.models import Rate, Worker
from migration.runs.items import PUSHED
from migration.runs.models import Run
from nova_admin.embedded.management.commands.demo import add_clients_up_to
from nova_admin.environment import parse_redis_url
from nova_credentials.phases import Phase
from tests.checkout import ROOT, manage
from tests.factories import make_full_client, nova_uri
from tests.hosts import SECONDS, kill_group, running_host, wait_until
from tests.redis_server import REDIS_SERVER, RedisServer, do_without, find_free_port
from tests.test_settings import PRODUCTION

# In a process of its own, whose settings name Redis: the pages that enqueue, then those that show what was enqueued.
PAGES = """
import html, json, re
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.test.utils import setup_test_environment
from migration.runs.models import Run

setup_test_environment()
browser = Client(SERVER_NAME="localhost")
browser.force_login(User.objects.get())
answers = {}

def press(button, url, **data):
    response = browser.post(url, data)
    page = browser.get(response.url)
    text = html.unescape(re.sub("<[^>]+>", "", page.content.decode()))
    answers[button] = [response.status_code, page.status_code, text.count("The task queue can't be reached")]

push = reverse("admin:credentials_client_act", args=["push"]) + "?all=1"
press("start", push, confirmed="1", clients=browser.get(push).context["shown"])
run = Run.objects.get()
steer = reverse("admin:migration_run_steer", args=[run.pk])
press("pause", steer, order="pause")
press("resume", steer, order="resume")
for name in ("index", "migration_run_changelist", "credentials_client_changelist", "migration_comparison_changelist"):
    answers[name] = browser.get(reverse(f"admin:{name}")).status_code
answers["live"] = browser.get(reverse("admin:migration_run_live", args=[run.pk])).status_code
print(json.dumps(answers))
"""
# The workers' settings: their schedule is looked at as soon as they start, and not after half a minute.
AT_ONCE = """
from nova_admin.settings import *
Q_CLUSTER["guard_cycle"] = 30
"""


@pytest.fixture
def port() -> int:
    """A port of the loopback address on which nothing listens."""
    return find_free_port()


@pytest.fixture
def environment(stores, port) -> dict[str, str]:
    return {
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.endpoint,
        "NOVA_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "NOVA_WORKERS": "1",
    }


@pytest.fixture
def idom(stores) -> int:
    return make_full_client("idom")


@pytest.fixture
def answers(environment, idom) -> dict[str, object]:
    """What the pages answered while Redis was down."""
    User.objects.create_superuser("root")
    make_full_client("acme")  # one alone would be pushed while the page waits
    asked = manage("shell", "-c", PAGES, **environment)
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout.splitlines()[-1])


def test_while_redis_is_down_pages_say_so_and_store_the_run(answers, idom):
    assert answers.pop("start") == [302, 200, 1]
    assert answers.pop("pause") == [302, 200, 0]
    assert answers.pop("resume") == [302, 200, 1]
    assert set(answers.values()) == {200}
    run = Run.objects.get()
    assert (run.kind, run.state, run.finished_at) == (Run.Kind.MIGRATE, Run.State.RUNNING, None)
    assert sorted(run.items.filter(outcome="").values_list("slug", flat=True)) == ["acme", "idom"]


@pytest.fixture
def redis_server(port, tmp_path) -> Iterator[RedisServer]:
    if not REDIS_SERVER:
        do_without()
    with RedisServer(tmp_path, port) as server:
        yield server


@pytest.fixture
def many(stores) -> int:
    """So many clients that they take a worker some seconds, at this rate."""
    Rate.objects.set_rates({Rate.Kind.CREATE: 10})
    return add_clients_up_to(30)


def let_minutes_pass() -> None:
    Run.objects.update(worked_at=timezone.now() - timedelta(minutes=2))
    Schedule.objects.update(next_run=timezone.now())


def test_a_run_stored_while_redis_was_down_is_done_though_its_host_is_killed_and_the_queue_lost(
    many, redis_server, answers, environment, stores, tmp_path
):
    (tmp_path / "at_once.py").write_text(AT_ONCE)
    environment |= {"DJANGO_SETTINGS_MODULE": "at_once", "PYTHONPATH": str(tmp_path)}
    run = Run.objects.get(kind=Run.Kind.MIGRATE)

    let_minutes_pass()
    redis_server.start()
    with running_host("north", **environment) as north:
        wait_until(lambda: stores.conditions.report()["calls"].get("CreateSecret"))
        kill_group(north)
        redis_server.kill()
    assert run.items.filter(outcome="").count() == many + 2
    let_minutes_pass()
    redis_server.start()  # and holds nothing
    with running_host("south", **environment):
        wait_until(lambda: Run.objects.get(pk=run.pk).finished_at)

    assert run.items.exclude(outcome__in=PUSHED).count() == 0
    assert all_clients().in_phases(Phase.DUAL_WRITE).count() == many + 2
    assert not OrmQ.objects.exists()
    assert {name.partition(":")[0] for name in list_workers()} == {"north", "south"}


def list_workers() -> list[str]:
    return list(Worker.objects.values_list("name", flat=True))


# In a process that finds no package of that name.
WITHOUT_REDIS = """
import runpy, sys
sys.modules["redis"] = None
sys.argv = ["manage.py", *sys.argv[1:]]
runpy.run_path("manage.py", run_name="__main__")
"""


def manage_without_redis(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_REDIS, *arguments],
        cwd=ROOT, env=os.environ | PRODUCTION | settings | environment, timeout=SECONDS, check=False,
        capture_output=True, text=True,
    )  # fmt: skip


def test_a_site_without_the_package_has_its_queue_in_postgresql(stores):
    queue = "from django_q.tasks import async_task as queue; queue('migration.tasks.send_notices')"

    asked = manage_without_redis("shell", "-v", "0", "-c", queue, DATABASE_URL=nova_uri())

    assert asked.returncode == 0, asked.stderr
    assert OrmQ.objects.count() == 1


def test_a_redis_without_the_package_is_refused_with_what_to_install():
    asked = manage_without_redis("check", NOVA_REDIS_URL="redis://:example-word@redis.example/0")

    assert (asked.returncode, asked.stdout) == (2, "")
    (line,) = asked.stderr.splitlines()
    assert line.startswith(
        "Not configured: NOVA_REDIS_URL is set, and the package redis is not installed"
    )
    assert "python -m pip install --require-hashes -r requirements-redis.lock" in line
    assert (ROOT / "requirements-redis.lock").exists()
    assert "example-word" not in line


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://redis.example",
        "redis://:example-word@redis.example:port/0",
        "redis://:example-word@redis.example/0?socket_connect_timeout=soon",
        "redis://:example-word@redis.example/0?socket_conect_timeout=2",
        "rediss://:example-word@redis.example/0?ssl_cert_reqs=perhaps",
    ],
)
def test_an_address_that_is_none_of_a_redis_is_refused_at_start_and_not_repeated(url):
    """Before, the first page that started a run failed."""
    with pytest.raises(ValueError, match=r"^not the URL of a Redis") as refusal:
        parse_redis_url(url)

    assert "example-word" not in str(refusal.value)


def test_a_time_out_that_ends_each_wait_for_a_task_is_refused():
    """Before, workers with nothing to do logged an error each second, and took ten seconds to look again."""
    with pytest.raises(ValueError, match=r"^socket_timeout is too short: 2 seconds or more"):
        parse_redis_url("redis://:example-word@redis.example/0?socket_timeout=1")


@pytest.mark.parametrize(
    "url", ["redis://redis.example", "rediss://:x@redis.example:1/2?socket_timeout=9", "unix:///s"]
)
def test_an_address_of_a_redis_is_taken_and_not_asked(url):
    assert parse_redis_url(url) == url


def test_where_one_is_required_a_test_fails_without_it(monkeypatch):
    monkeypatch.delenv("REQUIRE_REDIS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install redis-server"):
        do_without()

    monkeypatch.setenv("REQUIRE_REDIS", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install redis-server"):
        do_without()


def test_in_ci_one_is_required():
    ci = (ROOT / ".ci" / "run").read_text()

    assert re.search(r"apt-get install .* redis-server\b", ci)
    assert ci.index("REQUIRE_REDIS=1") < ci.index("make check test")


@pytest.fixture
def unreachable() -> Iterator[str]:
    """The URL of an address that drops whatever is sent to it: its queue of connections is full, and nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        for _number in range(3):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_redis_that_cannot_be_reached_is_given_up_after_two_seconds_or_what_the_url_says(
    unreachable,
):
    assert used(unreachable) == (2, 5)
    assert used(f"{unreachable}?socket_connect_timeout=0.5") == (0.5, 5)
    assert used(f"{unreachable}?socket_timeout=9&socket_connect_timeout=8") == (8, 9)

    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        connect_to_redis(f"{unreachable}?socket_connect_timeout=1").ping()
    assert time.monotonic() - began < 2  # it is tried once


def used(url: str) -> tuple[float, float]:
    connection = connect_to_redis(url).connection_pool.make_connection()
    return connection.socket_connect_timeout, connection.socket_timeout
