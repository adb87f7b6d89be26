"""Moves the secrets of clients that NOVA renamed, and takes those away that this or a change of layout left.

What was left is written too, and stays until every reader knows the new ones; then it goes, with a recovery window.
What a change wrote that was never finished was never read.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from credentials.models import Client
from credentials.nova_columns import NovaSchemaError
from migration import audit_sentences, layout_sentences, sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.clients import ClientMigration, store_lost_secret_slugs
from migration.models.layouts import OtherSecretsState
from migration.nova.models import ReaderProcess
from migration.operations.aws_store import (
    read_aws,
    secrets_manager,
)
from migration.operations.aws_writes import find_write_refusal
from migration.operations.deletions import delete_secret_and_report
from migration.operations.layouts import LayoutRefusedError, follow_new_slug
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.secret_owners import load_owners
from migration.operations.snapshots import read_client_with_rows, read_snapshots
from migration.operations.version_plans import record_planned_versions
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from migration.models.clients import ClientMigrationQuerySet
    from migration.operations.aws_store import AwsCopy
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

# Beyond twice the time for which readers serve what they read, from the cache or as AWS is unavailable.
KEPT_FOR = timedelta(hours=1)
# At once; the rest is taken away the next time.
MANY = 200
CURRENT_STAGE = "AWSCURRENT"

logger = logging.getLogger(__name__)


def select_with_unneeded_secrets() -> ClientMigrationQuerySet:
    """Select the clients whose other secrets nobody can need any more."""
    cached = timedelta(seconds=2 * (settings.NOVA_CACHE_SECONDS + settings.NOVA_STALE_SECONDS))
    due = ClientMigration.objects.exclude_deleted_clients().with_old_other_secrets(
        kept_for=KEPT_FOR + cached, half_written_for=KEPT_FOR
    )
    if ReaderProcess.objects.has_readers_without_layouts():
        due = due.exclude(other_secrets=OtherSecretsState.KEPT)
    # Those of a client that left are scheduled for deletion with its own.
    return due.exclude(client__offboarding__isnull=False)


def remove_other_secrets() -> None:
    """Have AWS delete what some due clients have of another layout; one that is held waits for the next time."""
    if find_write_refusal():
        return
    sm = secrets_manager()
    for client_id in list(select_with_unneeded_secrets().values_list("pk", flat=True)[:MANY]):
        with hold_client_locks([client_id], wait_seconds=0) as held:
            snapshot = read_snapshots(held).get(client_id)
            # It may have been changed back while its turn came.
            if snapshot and select_with_unneeded_secrets().filter(pk=client_id).exists():
                try:
                    _remove_from(snapshot, sm)
                except (SecretsManagerError, DocumentError) as error:
                    logger.warning("Old secrets of client %s stay: %s", client_id, error)


def follow_new_slugs(*, seconds: float) -> None:
    """Move the secrets of clients that NOVA gave another slug to its name; what is held, or refused, waits."""
    store_lost_secret_slugs()
    if find_write_refusal():
        return
    until = time.monotonic() + seconds
    renamed = ClientMigration.objects.with_moved_slug().values_list("pk", flat=True)
    for client_id in list(renamed.order_by("pk")):
        if time.monotonic() > until:
            return
        with hold_client_locks([client_id], wait_seconds=0) as held:
            if held:
                try:
                    follow_new_slug(client_id)
                except (LayoutRefusedError, NovaSchemaError, Client.DoesNotExist) as refusal:
                    logger.info("Secrets of client %s keep their name: %s", client_id, refusal)


def _require_complete(snapshot: ClientSnapshot, found: AwsCopy) -> None:
    """Raise `DocumentError` where its own secrets lack a type that it has rows of: somebody deleted one for good."""
    rows = read_client_with_rows(snapshot.client_id).credentials_by_type()
    document = found.document
    held = {t for t in CredentialType if document.get(t) or document.get(t.others_key)}
    if lacking := sorted({t for t in CredentialType if rows[t]} - held):
        raise DocumentError(layout_sentences.OWN_SECRETS_LACK(kinds=tuple(lacking)))


def _remove_from(snapshot: ClientSnapshot, sm: SecretsManager) -> None:
    """Schedule their deletion, then forget them: killed in between, it is done again."""
    if snapshot.phase.reads_aws:
        _require_complete(snapshot, read_aws(snapshot, sm=sm))
    names = list(snapshot.other_names.values())
    owners = load_owners(names)
    known, keys = owners.known, owners.keys
    # A change back takes them over for as long as AWS can restore them, which is longer than plans are kept.
    record_planned_versions([secret.version_id for secret in known.values() if secret.version_id])

    def find_objection(there: SecretDescription) -> Message | None:
        if there.name in known and known[there.name].client_id != snapshot.client_id:
            return layout_sentences.KEPT_OF_ANOTHER(name=there.name)
        current = [pk for pk, stages in there.versions.items() if CURRENT_STAGE in stages]
        pushed = known[there.name].version_id if there.name in known else ""
        if all(pk == pushed or keys.is_ours(there.name, pk) for pk in current):
            return None
        return layout_sentences.KEPT_AS_WRITTEN(name=there.name)

    pk = snapshot.client_id
    done = in_a_row(
        *(
            delete_secret_and_report(sm, name, find_objection, owners=owners, client_id=pk)
            for name in names
        )
    )
    with transaction.atomic():
        refuse_lost_client_locks()
        # The rows stay: while AWS can restore these secrets, a client that gets their slug must not.
        ClientMigration.objects.forget_other_secrets(snapshot.client_id)
        AuditEvent.objects.record(
            AuditCode.DELETION,
            audit_sentences.OTHER_SECRETS_LEFT(result=done or sentences.NO_SECRET()),
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
