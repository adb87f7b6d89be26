"""A manager of the embedded AWS."""

import pytest

from migration.core import aws_store


@pytest.fixture
def sm():
    return aws_store.secrets_manager()
