"""Reveals a secret once, to who may see it and said why."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from credentials.copying import RowNotInAwsError, read_purged_secrets
from credentials.models import Client, Credential
from credentials.pointers import is_purged
from migration.core.audit import AuditEvent, EventKind, require_storable_reason
from migration.core.aws_store import read_aws, secrets_manager
from migration.core.clients import all_clients
from migration.core.refused_acts import record_refused_reveal
from migration.core.snapshots import read_snapshots, repeatable_read_only
from migration.logins.models import Reveal
from migration.logins.testing import AWS_NOT_READ
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.messages import MessageError, Sentence
from nova_credentials.phases import Phase

REVEAL_EVENT = EventKind(
    "reveal", gettext_lazy("Value revealed"), icon="visibility", in_history=True
)


class NotRevealed(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The value can't be read; the message says why."""


@dataclass(frozen=True)
class RevealedValue:
    """A secret value for one page; its representation does not show the value."""

    value: str = field(repr=False)
    from_aws: bool
    record: Reveal


def find_credential(client_id: int, kind: str, credential_id: int) -> tuple[Client, Credential]:
    """Return the client and its credential; raises `LookupError` where there is none."""
    with repeatable_read_only():
        client = all_clients().filter(pk=client_id).with_phase().first()
        by_type = client.credentials_by_type() if client else {}
    of_kind = [row for each, rows in by_type.items() for row in rows if each == kind]
    row = next((row for row in of_kind if row.pk == credential_id), None)
    if client is None or row is None:
        raise LookupError(kind, credential_id)
    return client, row


REVEALED = Sentence("revealed", "Revealed %(field)s of %(row)s.")


def reveal(
    *, client_id: int, kind: str, credential_id: int, name: str, by: User, reason: str, address: str
) -> RevealedValue:
    """Record who sees the field `name` and why, and return its value.

    Raises `LookupError` for an unknown field, `ReasonError` for a reason that can't be stored, and `NotRevealed`.
    """
    require_storable_reason(reason)
    client, row = find_credential(client_id, kind, credential_id)
    if name not in row.SECRET_FIELDS:
        raise LookupError(name)
    purged = Phase(client.phase) == Phase.PURGED and is_purged(row)  # type: ignore[attr-defined]
    try:
        value = _read_from_aws(client, row, name) if purged else str(getattr(row, name))
    except NotRevealed as refusal:
        record_refused_reveal(client, row, name, why=refusal.message, by=by)
        raise
    with transaction.atomic():
        record = Reveal.objects.create(
            client_id=client_id,
            slug=client.slug,
            kind=kind,
            credential_id=credential_id,
            field=name,
            by=by,
            username=by.get_username(),
            reason=reason,
            address=address,
        )
        AuditEvent.objects.record(
            REVEAL_EVENT,
            REVEALED(field=name, row=row.make_row_name_message()),
            by=by,
            client_id=client_id,
            slug=client.slug,
            reason=reason,
        )
    return RevealedValue(value, purged, record)


def _read_from_aws(client: Client, row: Credential, name: str) -> str:
    snapshot = read_snapshots([client.pk]).get(client.pk)
    if snapshot is None:
        raise LookupError(client.pk)
    try:
        found = read_aws(snapshot, sm=secrets_manager(interactive=True))
        return read_purged_secrets(client, found.document)[row][name]
    except (SecretsManagerError, DocumentError, RowNotInAwsError) as error:
        raise NotRevealed(AWS_NOT_READ(error=error.message)) from None
