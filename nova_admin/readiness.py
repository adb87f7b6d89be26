"""Finds out whether this site can work: its database, schema, workers, their queue and AWS, each in bounded time.

Anybody may ask, so an answer is kept for some seconds, and it says of each part only whether it is well, and by name
which settings differ from those of other hosts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import get_aws_write_state, learn_facts
from migration.core.shared_facts import find_differences
from migration.core.workers import Worker
from migration.task_queue import count_queued_tasks
from nova_credentials.aws.secrets_manager import SecretsManagerError

# An answer is kept for so long; AWS and the schema are asked more seldom than the rest.
KEPT_SECONDS = 5.0
KEPT_SECONDS_OF_SLOW = 30.0
# So long somebody waits for an answer; what isn't known by then has failed.
WAIT_SECONDS = 3.0

WELL, FAILED = "ok", "failed"

logger = logging.getLogger(__name__)


class HostDiffersError(Exception):
    """Says that this process differs from what all hosts share; its text names in what, and no value."""


class Part(StrEnum):
    """The parts without which the site can't do its work."""

    DATABASE = "database"
    SCHEMA = "schema"
    WORKERS = "workers"
    QUEUE = "queue"
    AWS = "aws"
    SHARED = "shared"


def check_database() -> bool:
    """Return True if the database answers; raises Django's database error where it does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def check_schema() -> bool:
    """Say whether every schema migration of this release has run."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def check_workers() -> bool:
    """Say whether a worker that takes tasks was alive lately."""
    return Worker.objects.alive().taking_tasks().exists()


def check_redis_queue() -> bool:
    """Say whether Redis can take tasks; True where the queue is in PostgreSQL (see `check_database`)."""
    return not settings.NOVA_REDIS_URL or count_queued_tasks() is not None


def check_aws() -> bool:
    """Return True if AWS answers this site's role, even that no such secret exists; else raise its error."""
    try:
        secrets_manager(interactive=True).describe_secret(
            f"{settings.NOVA_SECRET_PREFIX}/is-aws-there"
        )
    except SecretsManagerError as error:
        if not error.not_found:
            raise
    return True


def check_shared_facts() -> bool:
    """Return True if this process has what all hosts must share; raises HostDiffersError.

    AWS is asked for its account where it isn't known.
    """
    with suppress(SecretsManagerError):
        learn_facts(pause=KEPT_SECONDS_OF_SLOW)
    if differing := find_differences(get_aws_write_state().facts):
        raise HostDiffersError(", ".join(differing))
    return True


CHECKS: dict[Part, tuple[Callable[[], bool], float]] = {
    Part.DATABASE: (check_database, KEPT_SECONDS),
    Part.WORKERS: (check_workers, KEPT_SECONDS),
    Part.QUEUE: (check_redis_queue, KEPT_SECONDS),
    Part.SCHEMA: (check_schema, KEPT_SECONDS_OF_SLOW),
    Part.SHARED: (check_shared_facts, KEPT_SECONDS),
    Part.AWS: (check_aws, KEPT_SECONDS_OF_SLOW),
}
# Looked at by a thread each, one part after the other: where PostgreSQL hangs, AWS and Redis are still asked.
GROUPS = ((Part.DATABASE, Part.WORKERS, Part.SCHEMA), (Part.AWS, Part.SHARED), (Part.QUEUE,))


@dataclass
class Knowledge:
    """Keeps what is told of one part of the site, and until when that counts, on the monotonic clock."""

    told: str = FAILED
    until: float = field(default=float("-inf"))


class ReadinessBook:
    """Holds what one process knows. Thread-safe: however many ask, one thread of each group looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = {part: Knowledge() for part in Part}
        self._looking: dict[tuple[Part, ...], threading.Thread] = {}

    def read(self) -> dict[Part, str]:
        """Return of each part what is told of it, in at most WAIT_SECONDS. What isn't known by then has failed."""
        deadline = time.monotonic() + WAIT_SECONDS
        for looking in self._look_if_due():
            looking.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            now = time.monotonic()
            return {
                part: known.told if known.until > now else FAILED
                for part, known in self._known.items()
            }

    def _look_if_due(self) -> list[threading.Thread]:
        """Return the threads that look now, begun where something has to be looked at."""
        with self._lock:
            for group in GROUPS:
                now, before = time.monotonic(), self._looking.get(group)
                due = [part for part in group if self._known[part].until <= now]
                if due and not (before and before.is_alive()):
                    # It can be left to itself where a part hangs: it doesn't keep the process from ending.
                    self._looking[group] = threading.Thread(
                        target=self._look_at, args=(due,), name="readiness", daemon=True
                    )
                    self._looking[group].start()
            return [thread for thread in self._looking.values() if thread.is_alive()]

    def _look_at(self, parts: list[Part]) -> None:
        try:
            for part in parts:
                check, seconds = CHECKS[part]
                told = _ask(part, check)
                with self._lock:
                    self._known[part] = Knowledge(told, time.monotonic() + seconds)
        finally:
            connection.close()


def _ask(part: Part, check: Callable[[], bool]) -> str:
    try:
        return WELL if check() else FAILED
    except HostDiffersError as error:
        return f"{FAILED}: {error}"
    except Exception as error:  # noqa: BLE001  # whatever it is, the answer is kept: nobody may have it asked again at once
        logger.warning("Not ready: %s (%s)", part, type(error).__name__)
        return FAILED


readiness_book = ReadinessBook()
