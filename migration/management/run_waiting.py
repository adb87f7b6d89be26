"""Waits for the end of a run, which workers or this process work on, and shows its progress meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from migration import command_sentences, run_sentences
from migration.management.run_display import make_display
from migration.models import Run
from migration.operations import runs
from migration.operations.run_batches import held_batches
from migration.operations.runs import is_held_by_writes
from migration.reports.run_progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from django.core.management.base import OutputWrapper

    from migration.management.run_display import RunDisplay
    from migration.reports.run_progress import Progress
    from nova_credentials.messages import Message, Sentence

POLL_SECONDS = 0.5
# A worker that has time begins a run within a second.
BEGUN_AFTER_SECONDS = 5
# The batch of a killed worker is delivered again after `retry` and may take up to `timeout`.
QUEUE: dict[str, int] = settings.Q_CLUSTER
NO_PROGRESS_SECONDS = QUEUE["retry"] + QUEUE["timeout"]
INTERRUPTED = 130  # a shell's exit code for Ctrl-C


def wait_for_workers(run: Run, output: OutputWrapper) -> None:
    """Wait until workers have finished the run; Ctrl-C leaves it to them, says how far it is, and exits with 130.

    Raises CommandError where it has made no progress for NO_PROGRESS_SECONDS.
    """
    try:
        with make_display(output) as display:
            _poll_run(run, display)
    except KeyboardInterrupt:
        raise CommandError(
            str(_describe_rest(run, command_sentences.RUN_GOES_ON)), returncode=INTERRUPTED
        ) from None


def _poll_run(run: Run, display: RunDisplay) -> None:
    seen, seen_at = -1, time.monotonic()
    begins_by = seen_at + BEGUN_AFTER_SECONDS
    while run.finished_at is None:
        now = reread_progress(run)
        reason = now.delay_reason
        if time.monotonic() >= begins_by:
            reason = explain_late_begin(now) or reason
        display.show_progress(now, reason)
        if now.done != seen:
            seen, seen_at = now.done, time.monotonic()
        if time.monotonic() - seen_at > NO_PROGRESS_SECONDS:
            facts = command_sentences.NO_PROGRESS(run=run.name_message, seconds=NO_PROGRESS_SECONDS)
            raise CommandError(str(facts))
        time.sleep(POLL_SECONDS)
        run.refresh_from_db()


def finish_in_this_process(run: Run, output: OutputWrapper) -> None:
    """Work on the run until it is finished. The first Ctrl-C lets the batches in work end, the second ends at once.

    Raises CommandError with 130 if it was interrupted and clients are left; the run is stopped then.
    """
    interrupted = threading.Event()
    try:
        with (
            make_display(output) as display,
            _show_meanwhile(run, display, interrupted),
            _catch_interrupt(interrupted),
        ):
            runs.finish_inline(run, interrupted=interrupted)
    except KeyboardInterrupt:
        interrupted.set()
    if interrupted.is_set() and run.items.never_begun().exists():
        raise CommandError(
            str(_describe_rest(run, command_sentences.RUN_CUT_SHORT)), returncode=INTERRUPTED
        )
    if run.finished_at is None:
        why = reread_progress(run).delay_reason or ""
        output.write(str(command_sentences.RUN_WAITS(run=run.name_message, why=why)))


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


@contextmanager
def _show_meanwhile(run: Run, display: RunDisplay, interrupted: threading.Event) -> Iterator[None]:
    """Show the progress from a thread with a connection of its own, until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=_show_until, args=(over, run, display, interrupted))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _show_until(
    over: threading.Event, run: Run, display: RunDisplay, interrupted: threading.Event
) -> None:
    told = False
    try:
        while not over.wait(POLL_SECONDS):
            if interrupted.is_set() and not told:
                told = True
                display.add_notice(str(command_sentences.BATCHES_END_FIRST(id=str(run.pk))))
            if display.is_due:
                _show_now(run, display)
    finally:
        connection.close()


def _show_now(run: Run, display: RunDisplay) -> None:
    try:
        now = reread_progress(run)
        display.show_progress(now, now.delay_reason)
    except DatabaseError:
        # PostgreSQL may be restarting: who works on the run says so, and the next look connects again.
        connection.close()


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


def explain_late_begin(progress: Progress) -> Message | None:
    """Say that no worker has begun a running run, and what to do; None where one has."""
    begun = progress.done or progress.groups_awaiting_retry or held_batches(progress.run.pk)
    # A run that this site's writes are refused for says so itself.
    if begun or progress.run.state != Run.State.RUNNING or is_held_by_writes(progress.run):
        return None
    return (
        run_sentences.NOT_BEGUN_NO_WORKER()
        if progress.worker_is_gone
        else run_sentences.NOT_BEGUN()
    )
