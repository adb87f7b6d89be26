"""`client_status`: prints phase, secrets, push and newest comparison of clients."""

from typing import Any

from django.core.management.base import CommandParser

from migration.clients.status import iterate_client_statuses
from migration.core.clients import all_clients
from migration.management.base import ClientsCommand
from nova_credentials.shown_names import escape_name


class Command(ClientsCommand):
    help = "Prints phase, secret names, pending push and newest comparison of clients."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "slugs",
            nargs="*",
            metavar="SLUG",
            help="the clients, by slug; without any, all clients",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        statuses = iterate_client_statuses(
            self.find_named_clients(options["slugs"]) if options["slugs"] else all_clients()
        )
        if options["format"] == "json":
            self.print_json_items(statuses)
            return
        for status in statuses:
            self._print_status(status)

    def _print_status(self, status: dict[str, Any]) -> None:
        comparison = status["comparison"]
        self.stdout.write(
            f"{escape_name(status['slug'])}: {status['phase']},"
            f" {comparison['status'] if comparison else 'not compared'}"
            f"{', push pending' if status['push_pending'] else ''}; {', '.join(map(escape_name, status['secrets']))}"
        )
        if run := status["run"]:
            reason = f": {run['reason']}" if run["reason"] else ""
            self.stdout.write(f"    in run {run['run']}, {run['state']}{reason}")
        self.print_mismatches(comparison["mismatches"] if comparison else [])
