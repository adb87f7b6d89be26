"""A client, and people who look at its page."""

import pytest
from django.contrib.auth.models import User

from tests.factories import VIEW, make_full_client, make_user


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def viewer(db, client):
    client.force_login(make_user("viewer", *VIEW))
    return client


@pytest.fixture
def idom(db) -> int:
    return make_full_client("idom")
