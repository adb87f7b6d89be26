"""Stands between libpq and a server, and reads so many bytes from it and no more. Knows nothing of what they say.

libpq reads into a buffer that grows as long as the server sends, and holds the interpreter's lock while it does: it is
given a port of this machine instead, behind which a thread passes on what a judged address may send.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Self

from migration.core.outgoing import LoginFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from migration.core.outgoing import ByteLimitedSocket

RELAY_HOST = "127.0.0.1"
_PIECE = 16 * 1024
# A relay's thread ends as soon as its sockets are shut; who closes it waits no longer than this.
_END_SECONDS = 1.0


class Relay:
    """A port of this machine that leads to one server; a context manager. Sockets of `connect` are bounded.

    The first connection is made before anybody connects to the port, as its failure is the login's outcome.
    """

    def __init__(self, connect: Callable[[], ByteLimitedSocket]) -> None:
        self.is_overrun = False
        self._connect = connect
        self._server = connect()
        self._is_used = False
        self._listener = socket.create_server((RELAY_HOST, 0), backlog=1)
        self._thread = threading.Thread(target=self._serve, name="login-relay", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that leads to the server."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._listener, self._server):
            with contextlib.suppress(OSError):  # not connected any more
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(_END_SECONDS)
        self._listener.close()
        self._server.close()

    def _serve(self) -> None:
        """Take one connection after the other: libpq may try a server a second time, without TLS."""
        with contextlib.suppress(OSError, LoginFailedError):
            while True:
                client, _address = self._listener.accept()
                with client:
                    if self._is_used:
                        self._server = self._connect()
                    self._is_used = True
                    with contextlib.closing(self._server):
                        self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        piece = memoryview(bytearray(_PIECE))
        ways: tuple[tuple[socket.socket, socket.socket], ...] = (
            (client, self._server),
            (self._server, client),
        )
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for source, target in ways:
                ready.register(source, selectors.EVENT_READ, data=(source, target))
            while True:
                for key, _events in ready.select():
                    source, target = key.data
                    try:
                        size = source.recv_into(piece)
                    except LoginFailedError:
                        self.is_overrun = True
                        return
                    if not size:
                        return
                    target.sendall(piece[:size])
