"""Owns the faults of AWS: which there are, which strikes a call, and what AWS answers then.

Knows no server. A rule says when a fault strikes: with a probability, for a number of calls, for
some seconds, for certain operations.
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

MAX_SECONDS = 3600.0
# While nobody listens, the switches are out of reach of other processes, and a process that joins
# waits a minute for the server.
MAX_REFUSED_SECONDS = 30.0
MAX_HOLD_SECONDS = 60.0

_ENCRYPTS = {"CreateSecret", "PutSecretValue", "UpdateSecret"}
_DECRYPTS = {"GetSecretValue", "BatchGetSecretValue"}


class Fault(StrEnum):
    """What can happen to a call."""

    THROTTLED = "throttled"
    INTERNAL = "internal"
    DENIED = "denied"
    EXPIRED = "expired"
    KMS = "kms"  # strikes only what encrypts or decrypts a value
    DOWN = "down"  # AWS answers that it is unavailable
    REFUSED = "refused"  # nobody listens
    RESET = "reset"  # the connection is reset, and nothing was done
    TIMEOUT = "timeout"  # done, and the answer comes when the client has left
    LOST = "lost"  # done, and the connection closes before the answer


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """When a fault strikes. Without `calls` and `seconds`: until the conditions change."""

    fault: Fault
    probability: float = 1.0
    calls: int | None = None
    seconds: float | None = None
    operations: tuple[str, ...] = ()
    hold_seconds: float = 10.0  # how late the answer of a TIMEOUT is

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
        """Whether nobody listens from the start to the end of the rule, whoever calls."""
        always = self.probability == 1 and self.calls is None and not self.operations
        return self.fault == Fault.REFUSED and self.seconds is not None and always

    def applies_to(self, operation: str) -> bool:
        if self.fault == Fault.KMS and operation not in _ENCRYPTS | _DECRYPTS:
            return False
        return not self.operations or operation in self.operations


def mixed_rules(
    share: float, faults: Iterable[Fault] = Fault, **rule: Any
) -> tuple[FaultRule, ...]:
    """Rules by which `share` of the calls is struck, by each of the faults as often."""
    kinds = tuple(faults)
    return tuple(FaultRule(fault=kind, probability=share / len(kinds), **rule) for kind in kinds)


class FaultInjector:
    """Draws what strikes a call. The same seed strikes the same calls; callers keep threads apart."""

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
        """One draw for all rules, so that their probabilities add up."""
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


def answer_for(
    fault: Fault, operation: str, body: bytes
) -> tuple[HTTPStatus, dict[str, Any]] | None:
    """Return what AWS answers to a call that the fault struck; None where it doesn't answer."""
    if fault == Fault.KMS:
        return _kms_answer(operation, body)
    if fault not in _ANSWERS:
        return None
    status, code, message = _ANSWERS[fault]
    return status, {"__type": code, "message": message}


def _kms_answer(operation: str, body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
    code = "EncryptionFailure" if operation in _ENCRYPTS else "DecryptionFailure"
    message = "The KMS key of the secret can't be used."
    if operation == "BatchGetSecretValue":
        # A batch succeeds as a whole, and tells of each secret what was wrong with it.
        ids = json.loads(body or b"{}").get("SecretIdList") or []
        errors = [{"SecretId": name, "ErrorCode": code, "Message": message} for name in ids]
        return HTTPStatus.OK, {"SecretValues": [], "Errors": errors}
    return HTTPStatus.BAD_REQUEST, {"__type": code, "message": message}
