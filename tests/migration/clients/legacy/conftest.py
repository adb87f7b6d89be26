"""NOVA's legacy table, as its first helper made it, beside the newer ones."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.factories import nova_uri
from tests.nova_database import LEGACY


@pytest.fixture
def nova(transactional_db) -> Iterator[psycopg.Connection]:
    with psycopg.connect(nova_uri(), autocommit=True) as connection:
        connection.execute(LEGACY)
        try:
            yield connection
        finally:
            connection.execute("DROP TABLE IF EXISTS public.client_credentials CASCADE")
