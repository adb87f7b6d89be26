"""Holds one try to move one client: its gate, and the change of the phase with all that is recorded of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration import audit_sentences, evidence_sentences, sentences
from migration.models.approvals import MoveRequest
from migration.models.audit_events import AuditCode
from migration.models.clients import ClientMigration, PlannedChange
from migration.models.comparisons import Comparison
from migration.operations.aws_store import secrets_manager
from migration.operations.gate_facts import GateFacts
from migration.operations.gates import Check, Override, ShutGate, require_open
from migration.operations.locks import refuse_lost_client_locks
from nova_credentials.messages import Message, in_a_row
from nova_credentials.phases import Phase, StalePhase

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User

    from migration.models.runs import Run
    from migration.operations.account import KmsAnswers
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.secrets_manager import SecretsManager


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
        told = evidence_sentences.OVERRIDDEN(lines=lines) if lines else None
        return in_a_row(self.message, told)


@dataclass(frozen=True)
class MoveAttempt:
    """One try to move a client: to which phase, by whom and why."""

    snapshot: ClientSnapshot
    new: Phase
    by: User | None
    reason: str
    note: Message | None
    schedule_deletion: bool
    approves: MoveRequest | None
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
            audit_sentences.LINE_OVERRIDDEN(line=check.text)
            if check in self.overridden
            else check.text
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
        why = sentences.COMPARED_JUST_NOW(result=comparison.message or comparison.status_message)
        return self.make_shut_gate(why, error_class=comparison.error_class)

    def commit(self, note: Message | None = None) -> None:
        """Change the phase, within the caller's transaction; raises `StalePhase` or `LeaseLostError`."""
        refuse_lost_client_locks()
        snapshot = self.snapshot
        moved = ClientMigration.objects.change_phases(
            {snapshot.client_id: self.plan_change(note)},
            snapshot.phase,
            self.new,
            by=self.by,
            reason=self.reason,
            run=self.run,
            override_reason=self.override.reason if self.override else "",
        )
        if not moved:
            client_migration = ClientMigration.objects.get(pk=snapshot.client_id)
            raise StalePhase(snapshot.slug, snapshot.phase, Phase(client_migration.phase))
        self._close_requests()

    def plan_change(self, note: Message | None = None) -> PlannedChange:
        """Return what is stored with the move: its note followed by `note`, the overridden checks, and the gate."""
        overridden = tuple(check.text for check in self.overridden)
        return PlannedChange(in_a_row(self.note, note), overridden, tuple(self.gate))

    def make_move_result(self, message: Message | None) -> MoveResult:
        """Return the result of the move, once made: client, phases, `message`, overridden checks."""
        snapshot, overridden = self.snapshot, tuple(self.overridden)
        return MoveResult(snapshot.slug, snapshot.phase, self.new, message, overridden)

    def _close_requests(self) -> None:
        """Close the approved request as done, others of the client as failed; raises if it was cancelled meanwhile."""
        asked = MoveRequest.objects.filter(client_id=self.snapshot.client_id)
        if self.approves:
            approved = asked.filter(pk=self.approves.pk)
            if not approved.close_open(MoveRequest.State.DONE, by=self.by):
                raise self.make_shut_gate(sentences.NOTHING_ASKED_FOR())
            self.approves.record_act(AuditCode.APPROVAL, audit_sentences.APPROVED, by=self.by)
        fail_overtaken_requests([self.snapshot.client_id], self.new, by=self.by)


def fail_overtaken_requests(client_ids: Collection[int], new: Phase, *, by: User | None) -> None:
    """Close the open requests of clients that were moved to `new` in another way, as failed."""
    elsewhere = sentences.MOVED_MEANWHILE(phase=new.label)
    asked = MoveRequest.objects.filter(client_id__in=client_ids)
    asked.close_open(MoveRequest.State.FAILED, by=by, reasons=[elsewhere])
