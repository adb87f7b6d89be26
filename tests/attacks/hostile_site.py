"""The site in a database of NOVA's that is full of traps: for every test whose statements none of them may catch."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from migration.core import aws_writes
from migration.core.rate_limiter import rate_limiter
from tests.attacks.hostile import SPRING, Hostile, copied_hostile_database, plant, plant_tables
from tests.migrated import migrate
from tests.templates import RUN


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


@contextmanager
def planted_database(what: str, fill: Callable[[Hostile], None]) -> Iterator[Hostile]:
    """A copy of a database full of traps, which tell of this copy's roles."""
    with copied_hostile_database(what, fill) as hostile:
        hostile.run(SPRING.format(token=hostile.token, nova=hostile.nova), role=hostile.nova)
        yield hostile


def fill_with_traps(hostile: Hostile) -> None:
    hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
    assert plant(hostile) > 10_000


def migrate_among_traps(hostile: Hostile) -> None:
    fill_with_traps(hostile)
    migrate(hostile.of(hostile.site))
    assert hostile.sprung() == []
    plant_tables(hostile)


@pytest.fixture
def hostile(stores) -> Iterator[Hostile]:
    """NOVA's database, full of traps before our first `migrate`."""
    with planted_database("planted", fill_with_traps) as hostile, connected_to(hostile):
        yield hostile


@pytest.fixture
def traps(stores, settings) -> Iterator[Hostile]:
    """The same once it is migrated, with tables in the way of the site's too: what a test uses then is watched."""
    with planted_database("traps", migrate_among_traps) as hostile:
        # PostgreSQL's default path looks first into the schema of the role's own name.
        own = f"site_{os.environ[RUN]}_traps"
        hostile.run(f"ALTER SCHEMA {own} RENAME TO {hostile.site}")
        settings.ALLOWED_HOSTS = ["*"]
        with connected_to(hostile):
            yield hostile
