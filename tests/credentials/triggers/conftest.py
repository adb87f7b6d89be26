"""An empty database on the test server, and a role without the right to make triggers."""

from collections.abc import Iterator

import psycopg
import pytest

from tests import nova_database


@pytest.fixture
def uri() -> Iterator[str]:
    with nova_database.database() as uri:
        yield uri


@pytest.fixture
def connection(uri) -> Iterator[psycopg.Connection]:
    with psycopg.connect(uri, autocommit=True) as connection:
        yield connection
