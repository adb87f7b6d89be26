"""`aws_writes`: stops every AWS write of all workers and pages, lets them go on, and says whether they do."""

from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from migration import tasks
from migration.core.audit import ReasonError
from migration.core.aws_writes import (
    find_write_refusal,
    get_aws_write_state,
    start_aws_writes,
    stop_aws_writes,
)
from migration.management.base import FormattedCommand, find_user
from migration.management.names import CommandGroup

PERMISSION = "migration.stop_aws_writes"


class Stop(FormattedCommand):
    help = "Stops every AWS write of all workers and pages within a second; aws_writes start lets them go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="shown to everybody, and kept")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        try:
            stop = stop_aws_writes(
                reason=options["reason"], by=find_user(options["by"], permission=PERMISSION)
            )
        except ReasonError as error:
            raise CommandError(str(error), returncode=2) from None
        if options["format"] == "json":
            self.print_json({"stopped": True, "stopped_at": stop.stopped_at})
        else:
            self.stdout.write(
                "AWS writes are stopped. Runs wait; comparisons and moves back go on."
            )


class Start(FormattedCommand):
    help = "Lets AWS writes go on after aws_writes stop, and the runs that waited."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        ended = start_aws_writes(by=find_user(options["by"], permission=PERMISSION))
        refusal = find_write_refusal()
        if refusal is None:
            tasks.resume_held_runs()
        if options["format"] == "json":
            self.print_json({"stopped": False, "ended": ended, "refusal": refusal and str(refusal)})
        else:
            lines = ["AWS writes go on." if ended else "AWS writes were not stopped."]
            self.stdout.write(" ".join([*lines, *([str(refusal)] if refusal else [])]))


class Status(FormattedCommand):
    help = "Says whether this host may write to AWS now; if not, why: who stopped it, or what else does."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        stop, refusal = get_aws_write_state().stop, find_write_refusal()
        if options["format"] == "json":
            self.print_json(
                {
                    "stopped": stop is not None,
                    "stopped_at": stop and stop.stopped_at,
                    "by": stop and stop.username,
                    "reason": stop and stop.reason,
                    "refusal": refusal and str(refusal),
                }
            )
        else:
            self.stdout.write(str(refusal or "AWS writes go on."))
            if stop:
                self.stdout.write(f"Reason: {stop.reason}")


class Command(CommandGroup):
    help = "Stops all AWS writes within a second, lets them go on, and says whether they do."
    commands: ClassVar = {"stop": Stop, "start": Start, "status": Status}
