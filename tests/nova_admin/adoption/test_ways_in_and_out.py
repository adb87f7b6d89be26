"""Adopted and uninstalled, the catalogues are what they were: as a superuser, with few rights, with one role."""

import re
import shutil
import stat
import subprocess
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nova_admin.env_file import KEYS, read_env_file
from tests.migration.nova.readers.real_server import do_without, find_programs, running
from tests.nova_admin.adoption.nova import PASSWORD, Nova, made_nova

# By these statements NOVA's owner may: nothing; make the schema; make roles too.
RIGHTS = {
    "managed": (),
    "shared": ("GRANT CREATE ON DATABASE {database} TO {owner}",),
    "creator": ("GRANT CREATE ON DATABASE {database} TO {owner}", "ALTER ROLE {owner} CREATEROLE"),
    "superuser": (),
}
HOST = ("--host", "nova.example.com:8443")
# How AWS is reached, and by which proxy, goes into the settings.
REACHED = {"AWS_CA_BUNDLE": "/etc/ssl/own.pem", "HTTPS_PROXY": "http://proxy.example:3128"}
COUNTED = "SELECT count(*) FROM nova_admin.credentials_clientwrite"


def give(nova: Nova, way: str) -> str:
    """Give NOVA's owner what it may on this way; return NOVA's address there."""
    ((database,),) = nova.ask("SELECT current_database()::text")
    nova.run(*(each.format(database=database, owner=nova.owner) for each in RIGHTS[way]))
    return nova.uri if way == "superuser" else nova.owner_uri


def run_as_somebody_else(nova: Nova, file) -> None:
    """Run the statements as an administrator of the server does, who was told the password."""
    password = psycopg.conninfo.conninfo_to_dict(read_env_file(nova.env_file)["DATABASE_URL"])[
        "password"
    ]
    assert password not in file.read_text()
    if psql := shutil.which("psql"):
        # Without a terminal psql reads what it asks for here.
        ran = subprocess.run(
            [psql, "--no-psqlrc", "--dbname", nova.uri, "--file", file],
            input=f"{password}\n{password}\n", capture_output=True, text=True, check=False,
            start_new_session=True,
        )  # fmt: skip
        assert (ran.returncode, "ERROR" in ran.stderr) == (0, False), ran.stderr
        return
    lines = re.sub(
        r"^CREATE ROLE (\S+) LOGIN;\n\\password \1$",
        rf"CREATE ROLE \1 LOGIN PASSWORD '{password}';",
        file.read_text(), flags=re.MULTILINE,
    ).splitlines()  # fmt: skip
    nova.run("\n".join(line for line in lines if line[:1] not in "\\-"))


@pytest.fixture(scope="module")
def debians_server():
    programs = find_programs()
    if not programs:
        do_without()
    with running(programs[0]) as uri:
        yield uri


# The others do and print what is part of this one, and of a superuser's way (test_passwords.py).
NIGHTLY = [pytest.param(way, marks=pytest.mark.nightly) for way in ("shared", "creator")]


@pytest.mark.parametrize("way", ["managed", *NIGHTLY])
def test_what_adopt_made_is_there_and_after_uninstall_nothing_is(nova, way):
    go_in_and_out(nova, way)


@pytest.mark.nightly
def test_the_same_with_the_roles_of_an_older_postgresql(tmp_path, debians_server):
    with made_nova(tmp_path, server=debians_server) as nova:
        go_in_and_out(nova, "creator")


def go_in_and_out(nova: Nova, way: str, check: Callable[[], None] = lambda: None) -> None:
    """Adopt and uninstall; `check` asks something more of the database in between."""
    uri = give(nova, way)
    shared = ("--shared-role",) if way == "shared" else ()
    before, rows = (
        nova.describe(),
        nova.ask("SELECT * FROM client_database_credentials ORDER BY id"),
    )
    text = nova.env_file.read_text() if nova.env_file.exists() else None

    planned = nova.adopt(*shared, uri=uri)
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.splitlines()[-1].startswith("Nothing was changed.")
    assert nova.describe() == before
    assert (nova.env_file.read_text() if nova.env_file.exists() else None) == text

    done = nova.adopt(
        "--yes", *HOST, "--admin", "ana", *shared, uri=uri,
        **{name.replace("HTTPS_PROXY", "https_proxy"): value for name, value in REACHED.items()},
    )  # fmt: skip
    if way == "managed":
        assert done.returncode == 1
        assert "run adopt again" in done.stderr
        assert nova.describe() == before
        run_as_somebody_else(nova, nova.env_file.parent / "adopt.sql")
        text = nova.env_file.read_text()
        done = nova.adopt("--yes", "--admin", "ana", uri=uri)
        assert nova.env_file.read_text() == text
    assert (done.returncode, done.stderr) == (0, "")
    settings = read_env_file(nova.env_file)
    password = psycopg.conninfo.conninfo_to_dict(settings["DATABASE_URL"])["password"]
    assert (password == PASSWORD) == (way == "shared")
    shown = planned.stdout + done.stdout
    assert not [
        name
        for name in (*KEYS, "AWS_SECRET_ACCESS_KEY")
        if settings[name] and settings[name] in shown.split()
    ]
    assert password not in shown
    assert (settings["ALLOWED_HOSTS"], len({settings[key] for key in KEYS})) == (
        "nova.example.com",
        3,
    )
    assert settings["CSRF_TRUSTED_ORIGINS"] == "https://nova.example.com:8443"
    assert {name: settings[name] for name in REACHED} == REACHED
    assert stat.S_IMODE(nova.env_file.stat().st_mode) == 0o600
    link = re.search(r"https://nova\.example\.com:8443/admin/login/link/\d+-\S{43}/", done.stdout)
    assert link
    assert nova.ask("SELECT username, is_superuser FROM nova_admin.auth_user") == [("ana", False)]
    check_site_and_reader(nova, settings["DATABASE_URL"], way)
    check()

    if way in ("superuser", "creator"):
        check_again(nova, uri, *(("--yes",) if way == "creator" else ()))

    owner = nova.uri if way == "managed" else uri
    gone = nova.manage("uninstall", "--yes", NOVA_DATABASE_URL=owner)
    assert (gone.returncode, gone.stderr) == (0, "")
    assert nova.describe() == before
    assert nova.ask("SELECT * FROM client_database_credentials ORDER BY id") == rows


def check_again(nova: Nova, uri: str, *yes: str) -> None:
    """Check that a second run has nothing to change."""
    written, there = nova.env_file.read_text(), nova.describe()

    again = nova.adopt(*yes, *HOST, uri=uri)

    assert (again.returncode, again.stderr) == (0, "")
    assert ("nothing, all is there" in again.stdout) == (uri == nova.uri)
    assert "(for its owner alone) stays as it is." in again.stdout
    assert (nova.env_file.read_text(), nova.describe()) == (written, there)


def check_site_and_reader(nova: Nova, site: str, way: str) -> None:
    """Check that the site's role owns its schema, writes are counted, and NOVA's role reads what the reader reads."""
    owner = nova.owner if way == "shared" else nova.site
    assert nova.ask(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'nova_admin'"
    ) == [(owner,)]
    nova.run("UPDATE clients SET description = 'x' WHERE id = 1", uri=nova.owner_uri)
    assert nova.ask(COUNTED, uri=nova.owner_uri) == [(1,)]
    assert nova.ask("SELECT nova_admin.writes_are_counted()", uri=nova.owner_uri) == [(True,)]
    assert nova.ask("SELECT slug FROM clients ORDER BY id", uri=site) == [("idom",), ("acme",)]
    attributes = (
        "SELECT rolsuper OR rolcreaterole AND rolname <> %s FROM pg_roles WHERE rolname = %s"
    )
    assert nova.ask(attributes, nova.owner, owner) == [(False,)]
    may = "SELECT pg_has_role(%s, %s, 'USAGE')"
    if way != "shared":
        assert nova.ask(may, nova.site, nova.owner) == [(False,)]
        assert nova.ask(may, nova.owner, nova.site) == [(False,)]
    with psycopg.connect(make_conninfo(site)) as connection:
        assert connection.execute("SHOW log_parameter_max_length").fetchone() == (
            ("0" if way in ("superuser", "managed") else "-1"),
        )
