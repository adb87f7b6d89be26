"""Holds the web server's worker, which gives a request to a thread once it has come whole. Knows no page.

gunicorn's own has a thread wait for what a client sends, for as long as the client likes: a dozen that send a byte now
and then would be the whole site. Here requests are gathered in memory beside the threads, and have a deadline.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.http.body import ChunkedReader
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from nova_admin.environment import SERVER_VARIABLES, Environment

# In which a request has to come whole, from its connection on, or from the first byte on one that was kept open; and in
# which a client has to take the next piece of an answer.
SECONDS = float(Environment(**SERVER_VARIABLES)("REQUEST_SECONDS"))
# A head is some kilobytes, and an import the largest body; the page for it says what is too large before this does.
MOST_HEAD, MOST_BODY = 64 * 1024, 32 * 1024 * 1024
# What is gathered in one process, and what waits for a thread or is with one. A request of less than MOST_HEAD always
# finds room.
MOST_TOGETHER = 128 * 1024 * 1024
# With more that are not whole yet, the one that has been at it longest gives way.
MOST_GATHERED = 500
PIECE = 8192
# So much of an answer the system keeps at once, in twice as much memory (it may allow less): no thread waits for a
# client who is slow to read a page or a static file.
ANSWER_AT_ONCE = 512 * 1024
# A client who takes less of an answer in a second is waited for SECONDS in all, however often it takes a piece.
SLOWEST = 16 * 1024
NO_FILES_LEFT = (errno.EMFILE, errno.ENFILE)


@dataclass
class Gathering:
    """A request as far as it has come."""

    ends_at: float
    received: bytearray = field(default_factory=bytearray, repr=False)
    # Where the body begins; 0 while the head isn't whole.
    body_at: int = 0
    # None: it comes in chunks.
    length: int | None = None
    looked_at: int = 0
    wants_continue: bool = False

    @property
    def is_too_large(self) -> bool:
        return max(len(self.received) - self.body_at, self.length or 0) > MOST_BODY

    def find_end(self, cfg: Any, client: Any) -> int | None:
        """Return where the request ends, None if it isn't whole. Of one that is malformed, what came is the whole."""
        if not self.body_at and not self._read_head(cfg, client):
            return len(self.received) if len(self.received) > MOST_HEAD else None
        if self.length is None:
            return self._find_end_of_chunks()
        end = self.body_at + self.length
        return end if len(self.received) >= end else None

    def _read_head(self, cfg: Any, client: Any) -> bool:
        """Say whether the head is whole; note what gunicorn's own parser finds in it."""
        end = self.received.find(b"\r\n\r\n", max(0, self.looked_at - 3))
        self.looked_at = len(self.received)
        if end < 0:
            return False
        self.body_at = self.looked_at = end + 4
        try:
            request = next(RequestParser(cfg, [bytes(self.received[: self.body_at])], client))
        except Exception:  # noqa: BLE001  # whatever is wrong, the thread's parser finds it again and answers
            self.length = 0
            return True
        names = dict(request.headers)
        self.wants_continue = names.get("EXPECT", "").lower() == "100-continue"
        reader = request.body.reader
        self.length = None if isinstance(reader, ChunkedReader) else reader.length
        return True

    def _find_end_of_chunks(self) -> int | None:
        """Return the end of a body in chunks, going on where the last look ended."""
        while True:
            line_end = self.received.find(b"\r\n", self.looked_at, self.looked_at + PIECE)
            if line_end < 0:
                is_long = len(self.received) - self.looked_at > PIECE
                return len(self.received) if is_long else None
            line = bytes(self.received[self.looked_at : line_end])
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                return len(self.received)
            if size <= 0:
                end = self.received.find(b"\r\n\r\n", line_end)
                is_long = size < 0 or len(self.received) - line_end > MOST_HEAD
                return end + 4 if end >= 0 else len(self.received) if is_long else None
            chunk_end = line_end + 2 + size + 2
            if len(self.received) < chunk_end:
                return None
            self.looked_at = chunk_end


class GatheringWorker(ThreadWorker):
    """gunicorn's worker with threads, which gathers requests before it gives them to one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The oldest first.
        self._gathering: dict[TConn, Gathering] = {}
        # Bytes of requests that aren't whole, and of those that threads have or wait for.
        self._gathered = self._held = 0

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, and wait for its request beside the threads."""
        try:
            client_socket, client = listener.accept()
        except OSError as error:
            if error.errno in NO_FILES_LEFT:
                self._let_oldest_give_way()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        if len(self._gathering) >= MOST_GATHERED:
            self._let_oldest_give_way()
        own = ClientSocket(fileno=client_socket.detach())
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_AT_ONCE)
        conn = TConn(self.cfg, own, client, listener.getsockname())
        conn.initialized = True  # each request brings its parser
        self._begin(conn)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Gather the next request of a connection that was kept open."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        self._held -= conn.length
        conn.parser = (
            None  # what came of the request is freed while the connection waits for another
        )
        super().finish_request(conn, fs)
        if conn.rest and conn in self.keepalived_conns:
            self.poller.unregister(conn.sock)
            self.keepalived_conns.remove(conn)
            self._begin(conn, conn.rest)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for a second at most: deadlines are looked at in between, at the end of the worker too."""
        super().wait_for_and_dispatch_events(min(timeout, 1.0))

    def murder_pending(self) -> None:
        """End what is past its deadline, and at the end of the worker what has not begun."""
        super().murder_pending()
        now = time.monotonic()
        for conn, gathering in list(self._gathering.items()):
            if gathering.ends_at <= now:
                self._end(conn, "408 Request Timeout" if gathering.received else "")
            elif not self.alive and not gathering.received:
                self._end(conn)

    def _let_oldest_give_way(self) -> None:
        if self._gathering:
            self._end(next(iter(self._gathering)))
        else:  # all files are open elsewhere: whoever knocks is asked again by the next look
            time.sleep(0.01)

    def _begin(self, conn: TConn, rest: bytes = b"") -> None:
        gathering = Gathering(time.monotonic() + SECONDS)
        self._gathering[conn] = gathering
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
        if rest:
            self._take(conn, gathering, rest)

    def _receive(self, conn: TConn, client: socket.socket) -> None:
        gathering = self._gathering.get(conn)
        if gathering is None:
            return  # another event of this moment has ended it
        try:
            data = client.recv(MOST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(conn, gathering, data)
        else:
            self._end(conn)

    def _take(self, conn: TConn, gathering: Gathering, data: bytes) -> None:
        """Add what came to the request, and give it to a thread if it is whole now."""
        gathering.received += data
        self._gathered += len(data)
        asked_before = gathering.wants_continue
        end = gathering.find_end(self.cfg, conn.client)
        if gathering.is_too_large:
            self._end(conn, "413 Content Too Large")
        elif end is not None:
            self._forget(conn)
            conn.rest = bytes(gathering.received[end:])
            conn.length = end
            self._held += end
            pieces = cut(gathering.received[:end])
            conn.parser = RequestParser(self.cfg, pieces, conn.client)
            self.enqueue_req(conn)
        elif self._gathered + self._held > MOST_TOGETHER and len(gathering.received) > MOST_HEAD:
            self._end(conn, "503 Service Unavailable")
        elif gathering.wants_continue and not asked_before:
            with contextlib.suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _end(self, conn: TConn, status: str = "") -> None:
        """Close a connection whose request won't be whole, with this status if there is one."""
        self._forget(conn)
        if status:
            head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            with contextlib.suppress(OSError):
                conn.sock.send(head.encode())
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: TConn) -> None:
        self._gathered -= len(self._gathering.pop(conn).received)
        with contextlib.suppress(OSError, KeyError, ValueError):  # closed by the other side
            self.poller.unregister(conn.sock)


class ClientSocket(socket.socket):
    """A client's socket, on which a thread waits so long until the client takes an answer, and no longer.

    gunicorn sends files by it too, as `sendfile` is off: that would wait anew for each piece.
    """

    _sent, _waited = 0, 0.0

    def setblocking(self, flag: bool) -> None:
        """Begin an answer, or wait for nothing."""
        self._sent, self._waited = 0, 0.0
        self.settimeout(SECONDS if flag else 0.0)

    def send(self, data: Any, flags: int = 0) -> int:
        if self.gettimeout() == 0.0:
            return super().send(data, flags)
        left = SECONDS + max(0, self._sent - 2 * ANSWER_AT_ONCE) / SLOWEST - self._waited
        began = time.monotonic()
        with as_gone():
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            sent = super().send(data, flags)
        self._sent += sent
        self._waited += time.monotonic() - began
        return sent

    def sendall(self, data: Any, flags: int = 0) -> None:
        left = memoryview(data)
        while left:
            left = left[self.send(left, flags) :]


@contextlib.contextmanager
def as_gone() -> Iterator[None]:
    """Raise what gunicorn takes for a client that has gone away, in place of a time-out."""
    try:
        yield
    except TimeoutError:
        raise ConnectionResetError(errno.ECONNRESET, "the client takes no more") from None


def cut(received: bytearray) -> Iterator[bytes]:
    """Yield pieces, as gunicorn's parser copies what it is given for each kilobyte that it reads of it."""
    for at in range(0, len(received), PIECE):
        yield bytes(received[at : at + PIECE])
