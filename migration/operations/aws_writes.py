"""Decides whether this process may write to AWS: not from a duplicate database, and not while writes are stopped.

The limiter asks `require_writes` before each attempt of each call that writes, so no write gets around it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from django.db import connection, transaction

from migration import audit_sentences, sentences
from migration.models import (
    AuditCode,
    AuditEvent,
    AwsWriteState,
    DatabaseClaim,
    DatabaseIdentity,
    Notice,
    WriteStop,
    read_aws_write_state,
    require_reason,
)
from migration.operations.database_identity import (
    differs_from_noted,
    reached_databases,
    read_identity,
)
from migration.operations.leases import refuse_lost_leases
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.messages import Message, MessageError

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

# A state that was read longer ago is read again before a write: a stop holds everywhere within a second.
KNOWN_FOR_SECONDS = 0.7
# Every other call is taken for a write.
TEST_LOGIN = "TestLogin"  # no call of AWS's, but one that takes turns like them
READS = frozenset(
    {
        "GetSecretValue",
        "BatchGetSecretValue",
        "DescribeSecret",
        "ListSecrets",
        "ListSecretVersionIds",
        TEST_LOGIN,
    }
)
STOPPED, COPY = "WritesStopped", "DatabaseIsCopy"


class WritesRefusedError(SecretsManagerError):
    """Nothing was sent, as this site may not write to AWS now. The same write may pass later."""

    def __init__(self, error_class: ErrorClass, code: str, operation: str, name: str) -> None:
        super().__init__(error_class, code, operation, name)
        self.why: Message | None = None

    @classmethod
    def because(cls, why: Message, operation: str = "") -> WritesRefusedError:
        code = STOPPED if why.key == sentences.WRITES_STOPPED.key else COPY
        error = cls(ErrorClass.PERMISSION, code, operation, "")
        error.why = why
        return error

    @property
    def message(self) -> Message:
        return self.why or super().message


class ClaimRefused(MessageError):  # noqa: N818  # nothing went wrong: there is nothing to do
    """The claim would change nothing, or can't be made; the message says why."""


class WriteGuard:
    """Keeps whether AWS writes are allowed, as this process read it last, and when that was. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: AwsWriteState | None = None
        self._read_at = -math.inf
        # The database with which this process began, and since when: it may not change unseen.
        self._followed: tuple[DatabaseIdentity, datetime] | None = None

    def keep_state(self, state: AwsWriteState, *, asked_at: float) -> None:
        """Keep a state that was asked for at this time of the monotonic clock."""
        with self._lock:
            if asked_at >= self._read_at:
                self._state, self._read_at = state, asked_at

    def forget_state(self) -> None:
        """Read the state anew when it is next needed."""
        with self._lock:
            self._state = None

    @property
    def fresh_state(self) -> AwsWriteState | None:
        """Return the state if it was read in the last KNOWN_FOR_SECONDS."""
        with self._lock:
            fresh = time.monotonic() - self._read_at <= KNOWN_FOR_SECONDS
            return self._state if fresh else None

    def explain_refused_database(self, state: AwsWriteState) -> Message | None:
        """Say why this may not be the database that writes to AWS (a duplicate, unknown); None if it is."""
        noted = state.noted
        if noted is None:
            return sentences.DATABASE_NOT_NOTED()
        for reached in reached_databases().list_identities():
            if reached is None:
                return sentences.DATABASE_UNKNOWN()
            if differs_from_noted(reached, noted):
                return sentences.DATABASE_IS_COPY(this=reached.place, noted=noted.place)
        if not self._follow_database(state, noted):
            return sentences.DATABASE_CHANGED(this=noted.place)
        return None

    def _follow_database(self, state: AwsWriteState, noted: DatabaseIdentity) -> bool:
        """Say whether it is still the database with which this process began, or was claimed since then."""
        with self._lock:
            if self._followed is None or (
                state.claimed_at and state.claimed_at > self._followed[1]
            ):
                self._followed = noted, state.read_at
            known, _since = self._followed
        return noted.is_same_database(known)


def write_guard() -> WriteGuard:
    """Return this process' guard."""
    return _write_guard(os.getpid())


@lru_cache(maxsize=1)
def _write_guard(_pid: int) -> WriteGuard:
    return WriteGuard()


def describe_who_stopped_writes(state: AwsWriteState) -> Message | None:
    """Say who stopped all AWS writes and when; None where they are not stopped."""
    stop = state.stop
    if stop is None:
        return None
    who = stop.username or sentences.SOMEBODY_UNNAMED()
    return sentences.WRITES_STOPPED(who=who, ago=stop.stopped_at)


def get_aws_write_state() -> AwsWriteState:
    """Return the state as it was at most KNOWN_FOR_SECONDS ago."""
    from migration.operations.rate_limiter import rate_limiter  # noqa: PLC0415  # it asks this module

    guard = write_guard()
    state = guard.fresh_state
    if state is None:
        asked_at = time.monotonic()
        state = rate_limiter().run_statement(read_aws_write_state)
        guard.keep_state(state, asked_at=asked_at)
    return state


def find_write_refusal() -> Message | None:
    """Say why this process may not write to AWS now; None where it may."""
    state = get_aws_write_state()
    return describe_who_stopped_writes(state) or write_guard().explain_refused_database(state)


def require_writes_allowed(operation: str = "", *, ask: bool = True) -> None:
    """Raise `WritesRefusedError` where this process may not write to AWS now. Without `ask`: as far as it knows.

    Raises `LeaseLostError` where the writing thread works under leases that are lost.
    """
    if operation in READS or not (ask or write_guard().fresh_state):
        return
    if why := find_write_refusal():
        raise WritesRefusedError.because(why, operation)
    if ask:
        refuse_lost_leases()


def stop_aws_writes(*, reason: str, by: User | None = None) -> WriteStop:
    """Stop every AWS write of all workers and pages within a second. Raises `ReasonError`."""
    require_reason(reason)
    with transaction.atomic():
        stop = WriteStop.objects.create(by=by, reason=reason)
        act = AuditEvent.objects.record(
            AuditCode.WRITES_STOPPED, audit_sentences.STOPPED_WRITES(), by=by, reason=reason
        )
        Notice.objects.record_act(act)
    write_guard().forget_state()
    return stop


def start_aws_writes(*, by: User | None = None) -> int:
    """Let AWS writes go on; return how many stops were ended."""
    with transaction.atomic():
        ended = WriteStop.objects.end_all(by=by)
        if ended:
            act = AuditEvent.objects.record(
                AuditCode.WRITES_STARTED, audit_sentences.STARTED_WRITES(), by=by
            )
            Notice.objects.record_act(act)
    write_guard().forget_state()
    return ended


def claim_database(*, reason: str, by: User | None = None, aws: str = "") -> DatabaseClaim:
    """Say that this database is the one that writes to AWS.

    Raises `ReasonError`, and `ClaimRefused` where it is no copy.
    """
    require_reason(reason)
    connection.ensure_connection()
    reached, noted = read_identity(connection), DatabaseClaim.objects.newest()
    if reached is None:
        raise ClaimRefused(sentences.DATABASE_UNKNOWN())
    if noted and not differs_from_noted(reached, noted.identity):
        raise ClaimRefused(sentences.DATABASE_IS_THE_ONE(this=reached.place))
    with transaction.atomic():
        claim = DatabaseClaim.objects.record(reached, by=by, reason=reason, aws=aws)
        facts = audit_sentences.CLAIMED(
            place=reached.place, noted=noted.place if noted else audit_sentences.NOTHING()
        )
        AuditEvent.objects.record(AuditCode.CLAIM, facts, by=by, reason=reason)
    write_guard().forget_state()
    return claim
