"""Owns the faults of AWS: their names, the rules by which they are injected, and AWS's answers to them.

Knows no server. A rule says when its fault is injected: with a probability, for a number of calls, for some seconds,
for certain operations.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from random import Random
from typing import Any

AwsAnswer = dict[str, object]
MAX_SECONDS = 3600.0
# While connections are refused other processes can't change the conditions, and a process that starts waits a minute
# for the server.
MAX_REFUSED_SECONDS = 30.0
MAX_HOLD_SECONDS = 60.0

_ENCRYPTS = {"CreateSecret", "PutSecretValue", "UpdateSecret"}
_DECRYPTS = {"GetSecretValue", "BatchGetSecretValue"}


class Fault(StrEnum):
    """A fault that can be injected into a call."""

    THROTTLED = "throttled"
    INTERNAL = "internal"
    DENIED = "denied"
    EXPIRED = "expired"
    KMS = "kms"  # only for calls that encrypt or decrypt a value
    DOWN = "down"  # AWS answers that it is unavailable
    REFUSED = "refused"  # connections are refused
    RESET = "reset"  # the connection is reset, and the call isn't done
    TIMEOUT = "timeout"  # the call is done, and the answer comes after the client's time-out
    LOST = "lost"  # the call is done, and the connection closes before the answer


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """The rule by which a fault is injected. Without `calls` and `seconds` it lasts until the conditions change."""

    fault: Fault
    probability: float = 1.0
    calls: int | None = None
    seconds: float | None = None
    operations: tuple[str, ...] = ()
    hold_seconds: float = 10.0  # the delay of a TIMEOUT's answer

    def __post_init__(self) -> None:
        longest = MAX_REFUSED_SECONDS if self.refuses_all else MAX_SECONDS
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be from 0 to 1")
        if self.calls is not None and self.calls < 0:
            raise ValueError("calls can't be negative")
        if self.seconds is not None and not 0 <= self.seconds <= longest:
            raise ValueError(f"seconds of {self.fault} must be from 0 to {longest:g}")
        if not 0 <= self.hold_seconds <= MAX_HOLD_SECONDS:
            raise ValueError(f"hold_seconds must be from 0 to {MAX_HOLD_SECONDS:g}")

    @property
    def refuses_all(self) -> bool:
        """Say whether every connection is refused from the start to the end of the rule."""
        always = self.probability == 1 and self.calls is None and not self.operations
        return self.fault == Fault.REFUSED and self.seconds is not None and always

    def applies_to(self, operation: str) -> bool:
        if self.fault == Fault.KMS and operation not in _ENCRYPTS | _DECRYPTS:
            return False
        return not self.operations or operation in self.operations


def mixed_rules(
    share: float, faults: Iterable[Fault] = Fault, **rule: Any
) -> tuple[FaultRule, ...]:
    """Make rules that together inject faults into `share` of the calls, each fault as often."""
    kinds = tuple(faults)
    return tuple(FaultRule(fault=kind, probability=share / len(kinds), **rule) for kind in kinds)


class FaultInjector:
    """Draws the fault of each call. The same seed gives the same draws; callers keep threads apart."""

    def __init__(
        self,
        rules: Iterable[FaultRule],
        *,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._random = Random(seed)  # noqa: S311 (repeatable on purpose)
        self._clock = clock
        now = clock()
        self._rules = [
            _ActiveRule(
                rule,
                left=math.inf if rule.calls is None else rule.calls,
                until=math.inf if rule.seconds is None else now + rule.seconds,
            )
            for rule in rules
        ]

    def draw_rule(self, operation: str) -> FaultRule | None:
        """Draw once for all rules, so that their probabilities add up; return the rule that applies, if any."""
        chance = self._random.random()
        for live in self._applicable_rules(operation):
            if chance < live.rule.probability:
                live.left -= 1
                return live.rule
            chance -= live.rule.probability
        return None

    def _applicable_rules(self, operation: str) -> Iterator["_ActiveRule"]:
        now = self._clock()
        for live in self._rules:
            if live.left > 0 and now < live.until and live.rule.applies_to(operation):
                yield live


@dataclass
class _ActiveRule:
    rule: FaultRule
    left: float
    until: float


_ANSWERS = {
    Fault.THROTTLED: (HTTPStatus.BAD_REQUEST, "ThrottlingException", "Rate exceeded"),
    Fault.INTERNAL: (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "InternalServiceError",
        "An error on the side of the service.",
    ),
    Fault.DENIED: (
        HTTPStatus.BAD_REQUEST,
        "AccessDeniedException",
        "No identity-based policy allows this action.",
    ),
    Fault.EXPIRED: (
        HTTPStatus.BAD_REQUEST,
        "ExpiredTokenException",
        "The security token of the request is expired.",
    ),
    Fault.DOWN: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "The service can't answer now.",
    ),
}


def make_answer_unless_silent(
    fault: Fault, operation: str, body: bytes
) -> tuple[HTTPStatus, AwsAnswer] | None:
    """Return AWS's answer to a call with this fault; None where AWS doesn't answer."""
    if fault == Fault.KMS:
        return _kms_answer(operation, body)
    if fault not in _ANSWERS:
        return None
    status, code, message = _ANSWERS[fault]
    return status, {"__type": code, "message": message}


def _kms_answer(operation: str, body: bytes) -> tuple[HTTPStatus, AwsAnswer]:
    code = "EncryptionFailure" if operation in _ENCRYPTS else "DecryptionFailure"
    message = "The KMS key of the secret can't be used."
    if operation == "BatchGetSecretValue":
        # A batch succeeds as a whole, and has an error for each secret in it.
        ids = json.loads(body or b"{}").get("SecretIdList") or []
        errors = [{"SecretId": name, "ErrorCode": code, "Message": message} for name in ids]
        return HTTPStatus.OK, {"SecretValues": [], "Errors": errors}
    return HTTPStatus.BAD_REQUEST, {"__type": code, "message": message}
