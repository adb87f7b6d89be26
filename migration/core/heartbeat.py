"""Notes that each worker process lives, and decides whether this host's take tasks. Knows no task."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from functools import lru_cache

from django.conf import settings
from django.db import DatabaseError, connection

from migration.core.aws_writes import get_aws_write_state, learn_facts
from migration.core.correlation import name_cause
from migration.core.rate_limiter import rate_limiter
from migration.core.releases import APPS, known_migrations
from migration.core.sentences import HOST_DIFFERS
from migration.core.shared_facts import explain_differences, fetch_all
from migration.core.workers import Worker
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import Message, Sentence

BEAT_SECONDS = 5.0
# So long an answer of `takes_tasks` is kept: asked before each look into the queue, several times a second.
KEPT_SECONDS = 3.0
# While AWS does not tell this process' account, no task waits for it more often.
ASK_AWS_EVERY_SECONDS = 60.0
# Names in a message: of a release that is far behind there may be many.
MOST_NAMES = 5

logger = logging.getLogger(__name__)


RELEASE_IS_OLDER = Sentence(
    "release_is_older",
    "This process runs an older release than the database's schema, so it takes no new tasks. It doesn't know:"
    " %(names)s.",
    glue=", ",
)
RELEASE_IS_NEWER = Sentence(
    "release_is_newer",
    "This process runs a newer release than the database's schema, so it takes no tasks until migrate has run. Missing:"
    " %(names)s.",
    glue=", ",
)


def explain_idleness() -> Message | None:
    """Say why this process may take no task: its release isn't the schema's, or it differs from other hosts.

    None where it may. That AWS doesn't tell this process' account is no reason: it tells once it answers again.
    """
    asked = "SELECT app, name FROM django_migrations WHERE app = ANY(%s)"
    rows = rate_limiter().run_statement(lambda own: fetch_all(own, asked, [list(APPS)]))
    applied = frozenset((app, name) for app, name in rows)
    if unknown := applied - known_migrations():
        return RELEASE_IS_OLDER(names=name_migrations(unknown))
    if missing := known_migrations() - applied:
        return RELEASE_IS_NEWER(names=name_migrations(missing))
    with suppress(SecretsManagerError):
        learn_facts(pause=ASK_AWS_EVERY_SECONDS)
    return explain_differences(get_aws_write_state().facts)


def name_migrations(migrations: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    names = [f"{app}.{name}" for app, name in sorted(migrations)]
    return (*names[:MOST_NAMES], *(["…"] if len(names) > MOST_NAMES else []))


class TaskTaker:
    """Keeps whether this process may take tasks, for KEPT_SECONDS. Used by one thread."""

    def __init__(self) -> None:
        self._may_take, self._asked_at = False, -KEPT_SECONDS
        self._log_once = lru_cache(maxsize=1)(logger.warning)

    def takes_tasks(self) -> bool:
        """Say whether this process may take tasks; not where the database doesn't tell. Logs a reason once."""
        if time.monotonic() - self._asked_at >= KEPT_SECONDS:
            try:
                why = explain_idleness()
            except DatabaseError as error:
                why, self._may_take = None, False
                logger.warning("Takes no tasks for now: %s", name_cause(error))
            else:
                self._may_take = why is None
            if why and why.key != HOST_DIFFERS.key:  # which is logged where it is found
                self._log_once("%s", str(why))
            self._asked_at = time.monotonic()
        return self._may_take


task_taker = TaskTaker()


def start_heartbeat(**_: object) -> None:
    """Start a thread, in each worker process, that notes every BEAT_SECONDS that the process lives."""
    threading.Thread(target=_beat_for_ever, name="heartbeat", daemon=True).start()


def _beat_for_ever() -> None:
    name = ""
    never = threading.Event()
    while True:
        try:
            if not name:
                name = Worker.objects.record_start(f"{settings.NOVA_HOST_NAME}:{os.getpid()}")
            Worker.objects.record_heartbeat(name, idle_because=explain_idleness())
        except Exception as error:  # noqa: BLE001  # without a beat the worker would count as gone for ever
            # PostgreSQL may be restarting; the next beat connects again.
            logger.warning("No heartbeat for now: %s", name_cause(error))
            connection.close()
        never.wait(BEAT_SECONDS)
