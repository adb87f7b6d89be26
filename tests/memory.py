"""The memory that Python has for something."""

import tracemalloc
from collections.abc import Callable


def measure_peak(act: Callable[[], object]) -> int:
    """The most that it has at once, in bytes."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
