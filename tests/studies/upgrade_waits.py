"""How long NOVA's statements waited for locks, as PostgreSQL's table of locks has it."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

import psycopg

from tests.studies.upgrade_nova import APPLICATION

if TYPE_CHECKING:
    from tests.studies.upgrade_nova import Work

LOOK_EVERY_SECONDS = 0.002
# NOVA's sessions that wait, each since when, and PostgreSQL's time.
WAITING = """
SELECT l.pid, extract(epoch FROM l.waitstart)::float8, extract(epoch FROM clock_timestamp())::float8
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.waitstart IS NOT NULL AND a.datname = current_database() AND a.application_name = %s
UNION ALL SELECT NULL, NULL, extract(epoch FROM clock_timestamp())::float8
"""


class Watch(threading.Thread):
    """Looks all the time who of NOVA's sessions waits for a lock.

    A wait is taken to last until the look that finds it gone: never too short, and on a busy machine too long.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(daemon=True)
        self.uri = uri
        self.over = threading.Event()
        self.waits = dict[tuple[int, float], float]()
        self.start()

    def run(self) -> None:
        open_waits = set[tuple[int, float]]()
        with psycopg.connect(self.uri, autocommit=True) as there:
            while not self.over.is_set():
                rows = there.execute(WAITING, [APPLICATION]).fetchall()
                seen = {(pid, since) for pid, since, _ in rows if pid is not None}
                for wait in open_waits | seen:
                    self.waits[wait] = rows[0][2] - wait[1]
                open_waits = seen
                time.sleep(LOOK_EVERY_SECONDS)

    def end(self) -> dict[tuple[int, float], float]:
        """Return the seconds of each wait, by process and beginning."""
        self.over.set()
        self.join()
        return self.waits


def add_up_waits(waits: dict[tuple[int, float], float], works: list[Work]) -> list[float]:
    """Return in milliseconds how long each statement waited in all; none waited longer than it took."""
    statements = defaultdict[int, list[tuple[float, float]]](list)
    for work in works:
        for pid, start, end in work.slow:
            statements[pid].append((start, end))
    waited = defaultdict[tuple[int, float], float](float)
    for (pid, since), seconds in waits.items():
        of_process = statements[pid]
        index = bisect_right(of_process, (since, float("inf"))) - 1
        start, end = of_process[index] if index >= 0 else (since, since)
        if since <= end:  # else it took so short that it isn't kept
            waited[pid, start] += min(seconds, end - since)
    return [seconds * 1000 for seconds in waited.values()]
