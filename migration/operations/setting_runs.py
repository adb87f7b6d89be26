"""Applies the settings to the secrets of a run's clients, one client after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models.runs import Run
from migration.operations.applied_settings import apply_settings
from migration.operations.single_items import ItemsToRetry, process_one_by_one, works_on

if TYPE_CHECKING:
    from migration.models.run_items import Outcome, RunItem
    from nova_credentials.messages import Message


@works_on(Run.Kind.SECRET_SETTINGS)
def process_setting_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Apply the key and region settings to each item's client; return items that may succeed at another try."""
    wanted = run.secret_settings or {}

    def apply(client_id: int) -> tuple[Outcome, Message | None]:
        return apply_settings(client_id=client_id, wanted=wanted, by=run.by, interactive=False)

    return process_one_by_one(run, items, apply)
