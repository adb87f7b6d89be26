"""A manager of the embedded AWS."""

import pytest

from migration.operations import stores


@pytest.fixture
def sm():
    return stores.secrets_manager()
