"""Commands that are forked from a site that is set up: each reads its own settings, and what doesn't fit isn't one."""

import os
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

import pytest

from tests import warm_site
from tests.checkout import manage

SECONDS = 60

ASK = """
import os, psutil
from django.apps import apps
from django.conf import settings
from django.db import connection
from django_q.conf import Conf
print(psutil.Process(os.getppid()).ppid(), apps.is_installed("nova_admin.embedded"), settings.DEBUG)
print(settings.DATABASES["default"]["NAME"], connection.settings_dict["NAME"], settings.AWS_ENDPOINT_URL)
print(settings.SECRET_KEY, Conf.SECRET_KEY, settings.NOVA_MIN_READS)
"""


def ask(**environment: str) -> list[str]:
    done = manage("shell", "--no-imports", "-c", ASK, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_each_command_has_the_stores_and_keys_that_it_was_told_of():
    key = "0123456789abcdef" * 4
    told = {"SECRET_KEY": key, "NOVA_MIN_READS": "7"}
    production = {"DEBUG": "", "ALLOWED_HOSTS": "example.invalid"}
    answers = [
        ask(DATABASE_URL=f"postgresql:///{name}", AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint, **more)
        for name, endpoint, more in (
            ("one", "https://127.0.0.1:1001", told),
            ("two", "https://127.0.0.1:1002", told | {"SECRET_KEY": f"other{key}"}),
            ("one", "https://127.0.0.1:1001", told | production),
        )
    ]

    first, second, in_production = (answer[1:] for answer in answers)
    assert first == ["True", "True", "one", "one", "https://127.0.0.1:1001", key, key, "7"]
    assert second[2:-1] == ["two", "two", "https://127.0.0.1:1002", *[f"other{key}"] * 2]
    assert in_production == ["False", "False", *first[2:]]
    processes = [answer[0] for answer in answers]
    assert processes[0] == processes[1] != processes[2]


def test_two_at_once_run_at_once(tmp_path):
    """Before, the second began when the first had ended: a test of two that wait for each other never did."""
    files = tmp_path / "first", tmp_path / "second"
    meets = """
import pathlib, time
pathlib.Path({!r}).touch()
deadline = time.monotonic() + {}
while not pathlib.Path({!r}).exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
"""
    with ThreadPoolExecutor(2) as both:
        running = [
            both.submit(ask_to_run, meets.format(str(own), SECONDS, str(other)))
            for own, other in (files, files[::-1])
        ]

    assert [(done.result().returncode, done.result().stderr) for done in running] == [(0, "")] * 2


def ask_to_run(code: str) -> CompletedProcess[str]:
    return manage("shell", "--no-imports", "-c", code, DATABASE_URL="postgresql:///unused")


@pytest.mark.parametrize("name", ["DEBUG", "NOVA_REQUIRE_APPROVAL", "AWS_REGION"])
def test_who_is_told_something_else_sets_the_site_up_for_itself(name, monkeypatch):
    assert warm_site.fits(dict(os.environ))
    assert not warm_site.fits(dict(os.environ) | {name: "0"})
    monkeypatch.setenv(name, "0")
    assert not warm_site.fits(dict(os.environ))
