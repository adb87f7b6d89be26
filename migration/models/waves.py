"""Owns the waves of campaigns: which clients each takes, and what it counts against the stop rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from credentials.localization import localize
from credentials.models import Client
from credentials.shown_names import escape_name
from migration import campaign_sentences
from migration.models.campaigns import Campaign
from migration.models.client_groups import NAME_LENGTH, ClientGroup, GroupMember, fold_group_name
from migration.models.clients import all_clients
from migration.models.moves import PhaseChange, is_move_back
from migration.models.readiness import count_awaited_by_blocker
from migration.models.steered_runs import SteeredRun
from migration.models.wave_counts import count_for_stop_rule

if TYPE_CHECKING:
    from datetime import datetime

    from migration.models.clients import ClientPhaseQuerySet
    from migration.models.readiness import Blocker
    from migration.models.runs import Run, RunQuerySet
    from migration.models.wave_counts import WaveCounts
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


def is_name_in_any_language(name: str, message: Message) -> bool:
    """Say whether the message reads as the name in some language of the pages, in capital letters or not."""
    key = fold_group_name(name)
    for code, _language in settings.LANGUAGES:
        with override(code):
            if fold_group_name(localize(message)) == key:
                return True
    return False


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
        return count_for_stop_rule(list(self.values_list("pk", flat=True)))


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

    @property
    def is_held_by_lost_group(self) -> bool:
        """Say whether its group was deleted, and nobody has had the campaign go on without it."""
        return self.group_id is None and not self.goes_on_without_group

    @property
    def name_message(self) -> Message:
        """Return its place in the campaign and its group, as part of a sentence."""
        names = {"number": str(self.position)}
        group = escape_name(self.group_name)
        has_that_name = is_name_in_any_language(
            self.group_name, campaign_sentences.WAVE_OF_THAT_NAME(**names)
        )
        # The first part is called so before there is a second: a name that is stored stays right.
        if self.part > 1 or self.campaign.wave_size:
            names["part"] = str(self.part)
            if has_that_name:
                return campaign_sentences.PART_OF_WAVE_OF_THAT_NAME(**names)
            return campaign_sentences.WAVE_PART(**names, group=group)
        if has_that_name:
            return campaign_sentences.WAVE_OF_THAT_NAME(**names)
        return campaign_sentences.WAVE(**names, group=group)

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
        ours = models.Q(wave__campaign=self.campaign_id)
        others = models.Q(wave__campaign__state__in=Campaign.NOT_OVER, left_out_at=None)
        taken = WaveClient.objects.filter(ours | others).values("client_id")
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

    def list_runs_of_steps(self) -> list[Run]:
        """Return the runs of its steps since it is watched; those that roll it back are none of them."""
        since = self.runs.filter(created_at__gte=self.watched_since)
        return list(since.filter(only_where_equal=False).order_by("pk"))

    def find_next_untried_step(self) -> tuple[Phase, Phase] | None:
        """Return the first move that it has not tried since it is watched and that a client of it waits for."""
        tried = {(run.move_from, run.move_to) for run in self.list_runs_of_steps()}
        for old, new in self.campaign.steps:
            if (old, new) not in tried and self.list_not_moved_back_by_others().in_phases(
                old
            ).exists():
                return old, new
        return None

    def find_unfinished_run(self) -> Run | None:
        """Return the run of it that is not over; None where there is none."""
        return self.runs.filter(finished_at=None).order_by("pk").first()

    def find_stopped_run(self) -> Run | None:
        """Return the run of a step that was stopped since the wave is watched; None where there is none."""
        steps = self.runs.filter(only_where_equal=False, state=SteeredRun.State.STOPPED)
        return steps.filter(steered_at__gte=self.watched_since).order_by("pk").first()

    def find_end_of_last_soak(self) -> datetime | None:
        """Return when its last step has soaked; None where it made none."""
        newest = self.runs.aggregate(last=models.Max("finished_at"))["last"]
        return newest + self.campaign.soak if newest else None

    def waits_at_most_until(self) -> datetime:
        """Return until when its next step waits at most for what comes by itself."""
        moments = (self.find_end_of_last_soak(), self.watched_since, self.began_at)
        begins = max(moment for moment in moments if moment)
        return self.campaign.find_opening(begins) + self.campaign.longest_wait_after_soak

    def count_awaited_by_blocker(self, from_phase: Phase) -> dict[Blocker, int]:
        """Count the clients for which its step from this phase waits, by what keeps them."""
        return count_awaited_by_blocker(self.list_not_moved_back_by_others().in_phases(from_phase))

    def count_against_rule(self) -> WaveCounts:
        """Count what the stop rule limits, since the wave is watched."""
        return Wave.objects.filter(pk=self.pk).count_against_rule()[self.pk]


class WaveClientQuerySet(models.QuerySet["WaveClient"]):
    def not_left_out(self) -> Self:
        """Select the waves' clients that were not left out when a campaign went on."""
        return self.filter(left_out_at=None)


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
