"""Passwords, on a server that asks for them: made once, told by a verifier, never replaced."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nova_admin.env_file import read_env_file
from tests.migration.nova.readers.real_server import do_without, find_programs, running
from tests.nova_admin.adoption.nova import Nova, made_nova
from tests.nova_admin.adoption.test_ways_in_and_out import go_in_and_out

HOST = ("--host", "nova.example.com")
VERIFIER = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Path]]:
    """A server that logs every statement; its address, and the log."""
    programs = find_programs()
    if not programs:
        do_without()
    with running(programs[-1]) as uri:
        folder = Path(conninfo_to_dict(uri)["host"])
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        with psycopg.connect(uri, autocommit=True) as there:
            there.execute("ALTER SYSTEM SET log_statement = 'all'")
            there.execute("SELECT pg_reload_conf()")
        yield uri, folder / "log"


@pytest.fixture
def nova(tmp_path, server) -> Iterator[Nova]:
    with made_nova(tmp_path, server=server[0]) as made:
        yield made


def find_password(nova: Nova) -> str:
    return conninfo_to_dict(read_env_file(nova.env_file)["DATABASE_URL"])["password"]


def test_who_was_killed_after_the_file_was_written_goes_on_with_its_password_and_the_log_has_none(
    nova, server
):
    parts = conninfo_to_dict(nova.uri)
    nova.env_file.write_text(
        f"DATABASE_URL=postgresql://{nova.site}:example-made-before@/{parts['dbname']}"
        f"?host={parts['host']}&port={parts['port']}\n"
    )

    def check_verifier() -> None:
        assert nova.ask(VERIFIER, nova.site)[0][0].startswith("SCRAM-SHA-256$")

    go_in_and_out(nova, "superuser", check=check_verifier)

    assert find_password(nova) == "example-made-before"  # it has logged in with it
    log = server[1].read_text()
    assert f"CREATE ROLE {nova.site} LOGIN PASSWORD" in log
    assert "example-made-before" not in log


@pytest.mark.nightly
def test_a_role_with_another_password_keeps_it(nova):
    nova.run(f"CREATE ROLE {nova.site} LOGIN PASSWORD 'example-other-password'")
    verifier = nova.ask(VERIFIER, nova.site)
    parts = conninfo_to_dict(nova.uri)
    address = (
        f"postgresql://{nova.site}:%s@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    )
    nova.env_file.write_text(f"DATABASE_URL={address % 'example-wrong-password'}\n")

    done = nova.adopt("--yes", *HOST)
    assert done.returncode == 1
    assert (
        f"{nova.site} can't log in to the database with the DATABASE_URL of {nova.env_file}."
        in done.stderr
    )
    assert "example-" not in done.stderr + done.stdout
    assert nova.ask(VERIFIER, nova.site) == verifier

    settings = nova.env_file.read_text().replace("example-wrong-password", "example-other-password")
    nova.env_file.write_text(settings)
    done = nova.adopt("--yes", *HOST)
    assert (done.returncode, done.stderr) == (0, "")
    assert nova.ask(VERIFIER, nova.site) == verifier
