"""Serves a WSGI application on a loopback port, with connections kept open. Logs no request.

The standard library's and werkzeug's WSGI servers close after each answer, which defeats the
connection pool of boto3.
"""

import io
import logging
import socket
import socketserver
import sys
import threading
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
    """Context manager: answers in threads from enter to exit; at exit every connection closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.app = app
        self.port: int = self.server_address[1]
        self.base_environ = {"SERVER_NAME": LOOPBACK, "SERVER_PORT": str(self.port)}
        self._connections: set[Any] = set()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in tuple(self._connections):
            _close(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The standard one prints the exception, whose text may hold a value.
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            logger.error("A connection ended with %s", type(error).__name__)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    server: KeepAliveServer

    def handle(self) -> None:
        # WSGIRequestHandler's own handles one request and hangs up.
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def do_POST(self) -> None:  # noqa: N802 (the library finds it by this name)
        # Read whole, so that the next request starts where this one ends.
        body = io.BytesIO(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        # Tracebacks go to the third, which nobody reads: their text may hold a value.
        answer = _Answer(body, cast("IO[bytes]", self.wfile), io.StringIO(), self.get_environ())
        answer.run(self._app)

    do_GET = do_POST  # noqa: N815

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self.server.app(environ, start_response)
        except ConnectionError:  # made on purpose by a middleware
            self.close_connection = True
            raise

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: a log of requests helps nobody here."""


class _Answer(SimpleHandler):
    http_version = "1.1"


def _close(connection: socket.socket) -> None:
    with suppress(OSError):  # its client may have been faster
        connection.shutdown(socket.SHUT_RDWR)
