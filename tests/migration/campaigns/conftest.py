"""Both stores, and runs that lose no time between two tries."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User

from migration.runs import engine, items
from tests.factories import make_user


@pytest.fixture(autouse=True)
def quick_stores(stores, monkeypatch) -> None:
    monkeypatch.setattr(engine, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(engine, "RETRY_POLL_SECONDS", 0.01)
    monkeypatch.setattr(items, "FIRST_WAIT", timedelta(milliseconds=10))
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0.1)


@pytest.fixture
def maria() -> User:
    return make_user("maria", "migration.move_client", "migration.change_campaign")


@pytest.fixture
def ana() -> User:
    return make_user("ana", "migration.approve_move")


@pytest.fixture
def log_in(client):
    """Logs in as somebody with the role."""

    def log_in(role: str, name: str = ""):
        user = make_user(name or role.lower())
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return user

    return log_in
