"""Adopts a client's secrets that this site did not make: tags them, and writes the client's rows to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration import resolution_sentences
from migration.models import PUSHED, Resolution, require_storable_reason
from migration.operations.aws_store import find_known_secrets, secrets_manager
from migration.operations.comparisons import make_unsaved_comparison, read_secrets
from migration.operations.pushes import push
from migration.operations.resolutions import NotResolved, record_resolution, require_unpurged
from nova_credentials.aws.secrets_manager import SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

    from migration.models import Comparison
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.secrets_manager import SecretDescription, SecretsManager

CURRENT = "AWSCURRENT"


@dataclass(frozen=True)
class ForeignSecrets:
    """The client's secrets that somebody else made, and how what they hold differs from the rows."""

    names: tuple[str, ...]
    # The current versions, as one text: what a page showed is compared by it.
    versions: str
    # Not stored.
    comparison: Comparison


def find_foreign_secrets(client_id: int) -> ForeignSecrets:
    """Return the client's secrets that are not ours. Raises `NotResolved`: it is purged, or AWS gives no answer."""
    snapshot, sm = require_unpurged(client_id), secrets_manager(interactive=True)
    try:
        foreign = list(_describe_foreign(snapshot, sm))
        compared = make_unsaved_comparison(snapshot, read_secrets([snapshot], sm=sm), run=None)
    except SecretsManagerError as error:
        raise NotResolved(error.message) from None
    names = tuple(description.name for description in foreign)
    return ForeignSecrets(names, " ".join(map(_find_current, foreign)), compared)


def adopt_and_overwrite_secrets(
    *, client_id: int, seen: str, reason: str, by: User | None = None
) -> Resolution:
    """Adopt the secrets whose versions the user has `seen`, and push the rows to them.

    Raises `NotResolved`, also where they hold another version now or are ours already, and `ReasonError`.
    """
    require_storable_reason(reason)
    foreign = find_foreign_secrets(client_id)
    if not foreign.names:  # a push over what is ours already has a page and a permission of its own
        raise NotResolved(resolution_sentences.NOTHING_TO_ADOPT())
    if foreign.versions != seen:
        raise NotResolved(resolution_sentences.SECRET_CHANGED_SINCE())
    (result,) = push(client_ids=[client_id], adopt=True, overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        raise NotResolved(result.summary_message)
    adopted = resolution_sentences.ADOPTED(names=foreign.names)
    return record_resolution(client_id, Resolution.Kind.TO_AWS, by, reason, adopted)


def _describe_foreign(snapshot: ClientSnapshot, sm: SecretsManager) -> Iterable[SecretDescription]:
    """Yield the secrets that have neither this site's tag nor met one of its pushes."""
    names = [name for _layout, names in snapshot.names_to_write for name in names.values()]
    known = find_known_secrets(names)
    for name in names:
        try:
            description = sm.describe_secret(name)
        except SecretsManagerError as error:
            if not error.not_found:
                raise
        else:
            if not description.is_ours and name not in known:
                yield description


def _find_current(description: SecretDescription) -> str:
    current = (pk for pk, stages in description.versions.items() if CURRENT in stages)
    return f"{description.name}={next(current, '')}"
