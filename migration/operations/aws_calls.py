"""Counts this process' calls to AWS by operation and outcome, adds them to those of all processes, and logs them."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from django.db import DatabaseError

from migration.models.kept_counts import KeptCounts
from migration.operations.aws_writes import READS
from migration.operations.rate_limiter import rate_limiter
from nova_credentials.aws.attempts import OK

if TYPE_CHECKING:
    from nova_credentials.aws.attempts import Attempt

# A process that is killed takes no more than the calls of this time with it.
STORE_EVERY_SECONDS = 5.0

logger = logging.getLogger(__name__)


class CallCounter:
    """The calls of one process that aren't stored yet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._store_at = time.monotonic() + STORE_EVERY_SECONDS

    def count(self, operation: str, outcome: str) -> None:
        """Count one attempt, and store what was counted if that was not done for STORE_EVERY_SECONDS."""
        with self._lock:
            self._counts[f"{operation} {outcome}"] += 1
            due = time.monotonic() >= self._store_at
        if due:
            self.store()

    def store(self) -> None:
        """Add what was counted to the counts of all processes; keep it for the next time if the database fails."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._store_at = time.monotonic() + STORE_EVERY_SECONDS
        if not counts:
            return
        try:
            rate_limiter().run_statement(lambda own: KeptCounts.objects.add_aws_calls(own, counts))
        except DatabaseError as error:
            with self._lock:
                self._counts += counts
            logger.warning("Calls to AWS are not counted yet: %s", type(error).__name__)


def note_attempt(attempt: Attempt) -> None:
    """Count the attempt and log it: reads that went well at DEBUG, as there are so many."""
    call_counter().count(attempt.operation, attempt.outcome)
    if attempt.outcome != OK:
        told = "AWS: %s failed (%s: %s), request %s"
        facts = (attempt.operation, attempt.outcome, attempt.code, attempt.request_id or "unknown")
        logger.info(told, *facts)
        return
    level = logging.DEBUG if attempt.operation in READS else logging.INFO
    logger.log(level, "AWS: %s, request %s", attempt.operation, attempt.request_id or "unknown")


def store_calls(**_: object) -> None:
    """Store the AWS calls that were counted: at the end of a request, a task and a process."""
    call_counter().store()


def call_counter() -> CallCounter:
    """Return this process' counter."""
    return _call_counter(os.getpid())  # what a fork's parent counted, the parent stores


@lru_cache(maxsize=1)
def _call_counter(_pid: int) -> CallCounter:
    return CallCounter()


atexit.register(store_calls)
