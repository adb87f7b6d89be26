"""Schedules the deletion of secrets that nobody needs: of a client back in `postgres`, or that NOVA deleted.

Always with a recovery window, within which AWS can restore them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from credentials.models import Client
from migration.core.audit import AuditEvent, EventKind, require_reason
from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import RECOVERY_DAYS, ClientMigration, PhaseChange
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.secrets import Secret
from migration.core.snapshots import ClientSnapshot
from migration.logins.models import Rotation
from migration.pushes.secret_writer import SecretOwners, load_owners
from migration.secrets.settings import store_look
from nova_credentials.aws.answers import SecretDescription
from nova_credentials.aws.secret_settings import remove_replicas
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import Phase

DELETION_EVENT = EventKind(
    "deletion", gettext_lazy("Secrets deleted"), icon="delete", in_history=True
)


LOCK_WAIT_SECONDS = 5.0


DELETION_SCHEDULED = Sentence("deletion_scheduled", "Deletion of its secrets: %(result)s")
NO_SECRET = Sentence("no_secret", "The client has no secret to delete.")


def schedule_secret_deletion(snapshot: ClientSnapshot) -> Message:
    """Schedule the deletion of the client's secrets, store the result with its move, and return it.

    The caller holds the client's lock and has committed the move, which stays whatever happens here.
    """
    sm, owners = secrets_manager(interactive=True), load_owners(snapshot.all_names)
    reports = [_schedule_deletion(snapshot, sm, name, owners) for name in snapshot.all_names]
    done = in_a_row(*reports) or NO_SECRET()
    with transaction.atomic():
        change = PhaseChange.objects.filter(
            client_id=snapshot.client_id, new=Phase.POSTGRES
        ).first()
        if change:
            change.note = in_a_row(change.note, done)
            change.save(update_fields=["note"])
        AuditEvent.objects.record(
            DELETION_EVENT,
            DELETION_SCHEDULED(result=done),
            by=change.by if change else None,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
    return done


SECRETS_KEPT_FOR_ROTATION = Sentence(
    "secrets_kept_for_rotation",
    "%(name)s was kept: it holds the new password of a rotation that is not finished.",
)
KEPT_MOVED_ON = Sentence(
    "kept_moved_on", "%(name)s was not changed: the client was moved meanwhile."
)


def _schedule_deletion(
    snapshot: ClientSnapshot, sm: SecretsManager, name: str, owners: SecretOwners
) -> Message | None:
    client_id = snapshot.client_id

    def find_use(_there: SecretDescription) -> Message | None:
        """Say why the secret is needed still, or again."""
        if Rotation.objects.find_unfinished(client_id):
            return SECRETS_KEPT_FOR_ROTATION(name=name)
        moved_on = ClientMigration.objects.filter(pk=client_id).exclude(phase=Phase.POSTGRES)
        return KEPT_MOVED_ON(name=name) if moved_on.exists() else None

    try:
        return delete_secret_and_report(sm, name, find_use, owners=owners, client_id=client_id)
    except SecretsManagerError as error:
        return KEPT_AFTER_ERROR(name=name, error=error.message)


KEPT_IN_USE = Sentence(
    "kept_in_use", "%(name)s was kept: its client exists again, or is being changed."
)
KEPT_AFTER_ERROR = Sentence("kept_after_error", "%(name)s was not changed: %(error)s")


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
                done.append(KEPT_IN_USE(name=secret.name))
                continue
            try:
                what = _delete_leftover(sm, secret)
            except SecretsManagerError as error:
                done.append(KEPT_AFTER_ERROR(name=secret.name, error=error.message))
                continue
            with transaction.atomic():
                refuse_lost_client_locks()
                AuditEvent.objects.record(
                    DELETION_EVENT,
                    DELETION_SCHEDULED(result=what),
                    by=by,
                    reason=reason,
                    client_id=secret.client_id,
                )
            done.append(what)
    return done


def schedule_every_deletion() -> Iterator[tuple[Message, bool]]:
    """Schedule the deletion of each secret of this site's, as the site goes; yield what became of it, and if it failed.

    No client may be read from AWS, and no worker be alive. Yields a refusal alone where nothing may be written.
    """
    if refusal := find_write_refusal():
        yield refusal, True
        return
    sm = secrets_manager(interactive=True)
    for secret in Secret.objects.order_by("name"):
        with hold_client_locks([secret.client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
            if not held:
                yield KEPT_IN_USE(name=secret.name), True
                continue
            owners = load_owners([secret.name])
            try:
                done = delete_secret_and_report(
                    sm, secret.name, lambda _there: None, owners=owners, client_id=secret.client_id
                )
            except SecretsManagerError as error:
                yield KEPT_AFTER_ERROR(name=secret.name, error=error.message), True
                continue
            told = done or NO_SECRET()
            with transaction.atomic():
                refuse_lost_client_locks()
                AuditEvent.objects.record(
                    DELETION_EVENT, DELETION_SCHEDULED(result=told), client_id=secret.client_id
                )
            yield told, False


DELETED_ALREADY = Sentence("deleted_already", "The deletion of %(name)s was scheduled already.")
KEPT_NOT_OURS = Sentence("kept_not_ours", "%(name)s was not changed: this site did not create it.")


def _delete_leftover(sm: SecretsManager, secret: Secret) -> Message:
    owners = load_owners([secret.name])

    def find_objection(there: SecretDescription) -> Message | None:
        # A version of ours proves nothing here: a push may just be making it for a client of the same slug.
        if owners.is_known(there, secret.client_id):
            return None
        return KEPT_NOT_OURS(name=there.name)

    done = delete_secret_and_report(
        sm, secret.name, find_objection, owners=owners, client_id=secret.client_id
    )
    if done is None:
        store_look(secret.name, None)
    elif done.key == DELETED_ALREADY.key:
        store_look(secret.name, sm.describe_secret(secret.name))
    return done or NO_SECRET()


DELETED_ON = Sentence(
    "deleted_on", "%(name)s will be deleted on %(day)s. Until then it can be restored."
)


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
            return DELETED_ALREADY(name=name)
        if not owners.is_ours(there, client_id):
            return KEPT_NOT_OURS(name=name)
        if objection := find_objection(there):
            return objection
        at = schedule_with_replicas(sm, there)
    except SecretsManagerError as error:
        # In the layout of one secret per service, a service without rows has none.
        if error.not_found:
            return None
        raise
    return in_a_row(DELETED_ON(name=name, day=at.date()), name_removed_replicas(there))


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


REPLICAS_REMOVED = Sentence(
    "replicas_removed", "The replicas of %(name)s were removed: %(regions)s.", glue=", "
)


def name_removed_replicas(there: SecretDescription) -> Message | None:
    """Say which replicas a secret had that is to be deleted; None where it had none."""
    regions = tuple(each.region for each in there.replicas)
    return REPLICAS_REMOVED(name=there.name, regions=regions) if regions else None
