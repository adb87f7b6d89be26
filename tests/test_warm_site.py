"""Commands that are forked from a site that is set up: each reads its own settings, and what doesn't fit isn't one."""

import os

import pytest

from tests import warm_site
from tests.checkout import manage

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


@pytest.mark.parametrize("name", ["DEBUG", "NOVA_REQUIRE_APPROVAL", "AWS_REGION"])
def test_who_is_told_something_else_sets_the_site_up_for_itself(name, monkeypatch):
    assert warm_site.fits(dict(os.environ))
    assert not warm_site.fits(dict(os.environ) | {name: "0"})
    monkeypatch.setenv(name, "0")
    assert not warm_site.fits(dict(os.environ))
