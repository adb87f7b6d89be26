"""Owns campaigns and their waves: goal, members, stop rule and what each wave counts."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import In
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from credentials.localization import localize
from credentials.models import Client
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    Actor,
    AuditEvent,
    EventKind,
    acting,
    current_actor,
    limit_reason,
)
from migration.core.clients import (
    VIEW_CAMPAIGNS,
    ClientPhaseQuerySet,
    PhaseChange,
    PhaseChoices,
    all_clients,
    is_move_back,
)
from migration.core.comparisons import Comparison
from migration.core.fields import MessageField
from migration.core.groups import NAME_LENGTH, ClientGroup, GroupMember, fold_group_name
from migration.core.notices import Notice, NoticeEvent
from migration.core.text import KeptNameField, get_kept_name, require_kept_name
from migration.moves.readiness import count_awaited_by_blocker
from migration.moves.rules import Awaited, Blocker
from migration.runs.items import CAN_BE_RETRIED, RunItem, RunItemQuerySet
from migration.runs.models import Run, RunQuerySet
from nova_credentials.messages import HOURS, MINUTES, Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Phase
from nova_credentials.sentences import STALE_PHASE
from nova_credentials.shown_names import escape_name

# A client's history tells by which campaign it was left out.
CAMPAIGN_EVENT = EventKind(
    "campaign",
    _("Campaign"),
    icon="flag",
    permission=VIEW_CAMPAIGNS,
    in_history=True,
    in_activity=True,
)


# What the stop rule of campaigns limits in their waves, and the clients that were counted

# Each client of these waves that NOVA still has: whether it differs, and its reads that failed since they are watched.
_COUNTED = """
    SELECT
        wave.id AS wave_id,
        taken.client_id,
        kept.phase <> %(postgres)s AND kept.compared_at >= wave.watched_since
            AND (kept.comparison_status = ANY(%(differs)s) OR kept.comparison_status = 'unchecked'
                AND EXISTS (
                    SELECT FROM migration_openmismatch AS known WHERE known.client_id = taken.client_id
                ))
        OR reads.mismatches > taken.mismatches_before AS differs,
        coalesce(greatest(reads.aws_failures - taken.failures_before, 0), 0) AS failures
    FROM migration_wave AS wave
    JOIN migration_waveclient AS taken ON taken.wave_id = wave.id
    JOIN public.clients AS present ON present.id = taken.client_id
    LEFT JOIN migration_clientmigration AS kept USING (client_id)
    LEFT JOIN migration_readcount AS reads USING (client_id)
    WHERE wave.id = ANY(%(waves)s) AND taken.left_out_at IS NULL
"""


@dataclass(frozen=True)
class WaveCounts:
    """The three counts of a wave since it is watched. The campaign's stop rule has a limit for each."""

    # Clients whose newest comparison differs, or could not check what did, or of which NOVA's reader met one.
    mismatches: int = 0
    failed_reads: int = 0  # reads by NOVA that failed at AWS
    refused: int = 0  # clients whose move was refused or failed


def list_differing(wave_id: int) -> list[int]:
    """Return the ids of the clients that are counted as mismatches of the wave."""
    return _list_clients(wave_id, "differs")


def list_with_failed_reads(wave_id: int) -> list[int]:
    """Return the ids of the clients whose reads are counted as failed in the wave."""
    return _list_clients(wave_id, "failures > 0")


def _list_clients(wave_id: int, condition: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT client_id FROM ({_COUNTED}) AS counted WHERE {condition}",  # noqa: S608  # constants
            _name_parameters([wave_id]),
        )
        return [pk for (pk,) in cursor]


def _name_parameters(wave_ids: Collection[int]) -> dict[str, Any]:
    return {
        "waves": list(wave_ids),
        "postgres": Phase.POSTGRES.value,
        "differs": [status.value for status in Comparison.DIFFERS],
    }


def select_refused_or_failed_items(wave_ids: Collection[int]) -> RunItemQuerySet:
    """Select the items of clients whose move was refused or failed since their wave is watched."""
    items: RunItemQuerySet = RunItem.objects.filter(
        outcome__in=CAN_BE_RETRIED,
        run__wave__in=wave_ids,
        run__only_where_equal=False,
        # Of the client, not of its run: somebody may have gone on with a run of before.
        finished_at__gte=models.F("run__wave__watched_since"),
    )
    # Somebody moved the client before its turn: that says nothing against it.
    key = Coalesce(KeyTextTransform("key", "message"), models.Value("", models.TextField()))
    return items.exclude(models.Q(In(key, [STALE_PHASE.key])))


# Campaigns: client groups taken through the phases one after the other, with the rule by which they stop

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


CAMPAIGN_IN_OTHER_STATE = Sentence(
    "campaign_in_other_state", "Nothing was done: %(campaign)s is %(state)s."
)


class StaleCampaignError(CampaignNotChangedError):
    """The campaign is in another state: somebody steered it meanwhile, or it stopped or finished."""

    def __init__(self, campaign: Campaign) -> None:
        state = str(Campaign.State(campaign.state).value)
        super().__init__(CAMPAIGN_IN_OTHER_STATE(campaign=campaign.name_message, state=state))


def describe_minutes(minutes: int) -> Message:
    """Return the time in words: "24 hours", "1 hour 30 minutes"."""
    hours, rest = divmod(minutes, 60)
    found = in_a_row(
        HOURS(n=hours) if hours else None,
        MINUTES(n=rest) if rest else None,
    )
    return found or MINUTES(n=0)


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


# Shown of a campaign that was requested
WAITS_FOR_APPROVAL = Sentence(
    "waits_for_approval", "Requested. It begins once someone else approves it."
)
# The audit's entries of a campaign
CAMPAIGN_APPROVED = Sentence("campaign_approved", "Approved %(campaign)s, which %(who)s requested.")
CAMPAIGN_STOPPED = Sentence("campaign_stopped", "%(campaign)s stopped: %(why)s")
CAMPAIGN_STOPPED_BY_HAND = Sentence("campaign_stopped_by_hand", "Stopped %(campaign)s.")
CAMPAIGN_WENT_ON = Sentence("campaign_went_on", "Continued %(campaign)s.")
CAMPAIGN_ASKED_AGAIN = Sentence("campaign_asked_again", "Requested that %(campaign)s continues.")
CAMPAIGN_WAITS = Sentence("campaign_waits_for_approval", "%(campaign)s is waiting for approval.")
CAMPAIGN_CANCELLED = Sentence("campaign_cancelled", "Cancelled %(campaign)s.")
CAMPAIGN_FINISHED = Sentence("campaign_finished", "%(campaign)s finished.")
# Of releases up to 0.2.0; `history` says it in the words of these.
CAMPAIGN_STEERED = Sentence("campaign_steered", "Set %(campaign)s to: %(state)s.")
CAMPAIGN = Sentence("campaign", "Campaign %(id)s")
STOPPED_BY = Sentence("stopped_by", "%(who)s stopped it.")
STOPPED_BY_COMMAND = Sentence("stopped_by_command", "Stopped by a command.")


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
        return CAMPAIGN(id=str(self.pk))

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

    @cached_property
    def numbers_tell_waves(self) -> bool:
        """Say whether a wave's number alone says which it is: they are of one group, or of one and its first wave."""
        names = self.waves.filter(part=1).order_by("position").values_list("group_name", flat=True)
        return len(leave_out_first_wave(list(names[:3]))) < 2

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

    # What people do with it. `seen` is when the campaign was changed last, as far as the user saw: if it was changed
    # since, nothing is done.

    def approve(self, *, by: User, seen: datetime | None = None) -> None:
        """Let a requested campaign begin in the name of `by`."""
        self._change_state(
            by,
            self.State.RUNNING,
            self.State.REQUESTED,
            told=CAMPAIGN_APPROVED(campaign=self.name_message, who=self.by_name),
            code=APPROVAL_EVENT,
            seen=seen,
            approved_by=by,
            approved_by_name=get_kept_name(by),
            approved_at=timezone.now(),
        )

    def stop(self, *, by: User | None, seen: datetime | None = None) -> None:
        """Have it begin nothing more; `steps.stop_campaign` stops its run too."""
        why = STOPPED_BY(who=by.get_username()) if by else STOPPED_BY_COMMAND()
        self._change_state(
            by,
            self.State.STOPPED,
            self.State.RUNNING,
            told=CAMPAIGN_STOPPED_BY_HAND(campaign=self.name_message),
            seen=seen,
            stopped_because=why,
        )

    def stop_by_itself(self, why: Message) -> None:
        """Stop the campaign, as its own rule says; `why` names the rule and the wave."""
        told = CAMPAIGN_STOPPED(campaign=self.name_message, why=why)
        with transaction.atomic():
            act = self._change_state(
                None, self.State.STOPPED, self.State.RUNNING, told=told, stopped_because=why
            )
            Notice.objects.record_act_as(NoticeEvent.WAVE_STOPPED, act)

    def ask_for_approval(self) -> None:
        """Have a running campaign, which nobody had to approve before, wait for an approval."""
        with transaction.atomic():
            told, code = CAMPAIGN_WAITS(campaign=self.name_message), REQUEST_EVENT
            self._change_state(None, self.State.REQUESTED, self.State.RUNNING, told=told, code=code)
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
            told, code = CAMPAIGN_WENT_ON(campaign=self.name_message), CAMPAIGN_EVENT
            if now.approved_by_name:
                new, code = self.State.REQUESTED, REQUEST_EVENT
                told = CAMPAIGN_ASKED_AGAIN(campaign=self.name_message)
                fields |= {"approved_by": None, "approved_by_name": "", "approved_at": None}
            old = self.State.STOPPED
            self._change_state(by, new, old, told=told, code=code, seen=seen, **fields)
            if new == self.State.REQUESTED:
                self.fix_members()
            self.waves.restart_stop_rule_counts(self)

    def cancel(
        self, *, by: User | None, seen: datetime | None = None, only_requested: bool = False
    ) -> None:
        """End it for good: other campaigns may take its clients; `steps.cancel_campaign` stops its run.

        `only_requested`: only while nobody has approved it.
        """
        old = (self.State.REQUESTED,) if only_requested else self.NOT_OVER
        with transaction.atomic():
            # Somebody may have approved it since this row was read. Before that its request is taken back, or refused.
            now = Campaign.objects.select_for_update().get(pk=self.pk)
            waits = now.state == self.State.REQUESTED
            code = CANCELLATION_EVENT if waits else CAMPAIGN_EVENT
            told = CAMPAIGN_CANCELLED(campaign=self.name_message)
            self._change_state(by, self.State.CANCELLED, *old, told=told, code=code, seen=seen)
            self.waves.update(rollback_is_due=False)

    def finish(self) -> None:
        """Note that every wave has reached its end."""
        told = CAMPAIGN_FINISHED(campaign=self.name_message)
        self._change_state(None, self.State.FINISHED, self.State.RUNNING, told=told)

    def _change_state(
        self,
        by: User | None,
        new: State,
        *old: State,
        told: Message,
        code: EventKind = CAMPAIGN_EVENT,
        seen: datetime | None = None,
        **fields: Any,
    ) -> AuditEvent:
        """Set the state if it is one of `old` and was last changed at `seen`; else raises StaleCampaignError.

        Returns the audit's entry, which says what was `told`.
        """
        fields |= {"state": new, "changed_at": timezone.now()}
        if by:
            fields |= {"steered_by": by, "steered_by_name": get_kept_name(by)}
        found = Campaign.objects.filter(pk=self.pk, state__in=old)
        if seen is not None:
            found = found.filter(changed_at=seen)
        with transaction.atomic():
            act = self._record_change(by, told, code) if found.update(**fields) else None
        if act is None:
            self.refresh_from_db(fields=["state"])
            raise StaleCampaignError(self)
        for name, value in fields.items():
            setattr(self, name, value)
        return act

    def _record_change(self, by: User | None, told: Message, code: EventKind) -> AuditEvent:
        """Record in the audit that its state was changed, and the notices of that."""
        # As a run's, a request and what was decided of it have the reason for which it was asked.
        reason = "" if code == CAMPAIGN_EVENT else self.reason
        act = self.record_act(told, by=by, code=code, reason=reason)
        # Of a stop by a person nobody was told.
        by_person = (STOPPED_BY.key, STOPPED_BY_COMMAND.key)
        why = self.stopped_because if self.state == self.State.STOPPED else None
        if why and why.key not in by_person:
            Notice.objects.record_act_as(NoticeEvent.WAVE_STOPPED, act, is_over=True)
        return act

    def record_act(
        self,
        facts: Message,
        *,
        by: User | None,
        code: EventKind = CAMPAIGN_EVENT,
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


# The waves of campaigns: which clients each takes, and what it counts against the stop rule


def is_name_in_any_language(name: str, message: Message) -> bool:
    """Say whether the message reads as the name in some language of the pages, in capital letters or not."""
    key = fold_group_name(name)
    for code, _language in settings.LANGUAGES:
        with override(code):
            if fold_group_name(localize(message)) == key:
                return True
    return False


# Of a campaign that was started without groups, the group of those that go first.
GROUP_OF_FIRST_WAVE = Sentence("group_of_first_wave", "%(name)s: first wave")


def leave_out_first_wave(names: list[str]) -> list[str]:
    """Return the names of a campaign's groups without the first, where the only other one says its name too."""
    if len(names) == 2 and is_name_in_any_language(names[0], GROUP_OF_FIRST_WAVE(name=names[1])):
        return names[1:]
    return names


def members_for_approval(campaign: Campaign) -> models.QuerySet[GroupMember]:
    """Select the members of groups that the campaign may take: where it was requested, who was there then."""
    members = GroupMember.objects.all()
    return members.filter(added_at__lte=campaign.asked_at) if campaign.asked_at else members


class WaveQuerySet(models.QuerySet["Wave"]):
    def begun(self) -> Self:
        """Select the waves that have their clients, first to last."""
        return self.filter(began_at__isnull=False).order_by("position", "part")

    def restart_stop_rule_counts(self, campaign: Campaign) -> None:
        """Begin to count against the stop rule from now on, in every wave of the campaign that has begun.

        A wave whose group was deleted keeps the clients that it has taken: none, if it has not begun. Former members of
        groups that still exist leave the campaign. A finished wave stays finished, unless clients of it stand before
        the goal.
        """
        begun = list(self.begun().values_list("pk", flat=True))
        to_move = self.remove_former_members(campaign)
        self.update(rollback_is_due=False)
        self.filter(group=None).update(goes_on_without_group=True)
        self.filter(pk__in=begun).update(watched_since=timezone.now())
        self.filter(pk__in=to_move.values("wave")).update(finished_at=None)
        _note_reads(begun)

    def remove_former_members(self, campaign: Campaign) -> models.QuerySet[WaveClient]:
        """Take out of the begun waves who left their group before the goal; select who is still to be moved."""
        members = members_for_approval(campaign).filter(
            group=models.OuterRef("wave__group"), client=models.OuterRef("client")
        )
        before = all_clients().in_phases(*(old for old, _new in campaign.steps))
        to_move = WaveClient.objects.not_left_out().filter(
            models.Exists(before.filter(pk=models.OuterRef("client_id"))),
            wave__in=list(self.begun().values_list("pk", flat=True)),
        )
        to_move.filter(~models.Exists(members), wave__group__isnull=False).delete()
        return to_move

    def count_against_rule(self) -> dict[int, WaveCounts]:
        """Count what the stop rule limits in each wave since it is watched; return the counts by the wave's id."""
        wave_ids = list(self.values_list("pk", flat=True))
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT wave_id, count(*) FILTER (WHERE differs), sum(failures)::bigint
                FROM ({_COUNTED}) AS counted GROUP BY wave_id
                """,  # noqa: S608  # a constant
                _name_parameters(wave_ids),
            )
            counted = {pk: (mismatches, failed_reads) for pk, mismatches, failed_reads in cursor}
        items = select_refused_or_failed_items(wave_ids).order_by().values_list("run__wave")
        refused = dict(items.annotate(number=models.Count("client_id", distinct=True)))
        return {pk: WaveCounts(*counted.get(pk, (0, 0)), refused.get(pk, 0)) for pk in wave_ids}


def _note_reads(wave_ids: list[int]) -> None:
    """Note for each client of the waves what NOVA's reader has counted until now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE migration_waveclient AS taken
            SET failures_before = coalesce(counted.aws_failures, 0), mismatches_before = coalesce(counted.mismatches, 0)
            FROM migration_waveclient AS own
            LEFT JOIN migration_readcount AS counted USING (client_id)
            WHERE own.id = taken.id AND taken.wave_id = ANY(%s)
            """,
            [wave_ids],
        )


WAVE = Sentence("wave", "wave %(number)s (%(group)s)")
# The whole name of a wave whose number alone tells it from the others, or whose group has that very name.
WAVE_OF_THAT_NAME = Sentence("wave_of_that_name", "wave %(number)s")
# A further part of a group that has more clients than a wave may.
WAVE_PART = Sentence("wave_part", "wave %(number)s (%(group)s, part %(part)s)")
PART_OF_WAVE_OF_THAT_NAME = Sentence("part_of_wave_of_that_name", "wave %(number)s, part %(part)s")


class Wave(models.Model):
    """One client group of a campaign, or a part of it where the group has more clients than a wave may."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="waves", db_index=False)
    position = models.PositiveIntegerField()
    part = models.PositiveIntegerField(default=1)
    group = models.ForeignKey(ClientGroup, models.SET_NULL, null=True, related_name="+")
    group_name = models.CharField(_("client group"), max_length=NAME_LENGTH)
    # Somebody had the campaign go on after the group was deleted.
    goes_on_without_group = models.BooleanField(default=False)
    began_at = models.DateTimeField(_("began"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    # Since when it is counted against the stop rule: its begin, or when somebody had the campaign go on.
    watched_since = models.DateTimeField(null=True)
    # It broke the stop rule of a campaign that rolls back, and its rollback has not begun.
    rollback_is_due = models.BooleanField(default=False)

    runs: RunQuerySet

    objects = WaveQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["position", "part"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["campaign", "position", "part"], name="one_wave_at_a_place"
            )
        ]

    def __str__(self) -> str:
        return f"{escape_name(self.group_name)} of campaign {self.campaign_id}"

    @cached_property
    def number(self) -> int:
        """Return its place among all waves of the campaign; takes a query where groups before it may have parts."""
        place = self.position + self.part - 1
        if self.position == 1 or not self.campaign.wave_size:
            return place
        before = Wave.objects.filter(campaign=self.campaign_id, position__lt=self.position)
        return place + before.filter(part__gt=1).count()

    @property
    def name_message(self) -> Message:
        """Return its place in the campaign, and its group where there are several, as part of a sentence."""
        names = {"number": str(self.number)}
        if self.campaign.numbers_tell_waves:
            return WAVE_OF_THAT_NAME(**names)
        group = escape_name(self.group_name)
        has_that_name = is_name_in_any_language(self.group_name, WAVE_OF_THAT_NAME(**names))
        # The first part has no number: nobody knows yet whether there will be a second.
        if self.part > 1:
            names["part"] = str(self.part)
            if has_that_name:
                return PART_OF_WAVE_OF_THAT_NAME(**names)
            return WAVE_PART(**names, group=group)
        if has_that_name:
            return WAVE_OF_THAT_NAME(**names)
        return WAVE(**names, group=group)

    def lock_group(self) -> bool:
        """Lock the wave's group for the caller's transaction, so that nobody deletes it; False where it is gone."""
        if self.group_id is None:
            return False
        held = ClientGroup.objects.select_for_update(no_key=True).filter(pk=self.group_id)
        return bool(held.values_list("pk", flat=True))

    def begin(self, *, now: datetime) -> int:
        """Take the clients of the group that stand before the goal; return how many there are.

        A client in a wave of this campaign or of another that is not over is left out: it moves in one alone.
        """
        with connection.cursor() as cursor:
            # Two campaigns that begin a wave at once wait for each other here.
            cursor.execute("LOCK TABLE migration_waveclient IN SHARE ROW EXCLUSIVE MODE")
        chosen = self.list_joinable_clients().order_by("slug", "pk").values_list("pk", "slug")
        if size := self.campaign.wave_size:
            chosen = chosen[:size]
        taken = WaveClient.objects.bulk_create(
            WaveClient(wave=self, client_id=pk, slug=slug) for pk, slug in chosen
        )
        self.began_at = self.watched_since = now
        self.save(update_fields=["began_at", "watched_since"])
        _note_reads([self.pk])
        return len(taken)

    def list_joinable_clients(self) -> ClientPhaseQuerySet:
        """Return its group's clients before the goal, as approved, that neither this nor an open campaign has."""
        before = [old for old, _new in self.campaign.steps]
        ours = WaveClient.objects.filter(wave__campaign=self.campaign_id)
        taken = (ours | WaveClient.objects.in_open_campaigns()).values("client_id")
        if self.group_id is None:
            return all_clients().none()
        members = members_for_approval(self.campaign).filter(group=self.group_id)
        chosen = all_clients().filter(pk__in=members.values("client_id"))
        return chosen.in_phases(*before).exclude(pk__in=taken)

    def list_clients(self) -> ClientPhaseQuerySet:
        """Return its clients that NOVA still has, without those that it goes on without."""
        return all_clients().filter(wave_clients__wave=self, wave_clients__left_out_at=None)

    def list_not_moved_back_by_others(self) -> ClientPhaseQuerySet:
        """Return its clients without those that somebody moved back since it is watched: these stay where they are."""
        moved_back = PhaseChange.objects.filter(
            is_move_back(),
            ~models.Q(run__in=self.runs.values("pk")) | models.Q(run=None),
            client_id=models.OuterRef("pk"),
            changed_at__gte=self.watched_since,
        )
        return self.list_clients().exclude(models.Exists(moved_back))

    def find_next_untried_step(self) -> tuple[Phase, Phase] | None:
        """Return the first move that it has not tried since it is watched and that a client of it waits for."""
        runs = self.runs.filter(created_at__gte=self.watched_since, only_where_equal=False)
        tried = {(run.move_from, run.move_to) for run in runs}
        to_move = self.list_not_moved_back_by_others()
        for old, new in self.campaign.steps:
            if (old, new) not in tried and to_move.in_phases(old).exists():
                return old, new
        return None

    def find_unfinished_run(self) -> Run | None:
        """Return the run of it that is not over; None where there is none."""
        return self.runs.filter(finished_at=None).order_by("pk").first()

    def find_stopped_run(self) -> Run | None:
        """Return the run of a step that was stopped since the wave is watched; None where there is none."""
        steps = self.runs.filter(only_where_equal=False, state=Run.State.STOPPED)
        return steps.filter(steered_at__gte=self.watched_since).order_by("pk").first()

    def find_end_of_last_soak(self) -> datetime | None:
        """Return when its last step has soaked; None where it made none."""
        newest = self.runs.aggregate(last=models.Max("finished_at"))["last"]
        return newest + self.campaign.soak if newest else None

    def soaks_until(self, now: datetime) -> datetime | None:
        """Return until when its last step soaks; None where it has soaked, none was made, or it has no client left."""
        until = self.find_end_of_last_soak()
        soaks = (
            until and now < until and WaveClient.objects.not_left_out().filter(wave=self).exists()
        )
        return until if soaks else None

    def waits_at_most_until(self) -> datetime:
        """Return until when its next step waits at most for what comes by itself."""
        moments = (self.find_end_of_last_soak(), self.watched_since, self.began_at)
        begins = max(moment for moment in moments if moment)
        return self.campaign.find_opening(begins) + max(self.campaign.soak, LEAST_LONGEST_WAIT)

    def count_awaited_by_blocker(self, from_phase: Phase, now: datetime) -> dict[Blocker, Awaited]:
        """Count the clients for which its step from this phase waits now, by what keeps them.

        It waits for none once it has waited as long as it may.
        """
        if now >= self.waits_at_most_until():
            return {}
        return count_awaited_by_blocker(self.list_not_moved_back_by_others().in_phases(from_phase))

    def count_against_rule(self) -> WaveCounts:
        """Count what the stop rule limits, since the wave is watched."""
        return Wave.objects.filter(pk=self.pk).count_against_rule()[self.pk]


class WaveClientQuerySet(models.QuerySet["WaveClient"]):
    def not_left_out(self) -> Self:
        """Select the waves' clients that were not left out when a campaign went on."""
        return self.filter(left_out_at=None)

    def in_open_campaigns(self) -> Self:
        """Select the clients that a campaign which is not over has taken: no other takes them meanwhile."""
        return self.not_left_out().filter(wave__campaign__state__in=Campaign.NOT_OVER)


class WaveClient(models.Model):
    """One client in one wave, and what NOVA's reader had counted of it when the wave began to be watched."""

    wave = models.ForeignKey(Wave, models.CASCADE, related_name="taken", db_index=False)
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="wave_clients"
    )
    slug = models.CharField(max_length=100)
    failures_before = models.BigIntegerField(default=0)
    mismatches_before = models.BigIntegerField(default=0)
    # Somebody had the campaign go on without the client: it stays in its phase, and other campaigns may take it.
    left_out_at = models.DateTimeField(null=True)

    objects = WaveClientQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["wave", "client"], name="one_client_in_wave")
        ]

    def __str__(self) -> str:
        return f"{self.slug} in wave {self.wave_id}"
