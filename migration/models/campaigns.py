"""Owns campaigns: client groups taken through the phases one after the other, with the rule by which they stop."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.localization import localize
from migration import audit_sentences, campaign_sentences, evidence_sentences
from migration.models.audit_actors import Actor, acting, current_actor
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.client_groups import ClientGroup
from migration.models.fields import MessageField
from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from migration.models.notices import Notice, NoticeEvent
from migration.models.phases import PhaseChoices
from migration.models.reasons import limit_reason
from nova_credentials.messages import MessageError, in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from django.contrib.auth.models import User

    from migration.models.waves import WaveQuerySet
    from nova_credentials.messages import Message

# The moves of a campaign, in their order. It never purges.
STEPS = (
    (Phase.POSTGRES, Phase.DUAL_WRITE),
    (Phase.DUAL_WRITE, Phase.DUAL_READ),
    (Phase.DUAL_READ, Phase.AWS),
)
GOALS = tuple(new for _old, new in STEPS)
# A step waits as long again as it soaked for what passes by itself, and at least so long.
LEAST_LONGEST_WAIT = timedelta(hours=1)


class CampaignNotChangedError(MessageError):
    """Nothing was done with the campaign, as it is not as the user saw it."""


class StaleCampaignError(CampaignNotChangedError):
    """The campaign is in another state: somebody steered it meanwhile, or it stopped or finished."""

    def __init__(self, campaign: Campaign) -> None:
        state = str(Campaign.State(campaign.state).value)
        super().__init__(
            campaign_sentences.CAMPAIGN_IN_OTHER_STATE(campaign=campaign.name_message, state=state)
        )


def describe_minutes(minutes: int) -> Message:
    """Return the time in words: "24 hours", "1 hour 30 minutes"."""
    hours, rest = divmod(minutes, 60)
    found = in_a_row(
        evidence_sentences.HOURS(n=hours) if hours else None,
        evidence_sentences.MINUTES(n=rest) if rest else None,
    )
    return found or evidence_sentences.MINUTES(n=0)


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def not_over(self) -> Self:
        """Select the campaigns that are requested, running or stopped: their clients move in no other."""
        return self.filter(state__in=Campaign.NOT_OVER)

    def running_or_rolling_back(self) -> Self:
        """Select the running campaigns, and the stopped ones that still have a wave to roll back."""
        running = models.Q(state=Campaign.State.RUNNING)
        rolls_back = models.Q(state=Campaign.State.STOPPED, waves__rollback_is_due=True)
        return self.filter(running | rolls_back).distinct()

    def lock_to_take_further(self, campaign_id: int) -> Campaign | None:
        """Lock the campaign for the caller's transaction; None where another process has it, or nothing is due."""
        chosen = self.running_or_rolling_back().filter(pk=campaign_id).values("pk").order_by()
        return self.select_for_update(skip_locked=True).filter(pk__in=chosen).first()


class Campaign(models.Model):
    """Takes client groups to `goal`, a wave each: the next begins when the one before has soaked.

    It never purges, overrides no gate, and once stopped goes on only when somebody says so.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", _("Requested")
        RUNNING = "running", _("Running")
        STOPPED = "stopped", _("Stopped")
        FINISHED = "finished", _("Finished")
        CANCELLED = "cancelled", _("Cancelled")

    NOT_OVER = (State.REQUESTED, State.RUNNING, State.STOPPED)

    state = models.CharField(
        _("state"), max_length=16, choices=State, default=State.RUNNING, db_index=True
    )
    goal = models.CharField(_("goal"), max_length=16, choices=PhaseChoices)
    # A group of more clients is taken in several waves; 0: whole.
    wave_size = models.PositiveIntegerField(_("most clients in a wave"), default=0)
    soak_minutes = models.PositiveIntegerField(_("soak time in minutes"), default=0)
    # The stop rule: it stops where one of these numbers is reached in a wave.
    most_mismatches = models.PositiveIntegerField(default=1)
    most_failed_reads = models.PositiveIntegerField(default=1)
    most_refused = models.PositiveIntegerField(default=1)
    # The hours of the day in which a step may begin, in UTC; null: any. They may span midnight, and are the whole day
    # where both ends are the same.
    begins_at = models.TimeField(null=True)
    ends_at = models.TimeField(null=True)
    rolls_back = models.BooleanField(_("rolls back when it stops by itself"), default=False)
    reason = models.TextField(_("reason"), blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("created by"),
    )
    by_name = KeptNameField("by", _("created by"))
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    approved_by_name = KeptNameField("approved_by", _("approved by"))
    approved_at = models.DateTimeField(null=True)
    # When somebody was last asked to approve it, by PostgreSQL's clock, as members' times are. An approval is for those
    # who were in its groups then. Null: it needed none, and takes who is there when a wave begins.
    asked_at = models.DateTimeField(null=True)
    # The last user who stopped it or had it go on, or cancelled or approved it.
    steered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    steered_by_name = KeptNameField("steered_by")
    # Why it stands still: the broken rule, or who stopped it.
    stopped_because = MessageField(null=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    waves: WaveQuerySet

    objects = CampaignQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "add", "change")
        ordering: ClassVar = ["-id"]
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints: ClassVar = [
            require_kept_name("campaign", "by"),
            require_kept_name("campaign", "approved_by"),
            require_kept_name("campaign", "steered_by"),
            limit_reason("campaign"),
            models.CheckConstraint(
                condition=models.Q(goal__in=[goal.value for goal in GOALS]),
                name="campaign_never_purges",
            ),
            models.CheckConstraint(
                condition=~models.Q(approved_by=models.F("by")), name="campaign_approved_by_another"
            ),
            models.CheckConstraint(
                condition=models.Q(begins_at=None, ends_at=None)
                | models.Q(begins_at__isnull=False, ends_at__isnull=False),
                name="campaign_hours_have_two_ends",
            ),
        ]

    def __str__(self) -> str:
        return localize(self.name_message)

    @property
    def name_message(self) -> Message:
        """Return its name as part of a sentence."""
        return campaign_sentences.CAMPAIGN(id=str(self.pk))

    @property
    def steps(self) -> tuple[tuple[Phase, Phase], ...]:
        """Return the moves up to its goal."""
        return STEPS[: GOALS.index(Phase(self.goal)) + 1]

    @property
    def phases_at_goal(self) -> list[Phase]:
        """Return the phases in which a client stands at its goal or further."""
        line = list(Phase)
        return line[line.index(Phase(self.goal)) :]

    @property
    def soak(self) -> timedelta:
        """Return how long every step soaks before the next begins."""
        return timedelta(minutes=self.soak_minutes)

    @property
    def longest_wait_after_soak(self) -> timedelta:
        """Return how long after the soak a step waits at most for clients that lack what comes by itself."""
        return max(self.soak, LEAST_LONGEST_WAIT)

    @property
    def is_over(self) -> bool:
        return self.state not in Campaign.NOT_OVER

    def hours_allow_step(self, now: datetime) -> bool:
        """Say whether the hours of the day let a step begin."""
        if self.begins_at is None or self.ends_at is None:
            return True
        # A process may have set another zone for itself.
        time = timezone.localtime(now, timezone.get_default_timezone()).time()
        if self.begins_at < self.ends_at:
            return self.begins_at <= time < self.ends_at
        return time >= self.begins_at or time < self.ends_at

    def find_opening(self, moment: datetime) -> datetime:
        """Return when a step may begin, from the moment on: then, or where the hours of the day begin next."""
        if self.begins_at is None or self.hours_allow_step(moment):
            return moment
        local = timezone.localtime(moment, timezone.get_default_timezone())
        opening = datetime.combine(local.date(), self.begins_at, tzinfo=local.tzinfo)
        return opening if opening >= local else opening + timedelta(days=1)

    # What people do with it

    # `seen` is when the campaign was changed last, as far as the user saw: if it was changed since, nothing is done.

    def approve(self, *, by: User, seen: datetime | None = None) -> None:
        """Let a requested campaign begin in the name of `by`."""
        approved = {"approved_by": by, "approved_by_name": get_kept_name(by)}
        approved["approved_at"] = timezone.now()
        self._change_state(by, self.State.RUNNING, self.State.REQUESTED, seen=seen, **approved)

    def stop(self, *, by: User | None, seen: datetime | None = None) -> None:
        """Have it begin nothing more; `operations.campaigns.stop_campaign` stops its run too."""
        by_command = campaign_sentences.STOPPED_BY_COMMAND()
        why = campaign_sentences.STOPPED_BY(who=by.get_username()) if by else by_command
        self._change_state(
            by, self.State.STOPPED, self.State.RUNNING, seen=seen, stopped_because=why
        )

    def stop_by_itself(self, why: Message) -> None:
        """Stop the campaign, as its own rule says; `why` names the rule and the wave."""
        self._change_state(None, self.State.STOPPED, self.State.RUNNING, stopped_because=why)

    def ask_for_approval(self) -> None:
        """Have a running campaign, which nobody had to approve before, wait for an approval."""
        with transaction.atomic():
            self._change_state(None, self.State.REQUESTED, self.State.RUNNING)
            self.fix_members()

    def fix_members(self) -> None:
        """Note that who is in its groups now is who an approval is for; in the transaction of the request."""
        # Who puts clients into a group holds it: what they do is over, or comes after this moment.
        groups = self.waves.filter(group__isnull=False).values("group")
        list(ClientGroup.objects.select_for_update().filter(pk__in=groups).order_by("pk"))
        Campaign.objects.filter(pk=self.pk).update(asked_at=Now())
        self.refresh_from_db(fields=["asked_at"])

    def go_on(self, *, by: User | None, seen: datetime | None = None) -> None:
        """Let a stopped campaign go on with what is left; what was counted before counts no more.

        One that was approved waits for another approval.
        """
        with transaction.atomic():
            # Somebody may have approved it since this row was read.
            now = Campaign.objects.select_for_update().get(pk=self.pk)
            new, fields = self.State.RUNNING, dict[str, Any](stopped_because=None)
            if now.approved_by_name:
                new = self.State.REQUESTED
                fields |= {"approved_by": None, "approved_by_name": "", "approved_at": None}
            self._change_state(by, new, self.State.STOPPED, seen=seen, **fields)
            if new == self.State.REQUESTED:
                self.fix_members()
            self.waves.restart_stop_rule_counts(self)

    def cancel(
        self, *, by: User | None, seen: datetime | None = None, only_requested: bool = False
    ) -> None:
        """End it for good: other campaigns may take its clients; `operations.campaigns.cancel_campaign` stops its run.

        `only_requested`: only while nobody has approved it.
        """
        old = (self.State.REQUESTED,) if only_requested else self.NOT_OVER
        with transaction.atomic():
            self._change_state(by, self.State.CANCELLED, *old, seen=seen)
            self.waves.update(rollback_is_due=False)

    def finish(self) -> None:
        """Note that every wave has reached its end."""
        self._change_state(None, self.State.FINISHED, self.State.RUNNING)

    def _change_state(
        self,
        by: User | None,
        new: State,
        *old: State,
        seen: datetime | None = None,
        **fields: Any,
    ) -> None:
        """Set the state if it is one of `old` and was last changed at `seen`; else raises StaleCampaignError."""
        fields |= {"state": new, "changed_at": timezone.now()}
        if by:
            fields |= {"steered_by": by, "steered_by_name": get_kept_name(by)}
        found = Campaign.objects.filter(pk=self.pk, state__in=old)
        if seen is not None:
            found = found.filter(changed_at=seen)
        with transaction.atomic():
            if changed := found.update(**fields):
                self._record_change(by, new, old)
        if not changed:
            self._raise_stale()
        for name, value in fields.items():
            setattr(self, name, value)

    def _record_change(self, by: User | None, new: State, old: tuple[State, ...]) -> None:
        """Record in the audit that its state was changed, and what is told of that."""
        steered = audit_sentences.CAMPAIGN_STEERED(campaign=self.name_message, state=new.value)
        act = self.record_act(steered, by=by)
        if new == self.State.REQUESTED:
            Notice.objects.record_act_as(NoticeEvent.APPROVAL_WANTED, act)
        elif old == (self.State.REQUESTED,) and new == self.State.CANCELLED:
            decided = NoticeEvent.APPROVAL_DECIDED
            Notice.objects.record_act_as(decided, act, also_tell=self.by)
        # Of a stop by a person nobody was told.
        by_person = campaign_sentences.STOPPED_BY.key, campaign_sentences.STOPPED_BY_COMMAND.key
        why = self.stopped_because if self.state == self.State.STOPPED else None
        if why and why.key not in by_person:
            Notice.objects.record_act_as(NoticeEvent.WAVE_STOPPED, act, is_over=True)

    def record_act(
        self,
        facts: Message,
        *,
        by: User | None,
        code: AuditCode = AuditCode.CAMPAIGN,
        reason: str = "",
    ) -> AuditEvent:
        """Record in the audit what was done with the campaign, with a notice for some codes; return the entry."""
        with self.grouping_audit_entries():
            act = AuditEvent.objects.record(code, facts, by=by, reason=reason)
        Notice.objects.record_act(act, also_tell=self.by)
        return act

    def grouping_audit_entries(self) -> AbstractContextManager[None]:
        """Have entries of the audit within the block share its name."""
        actor = current_actor()
        return acting(Actor(actor.origin, f"campaign {self.pk}", actor.find_name))

    def _raise_stale(self) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StaleCampaignError(self)
