"""Requests, approves and cancels runs of moves that need two users, of one client or many. The gate counts then."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from django.contrib.auth.models import User
from django.db import transaction

from credentials.models import Client
from migration.core.audit import CANCELLATION_EVENT, REFUSAL_EVENT, acting, require_storable_reason
from migration.core.clients import (
    MOVE_PERMISSIONS,
    ClientMigration,
    ClientPhaseQuerySet,
    all_clients,
)
from migration.core.refused_acts import record_refusal
from migration.core.sentences import ASK_BY_COMMAND, MAY_NOT_ASK, RUN_WITHDRAWN
from migration.core.snapshots import read_snapshot
from migration.moves.gates import (
    MAY_NOT_OVERRIDE,
    OVERRIDE_PERMISSION,
    Override,
    count_missing_kinds,
    evaluate_gate,
    needs_approval,
    split_by_override,
)
from migration.moves.moves import move
from migration.moves.runs import ASKED_FOR_BY, find_override
from migration.people.models import PasswordReset
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.models import MANY_TRIES, PlannedMoves, Run, StaleRunError
from migration.runs.requests import RequestContent
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import IllegalMove, Phase, StalePhase, check_move

if TYPE_CHECKING:
    from migration.campaigns.models import Campaign, Wave


class ApprovalStepRefused(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The moves can't be requested, approved or cancelled; the message says why."""


# To request


def start_move_run(
    *,
    chosen: ClientPhaseQuerySet,
    old: Phase,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    override_reason: str = "",
    override_lines: Collection[str] = (),
    schedule_deletion: bool = False,
    only_where_equal: bool = False,
    tries: int = 1,
    wave: Wave | None = None,
    planned: Run | None = None,
    waits_for: Collection[Message] = (),
) -> Run:
    """Start a run that moves those of the clients that are in `old` to `new`, each through its gate at its turn.

    It is a new run, or the one that was `planned`. Where the move needs an approval the run waits for one; that of a
    campaign's `wave` has its campaign's. `override_reason` lets evidence be missing, where `by` may: that of the kinds
    in `override_lines`, or of any kind where these are none. An approver is asked for kinds alone. `waits_for`: the
    checks that the one client fails now.

    Raises `IllegalMove`, `ApprovalStepRefused` where the request lacks a user or a reason, `ReasonError` and
    `StaleRunError`.
    """
    require_storable_reason(reason)
    require_storable_reason(override_reason)
    waits = needs_approval(check_move(f"{old.value} clients", old, new))
    if waits and override_reason:
        # An approver approves what is missing now, and no more.
        pks = list(chosen.in_phases(old).values_list("pk", flat=True))
        missing = count_missing_kinds(pks, new)
        override_lines = [kind for kind in missing if kind in (override_lines or missing)]
        override_reason = override_reason if override_lines else ""
        if override_lines and by and not by.has_perm(OVERRIDE_PERMISSION):
            raise ApprovalStepRefused(MAY_NOT_OVERRIDE(who=str(by)))
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
        waits_for=waits_for,
    )


AT_ONCE = Sentence("at_once", "This move needs no approval: make it directly.")
ASKED_ALREADY = Sentence(
    "asked_already",
    "%(slug)s already has an open request. Approve or cancel it first.",
)


class RequestedMove(NamedTuple):
    """The run that was requested for one client, with the checks that it fails now, and those that are overridden."""

    run: Run
    waits_for: list[Message]
    overridden: list[Message]


def request_move(
    *,
    client_id: int,
    new: Phase,
    by: User | None,
    reason: str,
    seen: Phase | None = None,
    override: Override | None = None,
) -> RequestedMove:
    """Request a cutover or a purge of one client, also while a check fails; a client has one open request at most.

    `override`, in the name of `by`, overrides what it covers of the evidence that is missing now, and no other.

    Raises `Client.DoesNotExist`, `IllegalMove`, `StalePhase`, `ApprovalStepRefused` and `ReasonError`.
    """
    snapshot = read_snapshot(client_id, seen=seen)
    old, slug = snapshot.phase, snapshot.slug
    if not needs_approval(check_move(slug, old, new)):
        raise ApprovalStepRefused(AT_ONCE())
    failed = [check for check in evaluate_gate(snapshot, new) if not check.passed]
    shut, overridden = split_by_override(failed, override)
    waits_for = [check.text for check in shut]
    with transaction.atomic():
        # Of two who ask at once, the second sees the first one's request.
        ClientMigration.objects.lock(client_id)
        if Run.objects.find_requested([client_id]):
            raise ApprovalStepRefused(ASKED_ALREADY(slug=slug))
        chosen = all_clients().with_ids([client_id])
        if not chosen.in_phases(old).exists():
            raise StalePhase(slug, old, read_snapshot(client_id).phase)
        run = start_move_run(
            chosen=chosen,
            old=old,
            new=new,
            by=by,
            reason=reason,
            override_reason=override.reason if override else "",
            override_lines=override.kinds if override else (),
            tries=MANY_TRIES,
            waits_for=waits_for,
        )
    return RequestedMove(run, waits_for, [check.text for check in overridden])


# To approve

OWN_REQUEST = Sentence("own_request", "You requested it. Someone else has to approve it.")
REQUESTER_DEACTIVATED = Sentence(
    "requester_deactivated",
    "%(who)s, who requested it, is deactivated. Refuse the request. Someone else can request it again.",
)
COULD_ACT_AS_BOTH = Sentence(
    "could_act_as_both",
    "%(who)s changed how %(whom)s logs in %(ago)s ago, so one person could have requested and approved this. "
    "Someone else has to approve it, or you after 24 hours.",
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


def find_approval_refusal(asked: Run | Campaign, by: User) -> Message | None:
    """Say why this user may not approve the run, or the campaign, whatever its checks say; None where they may."""
    # Who had it go on asked for this approval.
    last, name = asked.steered_by, asked.steered_by_name
    why_not = None
    if asked.state == Run.State.REQUESTED and last:
        why_not = find_second_user_refusal(last, name, by)
    return why_not or find_second_user_refusal(asked.by, asked.by_name, by)


APPROVAL_REFUSED = Sentence("approval_refused", "The approval was refused: %(why)s")


def require_approvable(
    asked: Run | Campaign, content: RequestContent, shown: str | None, *, by: User
) -> None:
    """Raise `ApprovalStepRefused` where `by` may not approve it, or it asks for something else than was `shown`.

    One that is not requested any more is let through: what approves it says in which state it is.
    """
    why_not = find_approval_refusal(asked, by)
    if asked.state == Run.State.REQUESTED:
        why_not = why_not or content.find_difference(shown)
    if why_not:
        raise ApprovalStepRefused(why_not)


def approve_run(*, run_id: int, by: User, shown: str | None = None) -> Run:
    """Let a requested run begin in the name of `by`; the caller enqueues it. Each gate counts at its client's turn.

    One of one client is made now, or raises `ShutGate` where a check fails, and stays requested.

    `shown` is the `RequestContent` of the page, as text: another one now is refused.
    Raises `ApprovalStepRefused` where `by` may not approve it or it is not requested any more, and `Run.DoesNotExist`.
    """
    run = Run.objects.get(pk=run_id)
    try:
        if run.only_item:
            require_approvable(run, run.read_request(), shown, by=by)
            _move_approved(run, by)
        else:
            with transaction.atomic():
                # Of two who decide it, the second waits here, and what it covers stays as it is read.
                run = Run.objects.select_for_update().get(pk=run_id)
                require_approvable(run, run.read_request(), shown, by=by)
                if run.state != Run.State.REQUESTED:
                    raise make_not_requested_error(run)
                run.approve(by=by)
    except ApprovalStepRefused as refusal:
        facts = APPROVAL_REFUSED(why=refusal.message)
        with acting(run.as_actor()):
            about = run.describe_client()
            record_refusal(REFUSAL_EVENT, facts, kind=("approval", run.pk), by=by, **about)
        raise
    return run


CLIENT_GONE = Sentence("client_gone", "The client no longer exists.")


def _move_approved(run: Run, by: User) -> None:
    """Make the move of a requested run of one client in the name of `by`, who approves it with it."""
    item, moves = run.only_item, run.moves
    if item is None or moves is None or run.state != Run.State.REQUESTED:
        raise make_not_requested_error(run)
    try:
        moved = move(
            client_id=item.client_id,
            new=moves.new,
            seen=moves.old,
            by=by,
            reason=moves.reason,
            note=in_a_row(ASKED_FOR_BY(who=run.by_name), MOVED_BY_RUN(run=run.name_message)),
            schedule_deletion=moves.schedule_deletion,
            approves=run,
            override=find_override(run, moves, item.client_id),
        )
    except (StalePhase, IllegalMove, Client.DoesNotExist) as error:
        why = CLIENT_GONE() if isinstance(error, Client.DoesNotExist) else error.message
        run.refresh_from_db()
        if run.state != Run.State.REQUESTED:
            raise make_not_requested_error(run) from None
        with transaction.atomic():
            Run.objects.filter(pk=run.pk).close_requests([item.client_id], why, by=by)
        raise ApprovalStepRefused(why) from None
    item.message = moved.message_with_overridden
    item.save(update_fields=["message"])


# To cancel

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
    "run_not_requested", "%(run)s is not waiting for approval: it is %(state)s."
)


def make_not_requested_error(run: Run) -> ApprovalStepRefused:
    """Return the error of a run that waits for no approval; it says in which state the run is."""
    return ApprovalStepRefused(RUN_NOT_REQUESTED(run=run.name_message, state=run.state))
