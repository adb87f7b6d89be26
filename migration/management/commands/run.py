"""`run`: lists and shows runs, approves, pauses, resumes and stops them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from migration.core.clients import APPROVE_MOVES
from migration.core.pages import RUN_PERMISSION
from migration.management.base import (
    LARGEST_ID,
    FormattedCommand,
    Options,
    RunCommand,
    find_user,
    require_permission,
    require_writes,
)
from migration.management.names import CommandGroup
from migration.management.progress import describe_progress, reread_progress
from migration.moves.approvals import ApprovalStepRefused, approve_run, cancel_run_request
from migration.moves.gates import ShutGate
from migration.runs.acts import ACTS
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.items import CAN_BE_RETRIED
from migration.runs.models import Run, StaleRunError, WithdrawnRunError
from migration.runs.progress import RUN_REQUESTED
from nova_credentials.messages import Sentence
from nova_credentials.shown_names import escape_name

RUN_HAS_NO_REST = Sentence("run_has_no_rest", "%(run)s is finished. Nothing is left to do.")
RUN_FAILED_ARE_LEFT = Sentence(
    "run_failed_are_left",
    "%(run)s is finished, but %(n)s clients failed. Retry them with --failed.",
    one="%(run)s is finished, but one client failed. Retry it with --failed.",
)
RUN_REFUSED_ARE_LEFT = Sentence(
    "run_refused_are_left",
    "%(run)s is finished, but %(n)s clients were refused. Retry them with --failed.",
    one="%(run)s is finished, but one client was refused. Retry it with --failed.",
)


RUNS_LISTED = 20


class List(FormattedCommand):
    help = "Lists the newest runs, those of the schedule left out, each with its state and numbers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--state",
            nargs="+",
            choices=Run.State.values,
            default=Run.State.values,
            metavar="STATE",
            help=f"only those that are {', '.join(Run.State.values[:-1])} or {Run.State.values[-1]}",
        )
        parser.add_argument(
            "--most",
            type=int,
            default=RUNS_LISTED,
            metavar="N",
            help=f"how many ({RUNS_LISTED})",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        found = Run.objects.without_sweeps().filter(state__in=options["state"])
        numbers = list(found.values_list("pk", flat=True)[: max(options["most"], 0)])
        runs = [
            describe_run(run)
            for run in Run.objects.filter(pk__in=numbers).with_counts().order_by("-pk")
        ]
        if options["format"] == "json":
            self.print_json(runs)
            return
        for run in runs:
            self.stdout.write(describe_in_one_line(run))


def describe_run(run: Run) -> dict[str, Any]:
    """Return the run as `run list` prints it; it has `with_counts`."""
    return {
        "run": run.pk,
        "kind": run.kind,
        "state": run.state,
        "by": run.by_name,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
        "clients": run.total,
        "done": run.done,
        "failed": run.failed,
        "refused": run.refused,
        "mismatched": run.mismatched,
    }


def describe_in_one_line(run: dict[str, Any]) -> str:
    parts = [f"{run['done']:,} of {run['clients']:,} clients"]
    parts += [f"{run[name]:,} {name}" for name in ("failed", "refused", "mismatched") if run[name]]
    who = f" by {escape_name(run['by'])}" if run["by"] else ""
    when = f"{run['created_at']:%Y-%m-%d %H:%M} UTC"
    return f"{run['run']}: {run['kind']}{who}, {when}: {run['state']}, {', '.join(parts)}"


class OneRunCommand(RunCommand):
    """A command about one run."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="the run, by number")
        self.add_format(parser)

    def print_state(self, run: Run, options: Options) -> None:
        """Print in which state the run is now, and its numbers."""
        found = describe_run(Run.objects.with_counts().get(pk=run.pk))
        if options["format"] == "json":
            self.print_json(found)
        else:
            self.stdout.write(describe_in_one_line(found))


class Show(OneRunCommand):
    help = "Shows how far a run is, what it waits for, and each client's outcome."

    def handle(self, *args: object, **options: Any) -> None:
        run = find_run(options["run"])
        progress = reread_progress(run)
        why = progress.delay_reason
        if options["format"] == "text":
            self.stdout.write(f"{run.state}. {describe_progress(progress)}")
            if why:
                self.stdout.write(f"Waiting: {why}")
        state = {"state": run.state, "waits_for": str(why or "")}
        self.report_items(run, options, **state)


class SteerCommand(OneRunCommand):
    """A command that changes a run's state, in somebody's name."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        self.add_by(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission=self.permission)
        run = find_run(options["run"])
        try:
            self.steer(run, by)
        except (StaleRunError, ApprovalStepRefused, ShutGate) as error:
            raise CommandError(str(error), returncode=1) from None
        self.print_state(run, options)

    def steer(self, run: Run, by: User | None) -> None:
        raise NotImplementedError


class Pause(SteerCommand):
    help = "Pauses a run: workers finish the batches that they hold, and claim no others."

    def steer(self, run: Run, by: User | None) -> None:
        run.pause(by=by)


class Stop(SteerCommand):
    help = (
        "Stops a run: clients that nobody has begun are left out. One that is only requested is withdrawn, one that is"
        " only planned is discarded."
    )

    def steer(self, run: Run, by: User | None) -> None:
        if run.is_open_plan:
            act = ACTS.get(run.act)
            if by and act:
                require_permission(by, act.permission, may=act.may(by))
            run.discard(by=by)
            return
        if run.state == Run.State.REQUESTED:
            if by and by.pk != run.by_id:
                require_permission(by, APPROVE_MOVES, may=by.has_perm(APPROVE_MOVES))
            cancel_run_request(run_id=run.pk, by=by)
            return
        run.stop(by=by)
        skip_free_items_of_stopped_run(run)


class Approve(SteerCommand):
    takes_locks = True
    help = "Lets a requested run begin, in the name of somebody else than who requested it. One client is moved now."
    permission = APPROVE_MOVES

    def add_arguments(self, parser: CommandParser) -> None:
        OneRunCommand.add_arguments(self, parser)
        parser.add_argument(
            "--by", metavar="USER", required=True, help="who approves it: not who requested it"
        )

    def steer(self, run: Run, by: User | None) -> None:
        if by and (approved := approve_run(run_id=run.pk, by=by)).finished_at is None:
            self.enqueue_run(approved)


class Resume(OneRunCommand):
    takes_locks = True
    help = "Goes on with the clients that a stopped or interrupted run left out, or waits for a run that goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--failed",
            action="store_true",
            help="try the clients again that failed or were refused, too",
        )
        self.add_run_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission=RUN_PERMISSION)
        run = find_run(options["run"])
        find_user(options["by"], permission=run.own_permission)
        if options["inline"] and run.needs_aws_writes_allowed:
            require_writes()
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
        if run.state in Run.NOT_STARTED:
            raise StaleRunError(run, Run.State.RUNNING)
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


class Command(CommandGroup):
    help = "Lists, shows and steers runs: a run is one request over many clients."
    commands: ClassVar = {
        "list": List,
        "show": Show,
        "approve": Approve,
        "pause": Pause,
        "resume": Resume,
        "stop": Stop,
    }
