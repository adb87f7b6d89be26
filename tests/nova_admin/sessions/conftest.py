"""People who log in by the form, from addresses of their own, and a clock that a test turns."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.factories import make_user

PASSWORD = "example-login-password"


class Clock:
    """The time of the site, which stands still until a test turns it."""

    def __init__(self) -> None:
        self.time = timezone.now()

    def turn(self, **ahead: float) -> None:
        self.time += timedelta(**ahead)


@pytest.fixture
def clock(db, monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.time)
    for module in ("axes.handlers.proxy", "axes.attempts"):
        monkeypatch.setattr(f"{module}.now", lambda: clock.time)
    return clock


@pytest.fixture
def maria(db) -> User:
    return make_user("maria", password=PASSWORD)


@pytest.fixture
def log_in(db) -> Callable[..., object]:
    """Sends the form of the login, from a browser of its own and the address."""

    def log_in(username: str, password: str = PASSWORD, address: str = "10.0.0.8", **more):
        browser = Client(REMOTE_ADDR=address)
        sent = {"username": username, "password": password} | more
        return browser.post("/admin/login/?next=/admin/password_change/", sent)

    return log_in
