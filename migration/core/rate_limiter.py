"""Keeps this process to the rates that all workers share, and from writes that it may not make. Knows no AWS client."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from migration.core.aws_writes import TEST_LOGIN, require_writes_allowed, write_guard
from migration.core.leases import keep_proofs, list_sessions_of_process
from migration.core.rates import BLOCK_SECONDS, Rate, Reservation

# Other calls have quotas that this site never reaches (GetSecretValue and DescribeSecret: 10,000/s).
KIND_BY_OPERATION = {
    "CreateSecret": Rate.Kind.CREATE,
    "PutSecretValue": Rate.Kind.WRITE,
    "UpdateSecretVersionStage": Rate.Kind.WRITE,
    "RestoreSecret": Rate.Kind.WRITE,
    "DeleteSecret": Rate.Kind.WRITE,
    "TagResource": Rate.Kind.WRITE,
    "UpdateSecret": Rate.Kind.WRITE,
    "ReplicateSecretToRegions": Rate.Kind.WRITE,
    "RemoveRegionsFromReplication": Rate.Kind.WRITE,
    "BatchGetSecretValue": Rate.Kind.READ,
    "ListSecrets": Rate.Kind.READ,
    TEST_LOGIN: Rate.Kind.LOGIN,
}
# A turn not taken for this long expires: used later, it would exceed the rate.
STALE_AFTER_SECONDS = 1.0

_T = TypeVar("_T")


@dataclass
class ReservedTurns:
    """Turns that are not taken yet, each as long after the one before; the first is at `next_at`, of this clock."""

    number: int
    next_at: float
    per_second: float

    def drop(self, number: int) -> None:
        """Let the next turns go."""
        self.number -= number
        self.next_at += number / self.per_second


class RateLimiter:
    """Holds AWS calls and test logins to the rates that all workers share. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # One thread of each kind reserves and waits for the next turn; the others wait for its lock. Otherwise dozens
        # of threads would reserve turns minutes ahead, and a changed rate would hold only after all of them.
        self._queues = {kind: threading.Lock() for kind in Rate.Kind}
        self._turns: dict[Rate.Kind, ReservedTurns] = {}
        self._connection: BaseDatabaseWrapper | None = None

    def wait(self, operation: str) -> None:
        """Wait for this call's turn. Raises DatabaseError where none can be reserved, and `WritesRefusedError`."""
        # A stopped push would wait its turn for nothing.
        require_writes_allowed(operation, ask=False)
        if kind := KIND_BY_OPERATION.get(operation):
            with self._queues[kind]:
                with self._lock:
                    due = self._next_turn(kind)
                time.sleep(max(0.0, due - time.monotonic()))
        # The turn may have been far away: what counts is what holds now.
        require_writes_allowed(operation)

    def take_turn_before_others(self, operation: str) -> None:
        """Take a turn without waiting for it, as a user waits for the page. Other calls are made a little later.

        Raises as `wait` does.
        """
        if kind := KIND_BY_OPERATION.get(operation):
            with self._lock:
                self._reserve_turns(kind, seconds=0)
        require_writes_allowed(operation)

    def throttled(self, operation: str) -> None:
        """Slow all workers down because AWS throttled a call, and give up the turns that this process reserved."""
        if kind := KIND_BY_OPERATION.get(operation):
            with self._lock:
                self._turns.pop(kind, None)
                self._run_statement(lambda own: Rate.objects.record_throttled(own, kind))

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _next_turn(self, kind: Rate.Kind) -> float:
        turns = self._turns.get(kind)
        if turns and (late := time.monotonic() - STALE_AFTER_SECONDS - turns.next_at) > 0:
            turns.drop(min(turns.number, math.ceil(late * turns.per_second)))
        if not turns or not turns.number:
            reserved = self._reserve_turns(kind, seconds=BLOCK_SECONDS)
            first = time.monotonic() + reserved.starts_in
            turns = ReservedTurns(reserved.number, first, reserved.per_second)
            self._turns[kind] = turns
        due = turns.next_at
        turns.drop(1)
        return due

    def _reserve_turns(self, kind: Rate.Kind, *, seconds: float) -> Reservation:
        asked_at, sessions = time.monotonic(), list_sessions_of_process()
        reserved = self._run_statement(
            lambda own: Rate.objects.reserve(own, kind, seconds=seconds, sessions_to_prove=sessions)
        )
        write_guard().keep_state(reserved.state, asked_at=asked_at)
        keep_proofs(sessions, reserved.proven_places, asked_at=asked_at)
        return reserved

    def run_statement(self, statement: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        """Run the statement on the limiter's own connection, outside every transaction of the caller."""
        with self._lock:
            return self._run_statement(statement)

    def _run_statement(self, statement: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        """Run the statement, a second time on a new connection if PostgreSQL was restarted since the last one."""
        try:
            return statement(self._own_connection())
        except DatabaseError:
            if self._connection:
                self._connection.close()
            return statement(self._own_connection())

    def _own_connection(self) -> BaseDatabaseWrapper:
        if self._connection is None:
            self._connection = connection.copy()
            self._connection.inc_thread_sharing()
        return self._connection


class PriorityLimiter:
    """A limiter for pages: it takes turns and does not wait for them."""

    def __init__(self, limiter: RateLimiter) -> None:
        self.wait = limiter.take_turn_before_others
        self.throttled = limiter.throttled


def rate_limiter() -> RateLimiter:
    """Return this process' limiter."""
    return _rate_limiter(os.getpid())  # a forked child may not share its parent's connection


@lru_cache(maxsize=1)
def _rate_limiter(_pid: int) -> RateLimiter:
    return RateLimiter()
