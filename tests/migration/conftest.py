"""People who may view, operate or do everything."""

import pytest

from tests.factories import CHANGE, VIEW
from tests.migration.pages import login


@pytest.fixture
def operator(db, client):
    login(client, "operator", *VIEW, *CHANGE, "migration.add_run", "migration.test_login")
    return client


@pytest.fixture
def viewer(db, client):
    login(client, "viewer", *VIEW)
    return client
