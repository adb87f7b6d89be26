"""Databases that are migrated already: copies of one that `migrate` filled once in the run."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests import nova_database
from tests.checkout import manage
from tests.templates import make_once


def migrate(uri: str, *to: str, **environment: str) -> str:
    """Run `migrate` as a person would; return all that it printed."""
    done = manage("migrate", "--no-color", *to, DATABASE_URL=uri, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def make_nova_tables(
    connection: psycopg.Connection, tables=nova_database.TABLES, rows=nova_database.ROWS
) -> None:
    for statement in filter(None, (*tables, rows)):
        connection.execute(statement)


def make_migrated_template() -> str:
    """Return the name of the database that was empty before `migrate`."""
    return make_once("migrated", lambda uri: migrate(uri) and None)


@contextmanager
def migrated_database() -> Iterator[str]:
    """A database that was empty before `migrate`, by its URI."""
    with nova_database.database(make_migrated_template()) as uri:
        yield uri


@contextmanager
def migrated_nova_database() -> Iterator[str]:
    """A database with NOVA's tables and rows, and `migrate` after them, by its URI."""
    with nova_database.database(make_once("novas", fill_nova_database)) as uri:
        yield uri


def fill_nova_database(uri: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        make_nova_tables(connection)
    migrate(uri)
