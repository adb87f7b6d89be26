"""Both stores, and somebody who moves clients."""

import pytest
from django.contrib.auth.models import User

from tests.factories import make_user


@pytest.fixture(autouse=True)
def stores_of_each(stores) -> None:
    """Both stores."""


@pytest.fixture
def maria() -> User:
    return make_user("maria", "migration.move_client", "migration.purge_client")
