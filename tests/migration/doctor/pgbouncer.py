"""A real PgBouncer in front of the tests' PostgreSQL. CI installs it; see `.ci/run`."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits,options
"""


def do_without() -> None:
    """Skips the test, or fails it where CI has installed PgBouncer."""
    if os.environ.get("REQUIRE_PGBOUNCER"):
        pytest.fail("there is no pgbouncer: apt-get install pgbouncer")
    pytest.skip("there is no pgbouncer: apt-get install pgbouncer")


@contextmanager
def pooled(
    uri: str, folder: Path, *, mode: str, size: int = 10, login: tuple[str, str] | None = None
) -> Iterator[str]:
    """The same database through a PgBouncer of that mode, by its URI.

    `login`: the one user, with its password, that PgBouncer knows, from a file; else everybody is the URI's.
    """
    if not PGBOUNCER:
        do_without()
    parts = conninfo_to_dict(uri)
    # With `auth_type = any` every login of the pool is this one role.
    host, port, listen = parts["host"], parts["port"], free_port()
    text = CONFIGURATION.format(host=host, port=port, listen=listen, mode=mode, size=size)
    path, users = folder / "pgbouncer.ini", folder / "users.txt"
    users.write_text(f'"{login[0]}" "{login[1]}"\n' if login else "")
    if login:
        text = text.replace("auth_type = any", f"auth_type = scram-sha-256\nauth_file = {users}")
    else:
        text = text.replace("* =", f"{parts['dbname']} = user={parts['user']}", 1)
    path.write_text(text)
    for file in (path, users):
        file.chmod(0o644)
    # PgBouncer refuses to be root, and the socket's folder is open to PostgreSQL's user alone.
    user = pwd.getpwuid(Path(host).stat().st_uid).pw_name
    for above in (folder, *folder.parents[:3]):
        if os.geteuid() == 0:
            above.chmod(above.stat().st_mode | 0o011)
    process = subprocess.Popen(
        [PGBOUNCER, "-q", *(["-u", user] if os.geteuid() == 0 else []), str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        user, password = login or (parts["user"], None)
        given = make_conninfo(
            "",
            host="127.0.0.1",
            port=listen,
            user=user,
            password=password,
            dbname=parts["dbname"],
        )
        wait_for(given)
        yield given
    finally:
        process.kill()
        process.wait()


def wait_for(uri: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(uri, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
