"""Serves a WSGI application on a loopback port, with connections kept open. Logs no request.

The standard library's and werkzeug's WSGI servers close after each answer, which defeats the
connection pool of boto3.
"""

import io
import logging
import math
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


class KeepAliveServer(socketserver.ThreadingTCPServer):
    """A context manager that answers in threads from enter to exit; at exit every connection closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, app: WSGIApplication, port: int = 0) -> None:
        # This socket never listens: it keeps the port for us while connections are refused.
        self._port_holder = _bind_socket(port)
        self.port: int = self._port_holder.getsockname()[1]
        super().__init__((LOOPBACK, self.port), _RequestHandler, bind_and_activate=False)
        self.socket.close()
        self.app = app
        self.base_environ = {"SERVER_NAME": LOOPBACK, "SERVER_PORT": str(self.port)}
        self._connections: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        self._listen_lock = threading.RLock()
        self._listen_thread: threading.Thread | None = None
        self._refusing_until = math.inf  # before it is entered, and after its exit

    def __enter__(self) -> Self:
        with self._listen_lock:
            self._start_listening()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._listen_lock:
            self._refusing_until = math.inf
            self._stop_listening()
        self._port_holder.close()
        for connection in tuple(self._connections):
            _close_connection(connection)

    def listen_again(self) -> None:
        """Listen again, where refuse_connections has stopped it."""
        with self._listen_lock:
            if self._refusing_until < math.inf:
                self._start_listening()

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for this long; open ones stay."""
        with self._listen_lock:
            self._refusing_until = max(self._refusing_until, time.monotonic() + seconds)
            self._stop_listening()
        timer = threading.Timer(seconds, self._accept_if_due)
        timer.daemon = True
        timer.start()

    def _accept_if_due(self) -> None:
        with self._listen_lock:
            if self._refusing_until <= time.monotonic():  # not prolonged since
                self._start_listening()

    def _start_listening(self) -> None:
        self._refusing_until = 0.0
        if self._listen_thread is None:
            self.socket = _bind_socket(self.port)
            self.server_activate()
            self._listen_thread = threading.Thread(
                target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
            )
            self._listen_thread.start()

    def _stop_listening(self) -> None:
        if self._listen_thread is not None:
            self.shutdown()
            self._listen_thread.join()
            self._listen_thread = None
            self.server_close()

    def process_request(self, request: Any, client_address: object) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        if request in self._to_reset:
            self._to_reset.discard(request)
            # With a linger time of 0, closing sends a reset.
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def reset_when_handled(self, connection: socket.socket) -> None:
        """Reset the connection once its handler is done."""
        self._to_reset.add(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        # The standard library's method prints the exception, whose text may hold a value.
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            logger.error("A connection ended with %s", type(error).__name__)


class _RequestHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    server: KeepAliveServer

    def handle(self) -> None:
        # WSGIRequestHandler's own method handles one request and closes the connection.
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def do_POST(self) -> None:  # noqa: N802 (the library finds it by this name)
        # Read whole, so that the next request starts where this one ends.
        body = io.BytesIO(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        # Tracebacks go to the third argument, which nobody reads, as their text may hold a value.
        answer = _ResponseWriter(
            body, cast("IO[bytes]", self.wfile), io.StringIO(), self.get_environ()
        )
        answer.run(self._run_app)

    do_GET = do_PUT = do_POST  # noqa: N815

    def _run_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self.server.app(environ, start_response)
        except ConnectionError as error:  # raised on purpose by a middleware
            self.close_connection = True
            if isinstance(error, ConnectionResetError):
                self.server.reset_when_handled(self.connection)
            raise

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


class _ResponseWriter(SimpleHandler):
    http_version = "1.1"


def _close_connection(connection: socket.socket) -> None:
    with suppress(OSError):  # its client may have closed it already
        connection.shutdown(socket.SHUT_RDWR)


def _bind_socket(port: int) -> socket.socket:
    """Bind a socket to the port, or to a free one where it is 0; the port's holder and the listener share a port."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    bound.bind((LOOPBACK, port))
    return bound
