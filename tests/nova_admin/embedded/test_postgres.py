"""The embedded PostgreSQL: where it starts, what it keeps, and when it ends."""

import json
import os
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from nova_admin.embedded.postgres import MAX_SOCKET_FOLDER, choose_socket_folder
from tests.nova_admin.embedded.conftest import eventually

UNSAFE_AND_FAST = {"fsync": "off"}


def accepts(uri: str) -> bool:
    return pq.PGconn.ping(uri.encode()) == pq.Ping.OK


def execute(uri: str, statement: str):
    with psycopg.connect(uri, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def postmaster(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def test_processes_share_one_server_which_ends_after_the_last(folder, use):
    first = use("postgres", folder / "deep" / "down", settings=UNSAFE_AND_FAST)
    second = use("postgres", folder / "deep" / "down", settings=UNSAFE_AND_FAST)
    assert first.address == second.address
    assert execute(first.address, "SELECT upper('ñandú')") == [("ÑANDÚ",)]
    first.leave()
    assert not eventually(lambda: not accepts(second.address), seconds=2.5)
    second.leave()
    assert eventually(lambda: not accepts(second.address))


def test_data_survives_killed_users_and_a_killed_server(folder, use):
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    execute(user.address, "CREATE TABLE kept AS SELECT 1 AS one")
    user.kill()
    assert eventually(lambda: not accepts(user.address))
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    execute(user.address, "INSERT INTO kept VALUES (2)")
    os.kill(postmaster(folder), signal.SIGKILL)
    assert eventually(lambda: not accepts(user.address))
    again = use("postgres", folder, settings=UNSAFE_AND_FAST)
    assert again.address == user.address
    assert execute(again.address, "SELECT one FROM kept ORDER BY one") == [(1,), (2,)]


def test_a_server_that_is_to_keep_nothing_deletes_its_folder_once_it_is_unused(folder, use):
    user = use("postgres", folder / "data of a run", settings=UNSAFE_AND_FAST, keep=False)
    assert execute(user.address, "SELECT 1") == [(1,)]
    (folder / "data of a run" / "of others").mkdir()
    user.leave()
    assert eventually(lambda: not accepts(user.address))
    assert eventually(lambda: list(folder.iterdir()) == [])


@pytest.mark.nightly
def test_a_server_that_outlives_its_helper_is_taken_over(folder, use):
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    server = postmaster(folder)
    os.kill(json.loads((folder / "run" / "info.json").read_text())["pid"], signal.SIGKILL)
    again = use("postgres", folder, settings=UNSAFE_AND_FAST)
    assert postmaster(folder) == server
    assert execute(again.address, "SELECT 1") == [(1,)]
    user.kill()
    again.kill()
    assert eventually(lambda: not accepts(again.address))


@pytest.mark.nightly
def test_settings_are_those_of_the_latest_start(folder, use):
    shown = "SELECT current_setting('max_connections'), current_setting('application_name')"
    settings = {**UNSAFE_AND_FAST, "max_connections": "33", "application_name": "it's a \\ test"}
    user = use("postgres", folder, settings=settings)
    assert execute(user.address, shown) == [("33", "it's a \\ test")]
    user.leave()
    assert eventually(lambda: not accepts(user.address))
    user = use("postgres", folder, settings={**UNSAFE_AND_FAST, "max_connections": "44"})
    assert execute(user.address, shown) == [("44", "")]


@pytest.mark.nightly
def test_a_pid_that_another_process_has_now_is_no_running_server(folder, use):
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    pid_file = folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    user.leave()
    assert eventually(lambda: not pid_file.exists())
    pid_file.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    assert execute(user.address, "SELECT 1") == [(1,)]


def test_a_folder_may_have_any_name_and_the_log_has_no_value_of_a_failing_statement(folder, use):
    folder = folder / "a folder, with 'blanks'" / ("long" * 60)
    user = use("postgres", folder, settings=UNSAFE_AND_FAST)
    assert (folder / "data" / "PG_VERSION").exists()
    execute(user.address, "CREATE TABLE passwords (password text UNIQUE CHECK (password > 'm'))")
    for _ in range(2):
        with pytest.raises(psycopg.errors.IntegrityError):
            execute(
                user.address, "INSERT INTO passwords VALUES ('n-example-password-1'), ('example-2')"
            )
    log = (folder / "log").read_text()
    assert "violates check constraint" in log
    assert "example-" not in log


@pytest.mark.parametrize(
    ("data", "is_itself"),
    [("/short/data", True), ("/a b/data", False), ("/ñ/data", False), (f"/{'x' * 88}", False)],
)
def test_the_socket_folder_fits_into_a_socket_path(data, is_itself):
    folder = choose_socket_folder(Path(data))
    assert (folder == Path(data)) is is_itself
    assert len(bytes(folder)) <= MAX_SOCKET_FOLDER
    assert folder == choose_socket_folder(Path(data))
    assert folder != choose_socket_folder(Path(f"{data}2"))


def test_a_temporary_folder_that_is_no_place_for_a_socket_is_left_alone(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", f"/{'x' * 88}")
    assert choose_socket_folder(Path("/a b/data")).parent == Path("/tmp")
