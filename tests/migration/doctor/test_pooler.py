"""A pooler in transaction mode, a real PgBouncer, is told from one in session mode, and refused."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from migration.doctor.nova import BackendSharing, find_backend_sharing
from tests.checkout import ROOT, manage
from tests.migration.doctor.pgbouncer import pooled


def pooling_of(uri: str) -> BackendSharing:
    return find_backend_sharing(conninfo_to_dict(uri))


@pytest.mark.parametrize(
    ("mode", "size"), [("transaction", 1), ("transaction", 10), ("statement", 3)]
)
def test_a_pool_that_shares_backends_is_found(migrated, tmp_path, mode, size):
    with pooled(migrated.of(migrated.site), tmp_path, mode=mode, size=size) as uri:
        assert pooling_of(uri) == BackendSharing.SHARED_BACKENDS


def test_a_pool_in_session_mode_is_as_good_as_none(migrated, tmp_path):
    assert pooling_of(migrated.of(migrated.site)) == BackendSharing.OWN_BACKENDS
    with pooled(migrated.of(migrated.site), tmp_path, mode="session") as uri:
        assert pooling_of(uri) == BackendSharing.OWN_BACKENDS


def test_a_pool_without_room_is_not_waited_for(migrated, tmp_path, monkeypatch):
    monkeypatch.setattr("migration.doctor.nova.GIVE_UP_SECONDS", 0.5)
    with pooled(migrated.of(migrated.site), tmp_path, mode="session", size=2) as uri:
        assert pooling_of(uri) == BackendSharing.UNKNOWN


def test_a_server_that_is_away_is_no_proof_of_anything():
    assert pooling_of("host=127.0.0.1 port=1 dbname=x user=x") == BackendSharing.UNKNOWN


def test_it_can_be_asked_where_a_loop_runs_already(migrated):
    async def ask() -> BackendSharing:
        return pooling_of(migrated.of(migrated.site))

    assert asyncio.run(ask()) == BackendSharing.OWN_BACKENDS


def test_no_lock_is_left_behind_even_by_backends_that_live_on(migrated, tmp_path):
    # Of this database alone: the tests beside this one look at theirs in the same server.
    held = """
        SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1313822288
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    mode = "session\nserver_reset_query ="
    with pooled(migrated.of(migrated.site), tmp_path, mode=mode) as uri:
        assert pooling_of(uri) == BackendSharing.OWN_BACKENDS

        # The backend of a test before may still be about to end; those of the pool stay.
        deadline = time.monotonic() + 10
        while migrated.ask(held) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_doctor_tells_it_and_migrate_changes_nothing_behind_it(hostile, tmp_path):
    with pooled(hostile.of(hostile.site), tmp_path, mode="transaction") as uri:
        migrated = manage("migrate", "--no-color", DATABASE_URL=as_url(uri))
        checked = manage("doctor", "--only", "pooler", DATABASE_URL=as_url(uri))

    assert (migrated.returncode, migrated.stderr.count("\n")) == (2, 1)
    assert "pool in session mode" in migrated.stderr
    assert hostile.ask("SELECT to_regclass('nova_admin.django_migrations')") == [(None,)]
    assert checked.returncode == 1
    assert "FAILED: pooler: A pooler in transaction mode" in checked.stdout


@pytest.fixture(scope="module")
def shared(migrated, tmp_path_factory) -> Iterator[str]:
    """The site's DATABASE_URL through a pool in transaction mode."""
    folder = tmp_path_factory.mktemp("pool")
    with pooled(migrated.of(migrated.site), folder, mode="transaction") as uri:
        yield as_url(uri)


@pytest.mark.parametrize(
    "command",
    [
        ("qcluster",),
        ("push_pending", "--inline"),
        ("compare_clients", "--all", "--inline"),
        ("migrate_clients", "--all", "--inline"),
        ("move_clients", "dual_read", "idom"),
        ("find_copies", "--all"),
    ],
    ids=lambda command: command[0],
)
def test_workers_and_commands_whose_locks_would_not_hold_say_so_and_do_nothing(
    migrated, shared, command
):
    before = migrated.ask("SELECT count(*) FROM nova_admin.migration_run")

    done = manage(*command, DATABASE_URL=shared)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CommandError: A pooler in transaction mode")
    assert "pool in session mode" in done.stderr
    assert migrated.ask("SELECT count(*) FROM nova_admin.migration_run") == before
    assert migrated.ask("SELECT count(*) FROM nova_admin.migration_worker") == [(0,)]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_the_site_itself_starts_behind_a_pool_in_session_mode_only(migrated, tmp_path, mode):
    with pooled(migrated.of(migrated.site), tmp_path, mode=mode) as uri:
        done = subprocess.run(
            [sys.executable, "-c", "import nova_admin.wsgi"],
            check=False,
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": as_url(uri),
                "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            },
            capture_output=True,
            text=True,
        )

    if mode == "session":
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert "ImproperlyConfigured: A pooler in transaction mode" in done.stderr


def as_url(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}"
