"""A manager of the embedded AWS."""

import pytest

from migration.core import aws_store
from nova_credentials.aws.secrets_manager import SecretsManager


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()
