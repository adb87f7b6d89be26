"""`map_column`: says what a column holds that NOVA added to one of its tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from credentials.models import ColumnUse
from migration.management.base import FormattedCommand, find_user
from migration.nova.tables import MappingRefused, map_column
from nova_credentials.shown_names import escape_name


class Command(FormattedCommand):
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
