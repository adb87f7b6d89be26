"""Draws on a terminal, with rich: the progress of a run and the table of its items, of names fit to be shown."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from migration.management.run_display import describe_progress, describe_wait

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self, TextIO

    from migration.management.run_display import CountedWork
    from migration.reports.run_progress import Progress
    from nova_credentials.messages import Message

WIDEST_BAR = 80
# The colour of a row, by its outcome. It says nothing that the words don't.
COLOURS = {
    **dict.fromkeys(("failed", "unchecked", "refused"), "red"),
    **dict.fromkeys(("mismatch", "skipped", "not begun"), "yellow"),
}


def make_console(terminal: TextIO) -> Console:
    """Make a console as wide as the terminal is; it takes no markup, as texts hold names that others chose."""
    return Console(file=terminal, force_terminal=True, markup=False, emoji=False, highlight=False)


class ProgressPanel:
    """Draws a bar with the progress below it, again and again in the same place; gone once it is left."""

    is_due = True

    def __init__(self, terminal: TextIO) -> None:
        self._console = make_console(terminal)
        self._lock = threading.Lock()
        self._notices: list[str] = []
        self._live: Live | None = None
        self._redirected: list[logging.StreamHandler[TextIO]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()
            for handler in self._redirected:
                handler.setStream(sys.stderr)

    def show_progress(self, progress: Progress | CountedWork, reason: Message | None) -> None:
        bar = ProgressBar(
            total=progress.total or 1,
            completed=progress.done,
            width=min(self._console.width, WIDEST_BAR),
        )
        lines = [describe_progress(progress), describe_wait(reason), *self._notices]
        # A bar alone ends no line.
        drawn = Group(Padding(bar, 0), *(Text(line) for line in lines if line))
        if self._live is None:
            self._begin_drawing()
        if self._live:
            self._live.update(drawn, refresh=True)

    def add_notice(self, text: str) -> None:
        self._notices.append(text)

    def _begin_drawing(self) -> None:
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        # A process that is ended at once can't show the cursor again, so it is never hidden.
        self._console.show_cursor(True)
        # A line of the log goes above the bar, not into it.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(FileProxy(self._console, sys.stderr))
                self._redirected.append(handler)


def print_table(
    terminal: TextIO, headings: Sequence[str], rows: Sequence[Sequence[str]], *, colour_by: int
) -> None:
    """Print a table no wider than the terminal, in which a text that is too long for its column goes on below.

    A row has the colour of the outcome in its column `colour_by`.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        # An outcome and the class of an error are single words, which are read at a glance.
        is_word = colour_by <= number <= colour_by + 1 and number < len(headings) - 1
        table.add_column(heading, overflow="fold", no_wrap=is_word)
    for row in rows:
        table.add_row(*map(Text, row), style=COLOURS.get(row[colour_by]))
    make_console(terminal).print(table)
