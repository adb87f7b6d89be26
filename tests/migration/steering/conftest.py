"""Runs in small batches, and somebody who steers them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from migration.models import run_items
from migration.models.runs import Run
from migration.operations import runs
from tests.factories import make_user


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(Run, "BATCH", 2)
    monkeypatch.setattr(runs, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(runs, "RETRY_POLL_SECONDS", 0.01)
    monkeypatch.setattr(run_items, "FIRST_WAIT", timedelta(milliseconds=20))


@pytest.fixture
def somebody(db) -> User:
    return make_user("somebody")
