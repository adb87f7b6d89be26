"""Sets the conditions of an embedded AWS from another process: the HTTP endpoint and the functions that call it.

Imports nothing of moto, so that a command starts fast.
"""

import http.client
import json
import os
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from http import HTTPStatus
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nova_admin.embedded.conditions import Conditions, ConditionsMiddleware, Report
from nova_admin.embedded.faults import MAX_REFUSED_SECONDS
from nova_admin.embedded.http_server import LOOPBACK

PATH = "/conditions"


class NoEmbeddedAwsError(RuntimeError):
    """There is no embedded AWS at the endpoint."""


def get_conditions(endpoint: str) -> Report:
    """Return the server's report: its conditions and counts. Raises NoEmbeddedAwsError."""
    return _call_server(endpoint, "GET")


def set_conditions(endpoint: str, conditions: Conditions) -> Report:
    """Replace all conditions of the server and return its report; `Conditions()` clears them.

    Waits while the server refuses connections. Raises NoEmbeddedAwsError, and ValueError where a value is out of
    bounds.
    """
    return _call_server(endpoint, "PUT", json.dumps(asdict(conditions)))


def add_conditions_api(app: WSGIApplication, conditions: ConditionsMiddleware) -> WSGIApplication:
    """Return `app` with PATH added: GET answers with the report, PUT changes the conditions, then reports."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return app(environ, start_response)
        status, content = _handle_request(environ, conditions)
        body = json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return answer


def _handle_request(
    environ: WSGIEnvironment, conditions: ConditionsMiddleware
) -> tuple[HTTPStatus, Report | dict[str, str]]:
    if environ["REQUEST_METHOD"] == "PUT":
        try:
            given = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)))
            conditions.set(Conditions.from_json(given))
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
    elif environ["REQUEST_METHOD"] != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "GET or PUT"}
    return HTTPStatus.OK, conditions.report()


def _call_server(endpoint: str, method: str, body: str | None = None) -> Report:
    url = urlsplit(endpoint)
    if url.scheme != "http" or url.hostname != LOOPBACK or url.port is None:
        raise NoEmbeddedAwsError(f"{endpoint} is no embedded AWS")
    try:
        with closing(_connect_when_listening(url.port)) as connection:
            # The server of a folder answers its own key alone (`starting.py`).
            key = os.environ.get("AWS_ACCESS_KEY_ID", "")
            connection.request(method, PATH, body, {"Authorization": f"Credential={key}/"})
            answer = connection.getresponse()
            content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoEmbeddedAwsError(f"no embedded AWS answers at {endpoint}") from error
    if "__type" in content:  # AWS's form of an error
        raise NoEmbeddedAwsError(
            f"the embedded AWS at {endpoint} has another key than this process"
        )
    if answer.status == HTTPStatus.BAD_REQUEST:
        raise ValueError(content["error"])
    report: Report = content
    return report


def _connect_when_listening(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    deadline = time.monotonic() + MAX_REFUSED_SECONDS + 5
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return connection
