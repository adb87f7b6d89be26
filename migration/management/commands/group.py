"""`group`: puts clients into a group, takes them out of it, and lists the groups."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.groups import ClientGroup, ClientGroupError
from migration.management.base import (
    ClientsCommand,
    FormattedCommand,
    find_client_group,
    find_user,
)
from migration.management.names import CommandGroup
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name


class ChangeCommand(ClientsCommand):
    """A command that changes which clients are in a group."""

    verb: ClassVar[str]
    # In JSON, the list of those that were not so before.
    changed_are: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the group's name")
        self.add_client_arguments(parser)
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="migration.change_clientgroup")
        try:
            group, changed = self.change(options["name"], self.find_clients(options), by)
        except ClientGroupError as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        slugs = list(
            all_clients().with_ids(changed).order_by("slug").values_list("slug", flat=True)
        )
        number = all_clients().in_group(group.pk).count()
        if options["format"] == "json":
            lists = {"added": [], "removed": [], self.changed_are: slugs}
            self.print_json({"group": group.name, "clients": number, **lists})
            return
        for slug in slugs:
            self.stdout.write(escape_name(slug))
        self.stdout.write(f"{len(slugs)} {self.verb} {group}, which has {number} clients now")

    def change(
        self, name: str, chosen: ClientPhaseQuerySet, by: User | None
    ) -> tuple[ClientGroup, list[int]]:
        """Change the group; return it, and the ids of the clients that were not so before."""
        raise NotImplementedError


class Add(ChangeCommand):
    help = "Puts clients into a group, made if there is none of this name. Groups are labels: no client is moved."
    verb, changed_are = "put into", "added"

    def change(
        self, name: str, chosen: ClientPhaseQuerySet, by: User | None
    ) -> tuple[ClientGroup, list[int]]:
        with transaction.atomic():
            group = ClientGroup.objects.get_or_add(name, by=by)
            return group, group.put_clients(chosen, by=by)


class Remove(ChangeCommand):
    help = "Takes clients out of a group."
    verb, changed_are = "taken out of", "removed"

    def change(
        self, name: str, chosen: ClientPhaseQuerySet, by: User | None
    ) -> tuple[ClientGroup, list[int]]:
        group = find_client_group(name)
        return group, group.remove_clients(chosen, by=by)


class List(FormattedCommand):
    help = "Lists the groups, each with its clients by phase."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        groups = [
            {
                "group": group.name,
                "clients": group.number,  # type: ignore[attr-defined]  # `with_counts`
                "phases": {phase.value: getattr(group, f"in_{phase}") for phase in Phase},
            }
            for group in ClientGroup.objects.with_counts()
        ]
        if options["format"] == "json":
            self.print_json(groups)
            return
        for group in groups:
            phases = [f"{n} in {name}" for name, n in group["phases"].items() if n]
            rest = f": {', '.join(phases)}" if phases else ""
            self.stdout.write(f"{escape_name(group['group'])}  {group['clients']} clients{rest}")


class Command(CommandGroup):
    help = (
        "Puts clients into groups, takes them out, and lists groups, by which clients are chosen."
    )
    commands: ClassVar = {"add": Add, "remove": Remove, "list": List}
