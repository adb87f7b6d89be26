"""A client, and a manager of the embedded AWS."""

import pytest

from migration.core import aws_store
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.factories import make_full_client


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")
