"""The site in a database of NOVA's that is full of traps: for every test whose statements none of them may catch."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

from migration.operations import aws_writes
from migration.operations.rate_limiter import rate_limiter
from tests.attacks.hostile import Hostile, hostile_database, plant, plant_tables


@contextmanager
def connected_to(hostile: Hostile) -> Iterator[None]:
    """Has this process' own connection, and the limiter's, go to that database as the site's role."""
    before = {name: connection.settings_dict[name] for name in ("NAME", "USER")}
    database = psycopg.conninfo.conninfo_to_dict(hostile.uri)["dbname"]
    _turn_to({"NAME": database, "USER": hostile.site})
    try:
        yield
    finally:
        _turn_to(before)


def _turn_to(settings: dict[str, str]) -> None:
    rate_limiter().close()
    connection.close()
    connection.settings_dict.update(settings)
    ContentType.objects.clear_cache()
    aws_writes._write_guard.cache_clear()  # a process may not change its database unseen; this one does


@pytest.fixture
def hostile(stores) -> Iterator[Hostile]:
    """NOVA's database, full of traps before our first `migrate`."""
    with hostile_database() as hostile:
        hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
        assert plant(hostile) > 10_000
        with connected_to(hostile):
            yield hostile


@pytest.fixture
def traps(hostile, settings) -> Hostile:
    """The same once it is migrated, with tables in the way of the site's too: what a test uses then is watched."""
    call_command("migrate", verbosity=0)
    plant_tables(hostile)
    settings.ALLOWED_HOSTS = ["*"]
    return hostile
