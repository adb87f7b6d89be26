"""Takes over a secret that somebody else made, after it was shown what it holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from credentials.models import ClientRevision
from migration.core.audit import AuditEvent, EventKind, require_reason
from migration.core.aws_store import read_aws, secret_names, secrets_manager
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import ClientMigration
from migration.core.comparisons import Comparison, Resolution
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.secrets import KnownSecret, Secret
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.pushes.comparisons import make_unsaved_comparison, read_secrets
from migration.pushes.pushes import push
from migration.pushes.resolutions import (
    LOCK_WAIT_SECONDS,
    TRY_AGAIN_LATER,
    NotResolved,
    record_resolution,
    require_unpurged,
)
from migration.pushes.secret_writer import load_owners
from migration.runs.engine import ItemFailedError, ItemsToRetry, process_one_by_one, works_on
from migration.runs.items import PUSHED, Outcome, RunItem
from migration.runs.models import Run
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import (
    SecretDescription,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.aws.versions import CURRENT
from nova_credentials.document import DocumentError, Layout
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

ADOPTION_EVENT = EventKind("adoption", gettext_lazy("Secret adopted"), icon="key", in_history=True)


CLIENTS_AT_ONCE, CALLS_AT_ONCE = 100, 10


@dataclass(frozen=True)
class ForeignSecret:
    """A secret under a client's name that is somebody else's, and whose."""

    description: SecretDescription
    # Of this database, where it is another client's here.
    row: KnownSecret | None
    owner: Message

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def seen(self) -> str:
        """Return a text by which it is known again with what it holds: its ARN and current version."""
        versions = self.description.versions.items()
        current = (pk for pk, stages in versions if CURRENT in stages)
        return f"{self.description.arn}={next(current, '')}"


@dataclass(frozen=True)
class ForeignSecrets:
    """A client's secrets that are somebody else's, and how what they hold differs from what is to be written."""

    snapshot: ClientSnapshot
    secrets: tuple[ForeignSecret, ...]
    # Not stored.
    comparison: Comparison

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(secret.name for secret in self.secrets)

    @property
    def versions(self) -> str:
        """Return what a page or command showed, as one text: only that is adopted."""
        return " ".join(secret.seen for secret in self.secrets)

    @property
    def digest(self) -> str:
        """Return a digest of `versions`, as plans keep it."""
        return blake2b(self.versions.encode(), digest_size=8).hexdigest()


def find_foreign_secrets(client_id: int) -> ForeignSecrets | None:
    """Return the client's secrets that are somebody else's; None where there are none.

    Raises `NotResolved`: it is purged, or AWS gives no answer.
    """
    require_unpurged(client_id)
    try:
        return next(list_foreign_secrets([client_id], interactive=True), None)
    except (SecretsManagerError, DocumentError) as error:
        raise NotResolved(error.message) from None


def list_foreign_secrets(
    client_ids: Collection[int], *, layout: Layout | None = None, interactive: bool = False
) -> Iterator[ForeignSecrets]:
    """Yield the clients that have secrets of somebody else under their names, by id; nothing of what they hold is kept.

    With a `layout`: under the names that they would have in it. Purged clients are left out without one. Raises
    `SecretsManagerError`, and `DocumentError` where AWS holds no document of a purged client.
    """
    sm, wanted = secrets_manager(interactive=interactive), sorted(client_ids)
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        snapshots = read_snapshots(wanted[start : start + CLIENTS_AT_ONCE])
        targets = [_make_target(each, layout, sm) for each in snapshots.values()]
        names = {name: each for each in targets for name in _list_names(each)}
        owners = load_owners(names)
        with ContextThreads(CALLS_AT_ONCE) as threads:
            found = [each for each in threads.map(partial(_describe, sm), names) if each]
        foreign: dict[int, list[ForeignSecret]] = {}
        for there in found:
            pk = names[there.name].client_id
            if not owners.is_ours(there, pk):
                secret = ForeignSecret(there, owners.find_row(there), owners.name_owner(there))
                foreign.setdefault(pk, []).append(secret)
        for target in targets:
            if secrets := foreign.get(target.client_id):
                compared = make_unsaved_comparison(target, read_secrets([target], sm=sm), run=None)
                yield ForeignSecrets(target, tuple(secrets), compared)


def _make_target(
    snapshot: ClientSnapshot, layout: Layout | None, sm: SecretsManager
) -> ClientSnapshot:
    """Return the client as it would be in the layout, with the document that it would have there."""
    if layout is None or layout == snapshot.layout or snapshot.problem:
        return snapshot
    is_purged = snapshot.phase == Phase.PURGED
    return replace(
        snapshot,
        document=read_aws(snapshot, sm=sm).document if is_purged else snapshot.document,
        layout=layout,
        names=secret_names(snapshot.secret_slug, layout),
        other_secrets="",
        other_slug=None,
        other_names={},
    )


def _list_names(target: ClientSnapshot) -> list[str]:
    """Return the names of the secrets to which the client is written; none where no secret can be named after it."""
    if target.problem:
        return []
    return [name for _layout, names in target.names_to_write for name in names.values()]


def _describe(sm: SecretsManager, name: str) -> SecretDescription | None:
    try:
        return sm.describe_secret(name)
    except SecretsManagerError as error:
        if error.not_found:
            return None
        raise


NOTHING_TO_ADOPT = Sentence(
    "nothing_to_adopt", "Nothing was adopted: the client has no secret that somebody else made."
)
SECRET_CHANGED_SINCE = Sentence(
    "secret_changed_since",
    "Nothing was adopted: somebody wrote to the secret since you opened the page. Look at it again.",
)


def adopt_secrets(
    *,
    client_id: int,
    seen: str,
    reason: str,
    layout: Layout | None = None,
    by: User | None = None,
) -> ForeignSecrets:
    """Make the secrets the client's, if they are those that were `seen`, and record it; return them.

    Raises `NotResolved`, also where they hold another version now, are the client's already, or NOVA reads another
    client by one; `ReasonError`, `SecretsManagerError` and `DocumentError`.
    """
    require_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotResolved(TRY_AGAIN_LATER())
        if why := find_write_refusal():
            raise NotResolved(why)
        foreign = next(list_foreign_secrets([client_id], layout=layout, interactive=True), None)
        # A push over what is ours already has a page and a permission of its own.
        if foreign is None:
            raise NotResolved(NOTHING_TO_ADOPT())
        if foreign.versions != seen:
            raise NotResolved(SECRET_CHANGED_SINCE())
        for secret in foreign.secrets:
            require_unused(secret)
        # Who schedules their deletion holds the lock of the client whose they are noted to be.
        noted = {secret.row.client_id for secret in foreign.secrets if secret.row}
        with hold_client_locks(noted, wait_seconds=0) as held_too:
            if held_too != noted:
                raise NotResolved(TRY_AGAIN_LATER())
            _record_adoption(foreign, reason=reason, by=by)
            if layout is None:
                # Whoever adopts pushes next. Where a kill comes between, a push is pending, which workers make.
                ClientRevision.objects.filter(client_id=client_id).update(pushed_revision=None)
                ClientMigration.objects.record_refused([(client_id, None)])
    return foreign


SECRET_IN_USE = Sentence(
    "secret_in_use", "Nothing was adopted: NOVA reads the client %(slug)s by %(name)s."
)


def require_unused(secret: ForeignSecret) -> None:
    """Raise `NotResolved` where the secret is one of those of another client of NOVA's."""
    if (row := secret.row) is None:
        return
    other = read_snapshots([row.client_id]).get(row.client_id)
    if other and secret.name in other.all_names:
        raise NotResolved(SECRET_IN_USE(slug=other.slug, name=secret.name))


SECRETS_ADOPTED = Sentence("secrets_adopted", "Adopted secrets: %(secrets)s.", glue="; ")
ADOPTED_SECRET = Sentence("adopted_secret", "%(name)s (%(owner)s)")


def _record_adoption(foreign: ForeignSecrets, *, reason: str, by: User | None) -> None:
    client_id = foreign.snapshot.client_id
    with transaction.atomic():
        refuse_lost_client_locks()
        Secret.objects.adopt(
            Secret(name=each.name, arn=each.description.arn, version_id="", client_id=client_id)
            for each in foreign.secrets
        )
        AuditEvent.objects.record(
            ADOPTION_EVENT,
            SECRETS_ADOPTED(
                secrets=tuple(
                    ADOPTED_SECRET(name=each.name, owner=each.owner) for each in foreign.secrets
                )
            ),
            by=by,
            client_id=client_id,
            slug=foreign.snapshot.slug,
            reason=reason,
        )


ADOPTED = Sentence("adopted", "Adopted: %(names)s.", glue=", ")
ADOPTED_NOT_WRITTEN = Sentence(
    "adopted_not_written", "Adopted but not overwritten yet: %(names)s. %(why)s", glue=", "
)


def adopt_and_overwrite_secrets(
    *, client_id: int, seen: str, reason: str, by: User | None = None
) -> Resolution:
    """Adopt the secrets whose versions the user has `seen`, and push the rows to them.

    Raises `NotResolved` as `adopt_secrets`, also where they are adopted and the push failed, and `ReasonError`.
    """
    require_unpurged(client_id)
    try:
        foreign = adopt_secrets(client_id=client_id, seen=seen, reason=reason, by=by)
    except (SecretsManagerError, DocumentError) as error:
        raise NotResolved(error.message) from None
    (result,) = push(client_ids=[client_id], overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        why = ADOPTED_NOT_WRITTEN(names=foreign.names, why=result.summary_message)
        raise NotResolved(why)
    adopted = ADOPTED(names=foreign.names)
    return record_resolution(client_id, Resolution.Kind.TO_AWS, by, reason, adopted)


@works_on(Run.Kind.ADOPT, together=1)
def process_adoption_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Adopt the secrets of each item's client that were shown when the run was started, and push its rows to them."""
    seen = run.plan_rows.filter(client_id__in=items).read_seen()

    def adopt(client_id: int) -> tuple[Outcome, Message | None]:
        try:
            foreign = find_foreign_secrets(client_id)
            # Adopted by a try that was killed before its push, or by somebody.
            if foreign is None:
                (result,) = push(client_ids=[client_id])
                if result.outcome not in PUSHED:
                    raise ItemFailedError(result.summary_message, result.error_class)
                return result.outcome, result.message
            if foreign.digest != seen.get(client_id):
                raise ItemFailedError(SECRET_CHANGED_SINCE())
            adopted = adopt_and_overwrite_secrets(
                client_id=client_id, seen=foreign.versions, reason=run.reason, by=run.by
            )
        except NotResolved as refusal:
            raise ItemFailedError(refusal.message, refusal.error_class) from None
        return Outcome.UPDATED, adopted.message

    return process_one_by_one(run, items, adopt)
