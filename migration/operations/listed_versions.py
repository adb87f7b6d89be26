"""Lists the versions of a client's secrets: stages, times, who wrote each. Reads AWS and the audit, never a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from credentials.secret_names import find_name_problem
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.audit_signatures import first_id_at
from migration.models.clients import ClientMigration
from migration.models.layouts import find_layout, find_other_secrets_layout
from migration.operations.aws_store import secret_names, secrets_manager
from migration.operations.pending_secrets import is_made_by_site
from migration.operations.pushes import SHOWN_DIGITS
from migration.operations.secret_owners import load_owners
from migration.operations.secret_settings import Changes
from migration.operations.stored_looks import compare_secret
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import CURRENT, PENDING, list_versions
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from credentials.models import Client
    from nova_credentials.aws.secrets_manager import SecretDescription
    from nova_credentials.aws.versions import ListedVersion

# AWS refuses what is signed by a clock that differs more.
CLOCKS_DIFFER = timedelta(minutes=5)
MOST_ENTRIES = 1000


@dataclass(frozen=True)
class VersionRow:
    """One version of a secret, as a page shows it."""

    id: str
    stages: tuple[str, ...]
    created_at: datetime | None
    # Its id proves it.
    is_ours: bool
    # Who had this site write it, by the audit; "" where no entry says so.
    who: str
    # The one that the last push, save or move wrote or found equal.
    is_pushed: bool

    @property
    def is_current(self) -> bool:
        return CURRENT in self.stages

    @property
    def is_pending(self) -> bool:
        return PENDING in self.stages


@dataclass(frozen=True)
class SecretRow:
    """One secret with its versions, the newest first; or the error with which AWS refused to list them."""

    name: str
    description: SecretDescription | None = None
    versions: tuple[VersionRow, ...] = ()
    error: SecretsManagerError | None = None
    # How it differs from the settings beside its value.
    changes: Changes = field(default_factory=Changes)
    # Whose it is, if not this client's.
    refusal: Message | None = None


def list_secrets(client: Client) -> Iterator[SecretRow]:
    """Yield the client's secrets, with those that a change of layout left and that are written still.

    Yields nothing where its slug can't be part of a secret's name.
    """
    own = ClientMigration.objects.filter(pk=client.pk).first() or ClientMigration()
    secret_slug = own.secret_slug or client.slug
    if find_name_problem(secret_slug, find_layout(own.layout)):
        return
    sm = secrets_manager(interactive=True)
    names = list(secret_names(secret_slug, own.layout).values())
    if own.other_secrets:
        other = find_other_secrets_layout(find_layout(own.layout), own.other_slug)
        names += secret_names(own.other_slug or secret_slug, other).values()
    owners = load_owners(names)
    known = owners.known
    for name in names:
        try:
            description, listed = sm.describe_secret(name), list_versions(sm, name)
        except SecretsManagerError as error:
            yield SecretRow(name, error=error)
            continue
        ours = {v.version_id for v in listed if is_made_by_site(name, v.version_id)}
        writers = _find_writers(client.pk, [v for v in listed if v.version_id in ours])
        pushed = known[name].version_id if name in known else ""
        rows = tuple(
            VersionRow(
                id=version.version_id,
                stages=version.stages,
                created_at=version.created_at,
                is_ours=version.version_id in ours,
                who=writers.get((name, version.version_id[:SHOWN_DIGITS]), ""),
                is_pushed=version.version_id == pushed,
            )
            for version in listed
        )
        if owners.is_ours(description, client.pk):
            changes = compare_secret(description, slug=secret_slug)
            yield SecretRow(name, description, rows, changes=changes)
        else:
            refusal = owners.explain_refusal(description)
            yield SecretRow(name, description, rows, refusal=refusal)


def _find_writers(client_id: int, versions: list[ListedVersion]) -> dict[tuple[str, str], str]:
    """Return (secret, beginning of a version's id) -> who had this site write it, by the audit."""
    times = [version.created_at for version in versions if version.created_at]
    if not times:
        return {}
    entries = AuditEvent.objects.filter(
        client_id=client_id, code=AuditCode.PUSH, pk__gte=first_id_at(min(times) - CLOCKS_DIFFER)
    )
    return {
        (str(written.values["name"]), str(written.values["version"])): entry.who
        for entry in entries.order_by("pk")[:MOST_ENTRIES]
        for part in entry.message.parts
        for written in _list_written(part)
    }


def _list_written(part: Message) -> list[Message]:
    """Return the versions that a push's entry names; an earlier release named secrets only."""
    secrets = part.values.get("secrets")
    return (
        [each for each in secrets if isinstance(each, Message)]
        if isinstance(secrets, tuple)
        else []
    )
