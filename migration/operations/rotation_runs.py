"""Rotates the database logins of the clients in a run's batch, one client after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.utils import timezone

from credentials.models import Client, DatabaseCredential
from migration import rotation_sentences, sentences
from migration.core.snapshots import read_client_with_rows
from migration.models.rotation_schedules import RotationSchedule
from migration.models.rotations import Rotation, RotationOpenError, RotationOutcome
from migration.operations.database_rotation import DATABASE
from migration.operations.pending_secrets import is_same_role
from migration.operations.reachable_logins import find_row
from migration.operations.rotated_logins import list_rows, make_login
from migration.operations.rotations import NotRotated, rotate_database
from migration.runs.engine import works_on
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from migration.runs.engine import ItemsToRetry
    from migration.runs.items import RunItem
    from nova_credentials.messages import Message


# No client is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0


@works_on(Run.Kind.ROTATE)
def process_rotation_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Give each item its outcome; return those that may succeed at another try.

    After BATCH_SECONDS no client is begun: the rest stays open, to be claimed again.
    """
    until, again = time.monotonic() + BATCH_SECONDS, []
    for item in items.values():
        if time.monotonic() > until:
            item.next_try_at = timezone.now()
        elif _rotate_client(run, item, until=until):
            again.append(item)
    return again


def _rotate_client(run: Run, item: RunItem, *, until: float) -> bool:
    """Rotate the client's database logins and give its item an outcome; say whether another try may succeed.

    What this run has rotated before (a batch may be done twice) is left alone. Without an outcome, time was up.
    """
    if not Client.objects.filter(pk=item.client_id).exists():
        item.outcome, item.message = Outcome.SKIPPED, sentences.CLIENT_NOT_THERE()
        return False
    labels = list(_list_labels(item.client_id))
    if not labels:
        item.outcome, item.message = (
            Outcome.SKIPPED,
            rotation_sentences.ROTATION_NO_DATABASE_LOGIN(),
        )
        return False
    problems: list[Message] = []
    may_pass = False
    since = _find_fresh_since(run, item.client_id)
    for label in labels:
        if _is_rotated_since(since, item.client_id, label):
            continue
        if time.monotonic() > until:
            item.next_try_at = timezone.now()
            return False
        problem, passes = _rotate_login(run, item.client_id, label)
        problems += [problem] if problem else []
        may_pass = may_pass or passes
    item.outcome = Outcome.FAILED if problems else Outcome.UPDATED
    item.message = in_a_row(*problems)
    item.error_class = ""
    if problems:
        item.error_class = ErrorClass.UNAVAILABLE if may_pass else ErrorClass.CONFLICT
    return may_pass


def _rotate_login(run: Run, client_id: int, label: str | None) -> tuple[Message | None, bool]:
    """Rotate one login; return what kept it from being rotated, and whether another try may succeed."""
    try:
        rotation = rotate_database(client_id=client_id, label=label, by=run.by)
    except (NotRotated, RotationOpenError) as refusal:
        return refusal.message, True
    if rotation.outcome == RotationOutcome.ROTATED:
        return None, False
    return rotation.message, not rotation.is_finished or rotation.is_worth_another_try


def _list_labels(client_id: int) -> Iterator[str | None]:
    """Yield None for the primary login, and the label of each other one that NOVA can ask for; each role once."""
    client = read_client_with_rows(client_id)
    rows = list_rows(client)
    primary = find_row(client, DATABASE, None)
    seen = []
    if isinstance(primary, DatabaseCredential):
        seen.append(make_login(primary))
        yield None
    for row in sorted((row for row in rows if row.label and not row.is_primary), key=_get_label):
        login = make_login(row)
        if not any(is_same_role(login, other) for other in seen):
            seen.append(login)
            yield row.label


def _get_label(row: DatabaseCredential) -> str:
    return row.label or ""


def _find_fresh_since(run: Run, client_id: int) -> datetime:
    """Return since when a login that was rotated is left alone: since the run began; in a schedule's, for its days."""
    is_by_schedule = not run.by_name
    fresh = (
        RotationSchedule.objects.find_rotation_fresh_since(client_id) if is_by_schedule else None
    )
    return min(fresh, run.created_at) if fresh else run.created_at


def _is_rotated_since(since: datetime, client_id: int, label: str | None) -> bool:
    rotated = Rotation.objects.rotated().filter(client_id=client_id, begun_at__gte=since)
    return rotated.filter(credential_type=DATABASE, label=label).exists()
