"""Databases that are made once a run: by one process alone, whole or not at all; and what a copy of one is."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from tests import nova_database
from tests.migrated import migrated_database
from tests.templates import make_once

# Whether the newest claim is of this very database, and whether every write is counted.
IS_THE_ONE = """
SELECT claimed.database_oid = d.oid AND claimed.place LIKE '%/' || d.datname, nova_admin.writes_are_counted()
FROM nova_admin.migration_databaseclaim AS claimed, pg_database d WHERE d.datname = current_database()
ORDER BY claimed.id DESC LIMIT 1
"""


def test_of_those_that_ask_at_once_one_fills_it_and_all_copy_it():
    filled, what = [], f"asked_for_{uuid4().hex[:8]}"

    def fill(uri: str) -> None:
        filled.append(uri)
        with psycopg.connect(uri) as connection:
            connection.execute("CREATE TABLE made AS SELECT 1 AS number")

    with ThreadPoolExecutor(4) as askers:
        names = set(askers.map(lambda _: make_once(what, fill), range(4)))

    assert (len(names), len(filled)) == (1, 1)
    with nova_database.database(*names) as uri, psycopg.connect(uri) as connection:
        assert connection.execute("SELECT number FROM made").fetchall() == [(1,)]


def test_what_could_not_be_filled_is_made_anew():
    what = f"failed_{uuid4().hex[:8]}"

    def fail(uri: str) -> None:
        with psycopg.connect(uri) as connection:
            connection.execute("CREATE TABLE half ()")
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        make_once(what, fail)
    template = make_once(what, lambda _uri: None)

    with nova_database.database(template) as uri, psycopg.connect(uri) as connection:
        assert connection.execute("SELECT to_regclass('public.half')").fetchone() == (None,)


def test_a_copy_of_a_migrated_database_is_the_one_that_writes_and_counts():
    with migrated_database() as uri, psycopg.connect(uri) as connection:
        assert connection.execute(IS_THE_ONE).fetchone() == (True, True)
