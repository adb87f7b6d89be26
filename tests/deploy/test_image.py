"""The image, built and run as a host runs it: read-only, without rights, as nobody's user.

Needs an engine (docker or podman) that answers. NOVA_ENGINE names its command with options, NOVA_IMAGE an image that is
built already, NOVA_IMAGE_BASE another base. With REQUIRE_IMAGE set, a test that would be skipped fails.
"""

import http.client
import json
import os
import select
import shlex
import shutil
import socket
import socketserver
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.checkout import ROOT
from tests.deploy.conftest import TOKEN
from tests.deploy.test_plain_folder import find_free_port
from tests.factories import nova_uri
from tests.test_settings import PRODUCTION

SECONDS = 120
USER = "10001"
CONFINED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "host"),
    *("--security-opt", "no-new-privileges"),
)


def leave_out(why: str) -> None:
    if os.environ.get("REQUIRE_IMAGE"):
        pytest.fail(why)
    pytest.skip(why)


def call(*command: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture(scope="module")
def engine() -> tuple[str, ...]:
    """The command of an engine that answers."""
    if named := os.environ.get("NOVA_ENGINE"):
        return tuple(shlex.split(named))
    for name in ("docker", "podman"):
        if shutil.which(name) and call(name, "info").returncode == 0:
            return (name,)
    leave_out("there is no engine for images that answers (docker, podman)")
    raise AssertionError


@pytest.fixture(scope="module")
def image(engine) -> str:
    if built := os.environ.get("NOVA_IMAGE"):
        return built
    tag = "nova-admin-of-the-tests"
    base = os.environ.get("NOVA_IMAGE_BASE")
    arguments = ("--build-arg", f"BASE={base}") if base else ()
    done = call(*engine, "build", *arguments, "--tag", tag, ".", seconds=540)
    if done.returncode != 0:
        leave_out(f"the image can't be built here:\n{done.stderr[-2000:]}")
    return tag


class Forwarder(socketserver.BaseRequestHandler):
    """Takes a connection on to the tests' PostgreSQL, whose socket only some users of this machine reach."""

    def handle(self) -> None:
        host = conninfo_to_dict(nova_uri())["host"]
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(f"{host}/.s.PGSQL.5432")
            ends = {self.request: server, server: self.request}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    if not (data := end.recv(65_536)):
                        return
                    ends[end].sendall(data)


class ForwardingServer(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close = True, False


@pytest.fixture
def database_port() -> Iterator[int]:
    with ForwardingServer(("127.0.0.1", 0), Forwarder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@dataclass
class Containers:
    """Starts the image with commands, confined; each container by its name."""

    engine: tuple[str, ...]
    image: str
    environment: dict[str, str]
    started: list[str] = field(default_factory=list)

    def start(self, *command: str) -> str:
        name = f"nova-{uuid.uuid4().hex[:12]}"
        given = [f"--env={key}={value}" for key, value in self.environment.items()]
        start = (*self.engine, "run", "--detach", "--name", name, *CONFINED, *given)
        self.started.append(name)
        done = call(*start, self.image, *command)
        assert done.returncode == 0, done.stderr
        return name

    def ask(self, address: str) -> tuple[int, str]:
        port = int(self.environment["PORT"])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", address)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def wait_for(self, address: str, wanted: str) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                if wanted in self.ask(address)[1]:
                    return
            time.sleep(0.3)
        raise AssertionError([call(*self.engine, "logs", name) for name in self.started])

    def stop(self, name: str) -> str:
        """End it as the engine does; return its exit code."""
        assert call(*self.engine, "stop", "--time", "90", name).returncode == 0
        inspect = (*self.engine, "inspect", "--format", "{{.State.ExitCode}}")
        return call(*inspect, name).stdout.strip()


@pytest.fixture
def containers(engine, image, stores, database_port) -> Iterator[Containers]:
    environment = PRODUCTION | {
        "DATABASE_URL": make_conninfo(nova_uri(), host="127.0.0.1", port=database_port),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://127.0.0.1:1",
        "PORT": str(find_free_port()),
        "BIND_ADDRESS": "127.0.0.1",
        "NOVA_METRICS_TOKEN": TOKEN,
    }
    found = Containers(engine, image, environment)
    yield found
    for name in found.started:
        call(*engine, "rm", "--force", name)


def test_the_image_runs_confined_is_healthy_and_ends_when_it_is_told(engine, containers):
    site = containers.start()
    containers.wait_for("/healthz", "ok")
    worker = containers.start("python", "manage.py", "qcluster")
    containers.wait_for("/readyz", '"no_worker": "ok"')

    told = json.loads(containers.ask("/readyz")[1])
    assert (told["database"], told["schema_behind"]) == ("ok", "ok")
    inside = (*engine, "exec", site)
    assert call(*inside, "id", "-u").stdout.strip() == USER
    assert call(*inside, "python", "deploy/check_health.py").returncode == 0
    assert call(*inside, "touch", "/srv/nova-admin/x").returncode != 0
    # Neither tests nor tools of development, nor anybody's settings.
    listed = call(*inside, "ls", "-a", "/srv/nova-admin").stdout.split()
    assert not {"tests", ".env", ".git", ".local", "Makefile"} & set(listed)
    assert call(*inside, "python", "-c", "import pytest").returncode != 0
    assert call(*inside, "python", "manage.py", "check").returncode == 0

    assert [containers.stop(name) for name in (worker, site)] == ["0", "0"]
    for name in (worker, site):
        logged = call(*engine, "logs", name)
        written = (logged.stdout + logged.stderr).splitlines()
        # podman's own warnings are among them.
        lines = [json.loads(line) for line in written if not line.startswith("time=")]
        assert {line["logger"] for line in lines} & {"gunicorn.error", "django-q"}
