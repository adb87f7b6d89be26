"""`group_clients`: puts clients into a group, or takes them out of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from migration.core.clients import all_clients
from migration.core.groups import ClientGroup, ClientGroupError
from migration.management.base import ClientsCommand, find_client_group, find_user
from nova_credentials.shown_names import escape_name


class Command(ClientsCommand):
    help = "Puts clients into a group, made if there is none of this name. Groups are labels: no client is moved."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("group", metavar="NAME", help="the group's name")
        self.add_client_arguments(parser)
        parser.add_argument("--remove", action="store_true", help="take them out of the group")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="migration.change_clientgroup")
        chosen, removes = self.find_clients(options), options["remove"]
        try:
            if removes:
                group = find_client_group(options["group"])
                changed = group.remove_clients(chosen, by=by)
            else:
                with transaction.atomic():
                    group = ClientGroup.objects.get_or_add(options["group"], by=by)
                    changed = group.put_clients(chosen, by=by)
        except ClientGroupError as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        number = all_clients().in_group(group.pk).count()
        if options["format"] == "json":
            done = {"added": [] if removes else changed, "removed": changed if removes else []}
            self.print_json({"group": group.name, "clients": number, **done})
        else:
            for slug in changed:
                self.stdout.write(escape_name(slug))
            self.stdout.write(
                f"{len(changed)} {'taken out of' if removes else 'put into'} {group},"
                f" which has {number} clients now"
            )
