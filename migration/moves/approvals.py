"""Requests, approves and cancels moves, and runs of moves, that need two users. The gate counts at the approval."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from credentials.models import Client
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REFUSAL_EVENT,
    require_storable_reason,
)
from migration.core.clients import MOVE_PERMISSIONS, ClientPhaseQuerySet
from migration.core.refused_acts import record_refusal
from migration.core.sentences import ASK_BY_COMMAND, MAY_NOT_ASK, RUN_WITHDRAWN
from migration.core.snapshots import read_snapshot
from migration.moves.evidence import Evidence
from migration.moves.gates import (
    MAY_NOT_OVERRIDE,
    NEED_APPROVAL,
    Override,
    ShutGate,
    count_missing_kinds,
    evaluate_gate,
    needs_approval,
    split_by_override,
)
from migration.moves.moves import MoveResult, move
from migration.moves.runs import ASKED_FOR_BY
from migration.people.models import PasswordReset
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.models import PlannedMoves, Run, StaleRunError
from migration.runs.requests import MoveRequest, MoveRequestQuerySet
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import IllegalMove, Phase, StalePhase, check_move

if TYPE_CHECKING:
    from migration.campaigns.models import Campaign, Wave


class ApprovalStepRefused(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The move can't be requested, approved or cancelled; the message says why."""


# One client

AT_ONCE = Sentence("at_once", "This move needs no approval: make it directly.")
ASKED_ALREADY = Sentence(
    "asked_already",
    "%(slug)s has an open request already: it has to be approved or cancelled first.",
)


def request_move(
    *,
    client_id: int,
    new: Phase,
    by: User,
    reason: str,
    seen: Phase | None = None,
    override: Override | None = None,
) -> MoveRequest:
    """Request a cutover or a purge. If a check fails, the request waits until it passes.

    `override`, in the name of `by`, overrides what it covers of the evidence that is missing now, and no other.

    Raises `Client.DoesNotExist`, `IllegalMove`, `StalePhase`, `ApprovalStepRefused` and `ReasonError`.
    """
    require_storable_reason(reason)
    if override:
        require_storable_reason(override.reason)
    snapshot = read_snapshot(client_id, seen=seen)
    if check_move(snapshot.slug, snapshot.phase, new) not in NEED_APPROVAL:
        raise ApprovalStepRefused(AT_ONCE())
    failed = [check for check in evaluate_gate(snapshot, new) if not check.passed]
    shut, overridden = split_by_override(failed, override)
    if override and not overridden and any(map(override.covers, failed)):
        raise ApprovalStepRefused(MAY_NOT_OVERRIDE(who=str(by)))
    reasons = [check.text for check in shut]
    request = MoveRequest(
        client_id=client_id,
        slug=snapshot.slug,
        old=snapshot.phase,
        new=new,
        state=MoveRequest.State.WAITING if reasons else MoveRequest.State.REQUESTED,
        reasons=reasons,
        reason=reason,
        requested_by=by,
        overridden=[check.text for check in overridden],
        override_reason=override.reason if override and overridden else "",
    )
    try:
        with transaction.atomic():
            request.save()
            request.record_request()
    except IntegrityError:
        raise ApprovalStepRefused(ASKED_ALREADY(slug=snapshot.slug)) from None
    return request


APPROVAL_REFUSED = Sentence("approval_refused", "The approval was refused: %(why)s")


def approve_request(*, request_id: int, by: User, shown: str | None = None) -> MoveResult:
    """Make the requested move in the name of the user who approves it.

    `shown` is the `RequestContent` of the page, as text: another one now is refused.
    Raises `ShutGate` where a check fails, `ApprovalStepRefused` where `by` may not approve it or it is closed, and
    `MoveRequest.DoesNotExist`.
    """
    request = MoveRequest.objects.get(pk=request_id)
    try:
        return _approve(request, by, shown)
    except ApprovalStepRefused as refusal:
        record_refusal(
            REFUSAL_EVENT,
            APPROVAL_REFUSED(why=refusal.message),
            kind=("approval", request.pk),
            by=by,
            client_id=request.client_id,
            slug=request.slug,
        )
        raise


CLIENT_GONE = Sentence("client_gone", "The client no longer exists.")


def _approve(request: MoveRequest, by: User, shown: str | None) -> MoveResult:
    if why_not := find_approval_refusal(request, by):
        raise ApprovalStepRefused(why_not)
    _require_open_request(request)
    if why_not := request.read_content().find_difference(shown):
        raise ApprovalStepRefused(why_not)
    try:
        moved = move(
            client_id=request.client_id,
            new=Phase(request.new),
            seen=Phase(request.old),
            by=by,
            reason=request.reason,
            note=ASKED_FOR_BY(who=request.requested_by_name),
            approves=request,
            override=get_override(request),
        )
    except ShutGate as refusal:
        _select_request(request).record_failing_checks(refusal.reasons)
        raise
    except (StalePhase, IllegalMove) as refusal:
        raise _fail_request(request, by, refusal.message) from None
    except Client.DoesNotExist:
        raise _fail_request(request, by, CLIENT_GONE()) from None
    return moved


def find_approval_refusal(request: MoveRequest, by: User) -> Message | None:
    """Say why this user may not approve the request, whatever its checks say; None where they may."""
    return find_second_user_refusal(request.requested_by, request.requested_by_name, by)


OWN_REQUEST = Sentence(
    "own_request", "The person who requested it can't approve it: somebody else has to."
)
REQUESTER_DEACTIVATED = Sentence(
    "requester_deactivated",
    "%(who)s, who requested it, is deactivated. Refuse the request; somebody else can request it again.",
)
COULD_ACT_AS_BOTH = Sentence(
    "could_act_as_both",
    "%(who)s changed how %(whom)s logs in %(ago)s ago, so one person could have requested and approved this. Somebody"
    " else has to approve it, or you once 24 hours have passed.",
)


def find_second_user_refusal(requester: User | None, name: str, by: User) -> Message | None:
    """Say why `by` is no second user beside the requester, who is called `name`; None where they are."""
    if requester is None or requester.pk == by.pk:
        return OWN_REQUEST()
    if not requester.is_active:
        return REQUESTER_DEACTIVATED(who=name)
    reset = PasswordReset.objects.find_shared_hand(requester.pk, by.pk)
    if reset is None:
        return None
    return COULD_ACT_AS_BOTH(who=reset.by_name, whom=reset.user_name, ago=reset.reset_at)


def get_override(request: MoveRequest) -> Override | None:
    """Return the override that the request asks for, in the name of the user who requested it."""
    if not request.overridden:
        return None
    only = frozenset(line.key for line in request.overridden)
    return Override(request.override_reason, request.requested_by, only)


CANCELLED_REQUEST = Sentence(
    "cancelled_request", "Cancelled what %(who)s requested: %(old)s to %(new)s."
)


def cancel_request(*, request_id: int, by: User) -> MoveRequest:
    """Cancel the request: its requester takes it back, or an approver refuses it."""
    request = MoveRequest.objects.get(pk=request_id)
    with transaction.atomic():
        if _select_request(request).close_open(MoveRequest.State.CANCELLED, by=by):
            request.record_act(CANCELLATION_EVENT, CANCELLED_REQUEST, by=by)
            return request
    request.refresh_from_db()
    _require_open_request(request)
    return request


def _select_request(request: MoveRequest) -> MoveRequestQuerySet:
    return MoveRequest.objects.filter(pk=request.pk)


REQUEST_OVER = Sentence("request_over", "This request is closed already: %(state)s, by %(who)s.")
SOMEBODY = Sentence("somebody", "somebody")


def _require_open_request(request: MoveRequest) -> None:
    if not request.is_open:
        who = request.decided_by_name or SOMEBODY()
        raise ApprovalStepRefused(REQUEST_OVER(state=request.state_message, who=who))


def _fail_request(request: MoveRequest, by: User, reason: Message) -> ApprovalStepRefused:
    """Close the request as failed, as the client is in another phase now; return the error to raise."""
    with transaction.atomic():
        failed = _select_request(request).fail_open(reason, by=by)
    if not failed:
        request.refresh_from_db()
        try:
            _require_open_request(request)
        except ApprovalStepRefused as error:
            return error
    return ApprovalStepRefused(reason)


# A run as a whole


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
    only_where_equal: bool = False,
    tries: int = 1,
    wave: Wave | None = None,
    planned: Run | None = None,
) -> Run:
    """Start a run that moves those of the clients that are in `old` to `new`, each through its gate at its turn.

    It is a new run, or the one that was `planned`. Where the move needs an approval the run waits for one; that of a
    campaign's `wave` has its campaign's.
    `override_reason` lets evidence be missing, where `by` may: that of the kinds in `override_lines`, or of any kind
    where these are none. An approver is asked for kinds alone.

    Raises `IllegalMove`, `ApprovalStepRefused` where the request lacks a user or a reason, `ReasonError` and
    `StaleRunError`.
    """
    require_storable_reason(reason)
    require_storable_reason(override_reason)
    waits = needs_approval(check_move(f"{old.value} clients", old, new))
    if waits and override_reason and not override_lines:
        # An approver approves what is missing now, and no more.
        pks = list(chosen.in_phases(old).values_list("pk", flat=True))
        override_lines = list(count_missing_kinds(pks, new))
        override_reason = override_reason if override_lines else ""
    lines = tuple(override_lines)
    moves = PlannedMoves(
        old, new, reason, override_reason, lines, schedule_deletion, waits, only_where_equal
    )
    if waits and wave is None:
        if by is None or not reason:
            raise ApprovalStepRefused(ASK_BY_COMMAND())
        if not by.has_perm(MOVE_PERMISSIONS[moves.kind]):
            raise ApprovalStepRefused(MAY_NOT_ASK(who=str(by)))
    return Run.start(
        kind=Run.Kind.MOVE,
        chosen=chosen,
        by=by,
        tries=tries,
        moves=moves,
        campaign_wave=wave,
        planned=planned,
    )


def find_run_approval_refusal(run: Run | Campaign, by: User) -> Message | None:
    """Say why this user may not approve the run, or the campaign; None where they may."""
    # Who had it go on asked for this approval.
    if run.state == Run.State.REQUESTED and run.steered_by_id == by.pk:
        return OWN_REQUEST()
    return find_second_user_refusal(run.by, run.by_name, by)


MOVES_APPROVED = Sentence("moves_approved", "Approved %(run)s, which %(who)s requested.")


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
                facts = APPROVAL_REFUSED(why=why_not)
                run.record_act(facts, by=by, code=REFUSAL_EVENT)
            else:
                run.approve(by=by)
                facts = MOVES_APPROVED(run=run.name_message, who=run.by_name)
                run.record_act(facts, by=by, code=APPROVAL_EVENT, reason=run.reason)
    except StaleRunError:
        raise make_not_requested_error(run) from None
    if why_not:
        raise ApprovalStepRefused(why_not)
    return run


MOVES_CANCELLED = Sentence("moves_cancelled", "Cancelled %(run)s, which %(who)s requested.")


def cancel_run_request(*, run_id: int, by: User | None) -> None:
    """Cancel a requested run: its requester takes it back, or an approver refuses it. Nobody is moved.

    Raises `ApprovalStepRefused` where it is not requested any more, and `Run.DoesNotExist`.
    """
    run = Run.objects.get(pk=run_id)
    try:
        with transaction.atomic():
            run.stop_unapproved(by=by)
            facts = MOVES_CANCELLED(run=run.name_message, who=run.by_name)
            run.record_act(facts, by=by, code=CANCELLATION_EVENT, reason=run.reason)
            # Within the transaction: by this the run is known never to go on.
            skip_free_items_of_stopped_run(run, why=RUN_WITHDRAWN())
    except StaleRunError:
        raise make_not_requested_error(run) from None


RUN_NOT_REQUESTED = Sentence(
    "run_not_requested", "%(run)s is not waiting for an approval: it is %(state)s."
)


def make_not_requested_error(run: Run) -> ApprovalStepRefused:
    """Return the error of a run that waits for no approval; it says in which state the run is."""
    return ApprovalStepRefused(RUN_NOT_REQUESTED(run=run.name_message, state=run.state))
