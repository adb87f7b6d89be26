"""Rotates the database logins of the clients in a run's batch, one client after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.utils import timezone

from credentials.models import Client
from migration import rotation_sentences, sentences
from migration.models import Outcome, Rotation, RotationOpenError, RotationOutcome
from migration.operations.database_rotation import DATABASE
from migration.operations.reachable_logins import find_row
from migration.operations.rotations import NotRotated, rotate_database
from migration.operations.snapshots import look_at_client
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.models import Run, RunItem
    from nova_credentials.messages import Message


def rotate_items(run: Run, items: dict[int, RunItem], *, seconds: float) -> list[RunItem]:
    """Give each item its outcome; return those that may succeed at another try.

    After `seconds` no client is begun: the rest stays open, to be claimed again.
    """
    until, again = time.monotonic() + seconds, []
    for item in items.values():
        if time.monotonic() > until:
            item.next_try_at = timezone.now()
        elif _rotate_client(run, item):
            again.append(item)
    return again


def _rotate_client(run: Run, item: RunItem) -> bool:
    """Rotate the client's database logins and give its item an outcome; say whether another try may succeed.

    What this run has rotated before (a batch may be done twice) is left alone.
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
    for label in labels:
        if _is_rotated_since(run, item.client_id, label):
            continue
        try:
            rotation = rotate_database(client_id=item.client_id, label=label, by=run.by)
        except (NotRotated, RotationOpenError) as refusal:
            problems.append(refusal.message)
            may_pass = True
            continue
        if rotation.outcome != RotationOutcome.ROTATED:
            may_pass = may_pass or not rotation.is_finished or rotation.is_worth_another_try
            problems += [rotation.message] if rotation.message else []
    item.outcome = Outcome.FAILED if problems else Outcome.UPDATED
    item.message = in_a_row(*problems)
    item.error_class = ""
    if problems:
        item.error_class = ErrorClass.UNAVAILABLE if may_pass else ErrorClass.CONFLICT
    return may_pass


def _list_labels(client_id: int) -> Iterator[str | None]:
    """Yield None for the primary login, and the label of each other one that NOVA can ask for."""
    client = look_at_client(client_id)
    if find_row(client, DATABASE, None):
        yield None
    rows = client.credentials_by_type()[DATABASE]
    yield from sorted({row.label for row in rows if row.label and not row.is_primary})


def _is_rotated_since(run: Run, client_id: int, label: str | None) -> bool:
    """Say whether the login got a new password since the run began."""
    rotated = Rotation.objects.rotated().filter(client_id=client_id, begun_at__gte=run.created_at)
    return rotated.filter(credential_type=DATABASE, label=label).exists()
