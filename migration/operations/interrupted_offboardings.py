"""Finishes offboardings whose process was killed or hindered: their rows hold pointers, and secrets may be left.

A client that comes back is left to people: they may also offboard it again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.db import connection

from migration import offboarding_sentences as told
from migration.models.offboardings import Offboarding, OffboardingState
from migration.operations.leaving_checks import list_objections
from migration.operations.locks import hold_client_locks
from migration.operations.offboarding import OffboardingError, schedule_offboarding_deletions
from migration.operations.snapshots import read_snapshot

if TYPE_CHECKING:
    from nova_credentials.messages import Message

logger = logging.getLogger(__name__)


def go_on_with_offboardings(*, seconds: float) -> None:
    """Finish begun offboardings within `seconds`; a hindered one waits for the next time, on the dashboard."""
    until = time.monotonic() + seconds
    begun = Offboarding.objects.unfinished().filter(state=OffboardingState.OFFBOARDING)
    for client_id in list(begun.order_by("begun_at").values_list("pk", flat=True)):
        if time.monotonic() >= until:
            break
        try:
            resume_offboarding(client_id=client_id)
        except OffboardingError:
            continue
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # One client must not keep the others waiting. An error's text can hold a value.
            kind = type(error).__name__
            logger.error("The offboarding of client %s was not gone on with: %s", client_id, kind)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()


def resume_offboarding(*, client_id: int) -> Message | None:
    """Finish the client's offboarding, and say what was done; None where none is unfinished, or somebody works on it.

    Raises `OffboardingError`, `NovaSchemaError` and `Client.DoesNotExist`.
    """
    with hold_client_locks([client_id], wait_seconds=0) as held:
        unfinished = Offboarding.objects.filter(state=OffboardingState.OFFBOARDING)
        leaving = unfinished.filter(pk=client_id).first() if held else None
        if leaving is None:
            return None
        # Who began it has acknowledged the reads before; of an inactive client there are none since.
        reasons = list_objections(read_snapshot(client_id), acknowledged=True)
        if reasons:
            refused = told.OFFBOARDING_REFUSED(slug=leaving.slug, reasons=tuple(reasons))
            raise OffboardingError(refused)
        return schedule_offboarding_deletions(leaving, by=leaving.by)
