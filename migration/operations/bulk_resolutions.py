"""Resolves the mismatches of many clients, one after the other, for as long as a person waits for a page."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration.operations.resolutions import NotResolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from migration.models import Resolution
    from nova_credentials.messages import Message

# Less than the server in front of a worker waits for the page.
GIVE_UP_AFTER_SECONDS = 15.0


@dataclass
class BulkResolution:
    """Holds client id -> its resolution or refusal, and the ids that were not tried."""

    done: dict[int, Resolution] = field(default_factory=dict)
    refused: dict[int, Message] = field(default_factory=dict)
    # Not tried, as the time was over.
    left: list[int] = field(default_factory=list)


def resolve_each(client_ids: Iterable[int], resolve: Callable[[int], Resolution]) -> BulkResolution:
    """Resolve one client after the other, until GIVE_UP_AFTER_SECONDS are over. Raises `ReasonError`."""
    result, give_up_at = BulkResolution(), time.monotonic() + GIVE_UP_AFTER_SECONDS
    for client_id in client_ids:
        if time.monotonic() > give_up_at:
            result.left.append(client_id)
            continue
        try:
            result.done[client_id] = resolve(client_id)
        except NotResolved as refusal:
            result.refused[client_id] = refusal.message
    return result
