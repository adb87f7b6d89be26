"""Stands in for Secrets Manager; a call takes as long with 100,000 secrets as with none.

The embedded AWS looks at every secret for each ListSecrets, and writes a file for each change: at 100,000 secrets the
study of growth would measure that. This one is a dictionary behind the embedded AWS's HTTP server. It knows the
operations of pushes, comparisons and moves, and no rule: no test may use it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen
from uuid import uuid4

from nova_admin.embedded.http_server import KeepAliveServer
from tests.hosts import RUN_WHILE_PARENT_LIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
CREATED_AT = 1_700_000_000
# Not AWS's: puts many secrets in, where it is not measured how they come there.
FILL = "Fill"
# Nor this: how many seconds each further call takes at least.
ROUND_TRIP = "RoundTrip"
NOT_FOUND = "ResourceNotFoundException"
TAGS = [{"Key": "Project", "Value": "NOVA"}, {"Key": "ManagedBy", "Value": "nova-admin"}]

Parameters = dict[str, Any]
Answer = dict[str, Any]


class NotThereError(Exception):
    """There is no such secret."""


class PlainSecrets:
    """Each secret's text and version, by name."""

    def __init__(self) -> None:
        self._secrets: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._round_trip = 0.0
        self.calls: dict[str, Callable[[Parameters], Answer]] = {
            "CreateSecret": lambda given: self._put(given["Name"], given),
            "PutSecretValue": lambda given: self._put(given["SecretId"], given),
            "GetSecretValue": lambda given: self._get(given["SecretId"]),
            "BatchGetSecretValue": self._get_many,
            "DescribeSecret": self._describe,
            "ListSecrets": self._list,
            FILL: self._fill,
            ROUND_TRIP: self._set_round_trip,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        given = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        time.sleep(self._round_trip)
        try:
            status, answer = "200 OK", self.calls[operation](given)
        except NotThereError:
            status, answer = "400 Bad Request", {"__type": NOT_FOUND, "message": "not there"}
        body = json.dumps(answer).encode()
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", str(uuid4())),
        ]
        start_response(status, headers)
        return [body]

    def _put(self, name: str, given: Parameters) -> Answer:
        version = given["ClientRequestToken"]
        with self._lock:
            self._secrets[name] = given["SecretString"], version
        return {
            "ARN": ARN + name,
            "Name": name,
            "VersionId": version,
            "VersionStages": ["AWSCURRENT"],
        }

    def _fill(self, given: Parameters) -> Answer:
        with self._lock:
            self._secrets |= {name: (text, version) for name, text, version in given["Secrets"]}
        return {}

    def _set_round_trip(self, given: Parameters) -> Answer:
        self._round_trip = given["Seconds"]
        return {}

    def _get(self, name: str) -> Answer:
        if name not in self._secrets:
            raise NotThereError
        text, version = self._secrets[name]
        return {
            "ARN": ARN + name, "Name": name, "VersionId": version, "SecretString": text,
            "VersionStages": ["AWSCURRENT"], "CreatedDate": CREATED_AT,
        }  # fmt: skip

    def _get_many(self, given: Parameters) -> Answer:
        asked = given["SecretIdList"]
        missing = [name for name in asked if name not in self._secrets]
        return {
            "SecretValues": [self._get(name) for name in asked if name in self._secrets],
            "Errors": [{"SecretId": name, "ErrorCode": NOT_FOUND} for name in missing],
        }

    def _describe(self, given: Parameters) -> Answer:
        found = self._get(given["SecretId"])
        return {
            "ARN": found["ARN"], "Name": found["Name"], "Tags": TAGS,
            "VersionIdsToStages": {found["VersionId"]: ["AWSCURRENT"]},
        }  # fmt: skip

    def _list(self, given: Parameters) -> Answer:
        """List the secrets of exactly these names: of the study's clients no name begins another."""
        (named,) = given["Filters"]
        found = [name for name in named["Values"] if name in self._secrets]
        return {"SecretList": [{"ARN": ARN + name, "Name": name} for name in found]}


def fill_aws(endpoint: str, secrets: list[tuple[str, str, str]]) -> None:
    """Put secrets in, each by name, text and version."""
    _ask(endpoint, FILL, {"Secrets": secrets})


def set_round_trip(endpoint: str, seconds: float) -> None:
    """Have each call from now on take so long at least."""
    _ask(endpoint, ROUND_TRIP, {"Seconds": seconds})


def _ask(endpoint: str, operation: str, given: Parameters) -> None:
    headers = {"X-Amz-Target": f"secretsmanager.{operation}", "Content-Type": "application/json"}
    with urlopen(Request(endpoint, json.dumps(given).encode(), headers)) as answer:
        answer.read()


@contextmanager
def plain_aws() -> Iterator[str]:
    """Run it in a process of its own, whose memory is not the caller's, and give its endpoint."""
    command = [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "-m", __name__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with KeepAliveServer(PlainSecrets()) as server:
        print(f"http://127.0.0.1:{server.port}", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
