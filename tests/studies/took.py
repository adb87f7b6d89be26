"""Measures what some work takes: the seconds, and those of a processor in Python and PostgreSQL."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.studies.study import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 4


@dataclass(frozen=True, order=True)
class Took:
    """The seconds that something took, and those of a processor in Python and PostgreSQL."""

    seconds: float
    processor: float

    def __add__(self, other: Took) -> Took:
        return Took(self.seconds + other.seconds, self.processor + other.processor)

    def __mul__(self, share: float) -> Took:
        return Took(self.seconds * share, self.processor * share)


def measure_work(work: Callable[[], object]) -> Took:
    gc.collect()
    server, own, began = seconds_of_postgres(), time.process_time(), time.perf_counter()
    work()
    took, used = time.perf_counter() - began, time.process_time() - own
    return Took(took, used + seconds_of_postgres() - server)


def measure_least(work: Callable[[], object], rounds: int = ROUNDS) -> Took:
    """Return what the quickest of some rounds took: other work on the machine only adds."""
    return min(measure_work(work) for _ in range(rounds))


def seconds_of_postgres() -> float:
    """Return the processor's seconds of PostgreSQL's processes so far, also of those that have ended."""
    pid = int((LOCAL / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    server = psutil.Process(pid)
    times = [server.cpu_times()]
    ended = times[0].children_user + times[0].children_system
    for child in server.children(recursive=True):
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:  # it has ended since
            continue
    return ended + sum(each.user + each.system for each in times)
