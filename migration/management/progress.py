"""Shows on standard error how far work is, waits for the end of runs, and prints what came of their items."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice, starmap
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO, TypeAlias, cast

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, connection

from migration.core.clients import all_clients
from migration.core.comparisons import Comparison
from migration.logins.models import LoginStores, LoginTest
from migration.runs import engine
from migration.runs.engine import held_batches, is_held_by_writes
from migration.runs.items import LEFT_OUT_KEYS, Outcome, RunItemQuerySet
from migration.runs.models import Run
from migration.runs.progress import Progress, measure_progress, select_runs_for_progress
from migration.templatetags.migration_pages import duration
from nova_credentials.messages import Message, Sentence
from nova_credentials.shown_names import escape_invisible, escape_name

if TYPE_CHECKING:
    from rich import progress as bars
    from rich.console import Console

    from migration.management.base import OneLineOutput


# One client in a run as commands print it, as data.
Item: TypeAlias = Mapping[str, Any]

LOOK_SECONDS = 1.0
BAR_WIDTH = 20
# A run that is over is reported at once.
POLL_SECONDS = 0.1
REPEATED_AFTER_SECONDS = 30.0
# A worker that has time begins a run within a second.
BEGUN_AFTER_SECONDS = 5
# The batch of a killed worker is delivered again after `retry` and may take up to `timeout`.
NO_PROGRESS_SECONDS: int = settings.Q_CLUSTER["retry"] + settings.Q_CLUSTER["timeout"]
INTERRUPTED = 130  # a shell's exit code for Ctrl-C

NOT_BEGUN, PENDING = "not begun", "pending"
# How many of a run's items are in memory at once.
ITEMS_AT_ONCE = 500
# The worse an outcome is, the nearer it is to the prompt.
SEVERITY: dict[str, int] = {
    Outcome.SKIPPED: 1,
    NOT_BEGUN: 2,
    PENDING: 1,
    Outcome.REFUSED: 3,
    **dict.fromkeys(Comparison.DIFFERS, 2),
    Outcome.FAILED: 3,
    Comparison.Status.UNCHECKED: 3,
}
# The colour of a row. It says nothing that the words don't.
COLOURS = {
    **dict.fromkeys(("failed", "unchecked", "refused"), "red"),
    **dict.fromkeys(("mismatch", "skipped", "not begun"), "yellow"),
}


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
    """Shows work for as long as it is entered: by rich's bar on a terminal, elsewhere by a line a second.

    The bar is gone once it is left.
    """

    def __init__(self, output: OutputWrapper) -> None:
        terminal = cast("OneLineOutput", output).terminal
        self._output, self._told, self._told_at = output, object(), 0.0
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
            return
        # Rates and seconds left move by themselves: where nothing else does, a line each half minute is enough.
        told = (work.done, waits_for and waits_for.codes, remark and remark.codes)
        if told != self._told or time.monotonic() - self._told_at >= REPEATED_AFTER_SECONDS:
            self._told, self._told_at = told, time.monotonic()
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
    with ProgressDisplay(output) as display, looking_every(LOOK_SECONDS, partial(look, display)):
        yield


@contextmanager
def looking_every(seconds: float, look: Callable[[], None]) -> Iterator[None]:
    """Have a thread, with a connection of its own, look so often in the block."""
    over = threading.Event()

    def look_until_over() -> None:
        try:
            while not over.wait(seconds):
                look()
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


RUN_GOES_ON = Sentence(
    "run_goes_on",
    "%(run)s continues on the workers: %(done)s of %(total)s clients are done (%(failed)s failed), %(rest)s are "
    "not. To wait for it again: manage.py run resume %(id)s (with --inline this process works on it too).",
)


def wait_for_workers(run: Run, output: OutputWrapper) -> None:
    """Wait until workers have finished the run; Ctrl-C leaves it to them, says how far it is, and exits with 130.

    Raises CommandError where it has made no progress for NO_PROGRESS_SECONDS.
    """
    try:
        with ProgressDisplay(output) as display:
            _poll_run(run, display)
    except KeyboardInterrupt:
        raise CommandError(str(_describe_rest(run, RUN_GOES_ON)), returncode=INTERRUPTED) from None


NO_PROGRESS = Sentence(
    "no_progress",
    "%(run)s has made no progress for %(seconds)s s. It stays queued. If no worker is running, start one: "
    "manage.py qcluster",
)
NO_PROGRESS_AS_IT_FAILS = Sentence(
    "no_progress_as_it_fails",
    "%(run)s has made no progress for %(seconds)s s. It stays queued, and the workers try on. %(why)s",
)


def _poll_run(run: Run, display: ProgressDisplay) -> None:
    seen, seen_at = -1, time.monotonic()
    begins_by, look_at = seen_at + BEGUN_AFTER_SECONDS, seen_at + LOOK_SECONDS
    while run.finished_at is None:
        time.sleep(POLL_SECONDS)
        run.refresh_from_db()
        if time.monotonic() < look_at or run.finished_at:
            continue
        look_at = time.monotonic() + LOOK_SECONDS
        now = reread_progress(run)
        late = explain_late_begin(now) if time.monotonic() >= begins_by else None
        display.show(now, waits_for=late or now.delay_reason)
        if now.done != seen:
            seen, seen_at = now.done, time.monotonic()
        if time.monotonic() - seen_at > NO_PROGRESS_SECONDS:
            name, seconds = run.name_message, NO_PROGRESS_SECONDS
            why = now.delay_reason if now.groups_awaiting_retry else None
            if why and not now.worker_is_gone:
                told = NO_PROGRESS_AS_IT_FAILS(run=name, seconds=seconds, why=why)
                raise CommandError(str(told))
            raise CommandError(str(NO_PROGRESS(run=name, seconds=seconds)))


RUN_CUT_SHORT = Sentence(
    "run_cut_short",
    "%(run)s is stopped: %(done)s of %(total)s clients are done (%(failed)s failed), %(rest)s are not. To "
    "continue: manage.py run resume %(id)s --inline",
)
BATCHES_END_FIRST = Sentence(
    "batches_end_first",
    "Interrupted: finishing the current batches. Press Ctrl+C again to end at once. To continue: manage.py run "
    "resume %(id)s --inline",
)
RUN_WAITS = Sentence("run_waits", "%(run)s is waiting. Workers continue it. %(why)s")


def finish_in_this_process(run: Run, output: OutputWrapper) -> None:
    """Work on the run until it is finished. The first Ctrl-C lets the batches in work end, the second ends at once.

    Raises CommandError with 130 if it was interrupted and clients are left; the run is stopped then.
    """
    interrupted = threading.Event()

    def look(display: ProgressDisplay) -> None:
        ends = BATCHES_END_FIRST(id=str(run.pk)) if interrupted.is_set() else None
        try:
            now = reread_progress(run)
            display.show(now, waits_for=now.delay_reason, remark=ends)
        except DatabaseError:
            # PostgreSQL may be restarting: who works on the run says so, and the next look connects again.
            connection.close()

    try:
        with show_meanwhile(output, look), _catch_interrupt(interrupted):
            engine.finish_inline(run, interrupted=interrupted)
    except KeyboardInterrupt:
        interrupted.set()
    if interrupted.is_set() and run.items.never_begun().exists():
        raise CommandError(str(_describe_rest(run, RUN_CUT_SHORT)), returncode=INTERRUPTED)
    if run.finished_at is None:
        why = reread_progress(run).delay_reason or ""
        output.write(str(RUN_WAITS(run=run.name_message, why=why)))


@contextmanager
def _catch_interrupt(interrupted: threading.Event) -> Iterator[None]:
    """Set the event at the first Ctrl-C; the second ends the process as if nothing caught it."""

    def take_interrupt(_number: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        interrupted.set()

    before = signal.getsignal(signal.SIGINT)
    # Python knows signals in its main thread alone; what was started to ignore them goes on ignoring them.
    catches = threading.current_thread() is threading.main_thread() and before != signal.SIG_IGN
    if catches:
        signal.signal(signal.SIGINT, take_interrupt)
    try:
        yield
    finally:
        if catches:
            signal.signal(signal.SIGINT, before)


def reread_progress(run: Run) -> Progress:
    """Measure the progress of the run as it is now."""
    return measure_progress(select_runs_for_progress().get(pk=run.pk))


def _describe_rest(run: Run, sentence: Sentence) -> Message:
    """Say what is done, what is not, and the command that goes on with the rest."""
    now = reread_progress(run)
    return sentence(
        run=run.name_message,
        id=str(run.pk),
        done=now.done,
        total=now.total,
        failed=now.failed,
        rest=now.open_or_left_out,
    )


NOT_BEGUN_NO_WORKER = Sentence(
    "not_begun_no_worker",
    "No worker is taking tasks, so nothing happens. doctor says why; if none is running, start one: manage.py qcluster"
    " (or press Ctrl+C and run this command again with --inline; the run stays queued for the next worker)",
)
ITEM_NOT_BEGUN = Sentence(
    "not_begun",
    "No worker has started this run. If none is running, start one: manage.py qcluster",
)


def explain_late_begin(progress: Progress) -> Message | None:
    """Say that no worker has begun a running run, and what to do; None where one has."""
    begun = progress.done or progress.groups_awaiting_retry or held_batches(progress.run.pk)
    # A run that this site's writes are refused for says so itself.
    if begun or progress.run.state != Run.State.RUNNING or is_held_by_writes(progress.run):
        return None
    return NOT_BEGUN_NO_WORKER() if progress.worker_is_gone else ITEM_NOT_BEGUN()


class ItemRow(NamedTuple):
    """The columns of an item that a report shows; reading them alone is several times as fast as reading its row."""

    client_id: int
    slug: str
    outcome: str
    error_class: str
    message: Message | None
    comparison_status: str
    finished_at: datetime | None


def iterate_items(run: Run) -> Iterator[Item]:
    """Yield the run's items as commands print them, with some of them in memory at a time."""
    describe = DESCRIBERS.get(run.kind, _describe_items)
    rows = run.items.values_list(*ItemRow._fields).iterator(chunk_size=ITEMS_AT_ONCE)
    items = starmap(ItemRow, rows)
    while some := list(islice(items, ITEMS_AT_ONCE)):
        yield from describe(run, some)


def _describe_items(_run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    for item in items:
        yield {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **describe_message(item.message),
        }


def _describe_compared_items(run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    """Describe items of a comparison, with what differs."""
    mismatches: dict[int, Any] = {}
    pending: set[int] = set()
    # Only where something differs: building these queries takes as long as the rest of the report.
    if differing := [i.client_id for i in items if i.comparison_status in Comparison.DIFFERS]:
        compared = run.comparisons.filter(client_id__in=differing)
        mismatches = dict(compared.values_list("client_id", "mismatches"))
        waiting = select_waiting_for_push(run).filter(client_id__in=differing)
        pending = set(waiting.values_list("client_id", flat=True))
    for item in items:
        message = describe_message(item.message)
        status = PENDING if item.client_id in pending else item.comparison_status
        yield {
            "slug": item.slug,
            "status": status or (NOT_BEGUN if message["code"] in LEFT_OUT_KEYS else item.outcome),
            "error_class": item.error_class,
            **message,
            "mismatches": mismatches.get(item.client_id, []),
        }


def select_waiting_for_push(run: Run) -> RunItemQuerySet:
    """Select the items whose stores differ while a push is pending, which the workers make within a minute."""
    differing: RunItemQuerySet = run.items.filter(comparison_status__in=Comparison.DIFFERS)
    return differing.filter(client_id__in=all_clients().push_due().order_by().values("pk"))


def _describe_tested_items(run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    logins: dict[int, list[dict[str, object]]] = {}
    for test in LoginTest.objects.filter(
        client__in=[item.client_id for item in items],
        store__in=LoginStores(run.stores).named_stores,
        is_newest=True,
    ).order_by("pk"):
        logins.setdefault(test.client_id, []).append(
            {
                "type": test.kind,
                "id": test.credential_id,
                "label": test.label,
                "store": test.store,
                "outcome": test.outcome,
                "service": test.service,
            }
        )
    for item in items:
        yield {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **describe_message(item.message),
            "logins": logins.get(item.client_id, []) if item.finished_at else [],
        }


DESCRIBERS: dict[str, Callable[[Run, Sequence[ItemRow]], Iterator[Item]]] = {
    Run.Kind.COMPARE: _describe_compared_items,
    Run.Kind.TEST_LOGINS: _describe_tested_items,
}


def rank_item(item: Item) -> int:
    """Return how much it needs attention: 0 where it needs none."""
    return SEVERITY.get(_name_status(item), 0)


def _name_status(item: Item) -> str:
    return str(item["status"]) if "status" in item else name_outcome(item)


def name_outcome(item: Item) -> str:
    """Return the outcome for people: what was left out by a stop was not begun, though it is stored as skipped."""
    return NOT_BEGUN if item.get("code") in LEFT_OUT_KEYS else str(item["outcome"])


def describe_message(message: Message | None) -> dict[str, str]:
    """Return the message in English, and its key for programs."""
    return {"message": str(message or ""), "code": message.codes[0] if message else ""}


def describe_mismatch(mismatch: dict[str, str]) -> str:
    """Return how a field differs: kind, hint and, if they are known, the short codes of PostgreSQL and AWS."""
    hint = f" ({mismatch['hint']})" if mismatch["hint"] else ""
    codes = [
        f"{store} {mismatch[side]} ({mismatch[f'{side}_length']})"
        for store, side in (("PostgreSQL", "expected"), ("AWS", "actual"))
        if mismatch.get(side)
    ]
    return f"{escape_name(mismatch['path'])}: {mismatch['kind']}{hint}{', ' if codes else ''}{', '.join(codes)}"


def print_item_table(terminal: TextIO, items: Sequence[Item]) -> None:
    """Print the items as a table no wider than the terminal; those that need attention come last."""
    # It imports rich, which takes a tenth of a second: only where there is a terminal.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(map(_make_row, sorted(items, key=rank_item)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = [name for name in rows[0] if any(row[name] for row in rows)]
    for heading in headings:
        # Single words, which are read at a glance.
        is_word = heading in ("Outcome", "Error") and heading != headings[-1]
        table.add_column(heading, overflow="fold", no_wrap=is_word)
    for row in rows:
        table.add_row(*(Text(row[name]) for name in headings), style=COLOURS.get(row["Outcome"]))
    make_console(terminal).print(table)


def _make_row(item: Item) -> dict[str, str]:
    """Return the cells by heading; what differs stands below the message."""
    differences = map(describe_mismatch, item.get("mismatches", []))
    return {
        "Client": escape_name(item["slug"]),
        "Outcome": _name_status(item),
        "Error": item["error_class"],
        "Message": "\n".join(
            escape_invisible(line) for line in (item["message"], *differences) if line
        ),
    }
