"""Shows how far work is that is no run: a plan, or a few moves. As with a run: a bar, or a line every ten seconds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from migration.management.run_display import CountedWork, make_display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import OutputWrapper

POLL_SECONDS = 0.5


@contextmanager
def show_work(output: OutputWrapper, name: str, total: int) -> Iterator[CountedWork]:
    """Show the work of the block until it ends; the block sets `done`, a number of clients, as it goes on."""
    work, over = CountedWork(name, total, time.monotonic()), threading.Event()
    with make_display(output) as display:

        def show_until_over() -> None:
            while not over.wait(POLL_SECONDS):
                if display.is_due:
                    display.show_progress(work, None)

        thread = threading.Thread(target=show_until_over)
        thread.start()
        try:
            yield work
        finally:
            over.set()
            thread.join()
