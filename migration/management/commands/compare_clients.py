"""`compare_clients`: compares both stores and stores what differs."""

from collections.abc import Collection
from typing import ClassVar

from migration.core.clients import ClientPhaseQuerySet
from migration.core.pages import RUN_PERMISSION
from migration.management.acts import ActCommand, plan_clients
from migration.runs.acts import Act, Order
from migration.runs.models import Run
from migration.runs.plans import PlannedClient


class Compare(Act):
    """Compares both stores. It has no page, as choosing it does it: it reads."""

    code = "compare"
    permission = RUN_PERMISSION
    writes_aws = False

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        return plan_clients(client_ids)

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run:
        return Run.start(kind=Run.Kind.COMPARE, chosen=chosen, **order.run_options)


class Command(ActCommand):
    act: ClassVar = Compare()
    begins_unasked = True
    help = (
        "Compares clients in both stores; prints fingerprints only, never a value. What differs while a push is pending"
        " is no mismatch."
    )
