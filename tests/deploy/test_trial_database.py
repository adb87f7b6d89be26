"""The trial's database, on a real PostgreSQL: a role each for NOVA and the site, and what check_nova says of it."""

import json
import os
import secrets
import subprocess

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_credentials.reader.routing import Reader
from tests.checkout import ROOT, manage
from tests.migrated import migrated_database
from tests.migration.nova.readers.real_server import do_without, find_programs, running

# No AWS and no worker are there, and nobody has searched for copies.
NOT_HERE = {"copies_found", "no_worker", "pending_versions", "workers_idle"}
COLUMNS = """
SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' AND table_name LIKE 'client%'
ORDER BY table_name, ordinal_position
"""


@pytest.fixture(scope="module")
def server():
    programs = find_programs()
    if not programs:
        do_without()
    with running(programs[-1]) as uri:
        yield uri


@pytest.fixture(scope="module")
def trial(server) -> str:
    """The trial's database on the server; its URI, as a superuser."""
    with psycopg.connect(server, autocommit=True) as there:
        there.execute("CREATE DATABASE trial")
        # As in compose.yaml: statements within functions are not counted, as `running` has them counted.
        there.execute("ALTER DATABASE trial SET pg_stat_statements.track = 'top'")
    uri = server.replace("/postgres?", "/trial?")
    # As the image of PostgreSQL runs it.
    environment = os.environ | {"POSTGRES_USER": "postgres", "POSTGRES_DB": "trial"}
    environment |= {"POSTGRES_PASSWORD": "not asked for", "PGHOST": conninfo_to_dict(uri)["host"]}
    made = subprocess.run(
        [ROOT / "deploy/trial_database.sh"], env=environment, capture_output=True, check=False
    )
    assert (made.returncode, made.stderr) == (0, b"")
    return uri


def list_columns(uri: str) -> list[tuple[object, ...]]:
    with psycopg.connect(uri) as there:
        return there.execute(COLUMNS).fetchall()


def test_in_a_trial_check_nova_asks_for_the_readers_rights_and_then_for_nothing(trial):
    site, nova = (trial.replace("postgres@", f"{role}@") for role in ("nova_site", "nova"))
    environment = {"DATABASE_URL": site, "SECRET_KEY": secrets.token_urlsafe(64), "DEBUG": "1"}
    environment |= {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}
    done = manage("migrate", "--no-color", "-v0", **environment)
    assert done.returncode == 0, done.stderr

    def examine() -> dict[str, list[str]]:
        told = json.loads(manage("check_nova", "--format", "json", **environment).stdout)
        return {each["check"]: each["statements"] for each in told if not each["ok"]}

    asked = examine()
    assert asked.keys() == {"reader_lacks_rights", "readers_gone"} | NOT_HERE
    with psycopg.connect(site, autocommit=True) as there:
        for statement in asked["reader_lacks_rights"]:
            there.execute(statement)
    with psycopg.connect(nova, autocommit=True) as there:
        there.execute("INSERT INTO clients (id, name, slug) VALUES (1, 'Idom', 'idom')")
        there.execute(
            "INSERT INTO client_database_credentials"
            " (client_id, db_host, db_name, db_user, db_password_encrypted)"
            " VALUES (1, 'db.example', 'd', 'u', 'example-password-1')"
        )
    reader = Reader(nova, cache_seconds=0)
    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    reader.close()

    assert examine().keys() == NOT_HERE


def test_novas_tables_in_a_trial_are_those_that_migrate_makes(trial):
    found = list_columns(trial)

    assert len(found) > 25
    with migrated_database() as made:
        assert found == list_columns(made)
