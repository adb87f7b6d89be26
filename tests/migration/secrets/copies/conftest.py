"""NOVA's tables, a client in them, and a manager of the embedded AWS."""

from collections.abc import Iterator

import psycopg
import pytest

from migration.core import aws_store
from migration.secrets.copies import search_copies
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.migration.secrets.copies.nova_tables import novas_tables


@pytest.fixture
def sm(stores) -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def nova(stores) -> Iterator[psycopg.Connection]:
    with novas_tables() as connection:
        yield connection


@pytest.fixture
def find():
    """Searches for these clients' values: {(slug, table.column): rows}."""

    def find(*client_ids: int) -> dict[tuple[str, str], int]:
        search = search_copies(client_ids=client_ids)
        return {
            (row.slug, f"{row.table}.{row.column}"): row.rows for row in search.found_copies.all()
        }

    return find
