"""`send_notices`: looks and sends as the workers do each minute. On another host, it tells that workers are gone."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from credentials.shown_names import escape_name
from migration.management.base import FormattedCommand
from migration.operations.notice_looks import look_for_minutely_conditions
from migration.operations.notice_sending import send_notices
from migration.reports.notices import list_delivery_reports

SEND_SECONDS = 60.0


class Command(FormattedCommand):
    help = (
        "Looks for what is to be told and sends the notices that wait, as the workers do each minute. Run it every"
        " few minutes on another host: it tells too that no worker is running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        try:
            look_for_minutely_conditions(by_worker=False)
        finally:
            # A look that fails keeps nothing from being told.
            send_notices(seconds=SEND_SECONDS)
        reports = list_delivery_reports()
        if options["format"] == "json":
            self.print_json(
                [
                    {
                        "way": each.way,
                        "host": each.host,
                        "waiting": each.waiting,
                        "problem": each.problem,
                    }
                    for each in reports
                ]
            )
        else:
            lines = [
                f"{each.way} {escape_name(each.host)}: {each.problem or 'well'}, {each.waiting} waiting"
                for each in reports
            ]
            self.stdout.write("\n".join(lines or ["Notices are set to reach nobody."]))
        if any(each.fails for each in reports):
            raise CommandError("Not every notice got there.", returncode=1)
