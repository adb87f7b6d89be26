"""Resolves mismatches: checks again, copies one store to the other or undoes that, acknowledges.

For one client or many, with what the user saw; each resolution is recorded with its user.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from credentials.copying import (
    copy_document_into_rows,
    list_rows_missing_in_document,
    match_rows,
)
from credentials.models import Client, CountingGap, RowsBusyError
from credentials.triggers import writes_are_counted
from migration.core.audit import AuditEvent, require_storable_reason
from migration.core.aws_store import (
    AwsCopy,
    list_versions_since_backup,
    make_aws_copy,
    read_aws,
    secrets_manager,
)
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import ClientMigration, all_clients
from migration.core.comparisons import (
    COMPARISON_EVENT,
    RESOLUTION_EVENT,
    Comparison,
    OpenMismatch,
    Resolution,
)
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.sentences import NOVA_WROTE
from migration.core.snapshots import (
    ClientSnapshot,
    read_client_with_rows,
    read_snapshot,
    read_snapshots,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.logins.models import LoginStore, LoginTest
from migration.pushes.comparisons import (
    compare,
    compare_with_document,
    make_unsaved_comparison,
    read_secrets,
)
from migration.pushes.pushes import find_problem, push, write_document
from migration.pushes.rows_from_aws import (
    STORE_ERRORS,
    back_up_rows_to_aws,
    copy_aws_to_rows,
    hold_rows,
)
from migration.pushes.secret_writer import (
    REPLACED_STAGE,
    PartlyWrittenError,
    RefusedBySiteError,
    load_owners,
)
from migration.runs.engine import ItemFailedError, ItemsToRetry, process_one_by_one, works_on
from migration.runs.items import PUSHED, TRANSIENT, Outcome, RunItem
from migration.runs.models import Run
from nova_credentials import document as documents
from nova_credentials.aws.answers import SecretValue
from nova_credentials.aws.client_secrets import ClientSecrets
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.credential_types import CredentialType, map_to_json_keys
from nova_credentials.document import EXTRA_KEY, Document, DocumentError
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Phase

LOCK_WAIT_SECONDS = 5.0
# Fields of a login that change nothing about whether it works.
NAMING_KEYS = ("label", "is_primary", "sender_whitelist", EXTRA_KEY)


class NotResolved(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The client can't be resolved this way now; the message says why. `error_class`: whether that passes by itself."""

    def __init__(self, message: Message, error_class: str = ErrorClass.CONFLICT) -> None:
        super().__init__(message)
        self.error_class = error_class


RESTORE_FIRST = Sentence(
    "restore_first", "It is purged: the tables hold pointers. Restore it first."
)


NO_COMPARISON = Sentence("no_comparison", "There is nothing to compare.")
COMPARED_AGAIN = Sentence("compared_again", "Result: %(result)s.")


def check_again(*, client_id: int, by: User | None = None) -> Resolution:
    """Compare both stores of the client now; store the result as a `Resolution` and in the audit; return it.

    Raises `NotResolved` on a host that may store none.
    """
    compared = compare(client_ids=[client_id], interactive=True).get(client_id)
    if compared and compared.pk is None and compared.message:
        raise NotResolved(compared.message)
    message = COMPARED_AGAIN(result=compared.status_message) if compared else NO_COMPARISON()
    return record_resolution(client_id, Resolution.Kind.CHECK, by, "", message)


COPIES_SOMETHING_ELSE = Sentence(
    "copies_something_else",
    "Nothing was copied: the client or its values changed since you opened the page. Look at it again.",
)
TRY_AGAIN_LATER = Sentence(
    "try_again_later", "A push or move of this client is in progress. Try again."
)


def copy_to_aws(
    *,
    client_id: int,
    by: User | None = None,
    reason: str = "",
    seen: str | None = None,
    interactive: bool = True,
) -> Resolution:
    """Push the rows to AWS, also where AWS is the authority and somebody else wrote there.

    `seen` is the digest of what differed when the user saw it: where something else does, nothing is copied.
    """
    require_storable_reason(reason)
    require_unpurged(client_id)
    holding = (
        hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS)
        if seen is not None
        else nullcontext({client_id})
    )
    with holding as held:
        if not held:
            raise NotResolved(TRY_AGAIN_LATER(), ErrorClass.UNAVAILABLE)
        if seen is not None and _digest_now(client_id, interactive=interactive) != seen:
            raise NotResolved(COPIES_SOMETHING_ELSE())
        began, differing = timezone.now(), _find_differing_logins(client_id, interactive)
        (result,) = push(client_ids=[client_id], overwrite=True, interactive=interactive)
    if result.outcome not in PUSHED:
        passes = result.busy or result.postponed
        why = ErrorClass.UNAVAILABLE if passes else result.error_class or ErrorClass.CONFLICT
        raise NotResolved(result.summary_message, why)
    LoginTest.objects.forget_replaced(client_id, LoginStore.AWS, differing, before=began)
    told = ALREADY_IN_AWS() if result.outcome == Outcome.UNCHANGED else None
    return record_resolution(client_id, Resolution.Kind.TO_AWS, by, reason, told)


def _find_differing_logins(
    client_id: int, interactive: bool
) -> set[tuple[CredentialType, int | None]] | None:
    """Return type and row of the logins that differ, no row for those only in AWS; None where AWS can't be read.

    AWS is read for the tests of its logins alone: without any, nothing is said to differ.
    """
    if not LoginTest.objects.newest([client_id]).filter(store=LoginStore.AWS.value).exists():
        return set()
    try:
        found = read_aws(read_snapshot(client_id), sm=secrets_manager(interactive=interactive))
        client = read_client_with_rows(client_id)
    except (*STORE_ERRORS, Client.DoesNotExist):
        return None
    return list_differing_logins(client, found.document)


def list_differing_logins(
    client: Client, document: Document
) -> set[tuple[CredentialType, int | None]]:
    """Return type and row of the logins in which the rows differ from the document, no row for those only there."""
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    differing: set[tuple[CredentialType, int | None]] = set()
    for kind, rows in client.credentials_by_type().items():
        match = match_rows(rows, read.of_type(kind))
        differing |= {(kind, None) for _ in match.new_logins}
        differing |= {(kind, row.pk) for row in match.unmatched_rows}
        for row, login in match.pairs:
            keys = map_to_json_keys(type(login))
            if any(
                getattr(row, name) != getattr(login, name)
                for name, key in keys.items()
                if key not in NAMING_KEYS
            ):
                differing.add((kind, row.pk))
    return differing


ALREADY_IN_AWS = Sentence("already_in_aws", "AWS had these values already.")


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
        return digest_difference(self.phase, self.comparison)


def digest_difference(phase: Phase, comparison: Comparison) -> str:
    """Return a short text by which a later comparison of the client is known to have found the same."""
    # By sorted keys: PostgreSQL keeps those of an object in another order.
    found = json.dumps([Phase(phase), comparison.list_acknowledgeable()], sort_keys=True)
    return salted_hmac("migration.CopyPlan", found, algorithm="sha256").hexdigest()[:16]


def _digest_now(client_id: int, *, interactive: bool) -> str:
    snapshot = require_unpurged(client_id)
    try:
        now = _compare_unsaved(snapshot, secrets_manager(interactive=interactive))
    except STORE_ERRORS as error:
        raise NotResolved(error.message, _name_error_class(error)) from None
    return digest_difference(snapshot.phase, now)


def _name_error_class(error: MessageError) -> str:
    return str(getattr(error, "error_class", ErrorClass.DATA))


def _compare_unsaved(snapshot: ClientSnapshot, sm: SecretsManager) -> Comparison:
    """Compare both stores now; raises `NotResolved` where AWS gave no answer, and may at another try."""
    found = make_unsaved_comparison(snapshot, read_secrets([snapshot], sm=sm), run=None)
    if found.message and found.error_class in TRANSIENT:
        raise NotResolved(found.message, found.error_class)
    return found


def plan_copy_to_postgres(client_id: int) -> CopyToPostgresPlan:
    """Return what `copy_to_postgres` would change, or its refusal; raises `NotResolved` if purged or not comparable."""
    snapshot, sm = require_unpurged(client_id), secrets_manager(interactive=True)
    try:
        comparison, found = _compare_unsaved(snapshot, sm), read_aws(snapshot, sm=sm)
    except STORE_ERRORS as error:
        raise NotResolved(error.message, _name_error_class(error)) from None
    try:
        _require_nothing_newer(snapshot, found)
    except NotResolved as refusal:
        return CopyToPostgresPlan(snapshot.phase, comparison, refusal.message)
    return CopyToPostgresPlan(snapshot.phase, comparison, None)


ROWS_KEPT_IN_AWS = Sentence(
    "rows_kept_in_aws",
    "What PostgreSQL held before is kept in AWS, as the version NOVA_REPLACED.",
)
NOT_IN_AWS = Sentence("not_in_aws", "AWS has no %(rows)s: not changed.", glue=", ")


def copy_to_postgres(
    *,
    client_id: int,
    by: User | None = None,
    reason: str = "",
    seen: str | None = None,
    interactive: bool = True,
    replaces_newer: bool = False,
) -> Resolution:
    """Copy AWS's document to PostgreSQL; what the rows held is kept in AWS first.

    `seen` is the digest of the plan that the user saw: where it would change something else, nothing is copied.
    `replaces_newer`: somebody who saw it decided against the values that PostgreSQL got after the last push.
    """
    require_storable_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if seen is not None and plan_copy_to_postgres(client_id).digest != seen:
            raise NotResolved(COPIES_SOMETHING_ELSE())
        snapshot = require_unpurged(client_id)
        if not held:
            raise NotResolved(TRY_AGAIN_LATER(), ErrorClass.UNAVAILABLE)
        if snapshot.document is None and snapshot.kept is None:
            raise NotResolved(snapshot.problem or TRY_AGAIN_LATER())
        try:
            found = read_aws(snapshot, sm=secrets_manager(interactive=interactive))
            _require_nothing_newer(snapshot, found, replaces_newer=replaces_newer)
            kept = back_up_rows_to_aws(snapshot, found, always=True)
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(NOVA_WROTE(), ErrorClass.UNAVAILABLE)
                refuse_lost_client_locks()
                differing = list_differing_logins(reread_locked_client(client_id), found.document)
                lacking = copy_aws_to_rows(now, found)
                LoginTest.objects.forget_replaced(client_id, LoginStore.POSTGRES, differing)
                left = NOT_IN_AWS(rows=tuple(lacking)) if lacking else None
                after = reread_locked_snapshot(client_id)
                resolution = record_resolution(
                    client_id,
                    Resolution.Kind.TO_POSTGRES,
                    by,
                    reason,
                    in_a_row(left, ROWS_KEPT_IN_AWS()),
                    mismatches=compare_with_document(after, found.document).list_acknowledgeable(),
                    kept_versions=kept,
                    revision=after.revision,
                )
        except RowsBusyError as error:
            raise NotResolved(error.message, ErrorClass.UNAVAILABLE) from None
        except (*STORE_ERRORS, RefusedBySiteError) as error:
            raise NotResolved(error.message, _name_error_class(error)) from None
    compare(client_ids=[client_id], interactive=interactive)
    return resolution


NO_MISMATCH = Sentence("no_mismatch", "There is no mismatch to acknowledge.")
COMPARED_SINCE = Sentence(
    "compared_since", "A newer comparison found other differences. Review them first."
)


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
    refused: dict[int, Message] = {pk: NO_MISMATCH() for pk in shown if pk not in newest}
    made = []
    for pk, (slug, comparison) in newest.items():
        findings = comparison.list_acknowledgeable()
        was = seen.get(shown_id) if (shown_id := shown[pk]) else comparison
        if was is None or was.client_id != pk or was.list_acknowledgeable() != findings:
            refused[pk] = COMPARED_SINCE()
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


@works_on(*Run.COPIES, together=1)
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
            raise ItemFailedError(COMPARED_SINCE())
        phase = all_clients().with_phase().values_list("phase", flat=True).get(pk=client_id)
        seen = digest_difference(Phase(phase), newest)
        try:
            done = copy(
                client_id=client_id, by=run.by, reason=run.reason, seen=seen, interactive=False
            )
        except NotResolved as refusal:
            raise ItemFailedError(refusal.message, refusal.error_class) from None
        return Outcome.UPDATED, done.message

    return process_one_by_one(run, items, copy_unless_compared_since)


def _require_nothing_newer(
    snapshot: ClientSnapshot, found: AwsCopy, *, replaces_newer: bool = False
) -> None:
    """Raise `NotResolved` where PostgreSQL is the authority and may hold what AWS never had.

    `replaces_newer` lets a pending push be; writes that nobody counts, and so nobody saw, it never does.
    """
    # After a restore from a backup both stores can hold newer values; the rows are kept in AWS then.
    if snapshot.phase.aws_is_authority or list_versions_since_backup(found):
        return
    pending = snapshot.push_pending and not replaces_newer
    loss = _find_loss(push_pending=pending, writes_counted=writes_are_counted())
    if loss:
        raise NotResolved(loss)


NEWER_WOULD_BE_LOST = Sentence(
    "newer_would_be_lost",
    "PostgreSQL was changed after the last push, so its values are newer than AWS's. Copying replaces them.",
)
NEWER_MAY_BE_LOST = Sentence(
    "newer_may_be_lost",
    "NOVA's writes are not counted now, so PostgreSQL may hold a newer value. Copying would lose it.",
)


def _find_loss(*, push_pending: bool, writes_counted: bool) -> Message | None:
    """Return how copying AWS's document would lose a newer value of PostgreSQL's."""
    if not writes_counted:
        return NEWER_MAY_BE_LOST()
    return NEWER_WOULD_BE_LOST() if push_pending else None


def require_unpurged(client_id: int) -> ClientSnapshot:
    """Return a snapshot of the client's rows in PostgreSQL; raises `NotResolved` in phase `purged`."""
    snapshot = read_snapshot(client_id)
    if snapshot.phase == Phase.PURGED:
        raise NotResolved(RESTORE_FIRST())
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


RESOLUTIONS = {
    "check": Sentence("resolution_check", "Compared both stores again."),
    "to_aws": Sentence("resolution_to_aws", "Copied PostgreSQL to AWS."),
    "to_postgres": Sentence("resolution_to_postgres", "Copied AWS to PostgreSQL."),
    "acknowledge": Sentence("resolution_acknowledge", "Acknowledged the mismatches."),
    "to_former": Sentence(
        "resolution_to_former", "Undid a copy: put the former values back into PostgreSQL."
    ),
    "to_version": Sentence("resolution_to_version", "Restored a former version of a secret."),
}
ACKNOWLEDGED_UNTIL = Sentence(
    "resolution_acknowledge_until", "Acknowledged the mismatches until %(until)s."
)


def _describe_resolution(row: Resolution) -> Message:
    """Say what was done and what came of it."""
    done = ACKNOWLEDGED_UNTIL(until=row.until) if row.until else RESOLUTIONS[row.kind]()
    return in_a_row(done, row.message) or done


def _store_resolutions(rows: list[Resolution]) -> list[Resolution]:
    """Store what was done with mismatches, and an entry in the audit for each; return the rows."""
    events = [
        AuditEvent.make_signed(
            # Nobody resolved anything by looking again.
            COMPARISON_EVENT if row.kind == Resolution.Kind.CHECK else RESOLUTION_EVENT,
            _describe_resolution(row),
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


# Undoing a copy of AWS to PostgreSQL: the rows get what AWS keeps of them, and AWS's secret gets the same


@dataclass(frozen=True)
class UndoPlan:
    """What would change if the client's newest copy were undone now."""

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


PURGED_SINCE_COPY = Sentence(
    "purged_since_copy",
    "The copy can't be undone any more: the client was purged since, so its rows hold no values, and a restore takes"
    " those of AWS. To change a value, edit its login.",
)
ROWS_WRITTEN_SINCE_COPY = Sentence(
    "rows_written_since_copy",
    "The copy can't be undone any more: PostgreSQL's rows were written since, and that would be lost.",
)
ROWS_MAY_BE_WRITTEN_SINCE_COPY = Sentence(
    "rows_may_be_written_since_copy",
    "The copy can't be undone any more: writes to PostgreSQL went uncounted since, so its rows may have changed.",
)


def find_undo_refusal_in_database(
    copy: Resolution, *, phase: Phase, revision: int
) -> Message | None:
    """Return why the database alone refuses to undo this copy; None where only AWS can still refuse."""
    if phase == Phase.PURGED:
        return PURGED_SINCE_COPY()
    if revision != copy.revision:
        return ROWS_WRITTEN_SINCE_COPY()
    gaps = CountingGap.objects.open_at_or_after(copy.resolved_at)
    if not writes_are_counted() or gaps.exists():
        return ROWS_MAY_BE_WRITTEN_SINCE_COPY()
    return None


def plan_undo(client_id: int) -> UndoPlan:
    """Return what undoing the client's newest copy would change; store nothing. Raises `NotResolved` if refused."""
    return _make_undo_plan(read_snapshot(client_id))


UNDONE_IN_PART = Sentence(
    "undone_in_part",
    "AWS has a part of the former values already, in %(names)s, and NOVA reads that; PostgreSQL was left as it is:"
    " %(error)s Compare both stores, then copy one way.",
    glue=", ",
)
UNDOES_SOMETHING_ELSE = Sentence(
    "undoes_something_else",
    "Nothing was put back: the client or its values changed since you opened the page. Look at it again.",
)


def undo_copy(*, client_id: int, seen: str, reason: str, by: User | None = None) -> Resolution:
    """Put what the rows held before the copy back into them, and into AWS as a new version.

    `seen` is the digest of the plan that the user saw. In the phases in which PostgreSQL decides, AWS is pushed to
    afterwards, as after every save; from the cutover on the rows are changed only if AWS takes the values.
    """
    require_storable_reason(reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotResolved(TRY_AGAIN_LATER())
        snapshot = read_snapshot(client_id)
        plan = _make_undo_plan(snapshot)
        if plan.digest != seen:
            raise NotResolved(UNDOES_SOMETHING_ELSE())
        if why := find_write_refusal():
            raise NotResolved(why)
        try:
            with hold_rows(client_id) as now:
                if not now.has_same_rows_as(snapshot):
                    raise NotResolved(NOVA_WROTE())
                refuse_lost_client_locks()
                began = timezone.now()
                differing = list_differing_logins(reread_locked_client(client_id), plan.former)
                resolution = _put_former_values_back(plan, reason=reason, by=by)
                LoginTest.objects.forget_replaced(client_id, LoginStore.POSTGRES, differing)
        except PartlyWrittenError as error:
            part = {name: error.message.values[name] for name in ("names", "error")}
            raise NotResolved(UNDONE_IN_PART(**part)) from None
        except (*STORE_ERRORS, RefusedBySiteError) as error:
            raise NotResolved(error.message) from None
        if plan.phase.aws_is_authority or _push_former_values(resolution):
            LoginTest.objects.forget_replaced(client_id, LoginStore.AWS, differing, before=began)
    compare(client_ids=[client_id], interactive=True)
    return resolution


NO_COPY_TO_UNDO = Sentence(
    "no_copy_to_undo", "There is no copy of AWS to PostgreSQL that could be undone."
)
AWS_WRITTEN_SINCE_COPY = Sentence(
    "aws_written_since_copy",
    "The copy can't be undone any more: AWS holds something else since, and that would be lost.",
)


def _make_undo_plan(snapshot: ClientSnapshot) -> UndoPlan:
    client_id, sm = snapshot.client_id, secrets_manager(interactive=True)
    copy = Resolution.objects.find_undoable_copy(client_id)
    if copy is None:
        raise NotResolved(NO_COPY_TO_UNDO())
    if why := find_undo_refusal_in_database(copy, phase=snapshot.phase, revision=snapshot.revision):
        raise NotResolved(why)
    try:
        to_aws = compare_with_document(snapshot, read_aws(snapshot, sm=sm).document)
        if to_aws.status == Comparison.Status.UNCHECKED:
            raise NotResolved(to_aws.message or TRY_AGAIN_LATER())
        # A push since the copy may have made AWS hold the rows' other logins too.
        if (
            to_aws.status != Comparison.Status.MATCH
            and to_aws.list_acknowledgeable() != copy.mismatches
        ):
            raise NotResolved(AWS_WRITTEN_SINCE_COPY())
        former = _read_former_document(snapshot, copy, sm=sm)
        staying = tuple(list_rows_missing_in_document(read_client_with_rows(client_id), former))
    except STORE_ERRORS as error:
        raise NotResolved(error.message) from None
    to_former = compare_with_document(snapshot, former)
    return UndoPlan(copy, snapshot.phase, to_former, to_aws, staying, former)


FORMER_VALUES_GONE = Sentence(
    "former_values_gone",
    "The copy can't be undone any more: AWS no longer keeps the former values in %(name)s.",
)


def _read_former_document(
    snapshot: ClientSnapshot, copy: Resolution, *, sm: SecretsManager
) -> Document:
    """Read what the rows held before the copy; raise `NotResolved` where AWS keeps another version in its place."""
    parts, values = {name: part for part, name in snapshot.names.items()}, {}
    for name, version_id in (copy.kept_versions or {}).items():
        kept = sm.get_stage(name, REPLACED_STAGE)
        if name not in parts or kept is None or kept.version_id != version_id:
            raise NotResolved(FORMER_VALUES_GONE(name=name))
        values[parts[name]] = kept
    return make_aws_copy(snapshot, ClientSecrets(values, snapshot.layout)).document


LOGINS_STAY = Sentence(
    "logins_stay", "Added by the copy, and left where they are: %(rows)s.", glue=", "
)


def _put_former_values_back(plan: UndoPlan, *, reason: str, by: User | None) -> Resolution:
    """Write the rows, and AWS where it is the authority, within a transaction that holds the rows."""
    client_id = plan.copy.client_id
    copy_document_into_rows(reread_locked_client(client_id), plan.former)
    after = reread_locked_snapshot(client_id)
    document, problem = after.document, find_problem(after)
    if document is None or problem:
        raise NotResolved(problem or TRY_AGAIN_LATER())
    stay = LOGINS_STAY(rows=plan.staying) if plan.staying else None
    resolution = record_resolution(client_id, Resolution.Kind.TO_FORMER, by, reason, stay)
    if plan.phase.aws_is_authority:
        write_document(after, document=document, overwrite=True)
    return resolution


FORMER_VALUES_NOT_IN_AWS = Sentence(
    "former_values_not_in_aws",
    "PostgreSQL holds the former values; AWS does not yet. %(why)s",
)


def _push_former_values(resolution: Resolution) -> bool:
    """Push the rows, and note beside what was done where AWS did not take them; return whether it did."""
    (result,) = push(client_ids=[resolution.client_id], overwrite=True, interactive=True)
    if result.outcome not in PUSHED:
        late = FORMER_VALUES_NOT_IN_AWS(why=result.summary_message)
        resolution.message = in_a_row(resolution.message, late)
        resolution.save(update_fields=["message"])
    return result.outcome in PUSHED


# The plan for many clients


@dataclass(frozen=True)
class SelectedClient:
    """One selected client: what its newest comparison found, and why it would be left alone, as the database has it."""

    client_id: int
    slug: str
    phase: Phase
    revision: int
    comparison: Comparison | None
    refusal: Message | None = None
    # Nothing is to be resolved: no refusal.
    is_settled: bool = False


NOT_COMPARED_YET = Sentence("not_compared_yet", "Not compared yet. Compare both stores.")
NOTHING_KNOWN_TO_DIFFER = Sentence(
    "nothing_known_to_differ", "No known differences. Compare both stores."
)


def plan_resolutions(kind: str, client_ids: Collection[int]) -> list[SelectedClient]:
    """Say of each client by slug whether it would be resolved, from the database alone, in three queries."""
    clients = all_clients().with_phase().with_revision().with_ids(client_ids).order_by("slug")
    rows = list(clients.values_list("pk", "slug", "phase", "revision"))
    newest = {
        row.pk: row.comparison
        for row in ClientMigration.objects.filter(pk__in=client_ids).select_related("comparison")
        if row.comparison
    }
    differing = set(
        OpenMismatch.objects.filter(client_id__in=client_ids).values_list("client_id", flat=True)
    )

    def judge(pk: int, phase: Phase) -> tuple[Message | None, bool]:
        comparison = newest.get(pk)
        if comparison is None:
            return NOT_COMPARED_YET(), False
        if comparison.status == Comparison.Status.MATCH:
            is_copy = kind != Resolution.Kind.ACKNOWLEDGE
            return comparison.status_message if is_copy else NO_MISMATCH(), True
        if kind == Resolution.Kind.ACKNOWLEDGE:
            return None, False
        if pk not in differing:
            return NOTHING_KNOWN_TO_DIFFER(), False
        return RESTORE_FIRST() if phase == Phase.PURGED else None, False

    return [
        SelectedClient(pk, slug, Phase(phase), revision, newest.get(pk), *judge(pk, Phase(phase)))
        for pk, slug, phase, revision in rows
    ]


def find_losses(selected: Collection[SelectedClient]) -> dict[int, Message]:
    """Return by client how copying AWS would lose a newer value of PostgreSQL's, as far as the database tells."""
    at_risk = [client.client_id for client in selected if not client.phase.aws_is_authority]
    pending = set(
        all_clients().with_ids(at_risk).filter_push_pending().values_list("pk", flat=True)
    )
    counted = writes_are_counted()
    losses = {pk: _find_loss(push_pending=pk in pending, writes_counted=counted) for pk in at_risk}
    return {pk: loss for pk, loss in losses.items() if loss}


@dataclass(frozen=True)
class SelectedNow:
    """Both stores of some clients as they are now: what differs, and what was read for that."""

    comparisons: dict[int, Comparison]
    snapshots: dict[int, ClientSnapshot] = field(repr=False)
    answers: Mapping[str, SecretValue | SecretsManagerError] = field(repr=False)

    def get_values(self, client_id: int) -> dict[str, SecretValue]:
        """Return what AWS holds of the client, by part."""
        names = self.snapshots[client_id].names
        found = {part: self.answers.get(name) for part, name in names.items()}
        return {part: each for part, each in found.items() if isinstance(each, SecretValue)}


def compare_selected(selected: Collection[SelectedClient], *, interactive: bool) -> SelectedNow:
    """Compare both stores of the clients now, and store nothing. Some may be left out.

    Raises `NotResolved` where the tables or AWS can't be read.
    """
    try:
        snapshots = read_snapshots([client.client_id for client in selected])
        found = read_secrets(snapshots.values(), sm=secrets_manager(interactive=interactive))
    except STORE_ERRORS as error:
        raise NotResolved(error.message) from None
    compared = {
        pk: make_unsaved_comparison(snapshot, found, run=None) for pk, snapshot in snapshots.items()
    }
    return SelectedNow(compared, snapshots, found)


def find_refusals_of_copy_to_postgres(now: SelectedNow, *, interactive: bool) -> dict[int, Message]:
    """Return by client why its rows can't be kept in AWS first, or AWS's document be read into rows."""
    sm = secrets_manager(interactive=interactive)
    owners = load_owners([name for each in now.snapshots.values() for name in each.names.values()])
    refusals = dict[int, Message]()
    for pk, snapshot in now.snapshots.items():
        if snapshot.document is None and snapshot.kept is None:
            refusals[pk] = snapshot.problem or TRY_AGAIN_LATER()
            continue
        values = now.get_values(pk)
        try:
            whose = (owners.find_refusal(value, pk, sm=sm) for value in values.values())
            if why := next(filter(None, whose), None):
                refusals[pk] = why
            elif values:
                found = make_aws_copy(snapshot, ClientSecrets(values, snapshot.layout)).document
                documents.parse_document(found, client_id=pk, client_slug=snapshot.slug)
                documents.parse_extras(found, client_slug=snapshot.slug)
        except (SecretsManagerError, DocumentError) as error:
            refusals[pk] = error.message
    return refusals
