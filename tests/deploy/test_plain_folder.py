"""What the image does, without an image: built, started as in production, watched, and ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_admin.embedded import run_while_parent_lives
from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.deploy.conftest import TOKEN, list_files
from tests.factories import nova_uri
from tests.test_settings import PRODUCTION

SECONDS = 300
SITE = ("-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "nova_admin.wsgi")
WORKER = ("manage.py", "qcluster")


def find_free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@contextmanager
def running(folder: Path, log: Path, command: tuple[str, ...], environment: dict[str, str]):
    """The process, ended as a container's engine ends it."""
    alone = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid()),
             sys.executable, *command],
            # Tests of several processes share the folder, into which a file of gunicorn's would be compiled.
            cwd=folder, env=alone | {"PYTHONDONTWRITEBYTECODE": "1"} | environment, start_new_session=True,
            stdout=written, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)


@dataclass
class Site:
    folder: Path
    log: Path
    environment: dict[str, str]

    def ask(self, address: str, **headers: str) -> tuple[int, str]:
        port = int(self.environment["PORT"])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", address, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def wait_for(self, address: str, wanted: str) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                if wanted in self.ask(address)[1]:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())


@pytest.fixture
def site(built_site, stores, tmp_path) -> Site:
    environment = PRODUCTION | {
        "DATABASE_URL": nova_uri(),
        # AWS is away: nothing here may reach a real one.
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://127.0.0.1:1",
        "PORT": str(find_free_port()),
        "BIND_ADDRESS": "127.0.0.1",
        "WEB_CONCURRENCY": "2",
        "NOVA_WORKERS": "1",
        "NOVA_METRICS_TOKEN": TOKEN,
        "NOVA_TRUSTED_PROXIES": "127.0.0.1",
    }
    return Site(built_site, tmp_path / "site.log", environment)


def test_a_site_is_built_runs_as_in_production_and_ends(site, tmp_path):
    before = list_files(site.folder)
    with running(site.folder, site.log, SITE, site.environment):
        site.wait_for("/healthz", "ok")
        check = [sys.executable, "deploy/check_health.py"]
        health = subprocess.run(
            check, cwd=site.folder, env=site.environment, timeout=TIMEOUT_SECONDS, check=False
        )
        assert health.returncode == 0
        status, told = site.ask("/readyz")
        assert status == 503
        assert json.loads(told) == {
            "database": "ok",
            "schema_behind": "ok",
            "host_differs": "ok",
            "no_worker": "failed",
            "queue_away": "ok",
            "aws_away": "failed",
        }
        with running(site.folder, tmp_path / "worker.log", WORKER, site.environment):
            site.wait_for("/readyz", '"no_worker": "ok"')
        proxied = {"Host": "example.invalid", "X-Forwarded-Proto": "https"}
        status, page = site.ask("/admin/login/", **proxied)
        assert status == 200
        style = page.split('href="/static/')[1].split('"')[0]
        assert site.ask(f"/static/{style}", **proxied)[0] == 200
        assert site.ask("/metrics", **proxied)[0] == 404
        status, metrics = site.ask("/metrics", Authorization=f"Bearer {TOKEN}")
        assert (status, "nova_workers 1.0" in metrics) == (200, True)

    # A read-only disk is enough, and every line of the log is JSON, those of the web server too.
    assert list_files(site.folder) == before
    lines = [json.loads(line) for line in site.log.read_text().splitlines()]
    assert {"gunicorn.error", "nova_admin.operating"} <= {line["logger"] for line in lines}
    assert any("Not ready: aws" in line["message"] for line in lines)
    assert [line for line in lines if line["level"] not in ("INFO", "WARNING")] == []
    lines = [json.loads(line) for line in (tmp_path / "worker.log").read_text().splitlines()]
    assert {line["logger"] for line in lines} >= {"django-q"}


def test_a_health_check_without_a_site_fails():
    environment = os.environ | {"PORT": str(find_free_port())}
    check = subprocess.run(
        [sys.executable, ROOT / "deploy/check_health.py"], env=environment, check=False
    )

    assert check.returncode == 1


def test_a_site_that_lacks_a_setting_says_which(built_site, tmp_path):
    log = tmp_path / "log"
    environment = PRODUCTION | {"SECRET_KEY": "", "PORT": str(find_free_port())}
    with running(built_site, log, SITE, environment) as process:
        process.wait(SECONDS)

    assert "SECRET_KEY is not set" in log.read_text()


def test_nothing_of_the_checkout_that_is_not_needed_is_in_the_folder(built_site):
    environment = (built_site / "venv").readlink().name
    assert {path.name for path in built_site.iterdir()} == {
        *("venv", "manage.py", "credentials", "migration", "nova_admin", "nova_credentials"),
        *("templates", "static", "staticfiles", "locale", "docs", "deploy", ".env.example"),
        "wheels",
        *("nova-admin", environment),
    }
    assert not list(built_site.glob("**/tests"))


def test_keys_of_the_build_are_kept_nowhere(built_site):
    """They are made for the moment; a settings file with one would be everybody's."""
    assert [path.name for path in built_site.glob(".env*")] == [".env.example"]
    assert (built_site / ".env.example").read_bytes() == (ROOT / ".env.example").read_bytes()
