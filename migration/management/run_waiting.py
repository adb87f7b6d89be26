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
from migration.management.progress import LOOK_SECONDS, ProgressDisplay, show_meanwhile
from migration.runs import engine
from migration.runs.engine import held_batches, is_held_by_writes
from migration.runs.models import Run
from migration.runs.progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from django.core.management.base import OutputWrapper

    from migration.runs.progress import Progress
    from nova_credentials.messages import Message, Sentence

# A run that is over is reported at once.
POLL_SECONDS = 0.1
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
        with ProgressDisplay(output) as display:
            _poll_run(run, display)
    except KeyboardInterrupt:
        raise CommandError(
            str(_describe_rest(run, command_sentences.RUN_GOES_ON)), returncode=INTERRUPTED
        ) from None


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
            facts = command_sentences.NO_PROGRESS(run=run.name_message, seconds=NO_PROGRESS_SECONDS)
            raise CommandError(str(facts))


def finish_in_this_process(run: Run, output: OutputWrapper) -> None:
    """Work on the run until it is finished. The first Ctrl-C lets the batches in work end, the second ends at once.

    Raises CommandError with 130 if it was interrupted and clients are left; the run is stopped then.
    """
    interrupted = threading.Event()

    def look(display: ProgressDisplay) -> None:
        ends = command_sentences.BATCHES_END_FIRST(id=str(run.pk)) if interrupted.is_set() else None
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
