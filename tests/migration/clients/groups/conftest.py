"""A group with one of two clients."""

import pytest

from migration.core.clients import all_clients
from migration.models import ClientGroup
from tests.factories import make_client, make_user


@pytest.fixture
def wave(transactional_db) -> ClientGroup:
    """The group "Wave 1" with the client `idom`; `acme` is in none."""
    make_client("idom"), make_client("acme")
    group = ClientGroup.objects.get_or_add("Wave 1")
    group.put_clients(all_clients().filter(slug="idom"))
    return group


@pytest.fixture
def maria(transactional_db, client):
    """An operator, logged in."""
    from django.contrib.auth.models import Group

    user = make_user("maria")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    return user
