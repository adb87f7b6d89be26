"""Counts what this process does, and adds it to the counts of all processes, which the database keeps."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache

from django.db import DatabaseError

from migration.core.rate_limiter import rate_limiter
from migration.core.rates import KeptCounts

# A process that is killed takes no more than the counts of this time with it.
STORE_EVERY_SECONDS = 5.0

logger = logging.getLogger(__name__)


class ProcessCounter:
    """Keeps the counts of one process until they are stored. Thread-safe."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._store_at = time.monotonic() + STORE_EVERY_SECONDS

    def count(self, counted: Mapping[str, int]) -> None:
        """Add these numbers by name."""
        with self._lock:
            self._counts.update(counted)

    @property
    def is_due(self) -> bool:
        """Say whether nothing was stored for STORE_EVERY_SECONDS."""
        with self._lock:
            return time.monotonic() >= self._store_at

    def store(self) -> None:
        """Add what was counted to the counts of all processes; keep it for the next time if the database fails."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._store_at = time.monotonic() + STORE_EVERY_SECONDS
        if not counts:
            return
        try:
            rate_limiter().run_statement(
                lambda own: KeptCounts.objects.add_counts(own, self._kind, counts)
            )
        except DatabaseError as error:
            with self._lock:
                self._counts += counts
            logger.warning("What was counted is not stored yet: %s", type(error).__name__)


def get_counter(kind: int) -> ProcessCounter:
    """Return this process' counter of this kind (of `KeptCounts`)."""
    return _get_counter(kind, os.getpid())  # what a fork's parent counted, the parent stores


@lru_cache(maxsize=4)
def _get_counter(kind: int, _pid: int) -> ProcessCounter:
    return ProcessCounter(kind)


forget_counters: Callable[[], None] = _get_counter.cache_clear
