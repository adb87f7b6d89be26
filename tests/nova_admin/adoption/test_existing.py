"""Sites of earlier releases that run already, as NOVA's own role: their tables are handed over, their keys kept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_admin.database.schema import CARRIED_OVER
from nova_admin.env_file import read_env_file
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.first_release.database import OLD_FUNCTION
from tests.first_release.load import SECRET_KEY
from tests.nova_admin.adoption.nova import PASSWORD, Nova, made_roles
from tests.upgrade.databases import load_first, load_kept

HAND_OVER = """
SELECT format('ALTER %s %s OWNER TO {owner}', kind, name) FROM (
    SELECT 'SCHEMA', nspname::text FROM pg_namespace WHERE nspname = 'nova_admin'
    UNION ALL SELECT 'TABLE', oid::regclass::text FROM pg_class
    WHERE relnamespace = ANY(ARRAY[to_regnamespace('nova_admin'), 'public'::regnamespace]) AND relkind = 'r'
    UNION ALL SELECT 'SEQUENCE', oid::regclass::text FROM pg_class
    WHERE relnamespace = to_regnamespace('nova_admin') AND relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i'))
    UNION ALL SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = ANY(ARRAY[to_regnamespace('nova_admin'), 'public'::regnamespace])
) AS found (kind, name)
"""
OWNERS = """
SELECT DISTINCT relnamespace::regnamespace::text, pg_get_userbyid(relowner)::text FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('nova_admin')) AND relkind = 'r' ORDER BY 1
"""

READ_FROM_POSTGRES = """
SELECT slug FROM clients c JOIN client_database_credentials d ON d.client_id = c.id
    JOIN nova_admin.migration_clientmigration m ON m.client_id = c.id
WHERE m.phase = 'dual_write' AND c.is_active AND d.is_primary LIMIT 1
"""


@contextmanager
def running_site(load, folder: Path) -> Iterator[Nova]:
    """A site of an earlier release that has one role with NOVA, and the file of settings that it had."""
    name = uuid4().hex[:12]
    with made_roles(name, os.environ["DATABASE_URL"]), nova_database.database() as uri:
        load(uri)
        nova = Nova(uri, name, folder / "site.env")
        nova.run(f"CREATE ROLE {nova.owner} LOGIN PASSWORD '{PASSWORD}'")
        nova.run(*(statement for (statement,) in nova.ask(HAND_OVER.format(owner=nova.owner))))
        parts = conninfo_to_dict(uri)
        nova.env_file.write_text(
            f"SECRET_KEY={SECRET_KEY}\nALLOWED_HOSTS=nova.example.com\nDATABASE_URL=postgresql://{nova.owner}:{PASSWORD}@/"
            f"{parts['dbname']}?host={parts['host']}&port={parts['port']}\nNOVA_ENVIRONMENT=staging\n"
        )
        yield nova


@pytest.mark.parametrize(
    ("load", "may_make_roles"),
    [
        (load_kept, True),
        *(
            pytest.param(*case, marks=pytest.mark.nightly)
            for case in ((load_first, True), (load_first, False), (load_kept, False))
        ),
    ],
)
def test_a_running_site_gets_a_role_of_its_own_and_keeps_its_keys(tmp_path, load, may_make_roles):
    with running_site(load, tmp_path) as nova:
        uri = nova.uri
        if may_make_roles:
            uri = nova.owner_uri
            ((database,),) = nova.ask("SELECT current_database()::text")
            nova.run(
                f"ALTER ROLE {nova.owner} CREATEROLE",
                f"GRANT CREATE ON DATABASE {database} TO {nova.owner}",
            )
            if load is load_first:  # who gets a table has to be allowed to make some there
                nova.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
        phases = "SELECT phase FROM {}.migration_clientmigration ORDER BY client_id"
        before = nova.ask(phases.format("public" if load is load_first else "nova_admin"))

        done = nova.adopt("--yes", "--admin", "ana", uri=uri)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count(f" OWNER TO {nova.site};") >= len(CARRIED_OVER) - 5
        settings = read_env_file(nova.env_file)
        assert (settings["SECRET_KEY"], settings["NOVA_ENVIRONMENT"]) == (SECRET_KEY, "staging")
        # They are derived from SECRET_KEY: other ones would make all that was signed look forged.
        assert not {"NOVA_AUDIT_KEY", "NOVA_FINGERPRINT_KEY"} & settings.keys()
        assert conninfo_to_dict(settings["DATABASE_URL"])["user"] == nova.site
        assert PASSWORD not in done.stdout + nova.env_file.read_text()
        assert nova.ask(OWNERS) == [("nova_admin", nova.site), ("public", nova.owner)]
        assert nova.ask("SELECT to_regprocedure(%s)", OLD_FUNCTION) == [(None,)]
        assert nova.ask(phases.format("nova_admin")) == before
        assert len(before) > 3
        check_reader(nova)

        again = nova.adopt(uri=uri)
        assert "OWNER TO" not in again.stdout


def check_reader(nova: Nova) -> None:
    """Check that NOVA's role reads as the reader does."""
    ((slug,),) = nova.ask(READ_FROM_POSTGRES)
    reader = Reader(nova.owner_uri, cache_seconds=0)
    try:
        assert reader.get_credential(slug, "database").db_password
    finally:
        reader.close()


@pytest.mark.nightly
def test_a_site_that_keeps_its_one_role_keeps_its_address(tmp_path):
    with running_site(load_kept, tmp_path) as nova:
        nova.run(f"GRANT CREATE ON SCHEMA public TO {nova.owner}")
        address = read_env_file(nova.env_file)["DATABASE_URL"]

        done = nova.adopt("--yes", "--shared-role", uri=nova.owner_uri)

        assert (done.returncode, done.stderr) == (0, "")
        assert read_env_file(nova.env_file)["DATABASE_URL"] == address
        assert "share the role" in done.stdout
        assert nova.ask(OWNERS) == [("nova_admin", nova.owner), ("public", nova.owner)]


PLANTED = {
    "CREATE TRIGGER own BEFORE INSERT ON nova_admin.migration_run EXECUTE FUNCTION own()": "trigger own on",
    "ALTER TABLE nova_admin.migration_run ALTER kind SET DEFAULT own_text()": "default value for column kind of",
    "CREATE RULE own AS ON INSERT TO nova_admin.auth_group DO ALSO NOTIFY own": "rule own on",
    "CREATE POLICY own ON nova_admin.auth_group": "policy own on",
    "CREATE FUNCTION nova_admin.own() RETURNS void LANGUAGE sql SECURITY DEFINER AS ''": "function nova_admin.own()",
}


def test_what_novas_role_put_among_the_sites_tables_is_told_before_they_are_handed_over(tmp_path):
    with running_site(load_kept, tmp_path) as nova:
        nova.run(
            "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE FUNCTION own_text() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
            *PLANTED,
        )
        before = nova.describe()

        done = nova.adopt("--yes")

        assert done.returncode == 1
        told = done.stderr.partition("this is not the site's, and would run as its role: ")[2]
        for each in PLANTED.values():
            assert each in told
        assert nova.describe() == before


def test_a_schema_that_novas_role_filled_is_no_sites(nova):
    nova.run(
        f"CREATE SCHEMA nova_admin AUTHORIZATION {nova.owner}",
        f"CREATE TABLE nova_admin.auth_user (id int); ALTER TABLE nova_admin.auth_user OWNER TO {nova.owner}",
    )
    done = nova.adopt("--yes", "--host", "nova.example.com")
    assert (done.returncode, "and no site is in it" in done.stderr) == (1, True)

    nova.run("DROP TABLE nova_admin.auth_user")
    done = nova.adopt("--host", "nova.example.com")
    assert (done.returncode, f"ALTER SCHEMA nova_admin OWNER TO {nova.site};" in done.stdout) == (
        0,
        True,
    )
