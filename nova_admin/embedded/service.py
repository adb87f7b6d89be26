"""Answers the calls of Secrets Manager as a WSGI application, and keeps a file for each secret. Knows no socket."""

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.secretsmanager.exceptions import SecretsManagerClientError
from moto.secretsmanager.responses import SecretsManagerResponse

from nova_admin.embedded.backend import (
    Parameters,
    State,
    StrictBackend,
    StrictSecret,
    check_parameters,
)

ACCOUNT = "123456789012"

_READS = {
    "BatchGetSecretValue",
    "DescribeSecret",
    "GetRandomPassword",
    "GetResourcePolicy",
    "GetSecretValue",
    "ListSecretVersionIds",
    "ListSecrets",
}
_CHANGES = {
    "CreateSecret",
    "DeleteResourcePolicy",
    "DeleteSecret",
    "PutResourcePolicy",
    "PutSecretValue",
    "RemoveRegionsFromReplication",
    "ReplicateSecretToRegions",
    "RestoreSecret",
    "TagResource",
    "UntagResource",
    "UpdateSecret",
    "UpdateSecretVersionStage",
}
_WHILE_DELETED = {"DeleteSecret", "DescribeSecret", "ListSecretVersionIds", "RestoreSecret"}
_CREDENTIAL_REGION = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/secretsmanager/")

logger = logging.getLogger(__name__)


class _Call(SecretsManagerResponse):
    """One call in moto: it takes the parameters to the backend and makes the answer.

    moto itself first reads the body as a form, which would split a value that holds "&SecretId=".
    """

    def __init__(self, backend: StrictBackend, parameters: Parameters) -> None:
        super().__init__()
        self._backend = backend
        self._parameters = parameters

    @property
    def backend(self) -> StrictBackend:
        return self._backend

    def _get_param(self, param_name: str, if_none: object = None) -> Any:
        return self._parameters.get(param_name, if_none)

    def list_secret_version_ids(self) -> str:
        return self._backend.list_secret_version_ids(
            self._parameters["SecretId"],
            include_deprecated=self._parameters.get("IncludeDeprecated", False),
            max_results=self._parameters.get("MaxResults"),
            next_token=self._parameters.get("NextToken"),
        )


class SecretFiles:
    """The folder with a file for each secret; a state is a JSON object with account_id, region and name.

    A file is written whole under another name and then renamed, so a killed process leaves the old or the new state,
    never a part. There is no fsync: a power cut may lose the last writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load_states(self) -> Iterator[State]:
        """Read every state, in no order; raises ValueError that names a damaged file, not its content."""
        for path in self._folder.iterdir():
            if path.suffix == ".new":
                path.unlink()
            elif path.suffix == ".json":
                yield _read_state(path)

    def write_secret_state(self, state: State) -> None:
        path = self._path_of(state)
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(state, file)
        fresh.replace(path)

    def remove_state(self, state: State) -> None:
        self._path_of(state).unlink(missing_ok=True)

    def _path_of(self, state: State) -> Path:
        # A hash, because a name can be longer than a file name may be, and holds slashes.
        key = "/".join((state["account_id"], state["region"], state["name"]))
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _read_state(path: Path) -> State:
    try:
        state: State = json.loads(path.read_bytes())
    except ValueError:
        # "from None": a JSONDecodeError carries the whole text.
        raise ValueError(f"{path} is damaged; remove it to lose only this secret") from None
    return state


class SecretsManagerService:
    """A WSGI app that is Secrets Manager in all regions; secrets are in memory and, with `files`, on the disk."""

    def __init__(self, files: SecretFiles | None = None) -> None:
        self._files = files
        # A call holds it from start to end: the backend isn't thread-safe, and a change has to be on the disk before
        # another call sees it.
        self._lock = threading.Lock()
        self._backends: dict[str, StrictBackend] = {}
        self._load_secrets()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, text = self._answer_request(environ)
        body = text.encode()
        start_response(
            f"{status.value} {status.phrase}",
            [
                ("Content-Type", "application/x-amz-json-1.1"),
                ("Content-Length", str(len(body))),
                ("x-amzn-RequestId", str(uuid4())),
            ],
        )
        return [body]

    def forget_secrets(self) -> None:
        """Forget every secret, on the disk too."""
        with self._lock:
            for backend in self._backends.values():
                for secret in backend.secrets.values():
                    self._remove_state(vars(secret))
            self._backends.clear()

    def _answer_request(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, str]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        try:
            region = _read_region(environ)
            parameters = _read_parameters(environ)
            check_parameters(parameters)
            with self._lock:
                return HTTPStatus.OK, self._perform_operation(
                    self._backend_for(region), operation, parameters
                )
        except JsonRESTError as error:
            # AWS answers 400 where moto answers 404.
            return HTTPStatus.BAD_REQUEST, error.get_body()
        except Exception as error:  # noqa: BLE001 (any failure has to become an answer)
            # Only its class is logged, as its text and traceback may hold a value.
            logger.error("%s failed: %s", operation, type(error).__name__)  # noqa: TRY400
            failure = SecretsManagerClientError("InternalServiceError", "An error on our side.")
            return HTTPStatus.INTERNAL_SERVER_ERROR, failure.get_body()

    def _perform_operation(
        self, backend: StrictBackend, operation: str, parameters: Parameters
    ) -> str:
        if operation not in _READS | _CHANGES:
            raise SecretsManagerClientError(
                "UnknownOperationException", "The embedded AWS doesn't have this operation."
            )
        identifier = parameters.get("SecretId") or parameters.get("Name") or ""
        if operation not in _WHILE_DELETED:
            backend.refuse_deleted(identifier)
        method = getattr(_Call(backend, parameters), camelcase_to_underscores(operation))
        if operation in _READS:
            answer: str = method()
        else:
            with backend.secret_transaction(identifier):
                answer = method()
        return answer

    def _backend_for(self, region: str) -> StrictBackend:
        if region not in self._backends:
            self._backends[region] = StrictBackend(
                region,
                ACCOUNT,
                save=self._save_state,
                remove=self._remove_state,
                is_taken=self._is_taken,
            )
        return self._backends[region]

    def _is_taken(self, region: str, name: str) -> bool:
        return region in self._backends and name in self._backends[region].secrets

    def _load_secrets(self) -> None:
        states = self._files.load_states() if self._files else ()
        for state in sorted(states, key=lambda state: (state["created_date"], state["name"])):
            secret = StrictSecret.from_state(state)
            if secret.is_past_recovery():
                self._remove_state(state)
            else:
                self._backend_for(secret.region).secrets[secret.name] = secret

    def _save_state(self, state: State) -> None:
        if self._files:
            self._files.write_secret_state(state)

    def _remove_state(self, state: State) -> None:
        if self._files:
            self._files.remove_state(state)


def _read_region(environ: WSGIEnvironment) -> str:
    match = _CREDENTIAL_REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        raise SecretsManagerClientError(
            "MissingAuthenticationTokenException", "The request isn't signed for secretsmanager."
        )
    return match[1]


def _read_parameters(environ: WSGIEnvironment) -> Parameters:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    try:
        parameters = json.loads(environ["wsgi.input"].read(length))
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        raise SecretsManagerClientError("SerializationException", "The body is no JSON object.")
    return {name: value for name, value in parameters.items() if value is not None}
