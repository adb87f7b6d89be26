"""No schema migration locks for long what NOVA's statements, or its reader's, wait for."""

from __future__ import annotations

import multiprocessing
import os

import psycopg
import pytest

from tests import nova_database
from tests.migrated import make_nova_tables
from tests.upgrade.schema_locks import LONG, run_migrations

PATIENCE_SECONDS = 300
FIRST_RELEASE = [("credentials", "0002_first_release"), ("migration", "0006_first_release")]


def test_no_schema_migration_makes_nova_wait_there_or_back():
    spawn = multiprocessing.get_context("spawn")
    answers, theirs = spawn.Pipe(duplex=False)
    with nova_database.database() as uri:
        with psycopg.connect(uri, autocommit=True) as connection:
            make_nova_tables(connection)
        surroundings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings", "DATABASE_URL": uri}
        process = spawn.Process(
            target=run_migrations,
            args=(theirs, os.environ | surroundings, FIRST_RELEASE),
            daemon=True,
        )
        process.start()
        theirs.close()
        try:
            assert answers.poll(PATIENCE_SECONDS)
            found, seen = answers.recv()
        finally:
            process.kill()
            process.join()

    assert not found, "\n".join(found)
    # It looks: these lock what the reader reads, for a moment.
    looked = "migration.0053_evidence_layouts_and_slugs migration_clientmigration"
    assert {looked, f"back from {looked}"} <= {*seen}


@pytest.mark.parametrize(
    ("statement", "is_long"),
    [
        ('ALTER TABLE "migration_run" ADD COLUMN "layout" varchar(16) NULL', False),
        ('ALTER TABLE "migration_run" ADD CONSTRAINT "x" CHECK ("a" > 1)', True),
        ('ALTER TABLE "migration_run" ADD CONSTRAINT "x" CHECK ("a" > 1) NOT VALID', False),
        ("\nUPDATE migration_run SET a = 1", True),
        ('CREATE INDEX "x" ON "migration_run" ("a")', True),
        ('INSERT INTO "django_migrations" ("app") VALUES (%s)', False),
        ("INSERT INTO migration_run SELECT 1", True),
        ("CREATE OR REPLACE TRIGGER x BEFORE INSERT ON y FOR EACH ROW EXECUTE FUNCTION z()", False),
    ],
)
def test_a_statement_that_takes_as_long_as_there_are_rows_is_known(statement, is_long):
    assert bool(LONG.match(statement)) is is_long
