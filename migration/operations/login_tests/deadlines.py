"""Owns the one deadline of a login: whatever socket is in use then is shut. Knows no protocol."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from migration.operations.login_tests.outcomes import LoginFailedError, LoginOutcome

if TYPE_CHECKING:
    from types import TracebackType


class Deadline:
    """The time by which a login, or a mail, has to be over, in seconds from now; a context manager.

    Once it has come, `require_seconds_left` raises, and the socket that `watch_socket` was given is shut, nothing else.

    The time-outs of sockets are for one read each: a server that sends a byte a second would never meet one.
    """

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._shut_watched)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._replace_watched(None)

    @property
    def is_over(self) -> bool:
        """Say whether the time is up."""
        return time.monotonic() >= self._ends_at

    def require_seconds_left(self) -> float:
        """Return the seconds that are left, more than none; raises `LoginFailedError` (timed out)."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise LoginFailedError(LoginOutcome.TIMED_OUT)
        return left

    def watch_socket(self, descriptor: int) -> None:
        """Shut this socket at the end, in place of the one before; its owner closes it."""
        # A second descriptor: TLS may wrap the first, and libpq close it, while the timer runs.
        self._replace_watched(socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM))

    def _replace_watched(self, watched: socket.socket | None) -> None:
        with self._lock:
            if self._watched:
                self._watched.close()
            self._watched = watched
        if watched and self.is_over:
            self._shut_watched()

    def _shut_watched(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # not connected any more
            if self._watched:
                self._watched.shutdown(socket.SHUT_RDWR)
