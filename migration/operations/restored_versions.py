"""Restores a former version of a secret as a new one, in both stores as far as the client's phase has them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.utils.crypto import salted_hmac

from credentials.copying import (
    RowNotInAwsError,
    build_document_with_secrets,
    copy_document_into_rows,
    list_rows_missing_in_document,
    pick_values_behind_pointers,
    read_purged_secrets,
)
from credentials.models import save_columns
from credentials.triggers import writes_are_counted
from migration import sentences, version_sentences
from migration.models.comparisons import Comparison
from migration.models.reasons import require_storable_reason
from migration.models.resolutions import Resolution
from migration.models.run_items import PUSHED
from migration.models.seen_values import NewValueOrigin
from migration.operations.aws_store import make_aws_copy, secrets_manager
from migration.operations.aws_writes import find_write_refusal
from migration.operations.comparisons import compare, compare_with_document
from migration.operations.known_values import (
    note_new_values_in_aws,
    noting_rows,
    see_rows_and_purged_values,
)
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.pushes import find_problem, push, write_document
from migration.operations.resolutions import LOCK_WAIT_SECONDS, NotResolved, record_resolution
from migration.operations.rows_from_aws import STORE_ERRORS, hold_rows
from migration.operations.secret_writer import PartlyWrittenError, RefusedBySiteError
from migration.operations.snapshots import (
    read_client_with_rows,
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.operations.version_logins import (
    TriedVersion,
    VersionLogin,
    list_new_logins,
    require_working_logins,
    shorten,
)
from nova_credentials import document as documents
from nova_credentials.aws.client_secrets import read_client
from nova_credentials.document import DocumentError
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from credentials.models import Client
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.client_secrets import ClientSecrets
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.document import Document
    from nova_credentials.messages import Message

# As AWS takes them; what an address has instead is no version.
VERSION_ID = re.compile(r"[A-Za-z0-9-]{32,64}")
# The errors of stores that can't be read; their texts hold no value.
READ_ERRORS = (*STORE_ERRORS, RowNotInAwsError)


@dataclass(frozen=True)
class VersionPlan:
    """Holds what would change if this version were restored now. Nothing of it is stored."""

    slug: str
    name: str
    version_id: str
    phase: Phase
    # What NOVA reads now (PostgreSQL's rows, or AWS from the cutover on) beside the version.
    changes: Comparison
    # The logins that the version lacks: no row is ever deleted.
    staying: tuple[Message, ...]
    # Those that NOVA does not have so now.
    logins: tuple[VersionLogin, ...] = field(repr=False)
    former: Document = field(repr=False)

    @property
    def digest(self) -> str:
        """Return a short text by which a later plan is known to change the same."""
        seen = (self.phase, self.name, self.version_id, self.changes.list_acknowledgeable())
        return salted_hmac("migration.VersionPlan", repr(seen), algorithm="sha256").hexdigest()[:16]


def plan_restore(client_id: int, *, name: str, version_id: str) -> VersionPlan:
    """Return what restoring the version would change; nothing is stored. Raises `NotResolved` where it can't be."""
    return _make_plan(read_snapshot(client_id), name, version_id)


def restore_version(
    *,
    client_id: int,
    name: str,
    version_id: str,
    seen: str,
    reason: str,
    by: User | None = None,
    accepted_digest: str = "",
) -> Resolution:
    """Make the version's values the present ones, as a new version in AWS.

    `seen` is the digest of the plan that the user saw. The logins that change are tried first: where a server refuses
    one, nothing is restored; where that can't be found out, only if `accepted_digest` is the digest of just that. In
    phases in which PostgreSQL decides the rows are written, then pushed as after every save; from the cutover on the
    rows are changed only if AWS takes the values, and those of a purged client go to AWS alone.

    Raises `NotResolved`, `UnprovenLoginsError` and `ReasonError`.
    """
    require_storable_reason(reason)
    tried = plan_restore(client_id, name=name, version_id=version_id)
    _require_seen(tried, seen)
    version = TriedVersion(client_id, tried.slug, name, version_id, by)
    require_working_logins(tried.logins, version=version, accepted_digest=accepted_digest)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotResolved(sentences.TRY_AGAIN_LATER())
        snapshot = read_snapshot(client_id)
        plan = _make_plan(snapshot, name, version_id)
        _require_seen(plan, seen)
        if why := find_write_refusal():
            raise NotResolved(why)
        try:
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(sentences.NOVA_WROTE())
                refuse_lost_client_locks()
                resolution = _write_stores(plan, client_id, reason=reason, by=by)
        except PartlyWrittenError as error:
            part = {key: error.message.values[key] for key in ("names", "error")}
            raise NotResolved(version_sentences.VERSION_RESTORED_IN_PART(**part)) from None
        except (*READ_ERRORS, RefusedBySiteError) as error:
            raise NotResolved(error.message) from None
        if not plan.phase.aws_is_authority:
            _push_rows(resolution)
    if plan.phase != Phase.PURGED:
        compare(client_ids=[client_id], interactive=True)
    return resolution


def _require_seen(plan: VersionPlan, seen: str) -> None:
    if plan.digest != seen:
        raise NotResolved(version_sentences.RESTORES_SOMETHING_ELSE())


def _make_plan(snapshot: ClientSnapshot, name: str, version_id: str) -> VersionPlan:
    sm = secrets_manager(interactive=True)
    if snapshot.phase == Phase.POSTGRES:
        raise NotResolved(version_sentences.VERSION_MIGRATE_FIRST())
    if snapshot.push_pending:
        raise NotResolved(version_sentences.VERSION_ROWS_ARE_NEWER())
    if not writes_are_counted():
        raise NotResolved(version_sentences.VERSION_ROWS_MAY_BE_NEWER())
    try:
        secrets = read_client(sm, snapshot.names, layout=snapshot.layout)
        former = _read_former(snapshot, secrets, name, version_id, sm=sm)
        present = _find_present(snapshot, secrets)
        client = read_client_with_rows(snapshot.client_id)
        staying = tuple(list_rows_missing_in_document(client, former))
    except READ_ERRORS as error:
        raise NotResolved(error.message) from None
    # Of a secret that holds no document any more nothing can be told apart: all of the version counts as a change.
    beside = replace(snapshot, document=present if present is not None else {})
    changes = compare_with_document(beside, former)
    if not changes.mismatches:
        raise NotResolved(version_sentences.VERSION_CHANGES_NOTHING())
    if snapshot.phase == Phase.PURGED:
        _require_same_rows(snapshot, client, former)
    logins = tuple(list_new_logins(former, present))
    return VersionPlan(
        snapshot.slug, name, version_id, snapshot.phase, changes, staying, logins, former
    )


def _read_former(
    snapshot: ClientSnapshot,
    secrets: ClientSecrets,
    name: str,
    version_id: str,
    *,
    sm: SecretsManager,
) -> Document:
    """Return the client's document with the version in place of its secret's current one; the rest as NOVA reads it."""
    part = next((part for part, secret in snapshot.names.items() if secret == name), None)
    kept = None
    if part and VERSION_ID.fullmatch(version_id):
        kept = sm.get_version(name, version_id)
    if part is None or kept is None:
        raise NotResolved(version_sentences.VERSION_GONE(name=name))
    current = secrets.values.get(part)
    if current and current.version_id == version_id:
        raise NotResolved(version_sentences.VERSION_IS_CURRENT())
    if snapshot.phase.aws_is_authority:
        others = {
            each: value.to_document() for each, value in secrets.values.items() if each != part
        }
    elif snapshot.document is None:
        raise NotResolved(snapshot.problem or sentences.TRY_AGAIN_LATER())
    else:
        others = documents.split_document(snapshot.document, layout=secrets.layout)
    former = documents.join_parts({**others, part: kept.to_document()}, layout=secrets.layout)
    documents.parse_document(former, client_id=snapshot.client_id, client_slug=snapshot.slug)
    return former


def _find_present(snapshot: ClientSnapshot, secrets: ClientSecrets) -> Document | None:
    """Return what NOVA reads now; None where AWS decides and holds no document."""
    if not snapshot.phase.aws_is_authority:
        return snapshot.document
    try:
        return make_aws_copy(snapshot, secrets).document
    except DocumentError:
        if snapshot.phase == Phase.PURGED:
            raise
        return None


def _require_same_rows(snapshot: ClientSnapshot, client: Client, former: Document) -> None:
    """Raise `NotResolved` where the rows of a purged client hold something else than the version beside its secrets.

    AWS would hold it in a version of ours then, and the next save would write the rows' fields over it unasked.
    """
    try:
        secrets, extras = (
            read_purged_secrets(client, former),
            pick_values_behind_pointers(client, former),
        )
        rows = build_document_with_secrets(client, secrets, extras)
    except READ_ERRORS as error:
        raise NotResolved(error.message) from None
    found = compare_with_document(replace(snapshot, document=rows), former).read_mismatches()
    if found:
        paths = tuple(mismatch.path for mismatch in found)
        raise NotResolved(version_sentences.VERSION_DIFFERS_FROM_ROWS(paths=paths))


def _write_stores(plan: VersionPlan, client_id: int, *, reason: str, by: User | None) -> Resolution:
    """Write the rows, and AWS where it is the authority, within a transaction that holds the rows."""
    if plan.phase == Phase.PURGED:
        _write_aws_alone(plan, client_id)
    else:
        with noting_rows(client_id):
            copy_document_into_rows(reread_locked_client(client_id), plan.former)
        after = reread_locked_snapshot(client_id)
        if after.document is None or (problem := find_problem(after)):
            raise NotResolved(after.problem or problem or sentences.TRY_AGAIN_LATER())
        if plan.phase.aws_is_authority:
            write_document(after, document=after.document, overwrite=True)
    done = version_sentences.VERSION_RESTORED(version=shorten(plan.version_id), name=plan.name)
    stay = version_sentences.LOGINS_NOT_IN_VERSION(rows=plan.staying) if plan.staying else None
    return record_resolution(
        client_id, Resolution.Kind.TO_VERSION, by, reason, in_a_row(done, stay)
    )


def _write_aws_alone(plan: VersionPlan, client_id: int) -> None:
    """Give AWS the version of a purged client; no row ever holds its secret values."""
    client, snapshot = reread_locked_client(client_id), reread_locked_snapshot(client_id)
    secrets = read_client(secrets_manager(interactive=True), snapshot.names, layout=snapshot.layout)
    present = make_aws_copy(snapshot, secrets).document
    before, after = (read_purged_secrets(client, each) for each in (present, plan.former))
    seen = see_rows_and_purged_values(client, before, secrets.values.values())
    changed = {row: values for row, values in after.items() if before.get(row) != values}
    for row in changed:
        # A form that was opened before shows an older state: its save is refused.
        save_columns(row, [])
    write_document(reread_locked_snapshot(client_id), document=plan.former, overwrite=True)
    note_new_values_in_aws(
        client_id,
        {(row.TYPE.value, row.pk): values[row.SECRET_FIELDS[0]] for row, values in changed.items()},
        origin=NewValueOrigin.FORMER,
        before=seen,
    )


def _push_rows(resolution: Resolution) -> None:
    """Push the rows, and note beside what was done where AWS did not take them."""
    (result,) = push(client_ids=[resolution.client_id], overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        late = version_sentences.VERSION_RESTORED_IN_POSTGRES(why=result.summary_message)
        resolution.message = in_a_row(resolution.message, late)
        resolution.save(update_fields=["message"])
