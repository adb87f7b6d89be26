"""Schedules the deletion of secrets that nobody needs: of a client back in `postgres`, or that NOVA deleted.

Always with a recovery window.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import transaction

from credentials.models import Client
from migration import audit_sentences, rotation_sentences, sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.clients import ClientMigration
from migration.models.moves import PhaseChange
from migration.models.offboardings import RECOVERY_DAYS
from migration.models.reasons import require_reason
from migration.models.rotations import Rotation
from migration.models.secrets import Secret
from migration.operations.aws_store import secrets_manager
from migration.operations.aws_writes import find_write_refusal
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.secret_owners import load_owners
from migration.operations.stored_looks import store_look
from migration.setting_sentences import REPLICAS_REMOVED
from nova_credentials.aws.secret_settings import remove_replicas
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.operations.secret_owners import SecretOwners
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

LOCK_WAIT_SECONDS = 5.0


def schedule_secret_deletion(snapshot: ClientSnapshot) -> Message:
    """Schedule the deletion of the client's secrets, store the result with its move, and return it.

    The caller holds the client's lock and has committed the move, which stays whatever happens here.
    """
    sm, owners = secrets_manager(interactive=True), load_owners(snapshot.all_names)
    done = in_a_row(
        *(_schedule_deletion(snapshot, sm, name, owners) for name in snapshot.all_names)
    )
    done = done or sentences.NO_SECRET()
    with transaction.atomic():
        change = PhaseChange.objects.filter(
            client_id=snapshot.client_id, new=Phase.POSTGRES
        ).first()
        if change:
            change.note = in_a_row(change.note, done)
            change.save(update_fields=["note"])
        AuditEvent.objects.record(
            AuditCode.DELETION,
            audit_sentences.DELETION_SCHEDULED(result=done),
            by=change.by if change else None,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
    return done


def schedule_deletion_for_deleted_clients(
    *, names: Collection[str], reason: str, by: User | None
) -> list[Message]:
    """Schedule the deletion of these secrets of clients that NOVA has deleted; return what became of each.

    Only of the very secret that a push of that client met. Raises `ReasonError`.
    """
    require_reason(reason)
    if refusal := find_write_refusal():
        return [refusal]
    done, sm = [], secrets_manager(interactive=True)
    for secret in Secret.objects.of_deleted_clients().filter(name__in=names).order_by("name"):
        with hold_client_locks([secret.client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
            if not held or Client.objects.filter(pk=secret.client_id).exists():
                done.append(sentences.KEPT_IN_USE(name=secret.name))
                continue
            try:
                what = _delete_leftover(sm, secret)
            except SecretsManagerError as error:
                done.append(sentences.KEPT_AFTER_ERROR(name=secret.name, error=error.message))
                continue
            with transaction.atomic():
                refuse_lost_client_locks()
                AuditEvent.objects.record(
                    AuditCode.DELETION,
                    audit_sentences.DELETION_SCHEDULED(result=what),
                    by=by,
                    reason=reason,
                    client_id=secret.client_id,
                )
            done.append(what)
    return done


def _delete_leftover(sm: SecretsManager, secret: Secret) -> Message:
    owners = load_owners([secret.name])

    def find_objection(there: SecretDescription) -> Message | None:
        # A version of ours proves nothing here: a push may just be making it for a client of the same slug.
        if owners.is_known(there, secret.client_id):
            return None
        return sentences.KEPT_NOT_OURS(name=there.name)

    done = delete_secret_and_report(
        sm, secret.name, find_objection, owners=owners, client_id=secret.client_id
    )
    if done is None:
        store_look(secret.name, None)
    elif done.key == sentences.DELETED_ALREADY.key:
        store_look(secret.name, sm.describe_secret(secret.name))
    return done or sentences.NO_SECRET()


def _find_use(client_id: int, name: str) -> Message | None:
    """Say why the secret is needed still, or again; None where it isn't."""
    if Rotation.objects.find_unfinished(client_id):
        return rotation_sentences.SECRETS_KEPT_FOR_ROTATION(name=name)
    moved_on = ClientMigration.objects.filter(pk=client_id).exclude(phase=Phase.POSTGRES)
    return sentences.KEPT_MOVED_ON(name=name) if moved_on.exists() else None


def _schedule_deletion(
    snapshot: ClientSnapshot, sm: SecretsManager, name: str, owners: SecretOwners
) -> Message | None:
    client_id = snapshot.client_id
    try:
        return delete_secret_and_report(
            sm, name, lambda _there: _find_use(client_id, name), owners=owners, client_id=client_id
        )
    except SecretsManagerError as error:
        return sentences.KEPT_AFTER_ERROR(name=name, error=error.message)


def delete_secret_and_report(
    sm: SecretsManager,
    name: str,
    find_objection: Callable[[SecretDescription], Message | None],
    *,
    owners: SecretOwners,
    client_id: int,
) -> Message | None:
    """Schedule the deletion of a secret of the client and say so, or why it is kept; None where there is no secret.

    Raises `SecretsManagerError`.
    """
    try:
        there = sm.describe_secret(name)
        if there.deleted_at:
            return sentences.DELETED_ALREADY(name=name)
        if not owners.is_ours(there, client_id):
            return sentences.KEPT_NOT_OURS(name=name)
        if objection := find_objection(there):
            return objection
        at = schedule_with_replicas(sm, there)
    except SecretsManagerError as error:
        if (
            error.not_found
        ):  # in the layout of one secret per service, a service without rows has none
            return None
        raise
    return in_a_row(sentences.DELETED_ON(name=name, day=at.date()), name_removed_replicas(there))


def schedule_with_replicas(sm: SecretsManager, there: SecretDescription) -> datetime:
    """Remove the secret's replicas, as AWS deletes none that has some, then schedule its deletion and return its time.

    Killed in between, it is done again. Who takes the secret back gets its replicas anew by `apply_settings`.
    """
    # By its ARN: another secret may get this name in the meantime.
    if there.replicas:
        remove_replicas(sm, there.arn, [each.region for each in there.replicas])
    at = sm.schedule_deletion(there.arn, days=RECOVERY_DAYS)
    store_look(there.name, replace(there, deleted_at=at, replicas=()))
    return at


def name_removed_replicas(there: SecretDescription) -> Message | None:
    """Say which replicas a secret had that is to be deleted; None where it had none."""
    regions = tuple(each.region for each in there.replicas)
    return REPLICAS_REMOVED(name=there.name, regions=regions) if regions else None
