"""Shows the progress of a run or other work on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from credentials.shown_names import escape_invisible
from migration.templatetags.migration_pages import duration

if TYPE_CHECKING:
    from typing import Self

    from django.core.management.base import OutputWrapper

    from migration.management.output import OneLineOutput
    from migration.reports.run_progress import Progress
    from nova_credentials.messages import Message

LINE_SECONDS = 10


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


class RunDisplay(Protocol):
    """Shows how far a run is, for as long as it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    @property
    def is_due(self) -> bool:
        """Say whether it is time to show the progress."""

    def show_progress(self, progress: Progress | CountedWork, reason: Message | None) -> None:
        """Show the progress, and the reason for waiting; call it as often as the progress is known."""

    def add_notice(self, text: str) -> None:
        """Say something beside the progress."""


def make_display(output: OutputWrapper) -> RunDisplay:
    """Return the display that fits the output."""
    if terminal := cast("OneLineOutput", output).terminal:
        # It imports rich, which takes a tenth of a second: only where there is a terminal.
        from migration.management.terminal import ProgressPanel

        return ProgressPanel(terminal)
    return ProgressLines(output)


class ProgressLines:
    """Writes a line every LINE_SECONDS, and another reason for waiting at once."""

    def __init__(self, output: OutputWrapper) -> None:
        self._output = output
        self._next_line_at = time.monotonic() + LINE_SECONDS
        self._codes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next_line_at

    def show_progress(self, progress: Progress | CountedWork, reason: Message | None) -> None:
        # The numbers in the reason change all the time, so only another reason is printed.
        is_new = reason is not None and reason.codes != self._codes
        if reason:
            self._codes = reason.codes
        if self.is_due:
            self._next_line_at = time.monotonic() + LINE_SECONDS
            self.add_notice(f"{describe_progress(progress)}. {describe_wait(reason)}".strip())
        elif is_new:
            self.add_notice(str(reason))

    def add_notice(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


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


def describe_wait(reason: Message | None) -> str:
    """Return why the run waits, fit for a terminal; "" where it doesn't."""
    return f"Waiting: {escape_invisible(str(reason))}" if reason else ""
