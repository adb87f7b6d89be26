"""`change_layout`: gives clients one secret each, or one for each service, while NOVA goes on reading."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from migration.core.clients import ClientPhaseQuerySet
from migration.management.acts import ActCommand
from migration.management.base import Options
from migration.runs.acts import Order
from migration.runs.models import Run
from migration.secrets.acts import LAYOUT_PERMISSION
from nova_credentials.document import Layout


class Command(ActCommand):
    # Each layout has an act, of which the one that is typed is taken.
    act_code = "layout_client"
    # What an adoption on the way asks of `--by` too.
    permission = LAYOUT_PERMISSION
    help = "Changes the layout of clients' secrets: new ones are written and read back before NOVA reads them."

    def add_own_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "layout",
            choices=[layout.value for layout in Layout],
            help="client: one secret per client; service: one per service",
        )

    def add_act_arguments(self, parser: CommandParser) -> None:
        super().add_act_arguments(parser)
        self.add_adoption_argument(parser)

    def handle(self, *args: object, **options: Any) -> None:
        self.act_code = f"layout_{options['layout']}"
        super().handle(*args, **options)

    def start(self, chosen: ClientPhaseQuerySet, order: Order, options: Options) -> Run:
        return Run.start(
            kind=Run.Kind.LAYOUT,
            chosen=chosen,
            layout=options["layout"],
            adopt=options["adopt"],
            **order.run_options,
        )
