"""`change_layout`: gives clients one secret each, or one for each service, while NOVA goes on reading."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from migration.management.base import ClientsCommand
from migration.runs.models import Run
from nova_credentials.document import Layout


class Command(ClientsCommand):
    takes_locks = True
    permission = "migration.move_client"
    help = "Changes the layout of clients' secrets: new ones are written and read back before NOVA reads them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "layout",
            choices=[layout.value for layout in Layout],
            help="client: one secret per client; service: one per service",
        )
        self.add_client_arguments(parser)
        self.add_format(parser)
        self.add_run_arguments(parser)
        self.add_adoption_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        chosen = self.find_clients(options)
        self.adopt_foreign_secrets(chosen, options, layout=Layout(options["layout"]))
        run = self.start_run_and_wait(
            options,
            kind=Run.Kind.LAYOUT,
            chosen=chosen,
            layout=options["layout"],
            adopt=options["adopt"],
        )
        self.report_run(run, options)
