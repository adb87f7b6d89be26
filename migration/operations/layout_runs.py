"""Changes the layout of a run's clients, one after the other: each under its own lease, as its page does it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from credentials.models import Client
from migration import sentences
from migration.models import Outcome, Run
from migration.operations.aws_writes import find_write_refusal
from migration.operations.layouts import LayoutRefusedError, change_layout
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from migration.models import RunItem

# No change is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0


def process_layout_items(run: Run, items: dict[int, RunItem]) -> None:
    """Give each item its outcome, or leave it open where the run is paused, stopped or over its time."""
    until = time.monotonic() + BATCH_SECONDS
    for pk, item in items.items():
        if (
            time.monotonic() > until
            or not Run.objects.is_running(run.pk)
            or find_write_refusal() is not None
        ):
            item.leave_open()
            continue
        try:
            changed = change_layout(
                client_id=pk,
                layout=Layout(run.layout),
                by=run.by,
                adopt=run.adopt,
                interactive=False,
            )
        except LayoutRefusedError as refusal:
            item.outcome, item.error_class = Outcome.FAILED, refusal.error_class
            item.message = refusal.message
        except Client.DoesNotExist:
            item.outcome, item.message = Outcome.SKIPPED, sentences.CLIENT_NOT_THERE()
        else:
            item.outcome, item.message = changed.outcome, changed.message
