"""`start_aws_writes`: lets AWS writes go on after `stop_aws_writes`, and the runs that waited."""

from typing import Any

from django.core.management.base import CommandParser

from migration import tasks
from migration.core.aws_writes import find_write_refusal, start_aws_writes
from migration.management.base import FormattedCommand, find_user


class Command(FormattedCommand):
    help = "Lets AWS writes go on after stop_aws_writes."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        ended = start_aws_writes(
            by=find_user(options["by"], permission="migration.stop_aws_writes")
        )
        refusal = find_write_refusal()
        if refusal is None:
            tasks.resume_held_runs()
        if options["format"] == "json":
            self.print_json({"stopped": False, "ended": ended, "refusal": refusal and str(refusal)})
        else:
            lines = ["AWS writes go on." if ended else "AWS writes were not stopped."]
            self.stdout.write(" ".join([*lines, *([str(refusal)] if refusal else [])]))
