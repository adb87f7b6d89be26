"""Resolves mismatches: checks again, copies one store to the other, or acknowledges. Each is recorded with its user.

Also works on the items of runs that copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.crypto import salted_hmac

from credentials.models import Client, RowsBusyError
from credentials.triggers import writes_are_counted
from migration import audit_sentences, resolution_sentences, sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.clients import ClientMigration
from migration.models.comparisons import Comparison
from migration.models.reasons import require_storable_reason
from migration.models.resolutions import Resolution
from migration.models.run_items import PUSHED, Outcome
from migration.models.runs import Run
from migration.operations.aws_store import list_versions_since_backup, read_aws, secrets_manager
from migration.operations.comparisons import (
    compare,
    compare_with_document,
    make_unsaved_comparison,
    read_secrets,
)
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.pushes import push
from migration.operations.rows_from_aws import (
    STORE_ERRORS,
    back_up_rows_to_aws,
    copy_aws_to_rows,
    hold_rows,
)
from migration.operations.secret_writer import RefusedBySiteError
from migration.operations.single_items import (
    ItemFailedError,
    ItemsToRetry,
    process_one_by_one,
    works_on,
)
from migration.operations.snapshots import read_snapshot, reread_locked_snapshot
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Message, MessageError, in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from django.contrib.auth.models import User

    from migration.models.run_items import RunItem
    from migration.operations.aws_store import AwsCopy
    from migration.operations.snapshots import ClientSnapshot

LOCK_WAIT_SECONDS = 5.0


class NotResolved(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The client can't be resolved this way now; the message says why. `error_class`: whether that passes by itself."""

    def __init__(self, message: Message, error_class: str = ErrorClass.CONFLICT) -> None:
        super().__init__(message)
        self.error_class = error_class


def find_refusal_in_database(
    kind: str, *, phase: Phase, push_pending: bool, writes_counted: bool
) -> Message | None:
    """Return why the database alone refuses to resolve a client this way; None where only AWS can still refuse."""
    if kind not in (Resolution.Kind.TO_AWS, Resolution.Kind.TO_POSTGRES):
        return None
    if phase == Phase.PURGED:
        return sentences.RESTORE_FIRST()
    if kind == Resolution.Kind.TO_AWS or phase.aws_is_authority:
        return None
    return _find_loss(push_pending=push_pending, writes_counted=writes_counted)


def check_again(*, client_id: int, by: User | None = None) -> Resolution:
    """Compare both stores of the client now; store the result as a `Resolution` and in the audit; return it.

    Raises `NotResolved` on a host that may store none.
    """
    compared = compare(client_ids=[client_id], interactive=True).get(client_id)
    if compared and compared.pk is None and compared.message:
        raise NotResolved(compared.message)
    message = compared.status_message if compared else sentences.NO_COMPARISON()
    return record_resolution(client_id, Resolution.Kind.CHECK, by, "", message)


def copy_to_aws(
    *, client_id: int, by: User | None = None, reason: str = "", interactive: bool = True
) -> Resolution:
    """Push the rows to AWS, also where AWS is the authority and somebody else wrote there."""
    require_storable_reason(reason)
    require_unpurged(client_id)
    (result,) = push(client_ids=[client_id], overwrite=True, interactive=interactive)
    if result.outcome not in PUSHED:
        passes = result.busy or result.postponed
        why = ErrorClass.UNAVAILABLE if passes else result.error_class or ErrorClass.CONFLICT
        raise NotResolved(result.summary_message, why)
    return record_resolution(
        client_id, Resolution.Kind.TO_AWS, by, reason, sentences.OUTCOMES[result.outcome]()
    )


@dataclass(frozen=True)
class CopyToPostgresPlan:
    """What copying AWS to PostgreSQL would change now, or why it is refused."""

    phase: Phase
    # Not stored: its mismatches are the fields that change.
    comparison: Comparison
    refusal: Message | None

    @property
    def digest(self) -> str:
        """Return a short text by which a later plan is known to change the same."""
        found = repr((self.phase, self.comparison.list_acknowledgeable()))
        return salted_hmac("migration.CopyPlan", found, algorithm="sha256").hexdigest()[:16]


def plan_copy_to_postgres(client_id: int) -> CopyToPostgresPlan:
    """Return what `copy_to_postgres` would change, or its refusal; raises `NotResolved` if purged or not comparable."""
    snapshot, sm = require_unpurged(client_id), secrets_manager(interactive=True)
    try:
        comparison = make_unsaved_comparison(snapshot, read_secrets([snapshot], sm=sm), run=None)
        _require_nothing_newer(snapshot, read_aws(snapshot, sm=sm))
    except STORE_ERRORS as error:
        raise NotResolved(error.message) from None
    except NotResolved as refusal:
        return CopyToPostgresPlan(snapshot.phase, comparison, refusal.message)
    return CopyToPostgresPlan(snapshot.phase, comparison, None)


def copy_to_postgres(
    *,
    client_id: int,
    by: User | None = None,
    reason: str = "",
    seen: str | None = None,
    interactive: bool = True,
) -> Resolution:
    """Copy AWS's document to PostgreSQL; what the rows held is kept in AWS first.

    `seen` is the digest of the plan that the user saw: where it would change something else, nothing is copied.
    """
    require_storable_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if seen is not None and plan_copy_to_postgres(client_id).digest != seen:
            raise NotResolved(resolution_sentences.COPIES_SOMETHING_ELSE())
        snapshot = require_unpurged(client_id)
        if not held:
            raise NotResolved(sentences.TRY_AGAIN_LATER(), ErrorClass.UNAVAILABLE)
        if snapshot.document is None and snapshot.kept is None:
            raise NotResolved(snapshot.problem or sentences.TRY_AGAIN_LATER())
        try:
            found = read_aws(snapshot, sm=secrets_manager(interactive=interactive))
            _require_nothing_newer(snapshot, found)
            kept = back_up_rows_to_aws(snapshot, found, always=True)
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(sentences.NOVA_WROTE(), ErrorClass.UNAVAILABLE)
                refuse_lost_client_locks()
                lacking = copy_aws_to_rows(now, found)
                left = sentences.NOT_IN_AWS(rows=tuple(lacking)) if lacking else None
                after = reread_locked_snapshot(client_id)
                resolution = record_resolution(
                    client_id,
                    Resolution.Kind.TO_POSTGRES,
                    by,
                    reason,
                    in_a_row(left, resolution_sentences.ROWS_KEPT_IN_AWS()),
                    mismatches=compare_with_document(after, found.document).list_acknowledgeable(),
                    kept_versions=kept,
                    revision=after.revision,
                )
        except RowsBusyError as error:
            raise NotResolved(error.message, ErrorClass.UNAVAILABLE) from None
        except (*STORE_ERRORS, RefusedBySiteError) as error:
            why = getattr(error, "error_class", ErrorClass.DATA)
            raise NotResolved(error.message, why) from None
    compare(client_ids=[client_id], interactive=interactive)
    return resolution


def acknowledge(
    *, client_id: int, until: date, reason: str, by: User | None = None, shown: int | None = None
) -> Resolution:
    """Acknowledge the present mismatches until a day. Gates stay shut, and other mismatches are not covered.

    `shown` is the comparison that the user saw; raises `NotResolved` where the newest one found something else.
    """
    done, refused = acknowledge_each(shown={client_id: shown}, until=until, reason=reason, by=by)
    if client_id in refused:
        raise NotResolved(refused[client_id])
    return done[0]


def acknowledge_each(
    *, shown: Mapping[int, int | None], until: date, reason: str, by: User | None = None
) -> tuple[list[Resolution], dict[int, Message]]:
    """Acknowledge the mismatches of each client in a few statements; return who was refused, with the reason.

    `shown`: client id -> id of the comparison that the user saw (None: the newest one is meant). Raises `ReasonError`.
    """
    require_storable_reason(reason)
    rows = ClientMigration.objects.exclude_deleted_clients().filter(pk__in=shown)
    newest = {
        row.pk: (row.client.slug, row.comparison)
        for row in rows.select_related("client", "comparison").order_by("client__slug")
        if row.comparison and row.comparison.status != Comparison.Status.MATCH
    }
    seen = Comparison.objects.in_bulk([pk for pk in shown.values() if pk])
    refused: dict[int, Message] = {pk: sentences.NO_MISMATCH() for pk in shown if pk not in newest}
    made = []
    for pk, (slug, comparison) in newest.items():
        findings = comparison.list_acknowledgeable()
        was = seen.get(shown_id) if (shown_id := shown[pk]) else comparison
        if was is None or was.client_id != pk or was.list_acknowledgeable() != findings:
            refused[pk] = sentences.COMPARED_SINCE()
            continue
        made.append(
            Resolution(
                client_id=pk,
                slug=slug,
                kind=Resolution.Kind.ACKNOWLEDGE,
                by=by,
                reason=reason,
                mismatches=findings,
                until=until,
            )
        )
    return _store_resolutions(made), refused


@works_on(*Run.COPIES)
def process_copy_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Copy one store of each item's client to the other; return the items that may succeed at another try.

    A client that a comparison found otherwise since the run was started is left alone.
    """
    copy = copy_to_aws if run.kind == Run.Kind.TO_AWS else copy_to_postgres

    def copy_unless_compared_since(client_id: int) -> tuple[Outcome, Message | None]:
        compared = Comparison.objects.filter(client_id=client_id).order_by("-pk")
        shown, newest = compared.filter(compared_at__lte=run.created_at).first(), compared.first()
        if newest and newest.status == Comparison.Status.MATCH:
            # Also where a worker was killed after it had copied.
            return Outcome.UNCHANGED, newest.status_message
        if not (shown and newest) or shown.list_acknowledgeable() != newest.list_acknowledgeable():
            raise ItemFailedError(sentences.COMPARED_SINCE())
        try:
            done = copy(client_id=client_id, by=run.by, reason=run.reason, interactive=False)
        except NotResolved as refusal:
            raise ItemFailedError(refusal.message, refusal.error_class) from None
        return Outcome.UPDATED, done.message

    return process_one_by_one(run, items, copy_unless_compared_since)


def _require_nothing_newer(snapshot: ClientSnapshot, found: AwsCopy) -> None:
    """Raise `NotResolved` where PostgreSQL is the authority and may hold what AWS never had."""
    # After a restore from a backup both stores can hold newer values; the rows are kept in AWS then.
    if snapshot.phase.aws_is_authority or list_versions_since_backup(found):
        return
    loss = _find_loss(push_pending=snapshot.push_pending, writes_counted=writes_are_counted())
    if loss:
        raise NotResolved(loss)


def _find_loss(*, push_pending: bool, writes_counted: bool) -> Message | None:
    """Return how copying AWS's document would lose a newer value of PostgreSQL's."""
    if push_pending:
        return sentences.NEWER_WOULD_BE_LOST()
    return None if writes_counted else sentences.NEWER_MAY_BE_LOST()


def require_unpurged(client_id: int) -> ClientSnapshot:
    """Return a snapshot of the client's rows in PostgreSQL; raises `NotResolved` in phase `purged`."""
    snapshot = read_snapshot(client_id)
    if snapshot.phase == Phase.PURGED:
        raise NotResolved(sentences.RESTORE_FIRST())
    return snapshot


def record_resolution(
    client_id: int,
    kind: Resolution.Kind,
    by: User | None,
    reason: str,
    message: Message | None,
    **more: object,
) -> Resolution:
    """Store what was done with a mismatch, and its entry in the audit; return it."""
    slug = Client.objects.values_list("slug", flat=True).get(pk=client_id)
    row = Resolution(
        client_id=client_id, slug=slug, kind=kind, by=by, reason=reason, message=message, **more
    )
    return _store_resolutions([row])[0]


def _store_resolutions(rows: list[Resolution]) -> list[Resolution]:
    """Store what was done with mismatches, and an entry in the audit for each; return the rows."""
    events = [
        AuditEvent.make_signed(
            AuditCode.RESOLUTION,
            audit_sentences.RESOLUTIONS[row.kind](),
            by=row.by,
            client_id=row.client_id,
            slug=row.slug,
            reason=row.reason,
        )
        for row in rows
    ]
    with transaction.atomic():
        AuditEvent.objects.insert_already_signed(events)
        return Resolution.objects.bulk_create(rows)
