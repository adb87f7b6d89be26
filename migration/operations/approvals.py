"""Cutovers and purges that one person asks for and another approves. The gate counts when it is approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from credentials.models import Client
from migration import sentences
from migration.models import MoveRequest, check_reason
from migration.operations.gates import NEED_APPROVAL, ShutGate, all_checks
from migration.operations.moves import move
from migration.operations.snapshots import read_snapshots
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import IllegalMove, Phase, StalePhase, check_move

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from migration.models.approvals import MoveRequestQuerySet
    from migration.operations.moves import MoveResult

State = MoveRequest.State


class NotApproved(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """It can't be asked for, approved or cancelled; the message says why."""


def ask(
    *, client_id: int, new: Phase, by: User, reason: str, seen: Phase | None = None
) -> MoveRequest:
    """Asks for a cutover or a purge; a gate that is shut makes it wait, and somebody may open it meanwhile.

    Raises `Client.DoesNotExist`, `IllegalMove`, `StalePhase`, `NotApproved` and `ReasonError`.
    """
    check_reason(reason)
    snapshot = read_snapshots([client_id]).get(client_id)
    if snapshot is None:
        raise Client.DoesNotExist
    if seen is not None and seen != snapshot.phase:
        raise StalePhase(snapshot.slug, seen, snapshot.phase)
    if check_move(snapshot.slug, snapshot.phase, new) not in NEED_APPROVAL:
        raise NotApproved(sentences.AT_ONCE())
    reasons = [check.text for check in all_checks(snapshot, new) if not check.passed]
    asked = MoveRequest(
        client_id=client_id,
        slug=snapshot.slug,
        old=snapshot.phase,
        new=new,
        state=State.WAITING if reasons else State.REQUESTED,
        reasons=reasons,
        reason=reason,
        requested_by=by,
    )
    try:
        with transaction.atomic():
            asked.save()
    except IntegrityError:
        raise NotApproved(sentences.ASKED_ALREADY(slug=snapshot.slug)) from None
    return asked


def approve(*, request_id: int, by: User) -> MoveResult:
    """Makes the move that was asked for, in the name of whoever approves it.

    Raises `ShutGate` where it still has to wait, `NotApproved` where `by` may not or it is over, and
    `MoveRequest.DoesNotExist`.
    """
    asked = MoveRequest.objects.get(pk=request_id)
    if asked.requested_by_id in (None, by.pk):
        raise NotApproved(sentences.OWN_REQUEST())
    _require_open(asked)
    try:
        moved = move(
            client_id=asked.client_id,
            new=Phase(asked.new),
            seen=Phase(asked.old),
            by=by,
            reason=asked.reason,
            note=sentences.ASKED_FOR_BY(who=str(asked.requested_by)),
            approves=asked,
        )
    except ShutGate as refusal:
        _select(asked).record_reasons(refusal.reasons)
        raise
    except (StalePhase, IllegalMove) as refusal:
        raise _failed(asked, by, refusal.message) from None
    except Client.DoesNotExist:
        raise _failed(asked, by, sentences.CLIENT_GONE()) from None
    return moved


def cancel(*, request_id: int, by: User) -> MoveRequest:
    """Takes it back, or turns it down."""
    asked = MoveRequest.objects.get(pk=request_id)
    if not _select(asked).close_open(State.CANCELLED, by=by):
        asked.refresh_from_db()
        _require_open(asked)
    return asked


def _select(asked: MoveRequest) -> MoveRequestQuerySet:
    return MoveRequest.objects.filter(pk=asked.pk)


def _require_open(asked: MoveRequest) -> None:
    if not asked.is_open:
        who = str(asked.decided_by) if asked.decided_by else sentences.SOMEBODY()
        raise NotApproved(sentences.REQUEST_OVER(state=asked.state_message, who=who))


def _failed(asked: MoveRequest, by: User, reason: Message) -> NotApproved:
    """The client stands elsewhere: by another's approval of this, or since it was asked for."""
    if not _select(asked).close_open(State.FAILED, by=by, reasons=[reason]):
        asked.refresh_from_db()
        try:
            _require_open(asked)
        except NotApproved as over:
            return over
    return NotApproved(reason)
