"""Has web processes look for problems and send notices while no worker does, so that gone workers are told as such.

A thread of each process asks each minute whether workers look. In between it holds no connection; while they do look,
it writes nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta

from django.db import connections
from django.utils import timezone

from migration.core.correlation import name_cause
from migration.core.heartbeat import explain_idleness
from migration.core.problems import MINUTE, Problem, ProblemRecord
from migration.core.workers import Worker
from migration.site.notices import NO_WORKER, WORKERS_GONE_AFTER, look_and_send

WATCH_SECONDS = 60
# Who looks and sends has this long. Others leave it to them: two would find the same.
TURN = timedelta(seconds=50)

logger = logging.getLogger(__name__)


def start_watch() -> None:
    """Start the thread, in a process that answers requests. It ends with the process."""
    threading.Thread(target=_watch_for_ever, name="watch", daemon=True).start()


def _watch_for_ever() -> None:
    never, said = threading.Event(), ""
    # Processes that started together don't look at once.
    never.wait(os.getpid() % WATCH_SECONDS)
    while True:
        never.wait(WATCH_SECONDS)
        try:
            look_while_no_worker_looks()
            said = ""
        except Exception as error:  # noqa: BLE001  # the next look may be better, and the site goes on anyway
            if (why := name_cause(error)) != said:
                said = why
                logger.warning("Did not look for workers: %s", said)
        finally:
            connections.close_all()


def look_while_no_worker_looks() -> bool:
    """Look for what workers look for each minute, and send notices, if none of them does; say whether it was done."""
    # As with tasks: a process of another release, or one that differs from the other hosts, keeps out of it.
    if not is_left_to_us() or explain_idleness() is not None:
        return False
    if not ProblemRecord.objects.claim(NO_WORKER, lasts=TURN):
        return False
    look_and_send(seconds=WATCH_SECONDS, only=_is_looked_for_each_minute)
    return True


def is_left_to_us() -> bool:
    """Say whether no worker is alive, or those that are haven't looked for long: their queue may be away."""
    if not Worker.objects.alive().taking_tasks().exists():
        return True
    looked_at = ProblemRecord.objects.filter(code=NO_WORKER).values_list("looked_at", flat=True)
    before = looked_at.first()
    return before is not None and timezone.now() - before > WORKERS_GONE_AFTER


def _is_looked_for_each_minute(each: Problem) -> bool:
    return each.looked_for_every is not None and each.looked_for_every <= MINUTE
