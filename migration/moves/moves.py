"""Moves one client by one step, under its lease. Forward through a gate; back without one, and never to older values.

The phase changes in one transaction. If a move fails before it, the client stays where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction

from credentials.models import ClientRevision, ColumnUse
from credentials.nova_columns import NovaSchemaError, read_nova_columns
from credentials.pointers import replace_secrets_by_pointers
from credentials.refusals import RefusedByDatabaseError
from migration.core.audit import REFUSAL_EVENT, require_storable_reason
from migration.core.aws_store import (
    AwsCopy,
    list_versions_since_backup,
    read_aws,
    secret_names_by_type,
    secrets_manager,
)
from migration.core.aws_writes import explain_differences_after_reading
from migration.core.clients import ClientMigration, PlannedChange
from migration.core.comparisons import Comparison
from migration.core.keys import load_version_keys
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.refused_acts import record_refusal
from migration.core.sentences import IS_OFFBOARDED, NOVA_WROTE
from migration.core.shared_facts import PLACE
from migration.core.snapshots import (
    ClientSnapshot,
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.moves.account import KmsAnswers
from migration.moves.evidence import GateFacts
from migration.moves.gates import (
    Check,
    Override,
    ShutGate,
    needs_approval,
    require_aws_writes_allowed,
    require_open,
)
from migration.pushes.comparisons import make_unsaved_comparison, read_secrets
from migration.pushes.known_values import note_values_before_purge
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import (
    STORE_ERRORS,
    back_up_rows_to_aws,
    copy_aws_to_rows,
    hold_rows,
    may_have_uncounted_writes,
    record_as_pushed_if_equal,
    restore_purged_rows,
)
from migration.pushes.secret_writer import RefusedBySiteError
from migration.runs.items import PUSHED
from migration.runs.models import Run, StaleRunError
from migration.secrets.deletions import schedule_secret_deletion
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.comparison import are_equal
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import Phase, StalePhase, check_move

LOCK_WAIT_SECONDS = 5.0

OVERRIDDEN = Sentence("overridden", "Missing evidence was overridden: %(lines)s")


@dataclass(frozen=True)
class MoveResult:
    """A move that was made, and the message about it."""

    slug: str
    old: Phase
    new: Phase
    message: Message | None = None
    overridden: tuple[Check, ...] = ()

    @property
    def message_with_overridden(self) -> Message | None:
        """Return the message, with the evidence that was overridden."""
        lines = tuple(check.text for check in self.overridden)
        told = OVERRIDDEN(lines=lines) if lines else None
        return in_a_row(self.message, told)


LINE_OVERRIDDEN = Sentence("line_overridden", "Overridden: %(line)s")
COMPARED_JUST_NOW = Sentence("compared_just_now", "Compared just now: %(result)s")
NOTHING_ASKED_FOR = Sentence("nothing_asked_for", "The request is no longer open.")


@dataclass(frozen=True)
class MoveAttempt:
    """One try to move a client: to which phase, by whom and why."""

    snapshot: ClientSnapshot
    new: Phase
    by: User | None
    reason: str
    note: Message | None
    schedule_deletion: bool
    approves: Run | None
    override: Override | None = None
    answers: KmsAnswers | None = None
    run: Run | None = None
    # Both by `require_open_gate`.
    overridden: list[Check] = field(default_factory=list)
    gate: list[Message] = field(default_factory=list)

    @property
    def sm(self) -> SecretsManager:
        """Return the client of Secrets Manager: somebody waits for the move of a page, and nobody for a run's."""
        return secrets_manager(interactive=self.run is None)

    def require_open_gate(self, facts: GateFacts | None = None) -> None:
        """Raise `ShutGate` unless every check passes or is overridden. `facts` are those of a whole batch."""
        if facts is None:
            facts = GateFacts([self.snapshot.client_id], run=self.run)
        checks, self.overridden[:] = require_open(
            self.snapshot, self.new, override=self.override, answers=self.answers, facts=facts
        )
        self.gate[:] = [
            LINE_OVERRIDDEN(line=check.text) if check in self.overridden else check.text
            for check in checks
        ]

    def make_shut_gate(self, *reasons: Message, error_class: str = "") -> ShutGate:
        """Make the error that refuses the move for these reasons; `error_class`: the class of the store's error."""
        shut = [Check(why.codes[0], False, why, error_class=error_class) for why in reasons]
        return ShutGate(self.snapshot.slug, self.new, shut)

    def find_refusal_after_comparing(self, comparison: Comparison) -> ShutGate | None:
        """Return the error that refuses the move where this comparison, made just now, is no match; None on a match."""
        if comparison.status == Comparison.Status.MATCH:
            return None
        why = COMPARED_JUST_NOW(result=comparison.message or comparison.status_message)
        return self.make_shut_gate(why, error_class=comparison.error_class)

    def commit(self, note: Message | None = None) -> None:
        """Change the phase, within the caller's transaction; raises `StalePhase`, `ShutGate` or `LeaseLostError`."""
        refuse_lost_client_locks()
        snapshot = self.snapshot
        moved = ClientMigration.objects.change_phases(
            {snapshot.client_id: self.plan_change(note)},
            snapshot.phase,
            self.new,
            by=self.by,
            reason=self.reason,
            run=self.run or self.approves,
            override_reason=self.override.reason if self.override else "",
        )
        if not moved:
            client_migration = ClientMigration.objects.get(pk=snapshot.client_id)
            raise StalePhase(snapshot.slug, snapshot.phase, Phase(client_migration.phase))
        if self.approves and self.by:
            try:
                self.approves.approve(by=self.by, is_done=True)
            except StaleRunError:  # it was cancelled meanwhile
                raise self.make_shut_gate(NOTHING_ASKED_FOR()) from None
        # Whatever else was requested for the client can't be done any more.
        why = MOVED_MEANWHILE(phase=self.new.label)
        Run.objects.close_requests([snapshot.client_id], why, by=self.by, now_in=self.new)

    def plan_change(self, note: Message | None = None) -> PlannedChange:
        """Return what is stored with the move: its note followed by `note`, the overridden checks, and the gate."""
        overridden = tuple(check.text for check in self.overridden)
        return PlannedChange(in_a_row(self.note, note), overridden, tuple(self.gate))

    def make_move_result(self, message: Message | None) -> MoveResult:
        """Return the result of the move, once made: client, phases, `message`, overridden checks."""
        snapshot, overridden = self.snapshot, tuple(self.overridden)
        return MoveResult(snapshot.slug, snapshot.phase, self.new, message, overridden)


MOVED_MEANWHILE = Sentence("moved_meanwhile", "The client was moved to %(phase)s meanwhile.")
NEEDS_APPROVAL = Sentence(
    "needs_approval", "A second person has to approve this move: request it first."
)
MOVE_UNDER_WAY = Sentence(
    "move_under_way", "A push or another move of this client is under way; try again."
)


def move(
    *,
    client_id: int,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    note: Message | None = None,
    seen: Phase | None = None,
    schedule_deletion: bool = False,
    approves: Run | None = None,
    override: Override | None = None,
    answers: KmsAnswers | None = None,
    run: Run | None = None,
) -> MoveResult:
    """Move one client by one step. `seen` is the phase that the user saw: in another one nothing is moved.

    `schedule_deletion`: back in `postgres`, its secrets are to be deleted after the recovery window.
    `reason` is the text that the user typed, `note` this site's own message about the move.
    `approves` is the requested run of this one client that `by` approves with it. `override` lets missing evidence
    pass, and is recorded where it does. `answers` is shared by the moves of one run. `run` is the run of which it is a
    part: nobody waits for it, and what refuses it is recorded by the run.

    Returns the move, with the missing evidence that was let pass. Raises `Client.DoesNotExist`, `IllegalMove`,
    `StalePhase`, `ReasonError`, or `ShutGate` with every failing check.
    """
    require_storable_reason(reason)
    if override:
        require_storable_reason(override.reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        try:
            snapshot = read_snapshot(client_id, seen=seen)
        except NovaSchemaError as error:
            shut = [Check(why.key, False, why) for why in error.message.parts]
            raise ShutGate(f"{client_id}", new, shut) from None
        kind = check_move(snapshot.slug, snapshot.phase, new)
        deletes = schedule_deletion and new == Phase.POSTGRES
        attempt = MoveAttempt(
            snapshot, new, by, reason, note, deletes, approves, override, answers, run
        )
        refusals = _recording_refused_move(snapshot, new, by=by, reason=reason)
        with nullcontext() if run else refusals:
            if needs_approval(kind) and approves is None and not (run and run.approved_by_name):
                raise attempt.make_shut_gate(NEEDS_APPROVAL())
            if not held:
                raise attempt.make_shut_gate(MOVE_UNDER_WAY())
            if snapshot.is_leaving_or_left:
                raise attempt.make_shut_gate(IS_OFFBOARDED(slug=snapshot.slug))
            try:
                message = MOVE_HANDLERS[snapshot.phase, new](attempt)
            except STORE_ERRORS as error:
                error_class = getattr(error, "error_class", "")
                raise attempt.make_shut_gate(error.message, error_class=error_class) from None
        if attempt.schedule_deletion:
            message = schedule_secret_deletion(snapshot)
    return attempt.make_move_result(message)


@contextmanager
def _hold_unchanged_rows(attempt: MoveAttempt) -> Iterator[ClientSnapshot]:
    """Lock the rows; raises `ShutGate` where NOVA wrote them since the move began."""
    with hold_rows(attempt.snapshot.client_id) as now:
        if not now.has_same_rows_as(attempt.snapshot):
            raise attempt.make_shut_gate(NOVA_WROTE())
        yield now


def _start_dual_write(attempt: MoveAttempt) -> Message | None:
    snapshot = attempt.snapshot
    require_aws_writes_allowed(snapshot.slug, attempt.new)
    interactive = attempt.run is None
    (pushed,) = push(client_ids=[snapshot.client_id], run=attempt.run, interactive=interactive)
    if pushed.outcome not in PUSHED:
        raise attempt.make_shut_gate(pushed.summary_message, error_class=pushed.error_class)
    with transaction.atomic():
        attempt.commit()
    return pushed.message


def _move_when_equal(attempt: MoveAttempt) -> None:
    """Move if every check passes and both stores are equal at the moment of the move."""
    attempt.require_open_gate()
    _require_match(attempt)
    with _hold_unchanged_rows(attempt):
        attempt.commit()


def _require_match(attempt: MoveAttempt) -> None:
    snapshot = attempt.snapshot
    comparison = make_unsaved_comparison(
        snapshot, read_secrets([snapshot], sm=attempt.sm), run=attempt.run
    )
    require_aws_writes_allowed(snapshot.slug, attempt.new)  # which account it is was told by that
    Comparison.objects.record([comparison])
    if refusal := attempt.find_refusal_after_comparing(comparison):
        raise refusal


READS_AWS = Sentence(
    "reads_aws", "From now NOVA reads it from AWS. PostgreSQL keeps receiving every write."
)


def _cut_over(attempt: MoveAttempt) -> Message:
    _move_when_equal(attempt)
    return READS_AWS()


TO_BE_DELETED = Sentence("to_be_deleted", "Deletion of its secret was requested.")


def _step_back(attempt: MoveAttempt) -> None:
    """Move back; nothing is copied, as PostgreSQL has been the authority and has every confirmed write."""
    with transaction.atomic():
        if attempt.schedule_deletion:
            # If it is moved to dual write again, the pending push takes the secrets back from their deletion.
            ClientRevision.objects.filter(pk=attempt.snapshot.client_id).update(
                pushed_revision=None
            )
        attempt.commit(TO_BE_DELETED() if attempt.schedule_deletion else None)


AWS_UNREAD = Sentence(
    "aws_unread", "AWS could not be read, so PostgreSQL's values were not checked: %(error)s"
)
NEWER_IN_POSTGRES = Sentence(
    "newer_in_postgres", "PostgreSQL holds a newer value, which is pushed next."
)
NOT_COPIED = Sentence(
    "not_copied", "PostgreSQL can't store AWS's values, and keeps its own: %(error)s"
)


def _roll_back(attempt: MoveAttempt) -> Message | None:
    """Move back to dual read and copy AWS's document to PostgreSQL; if AWS can't be read, PostgreSQL's copy stays."""
    snapshot = attempt.snapshot
    try:
        found = read_aws(snapshot, sm=attempt.sm)
    except (SecretsManagerError, DocumentError) as error:
        _require_noted_place(attempt)
        return _back_to_dual_read(attempt, AWS_UNREAD(error=error.message))
    _require_noted_place(attempt)
    if are_equal(snapshot.document, found.document):
        return _back_to_dual_read(attempt)
    keys = load_version_keys()
    ours = all(keys.is_ours(*version) for version in found.version_ids.items())
    if snapshot.push_pending and ours and not list_versions_since_backup(found):
        return _back_to_dual_read(attempt, NEWER_IN_POSTGRES())
    try:
        return _restore_rows_from_aws(attempt, found)
    except RefusedByDatabaseError as error:
        return _back_to_dual_read(attempt, NOT_COPIED(error=error.message))


def _back_to_dual_read(attempt: MoveAttempt, note: Message | None = None) -> Message | None:
    with transaction.atomic():
        attempt.commit(note)
    return note


REPLACED_NOT_KEPT = Sentence(
    "replaced_not_kept",
    "PostgreSQL and AWS were both changed, and PostgreSQL's values could not be kept in AWS: %(error)s",
)
COPIED_TO_POSTGRES = Sentence(
    "copied_to_postgres", "AWS was changed directly: its values were copied to PostgreSQL."
)
KEPT_AS_UNCOUNTED = Sentence(
    "kept_as_uncounted",
    "Some writes of NOVA may not have been counted: PostgreSQL's values are kept in AWS under the stage NOVA_REPLACED.",
)
ONLY_IN_POSTGRES = Sentence(
    "only_in_postgres", "Only PostgreSQL has %(rows)s; not changed.", glue=", "
)


def _restore_rows_from_aws(attempt: MoveAttempt, found: AwsCopy) -> Message | None:
    uncounted = may_have_uncounted_writes(attempt.snapshot.client_id)
    try:
        back_up_rows_to_aws(attempt.snapshot, found, always=uncounted)
    except (SecretsManagerError, RefusedBySiteError) as error:
        why = REPLACED_NOT_KEPT(error=error.message)
        raise attempt.make_shut_gate(why, error_class=error.error_class) from None
    with _hold_unchanged_rows(attempt) as now:
        lacking = copy_aws_to_rows(now, found)
        extra = ONLY_IN_POSTGRES(rows=tuple(lacking)) if lacking else None
        kept = KEPT_AS_UNCOUNTED() if uncounted else None
        note = in_a_row(COPIED_TO_POSTGRES(), extra, kept)
        attempt.commit(note)
    return note


def _require_noted_place(attempt: MoveAttempt) -> None:
    """Raise `ShutGate` where what was read in AWS is in another account, region or prefix than NOVA's values."""
    if why := explain_differences_after_reading(PLACE):
        raise attempt.make_shut_gate(why)


STORES_DIFFER = Sentence("stores_differ", "Both stores were read just now, and they differ.")
ONLY_IN_AWS = Sentence("only_in_aws", "Only AWS holds the secret values now.")


def _purge(attempt: MoveAttempt) -> Message:
    snapshot = attempt.snapshot
    attempt.require_open_gate()
    found = read_aws(snapshot, sm=attempt.sm)
    require_aws_writes_allowed(snapshot.slug, attempt.new)
    with _hold_unchanged_rows(attempt) as now:
        if not are_equal(now.document, found.document):
            raise attempt.make_shut_gate(STORES_DIFFER())
        client = reread_locked_client(snapshot.client_id)
        note_values_before_purge(client)
        replace_secrets_by_pointers(client, secret_names_by_type(snapshot))
        ClientRevision.objects.record_pushed(
            [(snapshot.client_id, reread_locked_snapshot(snapshot.client_id).revision)]
        )
        attempt.commit()
    return ONLY_IN_AWS()


NO_VALUE_IN_AWS = Sentence("no_value_in_aws", "AWS holds no value for %(rows)s.", glue=", ")
RESTORED = Sentence("restored", "PostgreSQL holds its secret values again.")
RESTORED_ALL_BUT_NEWER = Sentence(
    "restored_all_but_newer", "NOVA's writes since the purge were kept, and are pushed next."
)


def _restore(attempt: MoveAttempt) -> Message:
    snapshot = attempt.snapshot
    found = read_aws(snapshot, sm=attempt.sm)
    _require_noted_place(attempt)
    with _hold_unchanged_rows(attempt):
        _require_secret_columns(attempt)
        pending = snapshot.push_pending or may_have_uncounted_writes(snapshot.client_id)
        kept, without_value = restore_purged_rows(snapshot.client_id, found, secrets_alone=pending)
        if without_value:
            rows = tuple(row.make_row_name_message() for row in without_value)
            raise attempt.make_shut_gate(NO_VALUE_IN_AWS(rows=rows))
        record_as_pushed_if_equal(snapshot.client_id, found)
        attempt.commit()
    return RESTORED_ALL_BUT_NEWER() if kept or pending else RESTORED()


def _require_secret_columns(attempt: MoveAttempt) -> None:
    """Raise `ShutGate` where a secret column is gone: if NOVA renamed it, its pointers would stay there."""
    found = read_nova_columns()
    lost = {(c.table, c.name) for c in found.columns if c.use == ColumnUse.SECRET and not c.is_text}
    if reasons := [each.message for each in found.breaking if (each.table, each.column) in lost]:
        raise attempt.make_shut_gate(*reasons)


MOVE_HANDLERS: dict[tuple[Phase, Phase], Callable[[MoveAttempt], Message | None]] = {
    (Phase.POSTGRES, Phase.DUAL_WRITE): _start_dual_write,
    (Phase.DUAL_WRITE, Phase.DUAL_READ): _move_when_equal,
    (Phase.DUAL_READ, Phase.AWS): _cut_over,
    (Phase.AWS, Phase.PURGED): _purge,
    (Phase.PURGED, Phase.AWS): _restore,
    (Phase.AWS, Phase.DUAL_READ): _roll_back,
    (Phase.DUAL_READ, Phase.DUAL_WRITE): _step_back,
    (Phase.DUAL_WRITE, Phase.POSTGRES): _step_back,
}


MOVE_REFUSED = Sentence("move_refused", "The move to %(new)s was refused: %(reasons)s")


@contextmanager
def _recording_refused_move(
    snapshot: ClientSnapshot, new: Phase, *, by: User | None, reason: str
) -> Iterator[None]:
    """Record, with every reason, that the block did not move the client; the error goes on."""
    try:
        yield
    except (ShutGate, StalePhase) as refusal:
        why = refusal.reasons if isinstance(refusal, ShutGate) else [refusal.message]
        record_refusal(
            REFUSAL_EVENT,
            MOVE_REFUSED(new=new.label, reasons=tuple(why)),
            kind=("move", new, snapshot.client_id),
            by=by,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
            reason=reason,
        )
        raise
