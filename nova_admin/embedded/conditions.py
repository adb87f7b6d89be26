"""Owns the conditions under which calls are answered: their delay, quotas and faults.

A WSGI middleware whose conditions can be changed while it runs. Knows no secret and no socket.
"""

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Protocol, Self, TypedDict
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nova_admin.embedded import faults
from nova_admin.embedded.faults import AwsAnswer, Fault, FaultInjector, FaultRule

MAX_ROUND_TRIP_SECONDS = 60.0
# After one call is refused by chance, connections are refused this long; a rule with `seconds` says its own time.
REFUSED_SECONDS = 0.1
_COUNTED = ("calls", "throttled", "failed")
# Calls a second for one account and region; the operations of a group share theirs.
PER_SECOND: dict[tuple[str, ...], int] = {
    ("GetSecretValue", "DescribeSecret"): 10_000,
    ("BatchGetSecretValue",): 100,
    ("ListSecrets",): 100,
    ("CreateSecret",): 50,
    ("DeleteSecret",): 50,
    ("RestoreSecret",): 50,
    ("GetRandomPassword",): 50,
    (
        *("PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"),
        *("ReplicateSecretToRegions", "RemoveRegionsFromReplication"),
    ): 50,
    ("TagResource", "UntagResource"): 50,
}
# AWS doesn't document its burst. A bucket of a whole second would let twice the quota through in the first second, and
# a run look faster than the quota; a much smaller one would throttle a caller that keeps to the quota and is late once.
# So a bucket holds half a second's calls.
BURST_SECONDS = 0.5

Clock = Callable[[], float]


class ListeningServer(Protocol):
    """The methods by which conditions make a server refuse new connections, and accept them again."""

    def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for this long."""

    def listen_again(self) -> None:
        """Accept connections again at once."""


class _NoListener:
    """A listener that does nothing, for use without a server."""

    def refuse_connections(self, seconds: float) -> None:
        """Do nothing."""

    def listen_again(self) -> None:
        """Do nothing."""


class Report(TypedDict):
    """The server's JSON answer: the conditions that hold, and the counts of calls and injected faults."""

    conditions: dict[str, object]
    calls: dict[str, dict[str, int]]
    injected: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions to set. By default there is no delay, no quota and no fault."""

    round_trip_seconds: float = 0.0
    quota_scale: float | None = None  # 1 for AWS's quotas, 0.1 for a tenth of them, None for none
    burst_seconds: float = BURST_SECONDS
    faults: tuple[FaultRule, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.round_trip_seconds <= MAX_ROUND_TRIP_SECONDS:
            raise ValueError(f"round_trip_seconds must be from 0 to {MAX_ROUND_TRIP_SECONDS:g}")
        if self.quota_scale is not None and not self.quota_scale > 0:
            raise ValueError("quota_scale must be above 0, or null for no quotas")
        if not self.burst_seconds >= 0:
            raise ValueError("burst_seconds can't be negative")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Make the conditions that JSON describes; raises ValueError with what is wrong."""
        try:
            rules = tuple(
                FaultRule(
                    **{
                        **rule,
                        "fault": Fault(rule["fault"]),
                        "operations": tuple(rule.get("operations") or ()),
                    }
                )
                for rule in given.get("faults") or ()
            )
            return cls(**{**given, "faults": rules})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are no conditions: {error}") from error


class ConditionsMiddleware:
    """Answers each call to an application under the conditions that are set."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        listener: ListeningServer | None = None,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._app = app
        self.listener = listener or _NoListener()
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._calls: dict[str, Counter[str]] = {}
        self._injected: Counter[Fault] = Counter()
        self._active = _ActiveConditions(Conditions(), clock)

    def set(self, conditions: Conditions) -> None:
        """Replace all conditions at once: buckets are full, draws start anew, answers held back are sent."""
        with self._lock:
            before, self._active = self._active, _ActiveConditions(conditions, self._clock)
            before.ended.set()
            self.listener.listen_again()
            for rule in conditions.faults:
                if rule.refuses_all:
                    self.listener.refuse_connections(rule.seconds or 0)

    def clear(self) -> None:
        """Remove every delay, quota and fault; keep the counts."""
        self.set(Conditions())

    def clear_conditions_and_counts(self) -> None:
        """Clear the conditions, and count from 0."""
        self.clear()
        with self._lock:
            self._calls.clear()
            self._injected.clear()

    def report(self) -> Report:
        """Return the conditions and the counts since the last reset, ready for JSON.

        Calls are counted by operation: all; throttled, by a quota or a fault; failed otherwise, by a fault or with an
        error of their own.
        """
        with self._lock:
            return {
                "conditions": asdict(self._active.conditions),
                "calls": {
                    operation: {kind: counts[kind] for kind in _COUNTED}
                    for operation, counts in self._calls.items()
                },
                "injected": {fault.value: number for fault, number in self._injected.items()},
            }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call = _Call(environ, start_response)
        half_way = self._count_call(call)
        if half_way:
            self._sleep(half_way)
        try:
            body = self._answer_call(call)
        finally:
            with self._lock:
                self._calls[call.operation][call.outcome] += 1
        if half_way:
            self._sleep(half_way)
        return body

    def _count_call(self, call: "_Call") -> float:
        with self._lock:
            self._calls.setdefault(call.operation, Counter())["calls"] += 1
            return self._active.conditions.round_trip_seconds / 2

    def _answer_call(self, call: "_Call") -> Iterable[bytes]:
        ended = self._draw_fault(call)
        if call.rule is None:
            return call.pass_to(self._app)
        fault = call.rule.fault
        answer = faults.make_answer_unless_silent(fault, call.operation, call.body)
        if answer is not None:
            return call.send_answer(*answer)
        if fault in (Fault.LOST, Fault.TIMEOUT):
            body = list(call.pass_to(self._app))
            if fault == Fault.TIMEOUT:
                ended.wait(call.rule.hold_seconds)
                return body
        raise ConnectionResetError if fault == Fault.RESET else ConnectionAbortedError

    def _draw_fault(self, call: "_Call") -> threading.Event:
        """Give the call its rule, if one applies; return the event that says when these conditions end."""
        with self._lock:
            present = self._active
            if present.quotas is not None and not present.quotas.take_token(call.operation):
                call.rule = _OVER_QUOTA
            elif rule := present.faults.draw_rule(call.operation):
                call.rule = rule
                self._injected[rule.fault] += 1
                if rule.fault == Fault.REFUSED and not rule.refuses_all:
                    self.listener.refuse_connections(REFUSED_SECONDS)
            return present.ended


_OVER_QUOTA = FaultRule(fault=Fault.THROTTLED)


class _ActiveConditions:
    """The conditions that are set now, with their draws and buckets."""

    def __init__(self, conditions: Conditions, clock: Clock) -> None:
        self.conditions = conditions
        self.ended = threading.Event()
        self.faults = FaultInjector(conditions.faults, seed=conditions.seed, clock=clock)
        self.quotas = None
        if conditions.quota_scale is not None:
            self.quotas = Quotas(
                conditions.quota_scale, burst_seconds=conditions.burst_seconds, clock=clock
            )


class _Call:
    """One call with its rule and outcome."""

    def __init__(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self.operation: str = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.rule: FaultRule | None = None
        self._environ = environ
        self._start_response = start_response
        self._status = ""

    @property
    def outcome(self) -> str:
        if self.rule is None:
            return "answered" if self._status.startswith("2") else "failed"
        return "throttled" if self.rule.fault == Fault.THROTTLED else "failed"

    def pass_to(self, app: WSGIApplication) -> Iterable[bytes]:
        return app({**self._environ, "wsgi.input": io.BytesIO(self.body)}, self._note_status)

    def send_answer(self, status: HTTPStatus, answer: AwsAnswer) -> Iterable[bytes]:
        body = json.dumps(answer).encode()
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", str(uuid4())),
        ]
        self._note_status(f"{status.value} {status.phrase}", headers)
        return [body]

    def _note_status(self, status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        self._status = status
        return self._start_response(status, headers, *rest)


class Quotas:
    """A token bucket for each group of operations, full at first; a `scale` of 1 means AWS's quotas."""

    def __init__(
        self,
        scale: float,
        *,
        burst_seconds: float = BURST_SECONDS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._buckets: dict[str, _Bucket] = {}
        for operations, rate in PER_SECOND.items():
            bucket = _Bucket(rate * scale, burst_seconds, clock)
            self._buckets |= dict.fromkeys(operations, bucket)

    def take_token(self, operation: str) -> bool:
        """Take a token and say whether there was one; a refused call costs none, as in AWS."""
        bucket = self._buckets.get(operation)
        return bucket is None or bucket.take_token()


class _Bucket:
    def __init__(self, rate: float, burst_seconds: float, clock: Clock) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_seconds)
        self._clock = clock
        self._tokens = self._capacity
        self._filled_at = clock()

    def take_token(self) -> bool:
        now = self._clock()
        gained = (now - self._filled_at) * self._rate
        self._tokens, self._filled_at = min(self._capacity, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
