"""Notes fingerprints of the values that clients' secrets have and had, by which a copy of one is found again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from credentials.copying import read_purged_secrets
from credentials.models import Client, ClientWrite, Credential
from credentials.nova_columns import NovaSchemaError, convert_schema_errors
from credentials.pointers import is_purged
from credentials.values import POINTER
from migration.core.aws_store import client_secret_names
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.keys import (
    VersionIdKeys,
    fingerprint_key_id,
    load_version_keys,
    make_fingerprint,
)
from migration.core.secrets import Fingerprint, KnownSecret, Secret, find_layout
from migration.core.snapshots import repeatable_read_only, reread_locked_client
from migration.pushes.models import (
    CredentialKey,
    KnownValue,
    NewValueOrigin,
    PresentValue,
    SeenClient,
)
from nova_credentials.aws.answers import Answers, SecretValue
from nova_credentials.aws.client_secrets import join_answers
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.messages import MessageError

CLIENTS_AT_ONCE = 500
# The workers come back for the rest a minute later.
MOST_CLIENTS = 20_000


def note_written_rows() -> None:
    """Look at the rows that were written since they were looked at, or were looked at with another key."""
    written = list(
        select_clients_to_note().order_by("pk").values_list("pk", flat=True)[:MOST_CLIENTS]
    )
    note_rows(written)


def note_rows(client_ids: Collection[int]) -> None:
    """Note what the rows of these clients hold. Where NOVA's tables can't be read, the next time does it."""
    wanted = list(client_ids)
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        try:
            with convert_schema_errors(), repeatable_read_only():
                clients = all_clients().filter(pk__in=wanted[start : start + CLIENTS_AT_ONCE])
                found = clients.with_revision()
                found.read_rows_and_columns()
        except NovaSchemaError:
            return
        KnownValue.objects.record_rows(
            [see_rows(client) for client in found], key_id=fingerprint_key_id()
        )


def note_values_before_purge(client: Client) -> None:
    """Note the values of a client whose rows are purged in this transaction: they stood there up to now.

    Needs `with_revision` and `read_rows_and_columns`.
    """
    if select_clients_to_note().filter(pk=client.pk).exists():
        KnownValue.objects.record_rows([see_rows(client)], key_id=fingerprint_key_id())


@contextmanager
def noting_rows(client_id: int) -> Iterator[None]:
    """Note what the rows of a client held before the block writes them and hold after it; needs them locked."""
    note_values_on_commit(client_id)
    yield
    note_values_on_commit(client_id)


def note_values_on_commit(*client_ids: int) -> None:
    """Note what the rows of these clients hold now, in a transaction that has locked them.

    It is stored once that has ended, as it may wait for AWS before: nobody else is to wait for it.
    """
    unnoted = list(select_clients_to_note().filter(pk__in=client_ids).values_list("pk", flat=True))
    found = all_clients().filter(pk__in=unnoted).with_revision()
    found.read_rows_and_columns()
    seen, key_id = [see_rows(client) for client in found], fingerprint_key_id()
    if seen:
        # A lambda, as Django logs a robust callback's error by its name, which a `partial` has not.
        transaction.on_commit(
            lambda: KnownValue.objects.record_rows(seen, key_id=key_id), robust=True
        )


def select_clients_to_note() -> ClientPhaseQuerySet:
    """Select the clients whose rows were written since they were looked at, or were looked at with another key."""
    noted = F("noted_client__revision")
    written = Q(pk__in=ClientWrite.objects.values("client_id"))
    return (
        all_clients()
        .with_revision()
        .filter(
            Q(noted_client=None)
            | ~Q(noted_client__key_id=fingerprint_key_id())
            | Q(noted_client__revision__lt=Coalesce("client_revision__revision", 0))
            # `written` is there for speed, as in `filter_push_pending`.
            | (written & Q(revision__gt=noted))
        )
    )


def see_rows(client: Client) -> SeenClient:
    """Return fingerprints of the values in the client's rows; an empty one for a value that AWS alone holds now."""
    seen = SeenClient(client.pk, client.revision)
    for row in list_credentials(client):
        (name,) = row.SECRET_FIELDS
        if value := getattr(row, name):
            stands = not value.startswith(POINTER)
            fingerprint = make_fingerprint(client.pk, value) if stands else Fingerprint()
            # A client that was purged before this site looked had its values there.
            seen.values[row.TYPE.value, row.pk] = PresentValue(
                fingerprint, stands, stood_in_tables=True
            )
    return seen


def note_purged_clients(
    clients: Collection[Client], answers: Answers, *, read_at: datetime
) -> None:
    """Note what AWS holds of these clients' purged rows, where it gave their secrets.

    `answers` are their secrets as AWS gave them after `read_at`. The clients' rows are read, `layout` is annotated.
    """
    purged = [client for client in clients if any(map(is_purged, list_credentials(client)))]
    names = {client.pk: client_secret_names(client) for client in purged}
    pushed = Secret.objects.find([name for each in names.values() for name in each.values()])
    seen, keys = {}, load_version_keys()
    for client in purged:
        of_client = {name: answers[name] for name in names[client.pk].values() if name in answers}
        try:
            secrets = join_answers(names[client.pk], of_client, layout=find_layout(client.layout))  # type: ignore[attr-defined]
            found = read_purged_secrets(client, secrets.to_document())
        except (KeyError, SecretsManagerError, DocumentError, MessageError):
            continue
        versions = secrets.values.values()
        seen[client.pk] = _see_in_aws(client, found, versions, pushed=pushed, keys=keys)
    if seen:
        KnownValue.objects.record_aws_values(seen, read_at=read_at)


def see_rows_and_purged_values(
    client: Client,
    secrets: Mapping[Credential, Mapping[str, str]],
    versions: Collection[SecretValue],
) -> SeenClient:
    """Return what the client's rows hold, and AWS of those that are purged.

    `secrets` are AWS's values, by column, of each purged row, from these versions. The client is a locked one.
    """
    seen = see_rows(client)
    pushed = Secret.objects.find([version.name for version in versions])
    seen.in_aws = _see_in_aws(client, secrets, versions, pushed=pushed, keys=load_version_keys())
    return seen


def _see_in_aws(
    client: Client,
    secrets: Mapping[Credential, Mapping[str, str]],
    versions: Collection[SecretValue],
    *,
    pushed: Mapping[str, KnownSecret],
    keys: VersionIdKeys,
) -> dict[CredentialKey, PresentValue]:
    names = client_secret_names(client)
    by_name = {version.name: version for version in versions}
    seen = {}
    for row, fields in secrets.items():
        version = by_name[names.get(row.TYPE) or names["client"]]
        known = pushed.get(version.name)
        # Nobody but this site has written the version that it knows, and it notes what it writes.
        is_known = known is not None and known.version_id == version.version_id
        # One that it wrote and doesn't know is from before a backup was restored, or of a process that was killed.
        is_forgotten = not is_known and keys.is_ours(version.name, version.version_id)
        seen[row.TYPE.value, row.pk] = PresentValue(
            make_fingerprint(client.pk, fields[row.SECRET_FIELDS[0]]),
            stands_in_tables=False,
            stood_in_tables=False,
            is_unwritten=is_known,
            origin=NewValueOrigin.FORMER if is_forgotten else NewValueOrigin.TYPED,
            made_at=version.created_at,
        )
    return seen


def note_new_values_in_aws(
    client_id: int,
    values: Mapping[CredentialKey, str],
    *,
    origin: NewValueOrigin,
    before: SeenClient | None = None,
) -> None:
    """Note that a purged client's credentials were given other values, in the transaction in which AWS takes them.

    `before`: what its rows and AWS held until then; it may be left out where the rows were not written.
    """
    if values:
        fingerprints = {key: make_fingerprint(client_id, value) for key, value in values.items()}
        KnownValue.objects.record_new_values_of_purged(
            before or see_rows(reread_locked_client(client_id)),
            fingerprints,
            origin=origin,
            key_id=fingerprint_key_id(),
        )


def note_new_password_in_aws(rows: Sequence[Credential], password: str, *, is_random: bool) -> None:
    """Note a fingerprint of the password that AWS now holds for these rows of a purged client.

    `is_random`: this site has made it just now. A row that NOVA wrote since the purge keeps its own value.
    """
    origin = NewValueOrigin.GENERATED if is_random else NewValueOrigin.TYPED
    keys = [(row.TYPE.value, row.pk) for row in rows if is_purged(row)]
    if keys:
        note_new_values_in_aws(rows[0].client_id, dict.fromkeys(keys, password), origin=origin)


def list_credentials(client: Client) -> list[Credential]:
    """Return the client's credentials of all types; its rows are read."""
    return [row for rows in client.credentials_by_type().values() for row in rows]
