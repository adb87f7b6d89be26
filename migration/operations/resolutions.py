"""Resolves mismatches: checks again, copies one store to the other, or acknowledges. Each is recorded with its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from credentials.models import Client
from credentials.triggers import writes_are_counted
from migration import audit_sentences, sentences
from migration.models import (
    PUSHED,
    AuditCode,
    AuditEvent,
    ClientMigration,
    Comparison,
    Resolution,
    check_reason,
)
from migration.operations.aws_store import list_newer_versions, read_aws, secrets_manager
from migration.operations.comparisons import compare
from migration.operations.locks import hold_client_locks, require_client_locks
from migration.operations.pushes import push
from migration.operations.rows_from_aws import (
    STORE_ERRORS,
    copy_aws_to_rows,
    has_uncounted_writes,
    hold_rows,
    keep_rows_in_aws,
)
from migration.operations.snapshots import read_snapshot
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from datetime import date

    from django.contrib.auth.models import User

    from migration.operations.snapshots import ClientSnapshot

LOCK_WAIT_SECONDS = 5.0


class NotResolved(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The client can't be resolved this way now; the message says why."""


def find_refusal(
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
    """Compare both stores now."""
    compared = compare(client_ids=[client_id], interactive=True).get(client_id)
    message = compared.status_message if compared else sentences.NO_COMPARISON()
    return _record_resolution(client_id, Resolution.Kind.CHECK, by, "", message)


def copy_to_aws(*, client_id: int, by: User | None = None, reason: str = "") -> Resolution:
    """Push the rows to AWS, also where AWS is the authority and somebody else wrote there."""
    check_reason(reason)
    _require_unpurged(client_id)
    (result,) = push(client_ids=[client_id], overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        raise NotResolved(result.summary_message)
    return _record_resolution(
        client_id, Resolution.Kind.TO_AWS, by, reason, sentences.OUTCOMES[result.outcome]()
    )


def copy_to_postgres(*, client_id: int, by: User | None = None, reason: str = "") -> Resolution:
    """Copy AWS's document to PostgreSQL; rows that AWS may never have had are kept there first."""
    check_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        snapshot = _require_unpurged(client_id)
        if not held:
            raise NotResolved(sentences.TRY_AGAIN_LATER())
        uncounted = has_uncounted_writes(client_id)
        try:
            found = read_aws(snapshot, sm=secrets_manager(interactive=True))
            # After a restore from a backup both stores can hold newer values; the rows are kept in AWS then.
            if not snapshot.phase.aws_is_authority and not list_newer_versions(found):
                _require_nothing_newer(snapshot)
            keep_rows_in_aws(snapshot, uncounted=uncounted)
            with hold_rows(client_id) as now:
                if not now.is_unchanged_since(snapshot):
                    raise NotResolved(sentences.NOVA_WROTE())
                require_client_locks()
                lacking = copy_aws_to_rows(now, found)
        except STORE_ERRORS as error:
            raise NotResolved(error.message) from None
    left = sentences.NOT_IN_AWS(rows=tuple(lacking)) if lacking else None
    resolution = _record_resolution(client_id, Resolution.Kind.TO_POSTGRES, by, reason, left)
    compare(client_ids=[client_id], interactive=True)
    return resolution


def acknowledge(
    *, client_id: int, until: date, reason: str, by: User | None = None, shown: int | None = None
) -> Resolution:
    """Acknowledge the present mismatches until a day. Gates stay shut, and other mismatches are not covered.

    `shown` is the comparison that the user saw; raises `NotResolved` where the newest one found something else.
    """
    check_reason(reason)
    client_migration = (
        ClientMigration.objects.select_related("comparison").filter(pk=client_id).first()
    )
    newest = client_migration.comparison if client_migration else None
    if newest is None or newest.status == Comparison.Status.MATCH:
        raise NotResolved(sentences.NO_MISMATCH())
    findings = newest.list_findings()
    seen = Comparison.objects.filter(pk=shown or newest.pk, client_id=client_id).first()
    if seen is None or seen.list_findings() != findings:
        raise NotResolved(sentences.COMPARED_SINCE())
    return _record_resolution(
        client_id, Resolution.Kind.ACKNOWLEDGE, by, reason, None, mismatches=findings, until=until
    )


def _require_nothing_newer(snapshot: ClientSnapshot) -> None:
    loss = _find_loss(push_pending=snapshot.push_pending, writes_counted=writes_are_counted())
    if loss:
        raise NotResolved(loss)


def _find_loss(*, push_pending: bool, writes_counted: bool) -> Message | None:
    """Return how copying AWS's document would lose a newer value of PostgreSQL's."""
    if push_pending:
        return sentences.NEWER_WOULD_BE_LOST()
    return None if writes_counted else sentences.NEWER_MAY_BE_LOST()


def _require_unpurged(client_id: int) -> ClientSnapshot:
    snapshot = read_snapshot(client_id)
    if snapshot.phase == Phase.PURGED:
        raise NotResolved(sentences.RESTORE_FIRST())
    return snapshot


def _record_resolution(
    client_id: int,
    kind: Resolution.Kind,
    by: User | None,
    reason: str,
    message: Message | None,
    **more: object,
) -> Resolution:
    slug = Client.objects.values_list("slug", flat=True).get(pk=client_id)
    with transaction.atomic():
        AuditEvent.objects.record(
            AuditCode.RESOLUTION,
            audit_sentences.RESOLUTIONS[kind](),
            by=by,
            client_id=client_id,
            slug=slug,
            reason=reason,
        )
        return Resolution.objects.create(
            client_id=client_id, slug=slug, kind=kind, by=by, reason=reason, message=message, **more
        )
