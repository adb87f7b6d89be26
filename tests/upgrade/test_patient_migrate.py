"""`migrate` waits briefly for a table that is in use, tries again, and says so where that was in vain."""

from __future__ import annotations

import threading
import time

import psycopg

from tests.checkout import manage
from tests.migrated import migrate, migrated_database

IN_USE = "LOCK TABLE nova_admin.migration_clientmigration IN ACCESS SHARE MODE"
# NOVA's reader, behind a `migrate` that waits for the same table.
READ = "SELECT phase FROM nova_admin.migration_clientmigration LIMIT 1"
LAYOUTS = """
SELECT count(*) FROM pg_attribute
WHERE attrelid = 'nova_admin.migration_clientmigration'::regclass AND attname = 'layout' AND NOT attisdropped
"""
# To wait for the other transaction's end would be to wait until the test ends it.
NOT_FOR_LONG = "SET lock_timeout = '5s'"


def test_a_table_that_is_in_use_keeps_nobody_waiting_and_migrate_goes_on_once_it_is_free():
    with migrated_database() as uri:
        migrate(uri, "migration", "0033")
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
            timer = threading.Timer(4, holder.rollback)
            timer.start()
            migrate(uri)
            timer.join()
            assert nova.execute(LAYOUTS).fetchone() == (1,)


def test_a_schema_migration_that_was_ended_between_its_steps_is_begun_again():
    with migrated_database() as uri:
        migrate(uri, "credentials", "0004")
        with psycopg.connect(uri, autocommit=True) as connection:
            # As after the first steps of 0034_layouts and credentials.0005: the columns are there, and no row says so.
            connection.execute(
                "ALTER TABLE nova_admin.credentials_clientrevision ADD pushed_at timestamptz;"
                "ALTER TABLE nova_admin.migration_run ADD layout varchar(16) DEFAULT '' NOT NULL;"
                "ALTER TABLE nova_admin.migration_clientmigration ADD layout varchar(16),"
                " ADD other_secrets varchar(8) DEFAULT '' NOT NULL, ADD other_secrets_since timestamptz"
            )

        migrate(uri)

        with psycopg.connect(uri) as connection:
            assert connection.execute(LAYOUTS).fetchone() == (1,)
