"""Takes off AWSPENDING that an interrupted write left on a version of ours, once nothing can need that version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migration import rotation_sentences, sentences, version_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.rotations import Rotation
from migration.operations import pending_secrets
from migration.operations.aws_store import secrets_manager
from migration.operations.aws_writes import find_write_refusal
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.pending_secrets import is_made_by_site
from migration.operations.resolutions import LOCK_WAIT_SECONDS, NotResolved
from migration.operations.snapshots import read_snapshot
from migration.operations.version_logins import (
    TriedVersion,
    list_new_logins,
    shorten,
    try_for_failures,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import PENDING
from nova_credentials.document import DocumentError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message


def take_unneeded_pending_off(
    *, client_id: int, name: str, version_id: str, by: User | None = None
) -> Message:
    """Take AWSPENDING off this version; return what was done. Raises `NotResolved` where that could lose a password.

    A rotation that was interrupted may have given the server the pending password already. So the current version's
    logins are tried first, where the two differ.
    """
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        snapshot, sm = read_snapshot(client_id), secrets_manager(interactive=True)
        if not held:
            raise NotResolved(sentences.TRY_AGAIN_LATER())
        if rotation := Rotation.objects.find_unfinished(client_id):
            raise NotResolved(rotation_sentences.ROTATION_UNDER_WAY(ago=rotation.begun_at))
        if why := find_write_refusal():
            raise NotResolved(why)
        if name not in snapshot.names.values():
            raise NotResolved(version_sentences.PENDING_IS_GONE(name=name))
        try:
            version = TriedVersion(client_id, snapshot.slug, name, version_id, by)
            _require_unneeded(sm, version)
            refuse_lost_client_locks()
            if not pending_secrets.take_pending_off(sm, name, version_id):
                raise NotResolved(version_sentences.PENDING_IS_GONE(name=name))
        except (SecretsManagerError, DocumentError) as error:
            raise NotResolved(error.message) from None
        done = version_sentences.PENDING_TAKEN_OFF(name=name, version=shorten(version_id))
        AuditEvent.objects.record(
            AuditCode.VERSION, done, by=by, client_id=client_id, slug=snapshot.slug
        )
    return done


def _require_unneeded(sm: SecretsManager, version: TriedVersion) -> None:
    """Raise `NotResolved` unless AWSPENDING is on this version of ours, and the current one is proven to log in."""
    name = version.name
    pending = sm.get_stage(name, PENDING)
    if pending is None or pending.version_id != version.version_id:
        raise NotResolved(version_sentences.PENDING_IS_GONE(name=name))
    if not is_made_by_site(name, version.version_id):
        raise NotResolved(version_sentences.PENDING_IS_FOREIGN(name=name))
    current = sm.get_value(name)
    if current.version_id != version.version_id:
        # Each login in which the two differ has to work as the current one has it.
        differing = list(list_new_logins(current.to_document(), pending.to_document()))
        tried = replace(version, version_id=current.version_id)
        if failed := try_for_failures(differing, version=tried):
            told = tuple(text for text, _outcome in failed)
            raise NotResolved(version_sentences.PENDING_MAY_BE_NEEDED(name=name, logins=told))
