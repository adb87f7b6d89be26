"""Tells of each attempt of a call what became of it. Knows no secret: neither a request nor an answer's content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nova_credentials.aws.answers import ErrorClass, SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel
    from mypy_boto3_secretsmanager import SecretsManagerClient

OK = "ok"
# AWS's own form. Whatever else stands in the header, a proxy or somebody else may have put there.
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt of one call to AWS; each of botocore's retries is an attempt of its own."""

    operation: str
    outcome: str  # OK, or an `ErrorClass`
    code: str  # AWS's, or the class of botocore's error; empty for OK
    request_id: str  # by which CloudTrail and AWS's support find it; empty where no answer came


def observe_attempts(client: SecretsManagerClient, observe: Callable[[Attempt], None]) -> None:
    """Have `observe` called after each attempt that was sent, in the thread that sent it."""
    from botocore.exceptions import BotoCoreError

    def after_attempt(
        response: tuple[object, Mapping[str, Any]] | None,
        operation: OperationModel,
        caught_exception: Exception | None = None,
        **_: object,
    ) -> None:
        if response is not None:
            observe(_describe_answer(operation.name, response[1]))
        elif isinstance(caught_exception, BotoCoreError):
            code = type(caught_exception).__name__
            observe(Attempt(operation.name, ErrorClass.UNAVAILABLE.value, code, ""))
        # Anything else was raised before it was sent: this site may not write now.

    client.meta.events.register_first("needs-retry.secrets-manager", after_attempt)


def _describe_answer(operation: str, body: Mapping[str, Any]) -> Attempt:
    facts = body.get("ResponseMetadata", {})
    named = str(facts.get("RequestId", ""))
    request_id = named if _REQUEST_ID.fullmatch(named) else ""
    status = facts.get("HTTPStatusCode", 200)
    code = str(body.get("Error", {}).get("Code", ""))
    if not code and status < 300:
        return Attempt(operation, OK, "", request_id)
    error = SecretsManagerError.from_code(code or str(status), operation, "", status=status)
    # A proxy's page can say anything in place of a code.
    known = code if re.fullmatch(r"[A-Za-z]{1,80}", code) else f"HTTP {status}"
    return Attempt(operation, error.error_class.value, known, request_id)
