"""Owns a run's state and the orders that change it: approve, pause, resume, stop, go on, retry. Each is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration import audit_sentences, notice_sentences, sentences
from migration.models.audit_actors import Actor, acting, current_actor
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.kept_names import KeptNameField, get_kept_name
from migration.models.notices import Notice, NoticeEvent
from migration.models.run_items import CAN_BE_RETRIED, RunItem
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.models.planned_moves import PlannedMoves
    from migration.models.run_items import RunItemQuerySet
    from nova_credentials.messages import Message


class StaleRunError(MessageError):
    """The run is in another state: somebody paused, resumed or stopped it meanwhile, or it finished."""

    def __init__(self, run: SteeredRun, wanted: SteeredRun.State) -> None:
        super().__init__(
            sentences.RUN_IN_OTHER_STATE(run=run.name_message, state=run.state, wanted=wanted)
        )
        self.run = run


class WithdrawnRunError(StaleRunError):
    """The run was requested and nobody approved it: it never begins, nor goes on."""

    def __init__(self, run: SteeredRun) -> None:
        MessageError.__init__(self, sentences.RUN_CANT_GO_ON(run=run.name_message))
        self.run = run


class SteeredRun(models.Model):
    """Holds the state of a run, and how people steer it; `Run` adds what the run does."""

    class State(models.TextChoices):
        REQUESTED = "requested", _("Requested")
        RUNNING = "running", _("Running")
        PAUSED = "paused", _("Paused")
        STOPPED = "stopped", _("Stopped")
        FINISHED = "finished", _("Finished")

    state = models.CharField(
        _("state"),
        max_length=16,
        choices=State,
        default=State.RUNNING,
        db_default=State.RUNNING,
        db_index=True,
    )
    # The last user who paused, resumed, stopped or retried it, and when.
    steered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    steered_by_name = KeptNameField("steered_by")
    steered_at = models.DateTimeField(null=True)
    # The second user, where the move needs one: each client moves in this name.
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("approved by"),
    )
    approved_by_name = KeptNameField("approved_by", _("approved by"))
    # When its first approval let it begin. NULL: it began when it was created, as one that needs none or has it then.
    began_at = models.DateTimeField(null=True)
    # When a worker last began or ended a batch of it, or it was handed to the workers.
    worked_at = models.DateTimeField(default=timezone.now, db_default=Now())
    finished_at = models.DateTimeField(_("finished"), null=True)

    items: RunItemQuerySet
    by: User | None
    reason: str
    created_at: datetime

    class Meta:
        abstract = True

    @property
    def name_message(self) -> Message:
        """Return its kind and number as part of a sentence."""
        raise NotImplementedError

    @property
    def moves(self) -> PlannedMoves | None:
        """Return the move that it makes of its clients; None of a run of another kind."""
        raise NotImplementedError

    @property
    def is_of_schedule(self) -> bool:
        """Say whether the workers' schedule started it, which nobody waits for."""
        raise NotImplementedError

    def count_outcomes_and_matches(self) -> dict[str, int]:
        """Count the items by outcome."""
        raise NotImplementedError

    def record_start_in_audit(self, by: User | None) -> None:
        """Record in the audit that it was started or requested; of the schedule's runs there are too many."""
        if moves := self.moves:
            requested = self.state == self.State.REQUESTED
            sentence = (
                audit_sentences.MOVES_REQUESTED if requested else audit_sentences.MOVES_STARTED
            )
            facts = sentence(
                run=self.name_message, n=self.items.count(), **moves.old_and_new_labels
            )
            code = AuditCode.REQUEST if requested else AuditCode.RUN
            self.record_act(facts, by=by, code=code, reason=moves.reason)
            if moves.override_reason:
                facts = audit_sentences.OVERRIDE_ASKED_FOR(run=self.name_message)
                self.record_act(facts, by=by, code=AuditCode.OVERRIDE, reason=moves.override_reason)
        elif by:
            started = audit_sentences.RUN_STARTED(run=self.name_message)
            self.record_act(started, by=by, reason=self.reason)

    def finish_if_done(self) -> bool:
        """Finish it where no item is open, with a notice; True for the one caller that did."""
        open_items = RunItem.objects.open().filter(run_id=models.OuterRef("pk"))
        unfinished = type(self)._default_manager.filter(
            ~models.Exists(open_items), pk=self.pk, finished_at=None
        )
        stays = models.When(state=self.State.STOPPED, then=models.F("state"))
        new = models.Case(stays, default=models.Value(self.State.FINISHED))
        now = timezone.now()
        with transaction.atomic():
            is_done = unfinished.update(finished_at=now, state=new) == 1
            if is_done and not self.is_of_schedule:
                self.refresh_from_db(fields=["state"])
                if facts := self.describe_outcomes():
                    key = f"run {self.pk}:{now.isoformat()}"
                    Notice.objects.record(NoticeEvent.RUN_ENDED, facts, key=key)
        return is_done

    def describe_outcomes(self) -> Message | None:
        """Say how many of the run's clients have which outcome; None of a run that had none."""
        counts = self.count_outcomes_and_matches()
        if not counts["clients"]:
            return None
        numbers = {
            "n": counts["clients"],
            "failed": counts["failed"],
            "refused": counts.get("refused", 0),
            "differ": counts["mismatched"],
        }
        if self.state == self.State.STOPPED:
            left = counts["not_begun"]
            return notice_sentences.RUN_ENDED_BY_STOP(run=self.name_message, left=left, **numbers)
        return notice_sentences.RUN_ENDED(run=self.name_message, **numbers)

    def pause(self, *, by: User | None) -> None:
        """Pause it: workers finish the batches that they hold and claim no others."""
        self._change_state(by, self.State.PAUSED, self.State.RUNNING)

    def resume(self, *, by: User | None) -> None:
        """Let a paused run go on; the caller enqueues it again."""
        self._change_state(by, self.State.RUNNING, self.State.PAUSED)

    def stop(self, *, by: User | None) -> None:
        """Stop a run, paused or not, until `reopen_never_begun`; `operations.skipped_items` skips open items."""
        self._change_state(by, self.State.STOPPED, self.State.RUNNING, self.State.PAUSED)

    def approve(self, *, by: User) -> None:
        """Let a requested run begin, in the name of `by`; the caller enqueues it."""
        approved: dict[str, Any] = {"approved_by": by, "approved_by_name": get_kept_name(by)}
        if self.began_at is None:
            approved["began_at"] = timezone.now()
        self._change_state(by, self.State.RUNNING, self.State.REQUESTED, **approved)

    def stop_unapproved(self, *, by: User | None) -> None:
        """Stop a run that nobody has approved; `operations.skipped_items` skips its items."""
        self._change_state(by, self.State.STOPPED, self.State.REQUESTED)

    def reopen_failed(self, *, by: User | None, item_id: int | None = None) -> None:
        """Open the run's failed and refused items again, or one of them; the caller enqueues the run again."""
        failed = self.items.filter(outcome__in=CAN_BE_RETRIED)
        if item_id is not None:
            failed = failed.filter(pk=item_id)
        self._open_again(failed, by=by)

    def reopen_never_begun(self, *, by: User | None, with_failed: bool = False) -> None:
        """Open again what a stop or an interruption left out, on request the failed too; the caller enqueues it."""
        rest = self.items.never_begun()
        if with_failed:
            rest |= self.items.filter(outcome__in=CAN_BE_RETRIED)
        self._open_again(rest, by=by)

    def _open_again(self, items: RunItemQuerySet, *, by: User | None) -> None:
        """Let a run that is over go on with these items; raises StaleRunError where it is not over, or none is left.

        A run that was approved waits for another approval. One whose request was withdrawn raises WithdrawnRunError.
        """
        with transaction.atomic():
            if self.items.left_out_by_withdrawal().exists():
                raise WithdrawnRunError(self)
            if not items.exists():
                self._raise_stale(self.State.RUNNING)
            # Somebody may have approved it since this row was read.
            self.refresh_from_db(fields=["approved_by_name", "began_at"])
            new, over = self.State.RUNNING, dict[str, Any](finished_at=None)
            if self.approved_by_name:
                new = self.State.REQUESTED
                over |= {"approved_by": None, "approved_by_name": ""}
                # It began before that.
                over["began_at"] = self.began_at or self.created_at
            self._change_state(by, new, self.State.FINISHED, self.State.STOPPED, **over)
            items.open_again()

    def _change_state(self, by: User | None, new: State, *old: State, **fields: Any) -> None:
        """Set the state if it is one of `old`; raises StaleRunError where it is not."""
        now = timezone.now()
        # A stopped run that is not finished yet cannot be retried: workers may still finish their batches.
        is_over = "finished_at" in fields
        fields |= {"state": new, "steered_by": by, "steered_by_name": get_kept_name(by)}
        fields |= {"steered_at": now, "worked_at": now}
        found = type(self)._default_manager.filter(
            pk=self.pk, state__in=old, finished_at__isnull=not is_over
        )
        with transaction.atomic():
            if changed := found.update(**fields):
                state = audit_sentences.RUN_STEERED(run=self.name_message, state=new.value)
                act = self.record_act(state, by=by)
                if new == self.State.REQUESTED:
                    Notice.objects.record_act_as(NoticeEvent.APPROVAL_WANTED, act)
        if not changed:
            self._raise_stale(new)
        for name, value in fields.items():
            setattr(self, name, value)

    def record_act(
        self,
        facts: Message,
        *,
        by: User | None,
        code: AuditCode = AuditCode.RUN,
        reason: str = "",
    ) -> AuditEvent:
        """Record in the audit what was done with the run, under the name that its entries share."""
        actor = current_actor()
        with acting(Actor(actor.origin, f"run {self.pk}", actor.find_name)):
            act = AuditEvent.objects.record(code, facts, by=by, reason=reason)
        Notice.objects.record_act(act, also_tell=self.by)
        return act

    def _raise_stale(self, wanted: State) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StaleRunError(self, wanted)
