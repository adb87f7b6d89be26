"""`stop_aws_writes`: stops every AWS write of all workers and pages within a second."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.core.audit import ReasonError
from migration.core.aws_writes import stop_aws_writes
from migration.management.base import FormattedCommand, find_user


class Command(FormattedCommand):
    help = "Stops every AWS write of all workers and pages within a second; start_aws_writes lets them go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="shown to everybody, and kept")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        try:
            stop = stop_aws_writes(
                reason=options["reason"],
                by=find_user(options["by"], permission="migration.stop_aws_writes"),
            )
        except ReasonError as error:
            raise CommandError(str(error), returncode=2) from None
        if options["format"] == "json":
            self.print_json({"stopped": True, "stopped_at": stop.stopped_at})
        else:
            self.stdout.write(
                "AWS writes are stopped. Runs wait; comparisons and moves back go on."
            )
