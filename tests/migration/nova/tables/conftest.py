"""NOVA's tables as somebody else changes them, and put back after the test."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from migration.core import aws_store
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.factories import make_full_client

LOGINS = "public.client_database_credentials"

Change = Callable[[str, str], None]


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def change(stores) -> Iterator[Change]:
    """Runs a statement as NOVA would, and the other one after the test."""
    undo: list[str] = []

    def change(statement: str, back: str) -> None:
        execute(statement)
        undo.append(back)

    yield change
    execute(*reversed(undo))


@pytest.fixture
def add_column(change) -> Callable[..., str]:
    """Adds a column as NOVA's Alembic would; gives its name as `map_column` takes it."""

    def add_column(table: str = LOGINS, name: str = "refresh_token", kind: str = "text") -> str:
        quoted = '"' + name.replace('"', '""') + '"'
        change(
            f"ALTER TABLE {table} ADD {quoted} {kind}",
            f"ALTER TABLE {table} DROP COLUMN IF EXISTS {quoted}",
        )
        return f"{table}.{name}"

    return add_column


@pytest.fixture
def idom(stores) -> int:
    return make_full_client("idom")


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()
