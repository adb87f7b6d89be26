"""`send_notices`: looks and sends as the workers do each minute. On another host, it tells that workers are gone."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.management.base import FormattedCommand
from migration.site.notices import list_recipient_reports, look_and_send
from nova_credentials.shown_names import escape_name

SEND_SECONDS = 60.0


class Command(FormattedCommand):
    help = (
        "Looks for what is to be told and sends the notices that wait, as the workers do each minute. Run it every"
        " few minutes on another host: it tells too that no worker is taking tasks."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        look_and_send(seconds=SEND_SECONDS)
        reports = list_recipient_reports()
        if options["format"] == "json":
            self.print_json(
                [
                    {
                        "way": str(each.recipient.way.label),
                        "host": each.recipient.host,
                        "waiting": each.waiting,
                        "problem": each.problem,
                    }
                    for each in reports
                ]
            )
        else:
            lines = [
                f"{each.recipient.way.label} {escape_name(each.recipient.host)}: {each.problem or 'well'},"
                f" {each.waiting} waiting"
                for each in reports
            ]
            self.stdout.write("\n".join(lines or ["Notices have no recipients."]))
        if any(each.problem for each in reports):
            raise CommandError("Not every notice got there.", returncode=1)
