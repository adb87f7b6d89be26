"""Rotates database passwords, and goes on with rotations that were interrupted. One of a client at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from credentials.models import Client
from migration import rotation_sentences
from migration.models import Rotation
from migration.operations.database_rotation import DATABASE, DatabaseRotation
from migration.operations.locks import hold_client_locks
from migration.operations.role_passwords import open_login
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from migration.operations.role_passwords import OpenLogin

LOCK_WAIT_SECONDS = 5.0


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
        rotation = Rotation.objects.find_unfinished(client_id)
        wanted = DATABASE.value, label
        if rotation is None or (rotation.credential_type, rotation.label) != wanted:
            rotation = Rotation.objects.begin(client, DATABASE, label, by=by)
        DatabaseRotation(rotation, open_login, interactive).go_on()
    return rotation


def go_on_with_rotation(
    *, client_id: int, interactive: bool = False, open_login: OpenLogin = open_login
) -> Rotation | None:
    """Finish or undo the client's interrupted rotation; None where there is none, or somebody works on the client."""
    with hold_client_locks([client_id], wait_seconds=0) as held:
        rotation = Rotation.objects.find_unfinished(client_id) if held else None
        if rotation:
            DatabaseRotation(rotation, open_login, interactive).go_on()
    return rotation


@contextmanager
def _hold_client(client_id: int, *, wait_seconds: float) -> Iterator[None]:
    with hold_client_locks([client_id], wait_seconds=wait_seconds) as held:
        if not held:
            raise NotRotated(rotation_sentences.ROTATION_CLIENT_BUSY())
        yield
