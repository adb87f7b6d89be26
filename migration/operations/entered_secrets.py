"""Stores a new secret that somebody entered for a mailbox or an AWS key, once it was proven by a login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from credentials.models import Client, RowsBusyError, save_columns
from credentials.refusals import RefusedByDatabaseError, convert_refusals
from migration import login_sentences, rotation_sentences
from migration.core.aws_store import secret_names_by_type
from migration.core.secrets import Secret
from migration.core.snapshots import read_client_with_rows, read_snapshot, reread_locked_client
from migration.models.rotations import Rotation, RotationOutcome, RotationStep
from migration.operations.login_tests.attempts import try_login
from migration.operations.reachable_logins import describe_missing_login, find_row
from migration.operations.rotations import NotRotated
from migration.pushes.saves import AdminSave, SaveRefusedError
from nova_credentials.credential_types import ROW_CLASSES, CredentialType, map_to_json_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.contrib.auth.models import User

    from credentials.models import Credential
    from migration.core.outgoing import LoginResult
    from nova_credentials.messages import Message

    TryLogin = Callable[..., LoginResult]

# What is entered anew: an AWS key has another id with another secret.
ENTERED_COLUMNS: dict[CredentialType, tuple[str, ...]] = {
    CredentialType.EMAIL: ("email_password",),
    CredentialType.AWS: ("access_key_id", "secret_access_key"),
}


def store_entered_secret(
    *,
    client_id: int,
    credential_type: CredentialType,
    label: str | None,
    entered: Mapping[str, str],
    by: User | None = None,
    warn: Callable[[Message], None] = lambda _message: None,
    try_login: TryLogin = try_login,
) -> Rotation:
    """Log in with what was entered (by column), then save it as the client's form does: AWS first where it decides.

    The rotation's outcome says whether it was stored. `warn` is called with a message where AWS has the saved row later
    only. Raises `NotRotated` and `RotationOpenError`, where nothing is stored, and `Client.DoesNotExist`.
    """
    client = read_client_with_rows(client_id)
    row = find_row(client, credential_type, label)
    if row is None:
        raise NotRotated(describe_missing_login(client.slug, credential_type, label))
    if all(getattr(row, name) == value for name, value in entered.items()):
        raise NotRotated(rotation_sentences.ROTATION_SAME_SECRET())
    tested = {name: getattr(row, name) for name in row.DESTINATION_FIELDS}
    result = try_login(credential_type, _list_values(row, entered))
    if not result.works:
        refused = rotation_sentences.ROTATION_NEW_SECRET_REFUSED(
            outcome=login_sentences.OUTCOMES[result.outcome]()
        )
        with transaction.atomic():
            rotation = Rotation.objects.begin(client, credential_type, label, by=by)
            rotation.end(RotationOutcome.REFUSED, refused)
        return rotation
    try:
        with convert_refusals(), transaction.atomic():
            Client.objects.lock_rows(client_id)
            found = find_row(reread_locked_client(client_id), credential_type, label)
            if found is None or any(getattr(found, name) != tested[name] for name in tested):
                raise NotRotated(rotation_sentences.ROTATION_LOGIN_CHANGED_MEANWHILE())
            rotation = _save(found, entered, by=by, warn=warn)
    except (SaveRefusedError, RowsBusyError, RefusedByDatabaseError) as error:
        raise NotRotated(error.message) from None
    secret = secret_names_by_type(read_snapshot(client_id))[credential_type]
    known = Secret.objects.find([secret]).get(secret)
    rotation.version_id = known.version_id if known else ""
    return rotation


def _list_values(row: Credential, entered: Mapping[str, str]) -> dict[str, str | int | None]:
    """Return the row's values by the document's keys, with what was entered in them."""
    return {
        key: entered.get(name, getattr(row, name))
        for name, key in map_to_json_keys(ROW_CLASSES[row.TYPE]).items()
    }


def _save(
    row: Credential,
    entered: Mapping[str, str],
    *,
    by: User | None,
    warn: Callable[[Message], None],
) -> Rotation:
    """Save the row, and AWS where it decides; in the caller's transaction, which has locked the rows."""
    client = Client.objects.get(pk=row.client_id)
    save = AdminSave(client.pk)
    # The row of a purged client has a pointer; its value was read from AWS just now.
    stored = {name: getattr(row, name) for name in entered} | save.secrets.get(row, {})
    if all(stored[name] == value for name, value in entered.items()):
        raise NotRotated(rotation_sentences.ROTATION_SAME_SECRET())
    for name, value in entered.items():
        setattr(row, name, value)
    secrets = {name: value for name, value in entered.items() if name in row.SECRET_FIELDS}
    save.keep_secrets_out_if_purged(row.TYPE, row, secrets)
    save_columns(row, entered)
    rotation = Rotation.objects.begin(client, row.TYPE, row.label, by=by)
    rotation.step = RotationStep.STORED
    rotation.save(update_fields=["step"])
    rotation.end(RotationOutcome.ROTATED)
    save.write_or_push_to_aws(warn=warn)
    return rotation
