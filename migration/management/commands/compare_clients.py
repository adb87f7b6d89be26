"""`compare_clients`: compares both stores and stores what differs."""

from typing import Any

from django.core.management.base import CommandParser

from migration.management.base import ClientsCommand
from migration.runs.models import Run


class Command(ClientsCommand):
    takes_locks = True
    help = (
        "Compares clients in both stores; prints fingerprints only, never a value. What differs while a push is pending"
        " is no mismatch."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_client_arguments(parser)
        self.add_format(parser)
        self.add_run_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        run = self.start_run_and_wait(
            options, kind=Run.Kind.COMPARE, chosen=self.find_clients(options)
        )
        self.report_run(run, options)
