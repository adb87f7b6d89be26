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
def pooled(uri: str, folder: Path, *, mode: str, size: int = 10) -> Iterator[str]:
    """The same database through a PgBouncer of that mode, by its URI."""
    if not PGBOUNCER:
        do_without()
    parts = conninfo_to_dict(uri)
    # With `auth_type = any` every login of the pool is this one role.
    host, port, listen = parts["host"], parts["port"], free_port()
    text = CONFIGURATION.format(host=host, port=port, listen=listen, mode=mode, size=size)
    text = text.replace("* =", f"{parts['dbname']} = user={parts['user']}", 1)
    path = folder / "pgbouncer.ini"
    path.write_text(text)
    path.chmod(0o644)
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
        given = make_conninfo(
            "", host="127.0.0.1", port=listen, user=parts["user"], dbname=parts["dbname"]
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
