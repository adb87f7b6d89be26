"""`push_pending`: pushes every client whose newest rows are not in AWS yet."""

from typing import Any

from django.core.management.base import CommandParser

from credentials.models import ClientRevision
from migration.core.clients import all_clients
from migration.management.base import ClientsCommand
from migration.runs.models import Run


class Command(ClientsCommand):
    takes_locks = True
    help = "Pushes every client that writes both stores and was written since its last push."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)
        self.add_run_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        ClientRevision.objects.fold_writes()
        run = self.start_run_and_wait(
            options, kind=Run.Kind.PUSH, chosen=all_clients().push_pending()
        )
        self.report_run(run, options)
