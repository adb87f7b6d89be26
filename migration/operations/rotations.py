"""Rotates database passwords, and goes on with rotations that were interrupted. One of a client at a time."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection

from credentials.models import Client
from migration import offboarding_sentences, rotation_sentences
from migration.core.aws_store import secrets_manager
from migration.core.clients import Offboarding
from migration.core.leases import hold_client_locks
from migration.models.rotations import Rotation, RotationOutcome
from migration.operations.database_rotation import DATABASE, DatabaseRotation
from migration.operations.pending_secrets import PendingSecret
from migration.operations.role_passwords import open_login
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from migration.operations.role_passwords import OpenLogin

LOCK_WAIT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class NotRotated(MessageError):  # noqa: N818  # nothing went wrong: it may not be done now
    """Nothing was begun; the message says why."""


def rotate_database(
    *,
    client_id: int,
    label: str | None = None,
    by: User | None = None,
    interactive: bool = False,
    open_login: OpenLogin = open_login,
) -> Rotation:
    """Give the client's database login a new password; without a label, the primary one.

    The rotation's outcome and message say what became of it; without an outcome the workers go on with it. One of the
    same login that was interrupted is gone on with. Raises `NotRotated` and `RotationOpenError` where none was begun,
    and `Client.DoesNotExist`.
    """
    with _hold_client(client_id, wait_seconds=LOCK_WAIT_SECONDS):
        client = Client.objects.get(pk=client_id)
        if Offboarding.objects.leaving_or_left().filter(pk=client_id).exists():
            raise NotRotated(offboarding_sentences.IS_OFFBOARDED(slug=client.slug))
        rotation = Rotation.objects.find_unfinished(client_id)
        wanted = DATABASE.value, label
        if rotation is None or (rotation.credential_type, rotation.label) != wanted:
            rotation = Rotation.objects.begin(client, DATABASE, label, by=by)
        DatabaseRotation(rotation, open_login, interactive).finish_steps()
    return rotation


def go_on_with_rotation(
    *, client_id: int, interactive: bool = False, open_login: OpenLogin = open_login
) -> Rotation | None:
    """Finish or undo the client's interrupted rotation; None where there is none, or somebody works on the client."""
    with hold_client_locks([client_id], wait_seconds=0) as held:
        rotation = Rotation.objects.find_unfinished(client_id) if held else None
        if rotation and not Client.objects.filter(pk=client_id).exists():
            _end_without_client(rotation)
        elif rotation:
            DatabaseRotation(rotation, open_login, interactive).finish_steps()
    return rotation


def _end_without_client(rotation: Rotation) -> None:
    """Store that nobody needs the new secret any more; it stays in AWS, under the stage of those that stopped."""
    secret = PendingSecret(secrets_manager(), rotation.secret_name, rotation.client_id)
    try:
        if rotation.secret_name:
            secret.mark_as_stopped(rotation.version_id)
            secret.take_off()
    except SecretsManagerError as error:
        if not error.is_gone:
            rotation.note_hindrance(error.message)
            return
    gone = rotation_sentences.ROTATION_CLIENT_GONE(version=rotation.version_id)
    rotation.end(RotationOutcome.STOPPED, gone)


def go_on_with_rotations(*, seconds: float) -> None:
    """Finish or undo the rotations whose process was killed or hindered; the others are first the next time."""
    until = time.monotonic() + seconds
    for client_id in Rotation.objects.list_unfinished_client_ids():
        if time.monotonic() >= until:
            break
        try:
            go_on_with_rotation(client_id=client_id)
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # One client must not keep the others waiting. An error's text can hold a value.
            kind = type(error).__name__
            logger.error("The rotation of client %s was not gone on with: %s", client_id, kind)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()


@contextmanager
def _hold_client(client_id: int, *, wait_seconds: float) -> Iterator[None]:
    with hold_client_locks([client_id], wait_seconds=wait_seconds) as held:
        if not held:
            raise NotRotated(rotation_sentences.ROTATION_CLIENT_BUSY())
        yield
