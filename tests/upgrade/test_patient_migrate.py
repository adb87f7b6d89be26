"""`migrate` waits briefly for a table that is in use, tries again, and says so where that was in vain."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.checkout import manage
from tests.migrated import migrate, migrated_database

IN_USE = "LOCK TABLE nova_admin.migration_clientmigration IN ACCESS SHARE MODE"
# NOVA's reader, behind a `migrate` that waits for the same table.
READ = "SELECT phase FROM nova_admin.migration_clientmigration LIMIT 1"
LAYOUTS = """
SELECT count(*) FROM pg_attribute
WHERE attrelid = 'nova_admin.migration_clientmigration'::regclass AND attname = 'layout' AND NOT attisdropped
"""
WAITS = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE datname = current_database() AND NOT granted
"""
# To wait for the other transaction's end would be to wait until the test ends it.
NOT_FOR_LONG = "SET lock_timeout = '5s'"


def test_a_table_that_is_in_use_keeps_nobody_waiting_and_migrate_goes_on_once_it_is_free():
    with migrated_database() as uri:
        migrate(uri, "migration", "0052")
        with psycopg.connect(uri) as holder, psycopg.connect(uri, autocommit=True) as nova:
            holder.execute(IN_USE)
            done = []
            migrating = threading.Thread(
                target=lambda: done.append(manage("migrate", "--no-color", DATABASE_URL=uri))
            )
            migrating.start()
            nova.execute(NOT_FOR_LONG)
            while migrating.is_alive():
                nova.execute(READ)  # fails where it waits for longer
                time.sleep(0.01)
            migrating.join()
            assert done[0].returncode == 1
            assert "in use by a transaction that does not end" in done[0].stderr
            assert "Traceback" not in done[0].stderr
            assert nova.execute(LAYOUTS).fetchone() == (0,)

            # It ends while the next one tries.
            with ThreadPoolExecutor(1) as other:
                running = other.submit(migrate, uri)
                while nova.execute(WAITS).fetchone() == (0,):
                    assert not running.done()
                    time.sleep(0.005)
                holder.rollback()
                running.result()
            assert nova.execute(LAYOUTS).fetchone() == (1,)


# Ends itself by SIGKILL before the statement that has this text, or a parameter of it.
KILLED = r"""
import os, signal
from django.core.management import call_command
from django.db import connection
def end(execute, sql, params, many, context):
    if %r in f"{sql} {params}":
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(sql, params, many, context)
with connection.execute_wrapper(end):
    call_command("migrate", verbosity=0)
"""
# Of those that are not one transaction: the first one behind each of their steps.
STEPS = (
    "UPDATE credentials_clientrevision AS kept SET pushed_at",
    "UPDATE migration_clientmigration AS kept",
    "DELETE FROM migration_readcount",
    'ALTER TABLE "migration_readcount" VALIDATE CONSTRAINT',
    "CREATE INDEX IF NOT EXISTS client_secret_slug",
    "INSERT INTO migration_clientmigration AS kept",
    "0015_readable_times",  # between two of the names that are recorded
)
# As one that nobody ended makes them.
MADE = """
SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'nova_admin'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT conrelid::regclass::text, conname || convalidated FROM pg_constraint
WHERE connamespace = 'nova_admin'::regnamespace
UNION ALL SELECT tablename::text, indexname::text FROM pg_indexes WHERE schemaname = 'nova_admin'
UNION ALL SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT app, name FROM nova_admin.django_migrations
"""


@pytest.mark.nightly
def test_a_schema_migration_that_was_ended_between_its_steps_is_begun_again():
    with migrated_database() as uri:
        with psycopg.connect(uri) as connection:
            whole = sorted(connection.execute(MADE).fetchall())
        migrate(uri, "credentials", "0004")

        for step in STEPS:
            done = manage("shell", "-v", "0", "-c", KILLED % step, DATABASE_URL=uri)
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (step, done.stderr)
        migrate(uri)

        with psycopg.connect(uri) as connection:
            assert sorted(connection.execute(MADE).fetchall()) == whole
