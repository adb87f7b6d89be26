"""Owns one batch of a run of moves: who moves in it and why, and which outcome each of its clients has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from migration import audit_sentences, sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.clients import ClientMigration
from migration.models.moves import PhaseChange
from migration.models.run_items import TRANSIENT, Outcome
from migration.operations.account import KmsAnswers
from migration.operations.gates import Check, Override, ShutGate
from migration.operations.locks import refuse_lost_client_locks
from migration.operations.move_attempts import MoveAttempt, fail_overtaken_requests
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from migration.models.planned_moves import PlannedMoves
    from migration.models.run_items import RunItem
    from migration.models.runs import Run
    from migration.operations.move_attempts import MoveResult
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.messages import Message

# Refusals that pass by themselves: somebody else was at the client.
PASSING = {sentences.MOVE_UNDER_WAY.key, sentences.NOVA_WROTE.key, "nova_is_writing"}
# The whole run waits while one of these holds, and no client of it is refused.
HOLDING = {
    sentence.key
    for sentence in (
        sentences.WRITES_STOPPED,
        sentences.DATABASE_IS_COPY,
        sentences.DATABASE_NOT_NOTED,
        sentences.DATABASE_UNKNOWN,
        sentences.DATABASE_CHANGED,
        sentences.HOST_DIFFERS,
    )
}


@lru_cache(maxsize=16)
def get_kms_answers(_run_id: int, _steered_at: datetime | None) -> KmsAnswers:
    """Return which KMS keys this process has found the account may use since somebody last steered the run."""
    return KmsAnswers()


def make_override(run: Run, moves: PlannedMoves) -> Override | None:
    """Return the override of the run, in the name of who started it; None where that user is gone."""
    is_gone = bool(run.by_name) and run.by is None
    if not moves.override_reason or is_gone:
        return None
    return Override(moves.override_reason, run.by, kinds=frozenset(moves.override_lines))


class MoveBatch:
    """The items of one batch, by client, and what their moves share."""

    def __init__(self, run: Run, moves: PlannedMoves, items: dict[int, RunItem]) -> None:
        self.run, self.moves, self.items = run, moves, items
        # Who approved it moves, as with a single request.
        self.by = run.approved_by or run.by
        asked = sentences.ASKED_FOR_BY(who=run.by_name) if run.approved_by_name else None
        self.note = in_a_row(asked, sentences.MOVED_BY_RUN(run=run.name_message))
        self.override = make_override(run, moves)
        self.answers = get_kms_answers(run.pk, run.steered_at).begin_batch_without_refusals()
        # Clients that no other is moved together with, and the reasons of those that are refused for good.
        self.one_by_one: list[int] = []
        self.reasons: dict[int, tuple[Message, ...]] = {}

    def make_attempt(self, snapshot: ClientSnapshot) -> MoveAttempt:
        return MoveAttempt(
            snapshot=snapshot,
            new=self.moves.new,
            by=self.by,
            reason=self.moves.reason,
            note=self.note,
            schedule_deletion=self.moves.schedule_deletion,
            approves=None,
            override=self.override,
            answers=self.answers,
            run=self.run,
        )

    def read_moves_made(self) -> dict[int, PhaseChange]:
        """Return client id -> the move that this run has made of it, before its worker was killed."""
        made = PhaseChange.objects.filter(run=self.run, client_id__in=list(self.items))
        return {change.client_id: change for change in made}

    def change_phases(
        self, attempts: Collection[MoveAttempt], notes: Mapping[int, Message | None] | None = None
    ) -> set[int]:
        """Change the phases, within the caller's transaction; return the ids of the clients that were moved.

        Raises `LeaseLostError`.
        """
        if not attempts:
            return set()
        refuse_lost_client_locks()
        planned = {
            each.snapshot.client_id: each.plan_change((notes or {}).get(each.snapshot.client_id))
            for each in attempts
        }
        moved = ClientMigration.objects.change_phases(
            planned,
            self.moves.old,
            self.moves.new,
            by=self.by,
            reason=self.moves.reason,
            run=self.run,
            override_reason=self.moves.override_reason,
        )
        fail_overtaken_requests(moved, self.moves.new, by=self.by)
        return moved

    # The outcomes

    def record_move(self, client_id: int, moved: MoveResult) -> None:
        item = self.items[client_id]
        item.outcome, item.error_class, item.message = (
            Outcome.MOVED,
            "",
            moved.message_with_overridden,
        )

    def skip(self, client_id: int, why: Message) -> None:
        """Set the outcome SKIPPED and this message on the client's item; the run stores it with its batch."""
        self.items[client_id].outcome, self.items[client_id].message = Outcome.SKIPPED, why

    def refuse(self, client_id: int, *reasons: Message, error_class: str = "") -> None:
        """Refuse the move, or leave the item to be tried again where the reasons pass by themselves."""
        shut = [Check(each.key, False, each, error_class=error_class) for each in reasons]
        item = self.items[client_id]
        self.refuse_gate(client_id, ShutGate(item.slug, self.moves.new, shut))

    def refuse_gate(self, client_id: int, refusal: ShutGate) -> None:
        """Refuse the move as its gate is shut, or leave the item to be tried again."""
        item, keys = self.items[client_id], {reason.key for reason in refusal.reasons}
        item.outcome, item.error_class = Outcome.REFUSED, refusal.error_class
        item.message = in_a_row(*refusal.reasons)
        if keys & HOLDING:
            item.set_next_try_now()
        elif is_temporary(refusal) and item.attempts + 1 < self.run.tries:
            item.set_next_try()
        else:
            self.reasons[client_id] = tuple(refusal.reasons)

    def record_refusals_in_audit(self) -> None:
        """Record in the audit which moves were refused, and why."""
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(
                    AuditCode.REFUSAL,
                    audit_sentences.MOVE_REFUSED(new=self.moves.new.label, reasons=reasons),
                    by=self.by,
                    client_id=client_id,
                    slug=self.items[client_id].slug,
                    reason=self.moves.reason,
                )
                for client_id, reasons in self.reasons.items()
            ]
        )


def is_temporary(refusal: ShutGate) -> bool:
    """Say whether every reason may pass by itself, so that the same move can succeed later."""
    return all(
        check.error_class in TRANSIENT or check.text.key in PASSING for check in refusal.shut
    )
