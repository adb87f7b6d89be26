"""Starts the embedded AWS, a strict Secrets Manager, for one process or for all processes of a checkout.

A folder has one server: don't open an AwsServer on a folder that `start_server` uses.
"""

import argparse
import hmac
import http.client
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nova_admin.embedded.conditions import ConditionsMiddleware
from nova_admin.embedded.conditions_api import add_conditions_api
from nova_admin.embedded.http_server import LOOPBACK, KeepAliveServer
from nova_admin.embedded.identity import add_caller_identity
from nova_admin.embedded.shared_server import ServerInfo, SharedServer

START_SECONDS = 60.0
HEALTH_PATH = "/health"

Middleware = Callable[[WSGIApplication], WSGIApplication]


class RunningServer(NamedTuple):
    """How a server is reached: it answers nobody who signs with another access key id, but for STS's one call."""

    endpoint: str
    access_key: str


def start_server(folder: Path) -> RunningServer:
    """Start the folder's one server, unless it runs, and say how it is reached; it ends soon after its last user.

    Each process that called this is a user until it ends, however it ends. Its forks are not: a fork that may outlive
    it calls this too. Raises SharedServerError where no server comes up.
    """
    folder = folder.expanduser().resolve()
    info = SharedServer(folder).join_or_start(
        ("-m", "nova_admin.embedded.aws", "--folder", str(folder)),
        ready=_is_answering,
        timeout=START_SECONDS,
    )
    return RunningServer(_make_endpoint(info["port"]), info["access_key"])


class AwsServer:
    """The embedded AWS, served by threads of this process; a context manager.

    Without a folder it keeps nothing. `conditions` sets delays, quotas and faults. `wrap` puts a WSGI middleware
    behind them, where ConnectionAbortedError drops the connection and ConnectionResetError resets it. With an
    `access_key` whoever signs with another id is refused; without one, as in most tests, everybody is answered.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        wrap: Middleware = lambda app: app,
        access_key: str = "",
        port: int = 0,
    ) -> None:
        # moto takes a third of a second to import, and `start_server` doesn't need it.
        from nova_admin.embedded.service import (  # noqa: PLC0415
            SecretFiles,
            SecretsManagerService,
        )

        self.identity = secrets.token_hex(16)
        self._service = SecretsManagerService(SecretFiles(folder / "secrets") if folder else None)
        self.conditions = ConditionsMiddleware(wrap(self._service))
        app = add_conditions_api(self.conditions, self.conditions)
        if access_key:
            app = _require_access_key(app, access_key)
        self._http = KeepAliveServer(
            _add_health_check(add_caller_identity(app), self.identity), port
        )
        self.conditions.listener = self._http
        self.port = self._http.port
        self.endpoint = _make_endpoint(self.port)

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.conditions.clear()
        self._http.__exit__(kind, error, traceback)

    def reset(self) -> None:
        """Forget every secret, those in the folder too, and clear the conditions."""
        self.conditions.clear_conditions_and_counts()
        self._service.forget_secrets()


def main() -> None:
    """Serve the folder until its last user is gone; this is the process that `start_server` spawns.

    With a port: until it is told to end, for whoever signs with the AWS_ACCESS_KEY_ID of the environment.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int)
    folder, port = parser.parse_args().folder, parser.parse_args().port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if port:
        with AwsServer(folder, access_key=os.environ["AWS_ACCESS_KEY_ID"], port=port):
            while True:
                signal.pause()
    lifetime = SharedServer(folder)
    lifetime.become_server()
    access_key = f"EMBEDDED{secrets.token_hex(8).upper()}"  # in the letters of AWS's own
    with AwsServer(folder, access_key=access_key) as server:
        lifetime.announce_info(
            {
                "pid": os.getpid(),
                "port": server.port,
                "identity": server.identity,
                "access_key": access_key,
            }
        )
        lifetime.wait_until_unused()


def _make_endpoint(port: int) -> str:
    _bypass_proxies()
    return f"http://{LOOPBACK}:{port}"


def _bypass_proxies() -> None:
    """Keep boto3 from using the machine's HTTP proxy for the loopback interface."""
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if LOOPBACK not in direct.split(","):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{direct},{LOOPBACK}".lstrip(",")


def _add_health_check(app: WSGIApplication, identity: str) -> WSGIApplication:
    """Answer the health check in front of everything, so that faults made on purpose don't look like a dead server."""
    body = json.dumps({"identity": identity}).encode()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != HEALTH_PATH:
            return app(environ, start_response)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{HTTPStatus.OK.value} {HTTPStatus.OK.phrase}", headers)
        return [body]

    return answer


def _require_access_key(app: WSGIApplication, access_key: str) -> WSGIApplication:
    """Refuse, as AWS refuses an unknown key, what isn't signed with this id: any user of the machine finds the port.

    The signature itself is not checked: only processes that were given the id know it.
    """
    body = json.dumps(
        {
            "__type": "UnrecognizedClientException",
            "message": "The access key id is not this server's.",
        }
    ).encode()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        signed = re.search(r"Credential=([^/]*)/", environ.get("HTTP_AUTHORIZATION", ""))
        if signed and hmac.compare_digest(signed[1].encode(), access_key.encode()):
            return app(environ, start_response)
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Content-Length", str(len(body))),
        ]
        start_response(f"{HTTPStatus.BAD_REQUEST.value} {HTTPStatus.BAD_REQUEST.phrase}", headers)
        return [body]

    return answer


def _is_answering(info: ServerInfo) -> bool:
    """Say whether the announced server answers, and not another one that got its port."""
    connection = http.client.HTTPConnection(LOOPBACK, info["port"], timeout=5)
    try:
        connection.request("GET", HEALTH_PATH)
        health = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return bool(health["identity"] == info["identity"])


if __name__ == "__main__":
    main()
