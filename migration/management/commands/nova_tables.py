"""`nova_tables`: lists what NOVA added to its tables, says what its columns hold, and accepts its objects."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from credentials.models import ColumnUse
from credentials.nova_columns import read_nova_columns
from credentials.nova_objects import NovaObject
from migration.core.audit import ReasonError
from migration.management.base import FormattedCommand, find_user
from migration.management.names import CommandGroup
from migration.nova.tables import (
    AcceptanceRefusedError,
    MappingRefused,
    accept_objects,
    describe_object,
    list_nova_objects,
    map_column,
    split_unknown_accepted,
)
from nova_credentials.shown_names import escape_name

# So many characters of a digest name one object.
LEAST_DIGITS = 12


class List(FormattedCommand):
    help = (
        "Lists the columns that NOVA added, each with its use, and the triggers, rules, policies, domains and defaults"
        " of others on its tables. One that is not mapped or accepted shuts gates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        columns = read_nova_columns()
        unknown, accepted = split_unknown_accepted(list_nova_objects())
        if options["format"] == "json":
            added = [
                {
                    "column": column.shown_table_and_name,
                    "type": column.type,
                    "use": column.use.value if column.use and column.has_valid_mapping else None,
                }
                for column in columns.added
            ]
            objects = [
                object_to_json(each) | {"accepted": is_accepted}
                for some, is_accepted in ((unknown, False), (accepted, True))
                for each in some
            ]
            self.print_json({"columns": added, "objects": objects})
        else:
            for column in columns.added:
                use = column.use.value if column.use and column.has_valid_mapping else "not mapped"
                self.stdout.write(f"{column.shown_table_and_name}: {use}")
            for some, state in ((unknown, "not accepted"), (accepted, "accepted")):
                for each in some:
                    digest = each.digest[:LEAST_DIGITS]
                    self.stdout.write(f"{digest}  {describe_object(each)}: {state}")


class Map(FormattedCommand):
    help = (
        "Maps a column that NOVA added. secret and plain: its values travel in each client's secret, and a purge"
        " replaces those of a secret one by a pointer; ignore: they stay in the table alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "column", metavar="TABLE.COLUMN", help="as the page NOVA's tables shows it"
        )
        parser.add_argument("use", choices=ColumnUse.values, metavar="secret|plain|ignore")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="credentials.map_column")
        try:
            mapped = map_column(name=options["column"], use=ColumnUse(options["use"]), by=by)
        except MappingRefused as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        if options["format"] == "json":
            self.print_json(
                {
                    "column": mapped.column.shown_table_and_name,
                    "use": mapped.use.value,
                    "clients_to_push": mapped.clients_to_push,
                    "purged_with_values": len(mapped.purged_with_values),
                    "purged_clients": [client.slug for client in mapped.purged_with_values],
                }
            )
        else:
            self.stdout.write(str(mapped.message))
            for client in mapped.purged_with_values:
                self.stdout.write(f"    {escape_name(client.slug)}")


class Accept(FormattedCommand):
    help = (
        "Accepts objects of others on NOVA's tables as they are defined now. Without digests: lists those that nobody"
        " has accepted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("digests", nargs="*", metavar="DIGEST", help="as it is listed")
        parser.add_argument("--reason", default="", help="stored with the name of the user")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="credentials.accept_object")
        unknown, _accepted = split_unknown_accepted(list_nova_objects())
        if not options["digests"]:
            self._print_objects(unknown, options["format"])
            return
        chosen = [find_object(unknown, digest) for digest in dict.fromkeys(options["digests"])]
        try:
            accept_objects(
                digests=[each.digest for each in chosen], reason=options["reason"], by=by
            )
        except (AcceptanceRefusedError, ReasonError) as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        self._print_objects(chosen, options["format"])

    def _print_objects(self, objects: list[NovaObject], output_format: str) -> None:
        if output_format == "json":
            self.print_json([object_to_json(each) for each in objects])
            return
        for each in objects:
            self.stdout.write(f"{each.digest[:LEAST_DIGITS]}  {describe_object(each)}")


def object_to_json(found: NovaObject) -> dict[str, object]:
    return {key: str(getattr(found, key)) for key in ("kind", "name", "table", "owner", "digest")}


def find_object(unknown: list[NovaObject], digest: str) -> NovaObject:
    """Return the object whose digest begins so; exit with 2 where there is none, or more than one."""
    found = [each for each in unknown if each.digest.startswith(digest)]
    if len(digest) < LEAST_DIGITS or len(found) != 1:
        raise CommandError(
            "no such object, or it was accepted or changed: nova_tables list names them all",
            returncode=2,
        )
    return found[0]


class Command(CommandGroup):
    help = "Lists what NOVA and others added to NOVA's tables, maps columns, accepts objects."
    commands: ClassVar = {"list": List, "map": Map, "accept": Accept}
