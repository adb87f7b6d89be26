"""Commands that are forked from a site that is set up: each reads its own settings, and what doesn't fit isn't one."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import warm_site
from tests.checkout import forking, manage

SECONDS = 60

ASK = """
import os
from django.conf import settings
from django.db import connection
print(os.getppid(), settings.DATABASES["default"]["NAME"], connection.settings_dict["NAME"], settings.AWS_ENDPOINT_URL)
"""


def ask(**environment: str) -> list[str]:
    done = manage("shell", "--no-imports", "-c", ASK, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_each_command_has_the_stores_that_it_was_told_of():
    first, second = (
        ask(DATABASE_URL=f"postgresql:///{name}", AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint)
        for name, endpoint in (("one", "http://127.0.0.1:1001"), ("two", "http://127.0.0.1:1002"))
    )

    assert first[1:] == ["one", "one", "http://127.0.0.1:1001"]
    assert second[1:] == ["two", "two", "http://127.0.0.1:1002"]
    assert first[0] == second[0], "they come from two processes"


def test_two_at_once_run_at_once(tmp_path):
    """Before, the second began when the first had ended: a test of two that wait for each other never did."""
    go_on = tmp_path / "go-on"
    waits = f"""
import pathlib, time
deadline = time.monotonic() + {SECONDS}
while not pathlib.Path({str(go_on)!r}).exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
"""
    writes = f"import pathlib; pathlib.Path({str(go_on)!r}).touch()"
    nowhere = {"DATABASE_URL": "postgresql:///unused"}
    site = warm_site.warm_site(forking)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(manage, "shell", "--no-imports", "-c", waits, **nowhere)
        deadline = time.monotonic() + SECONDS
        while not site.lock.locked():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = manage("shell", "--no-imports", "-c", writes, **nowhere)

    for done in (first.result(), second):
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["DEBUG", "NOVA_REQUIRE_APPROVAL", "AWS_REGION"])
def test_who_is_told_something_else_sets_the_site_up_for_itself(name, monkeypatch):
    assert warm_site.fits(dict(os.environ))
    assert not warm_site.fits(dict(os.environ) | {name: "0"})
    monkeypatch.setenv(name, "0")
    assert not warm_site.fits(dict(os.environ))
