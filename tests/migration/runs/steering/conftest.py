"""Runs in small batches, and somebody who steers them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from migration.runs import engine, items
from migration.runs.models import Run
from tests.factories import make_user


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(Run, "BATCH", 2)
    monkeypatch.setattr(engine, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(engine, "RETRY_POLL_SECONDS", 0.01)
    monkeypatch.setattr(items, "FIRST_WAIT", timedelta(milliseconds=20))


@pytest.fixture
def somebody(db) -> User:
    return make_user("somebody")
