"""Finds the clients whose secrets differ from the settings, by what AWS last said of each. Asks AWS nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from credentials.models import Client
from migration.models import Secret
from migration.operations.secret_settings import find_stored_changes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from migration.operations.secret_settings import Changes


# A worker looks at a new secret within ten minutes, if AWS answers.
LOOKED_AT_WITHIN = timedelta(hours=2)


@dataclass(frozen=True)
class DifferingSecret:
    """One secret that differs."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class DifferingClient:
    """A client with secrets that differ."""

    client_id: int
    slug: str
    secrets: list[DifferingSecret] = field(default_factory=list)


@dataclass(frozen=True)
class Drift:
    """What is known of all secrets."""

    clients: list[DifferingClient]
    # Secret name -> its client, of those that no worker has described yet.
    unlooked: dict[str, int]
    looked_at: int
    # Of the unlooked, those that are known for so long that a worker should have described them.
    overdue: int
    oldest: datetime | None

    @property
    def client_ids(self) -> set[int]:
        """Return the clients that a run has to look at: those that differ, and those that are not known."""
        return {client.client_id for client in self.clients} | set(self.unlooked.values())

    @property
    def _changes(self) -> Iterator[Changes]:
        return (secret.changes for client in self.clients for secret in client.secrets)

    @property
    def keys(self) -> int:
        """Count the secrets that get another KMS key."""
        return sum(bool(changes.kms_key) for changes in self._changes)

    @property
    def described(self) -> int:
        """Count the secrets that get other tags or another description."""
        return sum(bool(changes.tags or changes.description) for changes in self._changes)

    @property
    def added(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that are made, in the regions' order."""
        return sorted(Counter(region for each in self._changes for region in each.added).items())

    @property
    def removed(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that are removed."""
        return sorted(Counter(region for each in self._changes for region in each.removed).items())

    @property
    def more_replicas(self) -> int:
        """Return how many replicas there are more afterwards; below 0: fewer."""
        return sum(number for _, number in self.added) - sum(number for _, number in self.removed)


def find_drift() -> Drift:
    """Compare what is stored of all secrets of present clients with the settings, in one query."""
    present = Secret.objects.filter(client__in=Client.objects.all()).order_by(
        "client__slug", "name"
    )
    clients: dict[int, DifferingClient] = {}
    unlooked: dict[str, int] = {}
    looked_at, overdue, oldest, since = 0, 0, None, timezone.now() - LOOKED_AT_WITHIN
    columns = ("name", "client_id", "client__slug", "facts", "described_at", "seen_at")
    for name, client_id, slug, facts, at, seen_at in present.values_list(*columns).iterator():
        # Of a client that was renamed, the secrets under its former slug are nobody's any more.
        own = f"{settings.NOVA_SECRET_PREFIX}/{slug}"
        if name != own and not name.startswith(f"{own}/"):
            continue
        if at is None:
            unlooked[name] = client_id
            overdue += seen_at < since
            continue
        looked_at, oldest = looked_at + 1, min(oldest or at, at)
        if changes := find_stored_changes(facts, name=name, slug=slug):
            client = clients.setdefault(client_id, DifferingClient(client_id, slug))
            client.secrets.append(DifferingSecret(name, changes))
    return Drift(list(clients.values()), unlooked, looked_at, overdue, oldest)
