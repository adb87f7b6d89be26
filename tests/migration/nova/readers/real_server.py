"""A PostgreSQL with the real pg_stat_statements, where the machine has one: Debian's `postgresql` brings it."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import pq

from nova_admin.embedded import run_while_parent_lives

START_SECONDS = 300
# Another one than Debian's, by its folder of programs.
OTHER = os.environ.get("NOVA_TEST_POSTGRES_BIN", "")
LIBRARY = "pg_stat_statements.so"
NOT_HERE = "no PostgreSQL here has pg_stat_statements: apt-get install postgresql"


def find_programs() -> list[Path]:
    """The folder of programs of each PostgreSQL on this machine that has the extension."""
    debians = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = [folder for folder in debians if (folder.parent / "lib" / LIBRARY).exists()]
    return [Path(OTHER), *found] if OTHER else found


def do_without() -> None:
    """Skips the test, or fails it where CI has installed PostgreSQL."""
    if os.environ.get("REQUIRE_PG_STAT_STATEMENTS"):
        pytest.fail(NOT_HERE)
    pytest.skip(NOT_HERE)


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """The URI of an empty server that counts its statements, those within functions too."""
    folder = Path(tempfile.mkdtemp(prefix="nova-statistics-"))
    as_user = choose_user(folder)
    data, settings = folder / "data", {"fsync": "off", "listen_addresses": ""}
    settings |= {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "all",
    }
    settings |= {"unix_socket_directories": str(folder), "jit": "off"}
    subprocess.run(
        [programs / "initdb", "-D", data, "--username=postgres", "--auth=trust", "--no-sync"],
        check=True,
        capture_output=True,
        **as_user,
    )
    held = [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid())]
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [sys.executable, "-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"]
    if as_user:
        command = ["setpriv", f"--reuid={as_user['user']}", f"--regid={as_user['group']}"]
        command += ["--clear-groups"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*held, *command, str(programs / "postgres"), "-D", str(data), *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    uri = f"postgresql://postgres@/postgres?host={folder}&port=5432"
    try:
        wait_for(uri, folder / "log")
        yield uri
    finally:
        process.terminate()
        process.wait(run_while_parent_lives.STOP_SECONDS + 5)
        shutil.rmtree(folder)


def choose_user(folder: Path) -> dict[str, Any]:
    """PostgreSQL doesn't run as root: then somebody else owns the folder."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": folder}


def wait_for(uri: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while pq.PGconn.ping(uri.encode()) != pq.Ping.OK:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
