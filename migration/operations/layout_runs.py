"""Changes the layout of a run's clients, one after the other: each under its own lease, as its page does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models.runs import Run
from migration.operations.layouts import change_layout
from migration.operations.single_items import ItemsToRetry, process_one_by_one, works_on
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from migration.models.run_items import Outcome, RunItem
    from nova_credentials.messages import Message


@works_on(Run.Kind.LAYOUT)
def process_layout_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Give each item its outcome, or leave it open; return those that may succeed at another try."""

    def change(client_id: int) -> tuple[Outcome, Message]:
        changed = change_layout(
            client_id=client_id,
            layout=Layout(run.layout),
            by=run.by,
            interactive=False,
        )
        return changed.outcome, changed.message

    return process_one_by_one(run, items, change)
