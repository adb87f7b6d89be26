"""`invite_administrator`: makes an Administrator who has to choose a password, and shows the link for it once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.urls import reverse

from migration.management.base import OneLineCommand
from migration.people.accounts import NotDoneError, invite_administrator
from migration.site.notices import find_site_origin
from nova_credentials.shown_names import escape_name


class Command(OneLineCommand):
    help = (
        "Makes a user with the roles Administrator and User administrator, and shows once the link by which they choose"
        " a password. Of one who has not chosen any yet it makes a new link; any earlier one stops working."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the username")

    def handle(self, *args: object, **options: Any) -> None:
        name = options["name"]
        try:
            token = invite_administrator(name)
        except NotDoneError as error:
            raise CommandError(str(error), returncode=2) from None
        if token is None:
            self.stdout.write(f"{escape_name(name)} is an Administrator already.")
            return
        address = f"{find_site_origin()}{reverse('admin:open_link', args=[token])}"
        self.stdout.write(f"{escape_name(name)} chooses a password here, once and within 3 days:")
        self.stdout.write(f"    {address}")
