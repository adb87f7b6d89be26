"""`resume_run`: goes on with a run that was paused, stopped or interrupted, or waits for one again."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from migration.core.pages import RUN_PERMISSION
from migration.management.base import LARGEST_ID, RunCommand, find_user, require_writes
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.items import CAN_BE_RETRIED
from migration.runs.models import Run, StaleRunError, WithdrawnRunError
from migration.runs.progress import RUN_REQUESTED
from nova_credentials.messages import Sentence

RUN_HAS_NO_REST = Sentence("run_has_no_rest", "%(run)s is finished: nothing is left to go on with.")
RUN_FAILED_ARE_LEFT = Sentence(
    "run_failed_are_left",
    "%(run)s is finished: no client is left to go on with, but %(n)s failed. Try them again with --failed.",
    one="%(run)s is finished: no client is left to go on with, but one failed. Try it again with --failed.",
)
RUN_REFUSED_ARE_LEFT = Sentence(
    "run_refused_are_left",
    "%(run)s is finished: no client is left to go on with, but %(n)s were refused. Try them again with --failed.",
    one="%(run)s is finished: no client is left to go on with, but one was refused. Try it again with --failed.",
)


class Command(RunCommand):
    takes_locks = True
    help = "Goes on with the clients that a stopped or interrupted run left out, or waits for a run that goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="the run, by number")
        parser.add_argument(
            "--failed",
            action="store_true",
            help="try the clients again that failed or were refused, too",
        )
        parser.add_argument(
            "--inline", action="store_true", help="in this process, without workers"
        )
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission=RUN_PERMISSION)
        run = find_run(options["run"])
        find_user(options["by"], permission=run.own_permission)
        if options["inline"] and run.needs_aws_writes_allowed:
            require_writes(run.kind)
        try:
            resumed = self._resume_run(run, by, with_failed=options["failed"])
        except StaleRunError as error:
            raise CommandError(str(error), returncode=1) from None
        if run.state == Run.State.REQUESTED:
            raise CommandError(f"{run}: {RUN_REQUESTED()}", returncode=1)
        if resumed and not options["inline"]:
            self.enqueue_run(run)
        if run.finished_at is None:
            self.wait_for_end(run, inline=options["inline"])
        self.report_run(run, options)

    def _resume_run(self, run: Run, by: User | None, *, with_failed: bool) -> bool:
        """Let the run go on if it stands still; False where it goes on already, or where nothing is left of it."""
        if run.state == Run.State.STOPPED:
            # Who stopped it may have been killed before this.
            skip_free_items_of_stopped_run(run)
            run.refresh_from_db()
        if run.state == Run.State.PAUSED:
            run.resume(by=by)
            return True
        if run.state == Run.State.RUNNING:
            return False
        if run.items.left_out_by_withdrawal().exists():
            raise WithdrawnRunError(run)
        failed = run.items.filter(outcome__in=CAN_BE_RETRIED)
        if run.items.never_begun().exists() or (with_failed and failed.exists()):
            run.reopen_never_begun(by=by, with_failed=with_failed)
            return True
        number = failed.count()
        moves = run.kind == Run.Kind.MOVE
        sentence = RUN_REFUSED_ARE_LEFT if moves else RUN_FAILED_ARE_LEFT
        left = sentence(run=run.name_message, n=number)
        none = RUN_HAS_NO_REST(run=run.name_message)
        self.stderr.write(str(left if number else none))
        return False


def find_run(number: int) -> Run:
    """Return the run with this number; exit with 2 where there is none."""
    run = Run.objects.filter(pk=number).first() if 0 < number <= LARGEST_ID else None
    if run is None:
        raise CommandError(f"unknown run: {number}", returncode=2)
    return run
