"""Keeps this process to the rates that all workers share. Knows the rows they reserve turns on, and no AWS client."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError, connection

from migration.models.rates import BLOCK_SECONDS, Rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

    from migration.models.rates import Reservation

# Calls that are not here have a quota which nobody reaches (GetSecretValue and DescribeSecret: 10,000/s).
KINDS = {
    "CreateSecret": Rate.Kind.CREATE,
    "PutSecretValue": Rate.Kind.WRITE,
    "UpdateSecretVersionStage": Rate.Kind.WRITE,
    "RestoreSecret": Rate.Kind.WRITE,
    "DeleteSecret": Rate.Kind.WRITE,
    "TagResource": Rate.Kind.WRITE,
    "BatchGetSecretValue": Rate.Kind.READ,
}
# A turn that nobody took for so long is lost: taken later, it would come on top of others.
STALE_AFTER_SECONDS = 1.0

_T = TypeVar("_T")


class RateLimiter:
    """The turns of one process. Thread-safe; its statements have a connection of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Whoever has one waits for the next turn of its kind; the others wait for the lock, and reserve nothing yet:
        # dozens of threads would take turns minutes ahead, and a rate that was changed would come after all of them.
        self._queues = {kind: threading.Lock() for kind in Rate.Kind}
        self._turns: dict[Rate.Kind, deque[float]] = {kind: deque() for kind in Rate.Kind}
        self._connection: BaseDatabaseWrapper | None = None

    def wait(self, operation: str) -> None:
        """Returns when it is this call's turn; raises DatabaseError where none can be reserved."""
        if kind := KINDS.get(operation):
            with self._queues[kind]:
                with self._lock:
                    due = self._next_turn(kind)
                time.sleep(max(0.0, due - time.monotonic()))

    def count(self, operation: str) -> None:
        """Takes a turn without waiting for it: somebody waits for the page, and others go a little later."""
        if kind := KINDS.get(operation):
            with self._lock:
                self._reserve(kind, seconds=0)

    def throttled(self, operation: str) -> None:
        """AWS refused a call for its rate."""
        if kind := KINDS.get(operation):
            with self._lock:
                self._turns[kind].clear()
                self._run_statement(lambda own: Rate.objects.record_throttled(own, kind))

    def close(self) -> None:
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _next_turn(self, kind: Rate.Kind) -> float:
        turns = self._turns[kind]
        while turns and turns[0] < time.monotonic() - STALE_AFTER_SECONDS:
            turns.popleft()
        if not turns:
            reserved = self._reserve(kind, seconds=BLOCK_SECONDS)
            first = time.monotonic() + reserved.starts_in
            turns.extend(first + n / reserved.per_second for n in range(reserved.number))
        return turns.popleft()

    def _reserve(self, kind: Rate.Kind, *, seconds: float) -> Reservation:
        return self._run_statement(lambda own: Rate.objects.reserve(own, kind, seconds=seconds))

    def _run_statement(self, statement: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        """Once more on a new connection, where PostgreSQL was restarted since the last statement."""
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


class NonBlockingLimiter:
    """For a page: it takes its turns and doesn't wait for them."""

    def __init__(self, limiter: RateLimiter) -> None:
        self.wait = limiter.count
        self.throttled = limiter.throttled


def rate_limiter() -> RateLimiter:
    """This process' one."""
    return _rate_limiter(os.getpid())  # a forked child may not share its parent's connection


@lru_cache(maxsize=1)
def _rate_limiter(_pid: int) -> RateLimiter:
    return RateLimiter()
