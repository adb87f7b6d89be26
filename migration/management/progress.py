"""Shows on standard error how far work is: by rich's bar on a terminal, elsewhere by a line a second."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django.db import connection

from credentials.shown_names import escape_invisible
from migration.templatetags.migration_pages import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self, TextIO

    from django.core.management.base import OutputWrapper
    from rich import progress as bars
    from rich.console import Console

    from migration.management.output import OneLineOutput
    from migration.runs.progress import Progress
    from nova_credentials.messages import Message

LOOK_SECONDS = 1.0
BAR_WIDTH = 20


@dataclass
class CountedWork:
    """Work over clients that is no run; its `done` is set as it goes on."""

    name: str
    total: int
    # Of the monotonic clock.
    began_at: float
    done: int = 0

    def set_done(self, done: int) -> None:
        """Note how many clients are done."""
        self.done = done

    @property
    def percent(self) -> float:
        return 100 * self.done / self.total if self.total else 100

    @property
    def per_second(self) -> float:
        """Return the clients per second since it began."""
        return self.done / max(time.monotonic() - self.began_at, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds that the rest needs at this rate; None before the first client is done."""
        return (self.total - self.done) / self.per_second if self.done else None


class ProgressDisplay:
    """Shows work for as long as it is entered. A bar is gone once it is left."""

    def __init__(self, output: OutputWrapper) -> None:
        terminal = cast("OneLineOutput", output).terminal
        self._output, self._told = output, ""
        self._bar = make_bar(terminal) if terminal else None
        self._log: list[logging.StreamHandler[TextIO]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()
        for handler in self._log:
            handler.setStream(sys.stderr)

    def show(
        self,
        work: Progress | CountedWork,
        *,
        waits_for: Message | None = None,
        remark: Message | None = None,
    ) -> None:
        """Show how far it is and what it waits for. Of lines that say the same one is enough."""
        parts = [describe_progress(work), waits_for and f"Waiting: {waits_for}", remark]
        text = ". ".join(escape_invisible(str(part)) for part in parts if part)
        if self._bar:
            self._draw(self._bar, work, text)
        elif text != self._told:
            self._told = text
            self._output.write(text)
            self._output.flush()

    def _draw(self, bar: bars.Progress, work: Progress | CountedWork, text: str) -> None:
        facts: dict[str, Any] = {"completed": work.done, "total": work.total or 1}
        if bar.tasks:
            bar.update(bar.task_ids[0], description=text, refresh=True, **facts)
            return
        bar.add_task(text, **facts)
        stderr = sys.stderr
        bar.start()
        # A process that is ended at once can't show the cursor again, so it is never hidden.
        bar.console.show_cursor(True)
        # rich has taken standard error's place: a line of the log goes above the bar, not into it.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stderr:
                handler.setStream(sys.stderr)
                self._log.append(handler)


def make_bar(terminal: TextIO) -> bars.Progress:
    """Make rich's bar, with a text beside it that is folded where it is too long; not yet drawn."""
    # rich takes a tenth of a second to import: only where there is a terminal.
    from rich import progress as bars
    from rich.table import Column

    console = make_console(terminal)
    # The terminal itself shows what is pressed at the end of a line: some room is left for it.
    beside = Column(overflow="fold", max_width=max(console.width - BAR_WIDTH - 5, BAR_WIDTH))
    return bars.Progress(
        bars.BarColumn(BAR_WIDTH),
        bars.TextColumn("{task.description}", markup=False, table_column=beside),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    )


def make_console(terminal: TextIO) -> Console:
    """Make a console as wide as the terminal is; it takes no markup, as texts hold names that others chose."""
    from rich.console import Console

    return Console(file=terminal, force_terminal=True, markup=False, emoji=False, highlight=False)


@contextmanager
def show_meanwhile(
    output: OutputWrapper, look: Callable[[ProgressDisplay], None]
) -> Iterator[None]:
    """Have a thread, with a connection of its own, look every LOOK_SECONDS and show what it finds, in the block."""
    over = threading.Event()
    with ProgressDisplay(output) as display:

        def look_until_over() -> None:
            try:
                while not over.wait(LOOK_SECONDS):
                    look(display)
            finally:
                connection.close()

        thread = threading.Thread(target=look_until_over)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def show_work(output: OutputWrapper, name: str, total: int) -> Iterator[CountedWork]:
    """Show the work of the block until it ends; the block sets `done`, a number of clients, as it goes on."""
    work = CountedWork(name, total, time.monotonic())
    with show_meanwhile(output, lambda display: display.show(work)):
        yield work


def describe_progress(progress: Progress | CountedWork) -> str:
    """Return in one line how far the work is, its rate and the time left; of a run also what is not well."""
    parts = [f"{progress.done:,} of {progress.total:,} clients ({progress.percent:.0f} %)"]
    if progress.per_second:
        parts.append(f"{progress.per_second:,.1f}/s")
    if progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left")
    if isinstance(progress, CountedWork):
        return f"{progress.name}: {', '.join(parts)}"
    if progress.failed:
        classes = (f"{number:,} {name}" for name, number in progress.failed_by_class.items())
        parts.append(f"{progress.failed:,} failed ({', '.join(classes)})")
    if progress.mismatched:
        parts.append(
            f"{progress.mismatched:,} {'differs' if progress.mismatched == 1 else 'differ'}"
        )
    others = (
        (progress.refused, "refused"),
        (progress.skipped, "skipped"),
        (progress.in_work, "in progress"),
        (progress.items_never_begun, "not begun"),
    )
    parts += [f"{number:,} {name}" for number, name in others if number]
    return f"{progress.run}: {', '.join(parts)}"
