"""Writes to NOVA's tables what AWS holds, and takes that back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import transaction

from credentials.copying import copy_document_into_rows
from credentials.models import (
    Client,
    ClientRevision,
    CountingGap,
    Credential,
    RowsBusyError,
    lock_mappings_shared,
)
from credentials.pointers import is_purged, list_all_rows, list_purged_extras
from credentials.refusals import RefusedByDatabaseError, convert_refusals
from credentials.triggers import writes_are_counted
from migration.core.aws_store import AwsCopy, secrets_manager
from migration.core.clients import ClientMigration
from migration.core.secrets import OtherSecretsState, Secret
from migration.core.snapshots import (
    ClientSnapshot,
    reread_locked_client,
    reread_locked_snapshot,
    reread_locked_snapshots,
)
from migration.pushes.known_values import list_credentials, noting_rows
from migration.pushes.secret_writer import REPLACED_STAGE, RefusedBySiteError, load_owners
from nova_credentials import document as documents
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.comparison import are_equal
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message

# The errors of a store that can't be read or written; their texts hold no value.
STORE_ERRORS = (SecretsManagerError, DocumentError, RowsBusyError, RefusedByDatabaseError)


@contextmanager
def hold_rows(client_id: int) -> Iterator[ClientSnapshot]:
    """Lock the client's rows against every other writer, in a transaction of its own, and give what they hold now.

    The mappings of columns stay as they are too.

    Raises `RowsBusyError` where NOVA holds them too long, `RefusedByDatabaseError` and `Client.DoesNotExist`.
    """
    with convert_refusals(), transaction.atomic(durable=True):
        # First, so that no row is held while a change of mappings is waited for.
        lock_mappings_shared()
        Client.objects.lock_rows(client_id)
        yield reread_locked_snapshot(client_id)


@contextmanager
def hold_rows_if_all_free(client_ids: Collection[int]) -> Iterator[dict[int, ClientSnapshot]]:
    """Lock the rows of these clients as `hold_rows` does, but wait for nobody: gives nothing where NOVA holds one.

    Raises `RefusedByDatabaseError`.
    """
    with convert_refusals(), transaction.atomic(durable=True):
        lock_mappings_shared()
        are_held = Client.objects.try_to_lock_rows(client_ids)
        yield reread_locked_snapshots(client_ids) if are_held else {}


def may_have_uncounted_writes(client_id: int) -> bool:
    """Say whether NOVA may have written the rows uncounted since the client entered its phase."""
    client_migration = ClientMigration.objects.filter(pk=client_id).first()
    since = client_migration.phase_changed_at if client_migration else None
    return not writes_are_counted() or CountingGap.objects.open_at_or_after(since).exists()


def back_up_rows_to_aws(
    snapshot: ClientSnapshot, found: AwsCopy, *, always: bool
) -> dict[str, str]:
    """Keep the rows' document in AWS, under a stage that nobody reads by mistake; return secret -> version.

    Not `always`: only where a push is pending, as AWS surely had it otherwise. Raises `SecretsManagerError`, and
    `RefusedBySiteError` where a secret of those that were `found` is somebody else's.
    """
    if not snapshot.push_pending and not always:
        return {}
    sm, owners = secrets_manager(interactive=True), load_owners(found.version_ids)
    for value in found.source_values:
        if refusal := owners.find_refusal(value, snapshot.client_id, sm=sm):
            raise RefusedBySiteError(refusal)
    whole = snapshot.kept or snapshot.require_document()
    return {
        (name := snapshot.names[part]): sm.put_aside(
            name, documents.encode_document(document), stage=REPLACED_STAGE
        )
        for part, document in documents.split_document(whole, layout=snapshot.layout).items()
    }


def copy_aws_to_rows(snapshot: ClientSnapshot, found: AwsCopy) -> list[Message]:
    """Copy AWS's document into the rows, which the transaction holds; return the names of rows that AWS lacks."""
    with noting_rows(snapshot.client_id):
        lacking = copy_document_into_rows(reread_locked_client(snapshot.client_id), found.document)
    record_as_pushed_if_equal(snapshot.client_id, found)
    return lacking


def record_as_pushed_if_equal(client_id: int, found: AwsCopy) -> None:
    """Store AWS's versions as pushed, if the rows now hold the same document and the secrets are the client's here."""
    now, owners = reread_locked_snapshot(client_id), load_owners(found.version_ids)
    are_ours = all(owners.is_ours(value, client_id) for value in found.source_values)
    if are_ours and are_equal(now.document, found.document):
        Secret.objects.record(found.make_secret_rows(client_id))
        # Where others are kept beside the client's own secrets, they may not hold it yet: a push is left pending.
        if now.other_secrets != OtherSecretsState.KEPT:
            ClientRevision.objects.record_pushed([(client_id, now.revision)])


def restore_purged_rows(
    client_id: int, found: AwsCopy, *, secrets_alone: bool
) -> tuple[list[Credential], list[Credential | Client]]:
    """Copy AWS's values into the purged rows, within a transaction that holds them.

    `secrets_alone`: only the secret values, as NOVA may have changed the other fields of these rows since the purge.

    Returns the rows that were kept, written since the purge, so that PostgreSQL has their newest values; and the rows
    that are still purged, in a column at least, as AWS holds no value for them.
    """
    client = reread_locked_client(client_id)
    kept = [row for row in list_credentials(client) if not is_purged(row)]
    with noting_rows(client_id):
        copy_document_into_rows(
            client, found.document, wanted=is_purged, secrets_alone=secrets_alone
        )
    restored = reread_locked_client(client_id)
    purged = [row for row in list_credentials(restored) if is_purged(row)]
    lacking = [r for r in list_all_rows(restored) if r not in purged and list_purged_extras(r)]
    return kept, [*purged, *lacking]
