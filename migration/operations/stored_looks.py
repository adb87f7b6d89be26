"""Keeps what AWS last said of each secret, and finds by it the clients whose secrets differ. Asks AWS nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from credentials.models import Client
from migration.models.layouts import name_secret_slug
from migration.models.secrets import Secret
from migration.operations.secret_settings import (
    find_changes,
    find_changes_from_stored_facts,
    find_key_name_if_still_set,
    hash_settings,
    make_stored_facts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from migration.operations.secret_settings import Changes
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.messages import Message

COMPARED_AT_ONCE = 1000
# A worker looks at a new secret within ten minutes, if AWS answers.
LOOKED_AT_WITHIN = timedelta(hours=2)


@dataclass(frozen=True)
class SecretSettingsDrift:
    """One secret that is not as the settings of key and regions say."""

    name: str
    changes: Changes


@dataclass(frozen=True)
class ClientSettingsDrift:
    """A client with secrets that are not as the settings say."""

    client_id: int
    slug: str
    secrets: list[SecretSettingsDrift] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Say whether a secret of the client certainly differs: not where two names of a key can't be compared."""
        return any(secret.changes.differs for secret in self.secrets)


@dataclass(frozen=True)
class SettingsDrift:
    """Which secrets are not as the settings say, and how many nobody has looked at."""

    clients: list[ClientSettingsDrift]
    # Secret name -> its client, of those that no worker has described yet.
    unlooked: dict[str, int]
    looked_at: int
    # Of the unlooked, those that are known for so long that a worker should have described them.
    overdue: int
    oldest: datetime | None

    @property
    def client_ids_to_look_at(self) -> set[int]:
        """Return the ids of the clients that a run has to look at: those that differ, and those not known."""
        return {client.client_id for client in self.clients} | set(self.unlooked.values())

    @property
    def _changes(self) -> Iterator[Changes]:
        return (secret.changes for client in self.clients for secret in client.secrets)

    @property
    def keys(self) -> int:
        """Count the secrets that get another KMS key."""
        return sum(bool(changes.kms_key) for changes in self._changes)

    @property
    def with_new_tags_or_description(self) -> int:
        """Count the secrets that get other tags or another description."""
        return sum(bool(changes.tags or changes.description) for changes in self._changes)

    @property
    def replicas_to_add(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that the settings would add, in the regions' order."""
        return sorted(Counter(region for each in self._changes for region in each.added).items())

    @property
    def replicas_to_remove(self) -> list[tuple[str, int]]:
        """Return region and number of the replicas that are removed."""
        return sorted(Counter(region for each in self._changes for region in each.removed).items())

    @property
    def net_new_replicas(self) -> int:
        """Return how many replicas there are more afterwards; below 0: fewer."""
        return sum(number for _, number in self.replicas_to_add) - sum(
            number for _, number in self.replicas_to_remove
        )


def find_settings_drift() -> SettingsDrift:
    """Compare what is stored of all secrets of present clients with the settings, in one query."""
    present = Secret.objects.filter(client__in=Client.objects.all()).order_by(
        "client__slug", "name"
    )
    clients: dict[int, ClientSettingsDrift] = {}
    unlooked: dict[str, int] = {}
    looked_at, overdue, oldest, since = 0, 0, None, timezone.now() - LOOKED_AT_WITHIN
    present = present.annotate(secret_slug=name_secret_slug("client__"))
    columns = (
        *("name", "arn", "client_id", "client__slug", "secret_slug"),
        *("facts", "described_at", "seen_at"),
    )
    for name, arn, client_id, slug, secret_slug, facts, at, seen_at in present.values_list(
        *columns
    ).iterator():
        # Those that it had before, under another slug, nobody needs any more.
        if not _is_named_after(secret_slug, name):
            continue
        if at is None:
            unlooked[name] = client_id
            overdue += seen_at < since
            continue
        looked_at, oldest = looked_at + 1, min(oldest or at, at)
        if changes := find_changes_from_stored_facts(facts, name=name, arn=arn, slug=secret_slug):
            client = clients.setdefault(client_id, ClientSettingsDrift(client_id, slug))
            client.secrets.append(SecretSettingsDrift(name, changes))
    return SettingsDrift(list(clients.values()), unlooked, looked_at, overdue, oldest)


def store_look(name: str, there: SecretDescription | None, *, key_as: str = "") -> None:
    """Store what AWS says of a secret now; `there` is None where AWS has no such secret, which is stored too.

    `key_as`: the name by which its KMS key was set just now. What is known from before stays for as long as AWS names
    the same key.
    """
    own = Secret.objects.filter(name=name).annotate(secret_slug=name_secret_slug("client__"))
    # None of a client that NOVA has deleted. What no push has met has no row to be stored in.
    arn, slug = own.values_list("arn", "secret_slug").first() or ("", None)
    facts = make_stored_facts(there, key_as=key_as or _recall_key(there)) if there else {}
    Secret.objects.filter(name=name).update(
        facts=facts,
        described_at=timezone.now(),
        differs=slug is not None and _do_facts_differ(facts, name=name, arn=arn, slug=slug),
        compared_with=hash_settings(),
    )


def _is_named_after(slug: str, name: str) -> bool:
    return f"{name}/".startswith(f"{settings.NOVA_SECRET_PREFIX}/{slug}/")


def _do_facts_differ(facts: dict[str, Any], *, name: str, arn: str, slug: str) -> bool:
    changes = find_changes_from_stored_facts(facts, name=name, arn=arn, slug=slug)
    return changes.differs and _is_named_after(slug, name)


def compare_looks_with_settings() -> None:
    """Compare with the present settings what is kept of the secrets that were compared with other ones."""
    code = hash_settings()
    others = Secret.objects.exclude(described_at=None).exclude(compared_with=code)
    columns = ("name", "arn", name_secret_slug("client__"), "facts")
    rows = others.values_list(*columns).order_by("name").iterator()
    while some := list(islice(rows, COMPARED_AT_ONCE)):
        differing: dict[bool, list[str]] = {True: [], False: []}
        for name, arn, slug, facts in some:
            differing[_do_facts_differ(facts, name=name, arn=arn, slug=slug)].append(name)
        for differs, names in differing.items():
            # Not those that somebody has described meanwhile.
            others.filter(name__in=names).update(differs=differs, compared_with=code)


def begin_change(there: SecretDescription, what: Message) -> None:
    """Keep what is about to be changed of a secret, until the audit has it: a killed process can't tell it."""
    Secret.objects.filter(name=there.name).update(begun=what, begun_on=make_stored_facts(there))


def end_change(name: str) -> None:
    """Forget the change of this secret that was begun, in the transaction in which the audit has it."""
    Secret.objects.filter(name=name).update(begun=None, begun_on=None)


def find_interrupted_change(there: SecretDescription) -> Message | None:
    """Return what a process that was killed, or had no answer, has changed of the secret; None where nothing was."""
    begun = Secret.objects.filter(name=there.name).values_list("begun", "begun_on").first()
    what, before = begun or (None, None)
    return None if before == make_stored_facts(there) else what


def compare_secret(there: SecretDescription, *, slug: str) -> Changes:
    """Return what the settings would change of a secret as AWS describes it now."""
    return find_changes(there, slug=slug, key_as=_recall_key(there))


def _recall_key(there: SecretDescription) -> str:
    facts = Secret.objects.filter(name=there.name).values_list("facts", flat=True).first()
    return find_key_name_if_still_set(facts or {}, there)
