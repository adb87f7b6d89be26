"""How long NOVA's statements waited for locks, as PostgreSQL's own log has it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.upgrade.nova import APPLICATION

if TYPE_CHECKING:
    from pathlib import Path

# A wait that is shorter is not logged.
LOGGED_MS = 2
# Every wait for a lock is logged, with the time, the process and the application.
SETTINGS = {
    "log_lock_waits": "on",
    "deadlock_timeout": f"{LOGGED_MS}ms",
    "logging_collector": "on",
    "log_filename": "postgresql.log",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_line_prefix": "%n|%p|%a|",
}
WAITED = re.compile(
    rf"(?P<at>[\d.]+)\|(?P<pid>\d+)\|{APPLICATION}\|.*\bacquired \w+ on .* after (?P<ms>[\d.]+) ms"
)
# Waits of one statement follow each other. Two statements that do are taken for one: never too short.
TOGETHER_MS = 5


def list_waits(log: Path, since: float, until: float) -> list[float]:
    """Return in milliseconds what NOVA's statements waited in this time, the waits of one statement added up."""
    by_process = defaultdict[str, list[tuple[float, float]]](list)
    for line in log.read_text(errors="replace").splitlines():
        found = WAITED.match(line)
        if found and since <= float(found["at"]) <= until:
            by_process[found["pid"]].append((float(found["at"]) * 1000, float(found["ms"])))
    waits: list[float] = []
    for each in by_process.values():
        ended = 0.0
        for at, ms in each:
            if waits and at - ms - ended <= TOGETHER_MS:
                waits[-1] += ms
            else:
                waits.append(ms)
            ended = at
    return waits
