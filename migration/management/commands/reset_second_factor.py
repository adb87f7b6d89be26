"""`reset_second_factor`: removes the second factor of somebody who lost it, where nobody can on a page."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from migration.management.base import FormattedCommand
from migration.people.second_factors import NotResetError, reset_second_factor
from nova_credentials.shown_names import escape_name


class Command(FormattedCommand):
    help = (
        "Removes a user's second factor and logs them out everywhere: for the only User administrator who lost theirs."
        " They are told by mail, and set up a new one at their next login."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="the user's name")
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"unknown user: {escape_name(options['user'])}", returncode=2)
        try:
            told = reset_second_factor(user, None)
        except NotResetError as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        if options["format"] == "json":
            self.print_json({"user": user.username, "reset": True, "told": told})
            return
        mail = "A mail tells them." if told else "No mail could be sent: tell them yourself."
        self.stdout.write(f"{escape_name(user.username)} has no second factor now. {mail}")
