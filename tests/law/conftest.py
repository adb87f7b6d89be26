"""What the machine's worlds of one process share."""

from collections.abc import Iterator

import pytest

from tests.law.kept_reader import close_kept_readers


@pytest.fixture(scope="session", autouse=True)
def kept_readers(django_db_setup) -> Iterator[None]:
    """They end before the database is dropped."""
    yield
    close_kept_readers()
