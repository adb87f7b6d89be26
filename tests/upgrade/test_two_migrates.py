"""Two hosts that are upgraded at once, each with a `migrate` before its site starts: one waits for the other."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.management.base import CommandError
from django.db import connection

from migration.management.commands.migrate import TURN, having_turn
from tests import nova_database
from tests.checkout import manage
from tests.factories import nova_uri

SECONDS = 300
WAITING = """
SELECT pid, query_start FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_try_advisory_lock%'
"""
APPLIED = "SELECT app, name, count(*) FROM nova_admin.django_migrations GROUP BY 1, 2"


def test_both_end_well_and_each_schema_migration_is_made_once():
    """Before, one of them ended with an error, and with it the start of its host."""
    with nova_database.database() as uri, ThreadPoolExecutor(2) as hosts:
        with psycopg.connect(uri, autocommit=True) as there:
            # A third one keeps both waiting, so that they begin at the same moment.
            there.execute("SELECT pg_advisory_lock(%s)", [TURN])
            running = [
                hosts.submit(manage, "migrate", "--no-color", DATABASE_URL=uri) for _ in range(2)
            ]
            deadline, tries = time.monotonic() + SECONDS, defaultdict(set)
            # Who tries a second time has told that it waits.
            while sum(len(begun) > 1 for begun in tries.values()) < 2:
                for pid, begun_at in there.execute(WAITING).fetchall():
                    tries[pid].add(begun_at)
                ended = [each.result() for each in running if each.done()]
                assert not ended
                assert time.monotonic() < deadline
                time.sleep(0.1)
        done = [each.result() for each in running]

        assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
        assert all("Another migrate is running" in each.stderr for each in done), done
        with psycopg.connect(uri) as there:
            applied = there.execute(APPLIED).fetchall()
        assert applied
        assert {number for _app, _name, number in applied} == {1}


@pytest.mark.django_db
def test_one_that_does_not_end_is_named_with_its_process_and_role():
    """Any role may take the lock, and keep it."""
    with psycopg.connect(nova_uri(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [TURN])
        pid, role = other.execute("SELECT pg_backend_pid(), current_user").fetchone()
        with (
            pytest.raises(CommandError, match=f"process {pid} of the role {role}") as refused,
            having_turn(connection, tell=print, seconds=0),
        ):
            pass
    assert refused.value.returncode == 1


@pytest.mark.django_db
def test_a_process_that_goes_on_after_its_migrate_keeps_nobody_waiting():
    """As the demo does."""
    ask = "SELECT pg_try_advisory_lock(%s)"
    with psycopg.connect(nova_uri(), autocommit=True) as other:
        with having_turn(connection, tell=print):
            assert other.execute(ask, [TURN]).fetchone() == (False,)
        assert other.execute(ask, [TURN]).fetchone() == (True,)
