"""What adopt refuses, in one sentence, with nothing changed."""

import stat
from contextlib import closing
from io import StringIO

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nova_admin.adoption import database
from nova_admin.env_file import read_env_file
from nova_admin.management.commands.adopt import Command
from tests.migrated import migrated_nova_database
from tests.migration.core.aws_writes.servers import start_cluster, stop_cluster
from tests.nova_admin.adoption.nova import PASSWORD, Nova

HOST = ("--host", "nova.example.com")


def refuse(nova: Nova, *arguments: str, uri: str = "", code: int = 1, **environment: str) -> str:
    """Run adopt, which has to refuse and to leave everything as it is; return its sentence."""
    before = nova.describe()
    text = nova.env_file.read_bytes() if nova.env_file.exists() else None
    done = nova.adopt("--yes", *arguments, uri=uri, **environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr + done.stdout
    assert nova.describe() == before
    assert (nova.env_file.read_bytes() if nova.env_file.exists() else None) == text
    assert PASSWORD not in done.stderr + done.stdout
    return done.stderr


def test_a_database_that_is_not_novas(nova):
    nova.run("DROP TABLE client_email_credentials")
    assert "lacks tables of NOVA's: public.client_email_credentials." in refuse(nova, *HOST)


def test_a_role_that_owns_nothing(nova):
    nova.run(f"CREATE ROLE other_{nova.name} LOGIN")
    told = refuse(nova, *HOST, uri=make_conninfo(nova.uri, user=f"other_{nova.name}"))
    assert f"neither owns NOVA's tables nor is a superuser: {nova.owner} owns them" in told


def test_a_replica(nova, tmp_path):
    standby = start_cluster(tmp_path / "standby")
    stop_cluster(standby)
    (tmp_path / "standby" / "data" / "standby.signal").touch()
    standby.run()
    try:
        told = refuse(nova, *HOST, uri=standby.uri)
    finally:
        stop_cluster(standby)
    assert "This server is a replica" in told


def test_a_duplicate_of_a_sites_database(nova):
    with migrated_nova_database() as uri:
        copy = Nova(uri, nova.name, nova.env_file)
        copy.run("UPDATE nova_admin.migration_databaseclaim SET database_oid = database_oid + 1")
        # It was handed to nobody: as where one role was NOVA's and the site's.
        told = refuse(copy, *HOST, SECRET_KEY="s3cret-of-this-test-" + "0123456789abcdef" * 3)
    assert "This database is a duplicate" in told


def test_two_at_once(nova):
    with psycopg.connect(nova.uri) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [database.TURN])
        assert "Another adopt or uninstall is at work" in refuse(nova, *HOST)


def test_a_role_that_may_too_much_or_too_little(nova):
    roles = {
        "LOGIN SUPERUSER": "is a superuser",
        "NOLOGIN": "may not log in",
        "LOGIN CREATEROLE CREATEDB": "has CREATEROLE, has CREATEDB",
        "LOGIN BYPASSRLS REPLICATION": "has REPLICATION, has BYPASSRLS",
        f"LOGIN IN ROLE {nova.owner}": f"is a member of {nova.owner}",
        "LOGIN IN ROLE pg_read_all_data": "is a member of pg_read_all_data",
        "LOGIN VALID UNTIL '2020-01-01'": "has a password that is not valid any more",
    }
    for made, told in roles.items():
        nova.run(f"CREATE ROLE {nova.site} {made}")
        assert f"The role {nova.site} is there and {told}." in refuse(nova, *HOST)
        nova.run(f"DROP ROLE {nova.site}")


def test_a_role_whose_password_nobody_wrote_down_and_then_somebody_did(nova):
    nova.run(f"CREATE ROLE {nova.site} LOGIN")
    assert f"The role {nova.site} is there, and {nova.env_file} lacks its password." in refuse(
        nova, *HOST
    )

    nova.env_file.write_text(f"DATABASE_URL={make_uri(nova, nova.site)}\n")
    done = nova.adopt(*HOST)
    assert (done.returncode, done.stderr) == (0, "")
    assert "DATABASE_URL" in done.stdout.split("kept: ")[1].splitlines()[0]


def make_uri(nova: Nova, role: str, other: str = "") -> str:
    parts = psycopg.conninfo.conninfo_to_dict(nova.uri)
    return f"postgresql://{role}:x@/{other or parts['dbname']}?host={parts['host']}&port={parts['port']}"


def test_novas_own_role_unless_it_is_said(nova):
    told = refuse(nova, *HOST, "--site-role", nova.owner)
    assert f"{nova.owner} is NOVA's own role." in told


def test_a_site_that_belongs_to_a_third_role(nova):
    nova.run(
        f"CREATE ROLE third_{nova.name} LOGIN",
        f"CREATE SCHEMA nova_admin AUTHORIZATION third_{nova.name}",
    )
    told = refuse(nova, *HOST)
    assert f"its tables belong to the role third_{nova.name}: name it by --site-role" in told


def test_a_file_of_settings_that_cant_be_read(nova):
    files = {
        b"\xef\xbb\xbfPORT=1\n": "line 1, begins with a byte order mark",
        b"PORT=1\r\nBIND_ADDRESS=\r\n": "line 1, ends with CR LF",
        b"PORT=1\nSECRET_KEY='example-word\n": "line 2, opens a quote",
        b"PORT\n": "line 1, is not NAME=value",
    }
    for text, told in files.items():
        nova.env_file.write_bytes(text)
        said = refuse(nova, *HOST)
        assert told in said
        assert "example-word" not in said


def test_a_file_of_settings_of_another_database_or_role(nova):
    nova.env_file.write_text(f"DATABASE_URL={make_uri(nova, nova.site, 'other')}\n")
    assert "names another database" in refuse(nova, *HOST)

    nova.env_file.write_text(f"DATABASE_URL={make_uri(nova, 'somebody')}\n")
    assert "has the site connect as somebody: say --site-role somebody" in refuse(nova, *HOST)


def test_a_file_that_cant_be_written(nova):
    nova.env_file.mkdir()
    done = nova.adopt("--yes", *HOST)
    assert (done.returncode, "site.env can't be read (Is a directory)." in done.stderr) == (1, True)

    missing = nova.env_file / "no" / "such.env"
    done = nova.adopt("--yes", *HOST, "--env-file", str(missing))
    assert (done.returncode, "Nothing was changed" in done.stderr) == (1, True)
    assert nova.ask("SELECT to_regrole(%s)", nova.site) == [(None,)]


def test_a_site_whose_keys_are_not_there(nova):
    with migrated_nova_database() as uri:
        there = Nova(uri, nova.name, nova.env_file)
        assert "lacks SECRET_KEY, with which they were written" in refuse(there, *HOST)


def test_an_environment_that_lacks_something(nova):
    urls = {
        "": "DATABASE_URL is not set",
        f"postgres//nova:{PASSWORD}@x": "DATABASE_URL is not a PostgreSQL URI",
        f"postgresql://nova:{PASSWORD}@127.0.0.1:1/x": "does not answer",
    }
    for url, told in urls.items():
        assert told in refuse(nova, *HOST, code=2, DATABASE_URL=url)
    without_keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert "AWS credentials are not set" in refuse(nova, *HOST, code=2, **without_keys)


def test_hosts_that_are_none(nova):
    assert "--host is missing" in refuse(nova, code=2)
    assert "--host is no name of a host" in refuse(nova, "--host", "https://nova.example.com")


def test_tables_in_use_while_they_are_handed_over(nova, monkeypatch):
    monkeypatch.setattr(database, "PAUSE_SECONDS", 0)
    with (
        migrated_nova_database() as uri,
        psycopg.connect(uri) as other,
        closing(database.connect(uri)) as connection,
    ):
        other.execute("SELECT FROM nova_admin.migration_run")
        before = Nova(uri, nova.name, nova.env_file).describe()
        novas, former = (
            database.describe_database(connection),
            database.find_present_role(connection),
        )
        with pytest.raises(database.RefusedError, match="Tables of the site are in use"):
            database.prepare(connection, novas, nova.site, verifier="", former=former, keep=True)
        assert Nova(uri, nova.name, nova.env_file).describe() == before


def test_nothing_else_is_undone_where_the_patch_is_wrong(nova, tmp_path):
    (tmp_path / "nova").mkdir()
    planned = nova.adopt("--nova", str(tmp_path / "nova"))
    assert planned.returncode == 1
    assert "No patch for NOVA's code was made. requirements.txt is not in" in planned.stderr
    assert "CREATE ROLE" in planned.stdout


@pytest.mark.nightly
def test_what_others_may_read_is_for_its_owner_alone_afterwards(nova):
    nova.run(f"CREATE ROLE {nova.site} LOGIN")
    keys = {"SECRET_KEY": "0123456789abcdef" * 4, "NOVA_AUDIT_KEY": "fedcba9876543210" * 4}
    lines = [
        f"{name}={value}"
        for name, value in (keys | {"DATABASE_URL": make_uri(nova, nova.site)}).items()
    ]
    nova.env_file.write_text("\n".join(["# Ours.", *lines, ""]))
    nova.env_file.chmod(0o644)

    done = nova.adopt("--yes", *HOST)

    assert (done.returncode, done.stderr) == (0, "")
    settings = read_env_file(nova.env_file)
    assert settings | keys == settings
    assert (settings["ALLOWED_HOSTS"], len(settings["NOVA_FINGERPRINT_KEY"])) == (
        "nova.example.com",
        86,
    )
    assert nova.env_file.read_text().startswith("# Ours.\n")
    assert stat.S_IMODE(nova.env_file.stat().st_mode) == 0o600
    gone = nova.manage("uninstall", "--yes", NOVA_DATABASE_URL=nova.uri)
    assert (gone.returncode, gone.stderr) == (0, "")
    # The role was there before.
    assert nova.ask(
        "SELECT to_regrole(%s) IS NOT NULL, has_table_privilege(%s, 'clients', 'SELECT')",
        nova.site,
        nova.site,
    ) == [(True, False)]


def test_a_doctor_who_could_not_look_finds_nothing_well(monkeypatch):
    monkeypatch.setattr(Command, "_run", lambda *_arguments, **_options: "")
    command = Command(stdout=StringIO())

    command._run_doctor(None)

    assert command.stdout._out.getvalue() == (
        "The doctor could not look. Run manage.py doctor once that is put right.\n"
    )
