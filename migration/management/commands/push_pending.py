"""`push_pending`: pushes the clients whose newest rows are not in AWS yet."""

from collections.abc import Collection
from typing import Any, ClassVar

from credentials.models import ClientRevision
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.pages import RUN_PERMISSION
from migration.management.acts import ActCommand, plan_clients
from migration.management.base import Options
from migration.runs.acts import Act, Order
from migration.runs.models import Run
from migration.runs.plans import PlannedClient


class PushPending(Act):
    """Pushes what waits. It has no page: workers do it within a minute."""

    code = "push_pending"
    permission = RUN_PERMISSION

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        pending = all_clients().with_ids(client_ids).push_pending().values_list("pk", flat=True)
        return plan_clients(client_ids, to_do=set(pending))

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run:
        pending = chosen.push_pending()
        return Run.start(kind=Run.Kind.PUSH, chosen=pending, **order.run_options)


class Command(ActCommand):
    act: ClassVar = PushPending()
    begins_unasked = True
    help = (
        "Pushes the clients that write both stores and were written since their last push: of those that are named, or"
        " of all."
    )

    def choose_clients(self, options: Options) -> ClientPhaseQuerySet:
        others = (options[name] is not None for name in ("group", "wave", "all_in"))
        is_chosen = options["slugs"] or options["all"] or any(others)
        return self.find_clients(options) if is_chosen else all_clients()

    def handle(self, *args: object, **options: Any) -> None:
        ClientRevision.objects.fold_writes()
        super().handle(*args, **options)
