"""Changes the layout or the name of a client's secrets, in any phase, and no reader finds nothing meanwhile.

A client that NOVA gave another slug is read by its former one until its secrets have moved. The new secrets are
written and read back while the old ones are read. Then layout or name, secrets and pointers are switched in one
transaction. The old ones are written too (`secret_writer`) until every reader knows the new ones; then
`remove_other_secrets` has them deleted, with a recovery window. What a change wrote that was never finished was
never read: it goes too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_lazy

from credentials.models import Client, ClientRevision, RowsBusyError
from credentials.nova_columns import NovaSchemaError
from credentials.pointers import repoint_existing_pointers
from credentials.refusals import RefusedByDatabaseError
from migration.core.audit import AuditEvent, EventKind
from migration.core.aws_store import (
    AwsCopy,
    list_versions_since_backup,
    read_aws,
    record_planned_versions,
    secret_names,
    secret_names_by_type,
    secrets_manager,
)
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    ClientMigration,
    ClientMigrationQuerySet,
    find_name_holder,
    store_lost_secret_slugs,
)
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.secrets import OtherSecretsState, Secret
from migration.core.sentences import IS_OFFBOARDED
from migration.core.snapshots import (
    NAME_IS_ANOTHERS,
    ClientSnapshot,
    read_client_with_rows,
    read_snapshot,
    read_snapshots,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.logins.models import ROTATION_UNDER_WAY, Rotation
from migration.nova.models import ReaderProcess
from migration.pushes.rows_from_aws import hold_rows
from migration.pushes.secret_writer import (
    PendingWrite,
    PushOptions,
    RefusedBySiteError,
    load_owners,
    prepare_writer,
)
from migration.runs.engine import ItemFailedError, ItemsToRetry, process_one_by_one, works_on
from migration.runs.items import Outcome, RunItem
from migration.runs.models import Run
from migration.secrets.deletions import DELETION_EVENT, NO_SECRET, delete_secret_and_report
from nova_credentials import document as documents
from nova_credentials.aws.answers import SecretDescription
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
    SecretValue,
)
from nova_credentials.aws.versions import CURRENT, PENDING
from nova_credentials.comparison import are_equal
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError, Layout
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import Phase

LAYOUT_EVENT = EventKind("layout", gettext_lazy("Layout changed"), icon="key", in_history=True)


LOCK_WAIT_SECONDS = 5.0
# Beyond twice the time for which readers serve what they read, from the cache or as AWS is unavailable.
KEPT_FOR = timedelta(hours=1)
# At once; the rest is taken away the next time.
MANY = 200

logger = logging.getLogger(__name__)


class LayoutRefusedError(ItemFailedError):
    """The client keeps its layout; what the new secrets hold so far, nobody reads."""


class LayoutChange(NamedTuple):
    """What became of a change: its outcome as an item of a run, and what is said of it."""

    outcome: Outcome
    message: Message


LAYOUT_CHANGED = Sentence(
    "layout_changed",
    "NOVA now reads: %(new)s. Written too, until no reader needs them any more: %(old)s.",
    glue=", ",
)
LAYOUT_IS_SO = Sentence("layout_is_so", "It already has this layout.")
LAYOUT_UNDER_WAY = Sentence(
    "layout_under_way",
    "The layout was not changed: another change of this client is in progress. Try again.",
)
NAME_IS_MOVING = Sentence(
    "name_is_moving",
    "NOVA gave the client another slug, and secrets of the slug %(slug)s are written too until no reader needs them any"
    " more. Change the layout after that.",
)


def change_layout(
    *,
    client_id: int,
    layout: Layout,
    by: User | None = None,
    reason: str = "",
    interactive: bool = True,
) -> LayoutChange:
    """Give one client this layout.

    What AWS holds is copied as it is: a change of layout changes no value, and what is pending stays pending. Killed
    anywhere, it can be done again. Raises `LayoutRefusedError`, `Client.DoesNotExist` and `LeaseLostError`.
    """
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise LayoutRefusedError(LAYOUT_UNDER_WAY(), ErrorClass.UNAVAILABLE)
        try:
            snapshot = read_snapshot(client_id)
        except NovaSchemaError as error:
            raise LayoutRefusedError(error.message, ErrorClass.SCHEMA) from None
        if snapshot.is_leaving_or_left:
            raise LayoutRefusedError(IS_OFFBOARDED(slug=snapshot.slug))
        if snapshot.layout == layout:
            ClientMigration.objects.store_first_layout(client_id, layout)
            return LayoutChange(Outcome.UNCHANGED, LAYOUT_IS_SO())
        if snapshot.other_slug:
            why = NAME_IS_MOVING(slug=snapshot.other_slug)
            raise LayoutRefusedError(why)
        sm = secrets_manager(interactive=interactive)
        found = _read_present(snapshot, sm)
        if found is None:
            return _change_without_secret(snapshot, layout, by=by, reason=reason)
        _require_copyable(snapshot, found, sm)
        target = _make_target(snapshot, found, layout=layout)
        pending = _prepare_secrets(snapshot, target, sm)
        _require_unchanged(found, pending, sm)
        _switch(snapshot, pending, by=by, reason=reason)
        old, new = tuple(found.version_ids), tuple(pending.documents)
        message = LAYOUT_CHANGED(old=old, new=new)
        if late := _find_late_write(found, sm):
            message = in_a_row(message, late) or message
        return LayoutChange(Outcome.UPDATED, message)


@works_on(Run.Kind.LAYOUT, together=1)
def process_layout_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Change the layout of each item's client under its own lease; return the items to try again."""

    def change(client_id: int) -> LayoutChange:
        layout = Layout(run.layout)
        return change_layout(client_id=client_id, layout=layout, by=run.by, interactive=False)

    return process_one_by_one(run, items, change)


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
                    _follow_new_slug(client_id)
                except (LayoutRefusedError, NovaSchemaError, Client.DoesNotExist) as refusal:
                    logger.info("Secrets of client %s keep their name: %s", client_id, refusal)


FORMER_SECRETS_STAY_YET = Sentence(
    "former_secrets_stay_yet",
    "Its secrets move to the name of its new slug once its former ones are gone.",
)


def _follow_new_slug(client_id: int) -> None:
    """Move the secrets of a client that NOVA gave another slug to that name.

    The client's lease is held. As a change of layout it copies what AWS holds, and can be done again if it was killed.
    Where the new name is, or was, another client's, the secrets keep theirs: NOVA reads them by it for as long as it
    has to be. Raises `LayoutRefusedError`, `NovaSchemaError`, `Client.DoesNotExist` and `LeaseLostError`.
    """
    snapshot = read_snapshot(client_id)
    if snapshot.secret_slug == snapshot.slug or snapshot.is_leaving_or_left:
        return
    if snapshot.other_secrets and snapshot.other_slug != snapshot.slug:
        raise LayoutRefusedError(FORMER_SECRETS_STAY_YET())
    sm, prefix = secrets_manager(), settings.NOVA_SECRET_PREFIX
    # No secret can have had a name that AWS takes for none.
    never = documents.name_problem(snapshot.secret_slug, prefix=prefix, layout=snapshot.layout)
    found = None if never else _read_present(snapshot, sm)
    if found is None:
        with transaction.atomic():
            refuse_lost_client_locks()
            _store_switch(snapshot, replace(snapshot, secret_slug=snapshot.slug), secrets=None)
        return
    target = _make_target(snapshot, found, secret_slug=snapshot.slug)
    _require_free(target, sm)
    _require_copyable(snapshot, found, sm)
    pending = _prepare_secrets(snapshot, target, sm)
    _require_unchanged(found, pending, sm)
    _switch(snapshot, pending)


def _make_target(
    snapshot: ClientSnapshot,
    found: AwsCopy,
    *,
    layout: Layout | None = None,
    secret_slug: str | None = None,
) -> ClientSnapshot:
    """Return the client as it will be, with what AWS holds in secrets of this layout or slug."""
    layout, secret_slug = layout or snapshot.layout, secret_slug or snapshot.secret_slug
    return replace(
        snapshot,
        document=found.document,
        layout=layout,
        secret_slug=secret_slug,
        names=secret_names(secret_slug, layout),
        other_secrets="",
        other_slug=None,
        other_names={},
    )


NAME_IS_TAKEN = Sentence(
    "name_is_taken",
    "Its secrets keep their name, as AWS has another secret %(name)s, or keeps one until its deletion. NOVA reads them"
    " as before.",
)
LAYOUT_UNREAD = Sentence(
    "layout_unread", "Its layout stays, as its secret can't be read: %(error)s"
)


def _require_free(target: ClientSnapshot, sm: SecretsManager) -> None:
    """Refuse a name under which there is a secret that is not the client's own, be its deletion scheduled.

    Its former versions hold the other client's values for as long as AWS keeps it.
    """
    prefix = settings.NOVA_SECRET_PREFIX
    if problem := documents.name_problem(target.secret_slug, prefix=prefix, layout=target.layout):
        raise LayoutRefusedError(problem, ErrorClass.DATA)
    if holder := find_name_holder(target.client_id, target.secret_slug):
        why = NAME_IS_ANOTHERS(name=next(iter(target.names.values())), slug=holder)
        raise LayoutRefusedError(why)
    names = [n for layout in Layout for n in secret_names(target.secret_slug, layout).values()]
    known = Secret.objects.find(names)
    own = ClientMigration.objects.get(pk=target.client_id)
    for name in names:
        if name in known and known[name].client_id == target.client_id:
            continue
        try:
            there = sm.describe_secret(name)
        except SecretsManagerError as error:
            if error.not_found:
                continue
            why = LAYOUT_UNREAD(error=error.message)
            raise LayoutRefusedError(why, error.error_class) from None
        # What a try that was killed has begun there is the client's own, though no push has met it yet.
        if own.other_slug != target.secret_slug or name in known:
            raise LayoutRefusedError(NAME_IS_TAKEN(name=there.name))


def _read_present(snapshot: ClientSnapshot, sm: SecretsManager) -> AwsCopy | None:
    """Read what AWS holds; None of a client that has no secret there and needs none."""
    try:
        return read_aws(snapshot, sm=sm)
    except (SecretsManagerError, DocumentError) as error:
        is_gone = isinstance(error, SecretsManagerError) and error.is_gone
        if is_gone and snapshot.phase == Phase.POSTGRES:
            return None
        error_class = getattr(error, "error_class", ErrorClass.DATA)
        why = LAYOUT_UNREAD(error=error.message)
        raise LayoutRefusedError(why, error_class) from None


LAYOUTS = {
    "client": Sentence("layout_client", "one secret per client"),
    "service": Sentence("layout_service", "one secret per service"),
}
LAYOUT_WITHOUT_SECRET = Sentence("layout_without_secret", "No secret yet. It will get %(layout)s.")


def _change_without_secret(
    snapshot: ClientSnapshot, layout: Layout, *, by: User | None, reason: str
) -> LayoutChange:
    with transaction.atomic():
        refuse_lost_client_locks()
        ClientMigration.objects.store_first_layout(snapshot.client_id, snapshot.layout)
        target = replace(snapshot, layout=layout)
        _store_switch(snapshot, target, secrets=None, by=by, reason=reason)
    named = LAYOUTS[layout]()
    return LayoutChange(Outcome.UPDATED, LAYOUT_WITHOUT_SECRET(layout=named))


LAYOUT_DIFFERS = Sentence(
    "layout_differs",
    "Its layout stays: both stores differ, and somebody else wrote the current version of %(name)s."
    " Look at the mismatch and copy one way first.",
)
LAYOUT_FOREIGN = Sentence(
    "layout_foreign",
    "Its layout stays: somebody else wrote the current version of %(name)s. Restore the client and look at the mismatch"
    " first.",
)
LAYOUT_ROTATES = Sentence(
    "layout_rotates", "Its layout stays: a rotation of %(name)s is under way. Try again after it."
)


def _require_copyable(snapshot: ClientSnapshot, found: AwsCopy, sm: SecretsManager) -> None:
    """Refuse where a rotation is under way, or a copy would pass somebody else's secret or version off as ours."""
    if rotation := Rotation.objects.find_unfinished(snapshot.client_id):
        raise LayoutRefusedError(ROTATION_UNDER_WAY(ago=rotation.begun_at))
    owners = load_owners(found.version_ids)
    for name in found.version_ids:
        try:
            there = sm.describe_secret(name)
        except SecretsManagerError as error:
            why = LAYOUT_UNREAD(error=error.message)
            raise LayoutRefusedError(why, error.error_class) from None
        if not owners.is_ours(there, snapshot.client_id):
            raise LayoutRefusedError(owners.explain_refusal(there))
        stages = there.versions.values()
        if any(PENDING in each and CURRENT not in each for each in stages):
            raise LayoutRefusedError(LAYOUT_ROTATES(name=name))
    if snapshot.phase == Phase.POSTGRES or are_equal(snapshot.document, found.document):
        return
    is_purged = snapshot.phase == Phase.PURGED
    sentence = LAYOUT_FOREIGN if is_purged else LAYOUT_DIFFERS
    newer = list_versions_since_backup(found)
    for value in found.source_values:
        if value.version_id in newer or owners.is_foreign_version(value):
            raise LayoutRefusedError(sentence(name=value.name))


def _prepare_secrets(
    snapshot: ClientSnapshot, target: ClientSnapshot, sm: SecretsManager
) -> PendingWrite:
    """Write what AWS holds to the target's secrets. Until they are the client's own, nobody reads them."""
    slug, prefix, layout = target.secret_slug, settings.NOVA_SECRET_PREFIX, target.layout
    problem = documents.name_problem(slug, prefix=prefix, layout=layout)
    try:
        problem = problem or documents.size_problem(
            target.require_document(), slug, prefix=prefix, layout=layout
        )
        if problem:
            raise LayoutRefusedError(problem, ErrorClass.DATA)
        rehearsal = PendingWrite(target, is_spared=True)
        options = PushOptions(overwrite=False, creates_everywhere=True)
        writer = prepare_writer([rehearsal], sm, replace(options, dry_run=True))
        writer.write_client(rehearsal)
        _require_written(rehearsal)
        if snapshot.other_secrets != OtherSecretsState.KEPT:
            with transaction.atomic():
                refuse_lost_client_locks()
                begun = None if slug == snapshot.secret_slug else slug
                ClientMigration.objects.begin_other_secrets(
                    snapshot.client_id, snapshot.layout, begun
                )
        pending = PendingWrite(target, is_spared=True)
        writer = replace(writer, options=options)
        writer.set_documents(pending)
        writer.note_planned_versions([pending])
        writer.write_client(pending)
        _require_written(pending)
    except DocumentError as error:
        raise LayoutRefusedError(error.message, ErrorClass.DATA) from None
    return pending


LAYOUT_UNWRITTEN = Sentence(
    "layout_unwritten", "Its layout stays, as the new secrets could not be written: %(error)s"
)


def _require_written(pending: PendingWrite) -> None:
    if error := pending.error:
        why = (
            error.message
            if isinstance(error, RefusedBySiteError)
            else LAYOUT_UNWRITTEN(error=error.message)
        )
        raise LayoutRefusedError(why, error.error_class)


LAYOUT_WRITTEN_MEANWHILE = Sentence(
    "layout_written_meanwhile",
    "Its layout stays: somebody wrote to its secrets or moved it meanwhile. Try again.",
)


def _require_unchanged(found: AwsCopy, pending: PendingWrite, sm: SecretsManager) -> None:
    """Refuse where AWS doesn't hold what was written, or no longer the versions that were copied."""
    answers = sm.batch_get([*pending.documents, *found.version_ids])
    for answer in answers.values():
        if isinstance(answer, SecretsManagerError):
            why = LAYOUT_UNREAD(error=answer.message)
            raise LayoutRefusedError(why, answer.error_class)
    written = {n: v for n, v in answers.items() if isinstance(v, SecretValue)}
    if not all(written[n].holds_document(d) for n, d in pending.documents.items()) or any(
        written[name].version_id != version for name, version in found.version_ids.items()
    ):
        raise LayoutRefusedError(LAYOUT_WRITTEN_MEANWHILE())


LAYOUT_WRITTEN_LATE = Sentence(
    "layout_written_late",
    "Somebody else wrote %(names)s in that very moment, which the new secrets lack: look at both, and change it anew.",
    glue=", ",
)


def _find_late_write(found: AwsCopy, sm: SecretsManager) -> Message | None:
    """Say where somebody wrote a former secret in the very moment of the switch: readers of the new ones lack that."""
    answers = sm.batch_get(found.version_ids)
    written = {n: v.version_id for n, v in answers.items() if isinstance(v, SecretValue)}
    late = tuple(
        n for n, version in found.version_ids.items() if written.get(n, version) != version
    )
    return LAYOUT_WRITTEN_LATE(names=late) if late else None


def _switch(
    snapshot: ClientSnapshot, pending: PendingWrite, *, by: User | None = None, reason: str = ""
) -> None:
    """Make the new secrets the client's own.

    Raises `LayoutRefusedError` where it was moved meanwhile, or its rows don't take the new pointers.
    """
    target = pending.snapshot
    try:
        with _hold_pointers(snapshot, target):
            refuse_lost_client_locks()
            _store_switch(snapshot, target, secrets=pending.secrets, by=by, reason=reason)
    except RowsBusyError as error:
        raise LayoutRefusedError(error.message, ErrorClass.UNAVAILABLE) from None
    except RefusedByDatabaseError as error:
        raise LayoutRefusedError(error.message, ErrorClass.DATA) from None


@contextmanager
def _hold_pointers(snapshot: ClientSnapshot, target: ClientSnapshot) -> Iterator[None]:
    """Have the pointers of a purged client name the new secrets, in the transaction of the switch."""
    if snapshot.phase != Phase.PURGED:
        with transaction.atomic():
            yield
        return
    client_id = snapshot.client_id
    with hold_rows(client_id) as now:
        repoint_existing_pointers(reread_locked_client(client_id), secret_names_by_type(target))
        if not now.push_pending:  # what NOVA wrote since the purge stays to be seen
            revision = reread_locked_snapshot(client_id).revision
            ClientRevision.objects.record_pushed([(client_id, revision)])
        yield


SECRETS_WERE_MOVED = Sentence(
    "secrets_were_moved",
    "Its secrets have the name of its new slug: moved from %(old)s to %(new)s. The former ones are written too until no"
    " reader needs them any more.",
)
LAYOUT_WAS_CHANGED = Sentence("layout_was_changed", "Changed its layout: %(new)s, not %(old)s.")


def _store_switch(
    snapshot: ClientSnapshot,
    target: ClientSnapshot,
    *,
    secrets: list[Secret] | None,
    by: User | None = None,
    reason: str = "",
) -> None:
    """Store layout and slug, within the caller's transaction. `secrets` None: it has none, so none are kept."""
    if not ClientMigration.objects.switch_secrets(
        snapshot.client_id,
        (snapshot.secret_slug, snapshot.layout),
        (target.secret_slug, target.layout),
        phase=snapshot.phase,
        keeps=secrets is not None,
    ):
        raise LayoutRefusedError(LAYOUT_WRITTEN_MEANWHILE())
    Secret.objects.record(secrets or [])
    if target.secret_slug != snapshot.secret_slug:
        facts = SECRETS_WERE_MOVED(old=snapshot.secret_slug, new=target.secret_slug)
    else:
        named = {"old": snapshot.layout, "new": target.layout}
        facts = LAYOUT_WAS_CHANGED(**{side: LAYOUTS[each]() for side, each in named.items()})
    AuditEvent.objects.record(
        LAYOUT_EVENT,
        facts,
        by=by,
        client_id=snapshot.client_id,
        slug=snapshot.slug,
        reason=reason,
    )


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


OTHER_SECRETS_LEFT = Sentence(
    "other_secrets_left", "Nobody reads the secrets of its other layout any more: %(result)s"
)
KEPT_AS_WRITTEN = Sentence(
    "kept_as_written", "%(name)s was not changed: someone else wrote its current version."
)
KEPT_OF_ANOTHER = Sentence(
    "kept_of_another", "%(name)s stays: its name contains a slug that another client has or had."
)
OWN_SECRETS_LACK = Sentence(
    "own_secrets_lack",
    "Its secrets hold no login of these types, which its rows have: %(kinds)s. Push or restore them first.",
    glue=", ",
)


def _remove_from(snapshot: ClientSnapshot, sm: SecretsManager) -> None:
    """Schedule their deletion, then forget them: killed in between, it is done again."""
    if snapshot.phase.reads_aws:
        document = read_aws(snapshot, sm=sm).document
        rows = read_client_with_rows(snapshot.client_id).credentials_by_type()
        held = {t for t in CredentialType if document.get(t) or document.get(t.others_key)}
        # Where its own secrets lack a type that it has rows of, somebody deleted one for good.
        if lacking := sorted({t for t in CredentialType if rows[t]} - held):
            raise DocumentError(OWN_SECRETS_LACK(kinds=tuple(lacking)))
    names = list(snapshot.other_names.values())
    owners = load_owners(names)
    known, keys = owners.known, owners.keys
    # A change back takes them over for as long as AWS can restore them, which is longer than plans are kept.
    record_planned_versions([secret.version_id for secret in known.values() if secret.version_id])

    def find_objection(there: SecretDescription) -> Message | None:
        if there.name in known and known[there.name].client_id != snapshot.client_id:
            return KEPT_OF_ANOTHER(name=there.name)
        current = [pk for pk, stages in there.versions.items() if CURRENT in stages]
        pushed = known[there.name].version_id if there.name in known else ""
        if all(pk == pushed or keys.is_ours(there.name, pk) for pk in current):
            return None
        return KEPT_AS_WRITTEN(name=there.name)

    client_id = snapshot.client_id
    reports = [
        delete_secret_and_report(sm, name, find_objection, owners=owners, client_id=client_id)
        for name in names
    ]
    with transaction.atomic():
        refuse_lost_client_locks()
        # The rows stay: while AWS can restore these secrets, a client that gets their slug must not.
        ClientMigration.objects.forget_other_secrets(client_id)
        AuditEvent.objects.record(
            DELETION_EVENT,
            OTHER_SECRETS_LEFT(result=in_a_row(*reports) or NO_SECRET()),
            client_id=client_id,
            slug=snapshot.slug,
        )
