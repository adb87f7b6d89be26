"""A manager of the embedded AWS, and NOVA's tables."""

from collections.abc import Iterator

import psycopg
import pytest

from migration.core import aws_store
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.migration.secrets.copies.nova_tables import novas_tables


@pytest.fixture
def sm(stores) -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def nova(stores) -> Iterator[psycopg.Connection]:
    with novas_tables() as connection:
        yield connection
