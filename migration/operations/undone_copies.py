"""Undoes a copy of AWS to PostgreSQL: the rows get what AWS keeps of them, and AWS's secret gets the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.utils.crypto import salted_hmac

from credentials.copying import copy_document_into_rows, list_rows_missing_in_document
from credentials.models import CountingGap
from credentials.triggers import writes_are_counted
from migration import resolution_sentences, sentences
from migration.models.comparisons import Comparison
from migration.models.reasons import require_storable_reason
from migration.models.resolutions import Resolution
from migration.models.run_items import PUSHED
from migration.operations.aws_store import make_aws_copy, read_aws, secrets_manager
from migration.operations.aws_writes import find_write_refusal
from migration.operations.comparisons import compare, compare_with_document
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.pushes import find_problem, push, write_document
from migration.operations.resolutions import LOCK_WAIT_SECONDS, NotResolved, record_resolution
from migration.operations.rows_from_aws import STORE_ERRORS, hold_rows
from migration.operations.secret_writer import (
    REPLACED_STAGE,
    PartlyWrittenError,
    RefusedBySiteError,
)
from migration.operations.snapshots import (
    read_client_with_rows,
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from nova_credentials.aws.client_secrets import ClientSecrets
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.document import Document
    from nova_credentials.messages import Message


@dataclass(frozen=True)
class UndoPlan:
    """Holds what would change if the client's newest copy were undone now."""

    copy: Resolution
    phase: Phase
    # Neither is stored. The rows beside what they held before the copy, and beside what AWS holds now.
    to_former: Comparison
    to_aws: Comparison
    # The logins that the copy added: no row is ever deleted.
    staying: tuple[Message, ...]
    former: Document = field(repr=False)

    @property
    def digest(self) -> str:
        """Return a short text by which a later plan is known to change the same."""
        found = (
            self.phase,
            self.copy.pk,
            self.to_former.list_acknowledgeable(),
            self.to_aws.list_acknowledgeable(),
        )
        return salted_hmac("migration.UndoPlan", repr(found), algorithm="sha256").hexdigest()[:16]


def find_undo_refusal_in_database(
    copy: Resolution, *, phase: Phase, revision: int
) -> Message | None:
    """Return why the database alone refuses to undo this copy; None where only AWS can still refuse."""
    if phase == Phase.PURGED:
        return resolution_sentences.PURGED_SINCE_COPY()
    if revision != copy.revision:
        return resolution_sentences.ROWS_WRITTEN_SINCE_COPY()
    gaps = CountingGap.objects.open_at_or_after(copy.resolved_at)
    if not writes_are_counted() or gaps.exists():
        return resolution_sentences.ROWS_MAY_BE_WRITTEN_SINCE_COPY()
    return None


def plan_undo(client_id: int) -> UndoPlan:
    """Return what undoing the client's newest copy would change; store nothing. Raises `NotResolved` if refused."""
    return _make_plan(read_snapshot(client_id))


def undo_copy(*, client_id: int, seen: str, reason: str, by: User | None = None) -> Resolution:
    """Put what the rows held before the copy back into them, and into AWS as a new version.

    `seen` is the digest of the plan that the user saw. In the phases in which PostgreSQL decides, AWS is pushed to
    afterwards, as after every save; from the cutover on the rows are changed only if AWS takes the values.
    """
    require_storable_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotResolved(sentences.TRY_AGAIN_LATER())
        snapshot = read_snapshot(client_id)
        plan = _make_plan(snapshot)
        if plan.digest != seen:
            raise NotResolved(resolution_sentences.UNDOES_SOMETHING_ELSE())
        if why := find_write_refusal():
            raise NotResolved(why)
        try:
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(sentences.NOVA_WROTE())
                refuse_lost_client_locks()
                resolution = _change_rows(plan, reason=reason, by=by)
        except PartlyWrittenError as error:
            part = {name: error.message.values[name] for name in ("names", "error")}
            raise NotResolved(resolution_sentences.UNDONE_IN_PART(**part)) from None
        except (*STORE_ERRORS, RefusedBySiteError) as error:
            raise NotResolved(error.message) from None
        if not plan.phase.aws_is_authority:
            _push_rows(resolution)
    compare(client_ids=[client_id], interactive=True)
    return resolution


def _make_plan(snapshot: ClientSnapshot) -> UndoPlan:
    client_id, sm = snapshot.client_id, secrets_manager(interactive=True)
    copy = Resolution.objects.find_undoable_copy(client_id)
    if copy is None:
        raise NotResolved(resolution_sentences.NO_COPY_TO_UNDO())
    if why := find_undo_refusal_in_database(copy, phase=snapshot.phase, revision=snapshot.revision):
        raise NotResolved(why)
    try:
        to_aws = compare_with_document(snapshot, read_aws(snapshot, sm=sm).document)
        if to_aws.status == Comparison.Status.UNCHECKED:
            raise NotResolved(to_aws.message or sentences.TRY_AGAIN_LATER())
        # A push since the copy may have made AWS hold the rows' other logins too.
        if (
            to_aws.status != Comparison.Status.MATCH
            and to_aws.list_acknowledgeable() != copy.mismatches
        ):
            raise NotResolved(resolution_sentences.AWS_WRITTEN_SINCE_COPY())
        former = _read_former(snapshot, copy, sm=sm)
        staying = tuple(list_rows_missing_in_document(read_client_with_rows(client_id), former))
    except STORE_ERRORS as error:
        raise NotResolved(error.message) from None
    to_former = compare_with_document(snapshot, former)
    return UndoPlan(copy, snapshot.phase, to_former, to_aws, staying, former)


def _read_former(snapshot: ClientSnapshot, copy: Resolution, *, sm: SecretsManager) -> Document:
    """Read what the rows held before the copy; raise `NotResolved` where AWS keeps another version in its place."""
    parts, values = {name: part for part, name in snapshot.names.items()}, {}
    for name, version_id in (copy.kept_versions or {}).items():
        kept = sm.get_stage(name, REPLACED_STAGE)
        if name not in parts or kept is None or kept.version_id != version_id:
            raise NotResolved(resolution_sentences.FORMER_VALUES_GONE(name=name))
        values[parts[name]] = kept
    return make_aws_copy(snapshot, ClientSecrets(values, snapshot.layout)).document


def _change_rows(plan: UndoPlan, *, reason: str, by: User | None) -> Resolution:
    """Write the rows, and AWS where it is the authority, within a transaction that holds the rows."""
    client_id = plan.copy.client_id
    copy_document_into_rows(reread_locked_client(client_id), plan.former)
    after = reread_locked_snapshot(client_id)
    document, problem = after.document, find_problem(after)
    if document is None or problem:
        raise NotResolved(problem or sentences.TRY_AGAIN_LATER())
    stay = resolution_sentences.LOGINS_STAY(rows=plan.staying) if plan.staying else None
    resolution = record_resolution(client_id, Resolution.Kind.TO_FORMER, by, reason, stay)
    if plan.phase.aws_is_authority:
        write_document(after, document=document, overwrite=True)
    return resolution


def _push_rows(resolution: Resolution) -> None:
    """Push the rows, and note beside what was done where AWS did not take them."""
    (result,) = push(client_ids=[resolution.client_id], overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        late = resolution_sentences.FORMER_VALUES_NOT_IN_AWS(why=result.summary_message)
        resolution.message = in_a_row(resolution.message, late)
        resolution.save(update_fields=["message"])
