"""Keeps one server process per folder alive while any process uses it. Knows no PostgreSQL, no AWS.

POSIX record locks show which processes live. The kernel drops them with their process, after a kill -9 too; a later
process with the same pid doesn't have them, a changed clock doesn't affect them, and a fork doesn't inherit them.
"""

import fcntl
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict


class ServerInfo(TypedDict, total=False):
    """The announcement of a server: its process, and how it is reached."""

    pid: int
    port: int
    uri: str
    identity: str
    access_key: str


POLL_SECONDS = 1.0
HANDOVER_SECONDS = 10.0
_CHECKOUT = Path(__file__).resolve().parents[2]

# Record locks belong to a process, so its threads need a lock of their own.
_thread_lock = threading.Lock()
# The locked file by which this process counts as a user: run folder -> (pid, descriptor).
_memberships: dict[Path, tuple[int, int]] = {}


class SharedServerError(RuntimeError):
    """The server process of a folder did not start, or does not answer."""


class SharedServer:
    """The server process of one folder; its users call `join_or_start`, the process itself the other methods."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._run = folder / "run"
        self._users = self._run / "users"
        self._info = self._run / "info.json"
        self._start_lock = self._run / "start.lock"
        self._life_lock = self._run / "life.lock"

    def join_or_start(
        self, command: Sequence[str], *, ready: Callable[[ServerInfo], bool], timeout: float
    ) -> ServerInfo:
        """Count as a user until this process ends, start the server if none lives, and return its announcement.

        `command` are the Python arguments of the server; `ready` says whether the server that made this announcement
        answers. Raises SharedServerError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        self._make_folders()
        with _thread_lock:
            start_lock = self._wait_for_lock(self._start_lock, deadline)
            try:
                self._register_user(deadline)
                return self._find_or_spawn(command, ready, deadline)
            finally:
                os.close(start_lock)

    def become_server(self) -> None:
        """Become the folder's one server until this process ends.

        Raises SharedServerError where another one still lives after HANDOVER_SECONDS.
        """
        self._make_folders()
        self._life = self._wait_for_lock(self._life_lock, time.monotonic() + HANDOVER_SECONDS)
        self._info.unlink(missing_ok=True)

    def announce_info(self, info: ServerInfo) -> None:
        """Announce to the users how the server is reached."""
        fresh = self._info.with_suffix(".new")
        fresh.write_text(json.dumps(info))
        fresh.replace(self._info)

    def wait_until_unused(self, *, healthy: Callable[[], bool] = lambda: True) -> None:
        """Return once no user lives, the folder is gone, or `healthy` returns False.

        Where no user lives the start lock stays taken until this process ends, so that a new user waits for the end of
        this server instead of finding it half shut down.
        """
        while healthy() and os.fstat(self._life).st_nlink:
            try:
                start_lock = _try_lock(self._start_lock)
                if start_lock is not None:
                    if not self._has_users():
                        return
                    os.close(start_lock)
            except FileNotFoundError:
                return
            time.sleep(POLL_SECONDS)

    def _make_folders(self) -> None:
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._users.mkdir(mode=0o700, exist_ok=True)

    def _wait_for_lock(self, path: Path, deadline: float) -> int:
        while (descriptor := _try_lock(path)) is None:
            if time.monotonic() > deadline:
                raise SharedServerError(f"another process keeps {path} locked")
            time.sleep(0.05)
        return descriptor

    def _register_user(self, deadline: float) -> None:
        pid, descriptor = _memberships.get(self._run, (0, 0))
        if pid == os.getpid() and os.fstat(descriptor).st_nlink:
            return
        fresh = self._users / f"{os.getpid()}-{secrets.token_hex(4)}"
        _memberships[self._run] = (os.getpid(), self._wait_for_lock(fresh, deadline))

    def _has_users(self) -> bool:
        living = 0
        for user in self._users.iterdir():
            descriptor = _try_lock(user)
            if descriptor is None:
                living += 1
            else:
                user.unlink()
                os.close(descriptor)
        return living > 0

    def _find_or_spawn(
        self, command: Sequence[str], ready: Callable[[ServerInfo], bool], deadline: float
    ) -> ServerInfo:
        child: int | None = None
        while time.monotonic() < deadline:
            if self._server_lives():
                if (info := self._read_info()) is not None and ready(info):
                    return info
            elif child is None:
                self._info.unlink(missing_ok=True)
                child = self._spawn_server(command)
            elif _has_ended(child):
                raise SharedServerError(f"the server ended while it started; see {self.log}")
            time.sleep(0.02)
        raise SharedServerError(f"the server doesn't answer; see {self.log}")

    def _server_lives(self) -> bool:
        descriptor = _try_lock(self._life_lock)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def _read_info(self) -> ServerInfo | None:
        try:
            info: ServerInfo = json.loads(self._info.read_text())
        except FileNotFoundError:
            return None
        return info

    def _spawn_server(self, command: Sequence[str]) -> int:
        paths = [str(_CHECKOUT), os.environ.get("PYTHONPATH", "")]
        return os.posix_spawn(
            sys.executable,
            # A caller's PYTHONWARNINGS=error is meant for the caller's own code.
            [sys.executable, "-W", "ignore", *command],
            {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )


def _try_lock(path: Path) -> int | None:
    """Lock the file and return its descriptor, or None where another process has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        return None
    return descriptor


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:  # other code in this process has reaped it
        return True
