"""What keeps the site in NOVA's database, and what goes with it: each refused while NOVA would lose something."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from subprocess import CompletedProcess

import boto3
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_admin.adoption.database import (
    connect,
    describe_database,
    list_undoing,
    prepare,
    read_note,
    undo,
)
from tests.checkout import manage, manage_on_terminal
from tests.migrated import migrated_nova_database

AWS = "AWS_ENDPOINT_URL_SECRETS_MANAGER"
SITE_IS_THERE = "SELECT to_regnamespace('nova_admin') IS NOT NULL"
PHASE = """
INSERT INTO nova_admin.migration_clientmigration (client_id, phase, layout) VALUES ({}, '{}', 'client')
ON CONFLICT (client_id) DO UPDATE SET phase = excluded.phase
"""
RUN = """
INSERT INTO nova_admin.migration_run (kind, state, adopt, include_inactive, created_at, worked_at)
VALUES ('compare', 'running', false, false, now(), now())
"""
WORKER = "INSERT INTO nova_admin.migration_worker (name, started_at, seen_at) VALUES ('one.7', now(), now())"
TRIGGER = """
CREATE TRIGGER own AFTER INSERT ON public.client_credentials FOR EACH ROW EXECUTE FUNCTION nova_admin.count_write()
"""
OFFBOARDED = """
INSERT INTO nova_admin.migration_offboarding (client_id, slug, former_phase, state, reason, begun_at)
VALUES (4, 'many-04', 'dual_write', 'offboarded', '', now())
"""
ROTATION = """
INSERT INTO nova_admin.migration_rotation
    (client_id, slug, credential_type, step, outcome, version_id, begun_at, tried_at)
VALUES (5, 'many-05', 'database', 'begun', '', '', now(), now())
"""


@pytest.fixture
def uri() -> Iterator[str]:
    """A site with one role for NOVA and itself."""
    with migrated_nova_database() as made:
        yield made


def run(uri: str, *statements: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def ask(uri: str, query: str) -> list[tuple]:
    with psycopg.connect(uri) as connection:
        return connection.execute(query).fetchall()


def uninstall(uri: str, *arguments: str, **environment: str) -> CompletedProcess[str]:
    return manage("uninstall", *arguments, DATABASE_URL=uri, **environment)


STANDS_ON_IT = {
    "constraint notes_client_id_fkey on table public.notes": "CREATE TABLE public.notes"
    " (client_id bigint REFERENCES nova_admin.migration_run (id))",
    "rule _RETURN on view public.phases": "CREATE VIEW public.phases AS TABLE nova_admin.migration_clientmigration",
    "trigger own on table public.client_credentials": TRIGGER,
    "default value for column asked of table public.clients": "ALTER TABLE public.clients ADD asked boolean"
    " DEFAULT nova_admin.writes_are_counted()",
}


def test_it_stays_while_something_needs_it_and_all_reasons_are_told_at_once(uri):
    phases = ("dual_read", "aws", "purged", "purged", "dual_write")
    run(
        uri,
        "INSERT INTO clients (name, slug) SELECT n, 'many-' || to_char(n, 'FM00') FROM generate_series(3, 30) AS n",
        "INSERT INTO nova_admin.migration_clientmigration (client_id, phase) SELECT id, 'aws' FROM clients"
        " WHERE id > 5",
        *(PHASE.format(number, phase) for number, phase in enumerate(phases, 1)),
        OFFBOARDED,
        ROTATION,
        RUN,
        WORKER,
        *STANDS_ON_IT.values(),
    )

    done = uninstall(uri, "--yes")

    assert done.returncode == 1
    *reasons, others, last = done.stderr.splitlines()
    assert last == "CommandError: Nothing was removed."
    purged, aws, dual_read, *rest = reasons
    assert purged.endswith(
        "(phase purged): many-03. First: manage.py move_clients aws --all-in purged --inline"
    )
    assert aws.startswith(
        "NOVA reads 26 clients not from PostgreSQL alone (phase aws): acme, many-06, many-07,"
    )
    assert aws.endswith("many-24, …. First: manage.py move_clients dual_read --all-in aws --inline")
    assert dual_read.endswith(
        "(phase dual_read): idom. First: manage.py move_clients dual_write --all-in dual_read --inline"
    )
    for line, told in zip(
        rest,
        (
            "The rows of 1 client hold no values, as of who is offboarded: many-04.",
            "A rotation is not finished of 1 client: many-05.",
            "Runs are at work: 1. First: manage.py run stop",
            "Workers are alive: one.7.",
        ),
        strict=True,
    ):
        assert line.startswith(told)
    assert "stands on its tables: " in others
    assert [each in others for each in STANDS_ON_IT] == [True] * 4
    assert ask(uri, SITE_IS_THERE) == [(True,)]
    assert len(ask(uri, "SELECT FROM pg_trigger WHERE tgname LIKE 'nova_admin_count%'")) == 8


def test_shown_first_and_then_gone(uri):
    run(
        uri,
        PHASE.format(1, "dual_write"),
        "INSERT INTO nova_admin.client_aws_credentials (client_id, access_key_id,"
        " secret_access_key) VALUES (1, 'EXAMPLEKEY', 'example-secret-3')",
    )
    rows = ask(uri, "SELECT * FROM client_database_credentials ORDER BY id")

    shown = uninstall(uri)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "    AWS logins of clients, which are in no table of NOVA's: 1" in shown.stdout
    assert "example-secret-3" not in shown.stdout
    assert ask(uri, SITE_IS_THERE) == [(True,)]

    done = uninstall(uri, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert ask(uri, SITE_IS_THERE) == [(False,)]
    assert ask(uri, "SELECT FROM pg_trigger WHERE NOT tgisinternal") == []
    assert ask(uri, "SELECT * FROM client_database_credentials ORDER BY id") == rows
    run(uri, "UPDATE clients SET name = 'x'")

    again = uninstall(uri, "--yes")
    assert again.returncode == 1
    assert "has no site in the database" in again.stderr


def test_on_a_terminal_it_wants_the_databases_name(uri):
    name = conninfo_to_dict(uri)["dbname"]
    for typed, code, is_there in (("nova", 1, True), (name, 0, False)):
        with manage_on_terminal("uninstall", "--yes", columns=100, DATABASE_URL=uri) as terminal:
            terminal.wait_for("Type the database's name")
            terminal.press(f"{typed}\n".encode())
            terminal.process.join(60)
            assert terminal.process.exitcode == code

        assert ask(uri, SITE_IS_THERE) == [(is_there,)]


def test_a_client_that_is_purged_while_it_waits_for_the_name_keeps_the_site(uri):
    with manage_on_terminal("uninstall", "--yes", columns=100, DATABASE_URL=uri) as terminal:
        terminal.wait_for("Type the database's name")
        run(uri, PHASE.format(1, "purged"))
        terminal.press(f"{conninfo_to_dict(uri)['dbname']}\n".encode())
        terminal.process.join(60)
        code = terminal.process.exitcode

    assert (code, ask(uri, SITE_IS_THERE)) == (1, [(True,)])


@pytest.mark.nightly
def test_a_table_in_use_keeps_it_and_it_goes_on_afterwards(uri):
    with psycopg.connect(uri) as other:
        other.execute("SELECT FROM clients")
        done = uninstall(uri, "--yes")
    assert done.returncode == 1
    assert "A table is in use by a transaction that does not end." in done.stderr

    done = uninstall(uri, "--yes")
    assert (done.returncode, ask(uri, SITE_IS_THERE)) == (0, [(False,)])


@contextmanager
def secrets(aws, uri: str, names: list[str]) -> Iterator[Callable[[str], dict]]:
    """Secrets that the site knows as its own."""
    keys = {"aws_access_key_id": "embedded", "aws_secret_access_key": "embedded"}
    sm = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=aws.endpoint, **keys)
    for name in names:
        made = sm.create_secret(
            Name=name, SecretString="{}", Tags=[{"Key": "ManagedBy", "Value": "nova-admin"}]
        )
        run(
            uri,
            f"INSERT INTO nova_admin.migration_secret (client_id, name, arn, version_id, seen_at)"
            f" VALUES (1, '{name}', '{made['ARN']}', '{made['VersionId']}', now())",
        )
    yield lambda name: sm.describe_secret(SecretId=name)


def test_secrets_stay_unless_it_is_said(uri, aws):
    with secrets(aws, uri, ["nova/clients/idom", "nova/clients/gone"]) as describe:
        shown = uninstall(uri)
        assert "secrets in AWS, under nova/clients/: 2 (--schedule-deletion" in shown.stdout
        endpoint = {AWS: aws.endpoint}

        done = uninstall(uri, "--yes", "--schedule-deletion", **endpoint)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("will be deleted on") == 2
        assert "DeletedDate" in describe("nova/clients/idom")
        assert "DeletedDate" in describe("nova/clients/gone")
        assert ask(uri, SITE_IS_THERE) == [(False,)]


def test_without_aws_no_deletion_is_scheduled_and_the_site_stays(uri, aws):
    with secrets(aws, uri, ["nova/clients/idom"]):
        done = uninstall(uri, "--yes", "--schedule-deletion", **{AWS: "http://127.0.0.1:1"})

    assert done.returncode == 1
    assert "Not every deletion was scheduled, so nothing was removed." in done.stderr
    assert ask(uri, SITE_IS_THERE) == [(True,)]


@pytest.mark.nightly
def test_without_the_owners_address_the_statements_are_printed(nova):
    assert nova.adopt("--yes", "--host", "nova.example.com").returncode == 0
    before = nova.ask("SELECT rolname FROM pg_roles WHERE rolname = %s", nova.site)

    done = nova.manage("uninstall", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.split("This is left:")[1]
    left = [line.strip() for line in told.splitlines() if line.startswith("    ")]
    assert left[-1] == f"DROP ROLE {nova.site};"
    assert nova.ask("SELECT rolname FROM pg_roles WHERE rolname = %s", nova.site) == before
    nova.run(*left)
    assert nova.ask("SELECT rolname FROM pg_roles WHERE rolname = %s", nova.site) == []


@pytest.mark.nightly
def test_a_role_that_something_else_needs_stays(nova):
    assert nova.adopt("--yes", "--host", "nova.example.com").returncode == 0
    nova.run(f"CREATE TABLE own (id int); ALTER TABLE own OWNER TO {nova.site}")

    done = nova.manage("uninstall", "--yes", NOVA_DATABASE_URL=nova.uri)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"    DROP ROLE {nova.site};"
    assert nova.ask("SELECT count(*) FROM own") == [(0,)]


def test_what_the_role_had_before_stays_as_it_was(nova):
    ((database,),) = nova.ask("SELECT current_database()::text")
    nova.run(
        f"CREATE ROLE {nova.site} LOGIN",
        f"GRANT SELECT ON clients TO {nova.site}",
        f"ALTER ROLE {nova.site} IN DATABASE {database} SET log_parameter_max_length = 77",
        f"GRANT pg_read_all_stats TO {nova.site}",
    )
    before = nova.describe()
    with closing(connect(nova.uri)) as owner:
        prepare(owner, describe_database(owner), nova.site, verifier="", keep=True)
        assert nova.describe() != before

        undoing = list_undoing(owner, nova.site, read_note(owner), is_novas=False)
        owner.execute("DROP SCHEMA nova_admin CASCADE")
        assert undo(owner, undoing) == []

    assert nova.describe() == before


def test_an_owners_address_that_is_wrong_is_told(nova, uri):
    told = uninstall(uri, "--yes", NOVA_DATABASE_URL=nova.uri)
    assert (told.returncode, "names another database than the site's" in told.stderr) == (1, True)

    told = uninstall(uri, "--yes", NOVA_DATABASE_URL="postgresql://x:example-word@127.0.0.1:1/x")
    assert (told.returncode, "refuses this login" in told.stderr) == (1, True)
    assert "example-word" not in told.stderr
