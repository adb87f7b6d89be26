"""Starts runs of moves. Where these need two users: requests, approves and cancels the run as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from migration import audit_sentences, sentences
from migration.models.audit_events import AuditCode
from migration.models.phases import MOVE_PERMISSIONS
from migration.models.planned_moves import PlannedMoves
from migration.models.reasons import require_storable_reason
from migration.models.runs import Run
from migration.models.steered_runs import StaleRunError
from migration.operations.approvals import ApprovalStepRefused, find_second_user_refusal
from migration.operations.evidence_counts import count_missing_kinds
from migration.operations.gates import needs_approval
from migration.operations.skipped_items import skip_free_items_of_stopped_run
from nova_credentials.phases import check_move

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User

    from migration.models.clients import ClientPhaseQuerySet
    from migration.operations.evidence import Evidence
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


def start_move_run(
    *,
    chosen: ClientPhaseQuerySet,
    old: Phase,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    override_reason: str = "",
    override_lines: Collection[Evidence] = (),
    schedule_deletion: bool = False,
    tries: int = 1,
) -> Run:
    """Store a run that moves those of the clients that are in `old` to `new`, each through its gate at its turn.

    Where the move needs an approval the run waits for one. `override_reason` lets evidence be missing, where `by` may:
    that of the kinds in `override_lines`, or of any kind where these are none. An approver is asked for kinds alone.

    Raises `IllegalMove`, `ApprovalStepRefused` where the request lacks a user or a reason, and `ReasonError`.
    """
    require_storable_reason(reason)
    require_storable_reason(override_reason)
    waits = needs_approval(check_move(f"{old.value} clients", old, new))
    if waits and override_reason and not override_lines:
        # An approver approves what is missing now, and no more.
        pks = list(chosen.in_phases(old).values_list("pk", flat=True))
        override_lines = list(count_missing_kinds(pks, new))
        override_reason = override_reason if override_lines else ""
    moves = PlannedMoves(
        old, new, reason, override_reason, tuple(override_lines), schedule_deletion, waits
    )
    if waits and (by is None or not reason):
        raise ApprovalStepRefused(sentences.ASK_BY_COMMAND())
    if waits and by and not by.has_perm(MOVE_PERMISSIONS[moves.kind]):
        raise ApprovalStepRefused(sentences.MAY_NOT_ASK(who=str(by)))
    return Run.start(kind=Run.Kind.MOVE, chosen=chosen, by=by, tries=tries, moves=moves)


def find_run_approval_refusal(run: Run, by: User) -> Message | None:
    """Say why this user may not approve the run; None where they may."""
    # Who had it go on asked for this approval.
    if run.state == Run.State.REQUESTED and run.steered_by_id == by.pk:
        return sentences.OWN_REQUEST()
    return find_second_user_refusal(run.by, run.by_name, by)


def approve_run(*, run_id: int, by: User, shown: str | None = None) -> Run:
    """Let a requested run begin in the name of `by`; the caller enqueues it. Each gate counts at its client's turn.

    `shown` is the `RequestContent` of the page, as text: another one now is refused.
    Raises `ApprovalStepRefused` where `by` may not approve it or it is not requested any more, and `Run.DoesNotExist`.
    """
    try:
        with transaction.atomic():
            # Of two who decide it, the second waits here, and what it covers stays as it is read.
            run = Run.objects.select_for_update().get(pk=run_id)
            why_not = find_run_approval_refusal(run, by)
            if run.state == Run.State.REQUESTED:
                why_not = why_not or run.read_request().find_difference(shown)
            if why_not:
                facts = audit_sentences.APPROVAL_REFUSED(why=why_not)
                run.record_act(facts, by=by, code=AuditCode.REFUSAL)
            else:
                run.approve(by=by)
                facts = audit_sentences.MOVES_APPROVED(run=run.name_message, who=run.by_name)
                run.record_act(facts, by=by, code=AuditCode.APPROVAL, reason=run.reason)
    except StaleRunError:
        raise make_not_requested_error(run) from None
    if why_not:
        raise ApprovalStepRefused(why_not)
    return run


def cancel_run_request(*, run_id: int, by: User) -> None:
    """Cancel a requested run: its requester takes it back, or an approver refuses it. Nobody is moved.

    Raises `ApprovalStepRefused` where it is not requested any more, and `Run.DoesNotExist`.
    """
    run = Run.objects.get(pk=run_id)
    try:
        with transaction.atomic():
            run.stop_unapproved(by=by)
            facts = audit_sentences.MOVES_CANCELLED(run=run.name_message, who=run.by_name)
            run.record_act(facts, by=by, code=AuditCode.CANCELLATION, reason=run.reason)
            # Within the transaction: by this the run is known never to go on.
            skip_free_items_of_stopped_run(run, why=sentences.RUN_WITHDRAWN())
    except StaleRunError:
        raise make_not_requested_error(run) from None


def make_not_requested_error(run: Run) -> ApprovalStepRefused:
    """Return the error of a run that waits for no approval; it says in which state the run is."""
    return ApprovalStepRefused(sentences.RUN_NOT_REQUESTED(run=run.name_message, state=run.state))
