"""Sums up campaigns: what each waits for, its waves against their limits, and the clients that were left.

The number of queries doesn't grow with clients or waves. Reads the database alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Count, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.models.campaigns import Campaign
from migration.models.client_groups import GroupMember
from migration.models.clients import all_clients
from migration.models.runs import Run
from migration.models.wave_counts import WaveCounts
from migration.models.waves import WaveClient
from migration.reports.campaign_left import (
    describe_message,
    find_frequent_reason,
    list_first_left_out_clients,
    list_unmoved_clients,
)
from migration.reports.campaign_waits import explain_waiting, find_unfinished_run
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from migration.models.waves import Wave
    from migration.reports.campaign_left import ClientsLeftByRun, LeftOutClients, MostFrequentReason
    from migration.reports.campaign_waits import WaitingStep
    from nova_credentials.messages import Message

# So many of the newest runs of a wave are listed: each time that a campaign goes on adds some.
RUNS_LISTED = 10


class WaveState(models.TextChoices):
    """Where a wave stands."""

    NOT_BEGUN = "not_begun", _("Not begun")
    IN_WORK = "in_work", _("In work")
    SOAKING = "soaking", _("Soaking")
    WAITING = "waiting", _("Waits for clients")
    BEGUN = "begun", _("Step under way or due")
    ROLLING_BACK = "rolling_back", _("Rolling back")
    ROLLED_BACK = "rolled_back", _("Rolled back")
    FINISHED = "finished", _("Finished")


@dataclass(frozen=True)
class WaveSummary:
    """One wave: its clients by phase, and what is counted against the stop rule; None before it begins."""

    wave: Wave
    state: WaveState
    clients: int  # that it takes along; NOVA may have deleted some
    left_out: int  # that the campaign went on without
    phases: dict[
        Phase, int
    ]  # of those that NOVA still has, in the order of the phases, zeros included
    counts: WaveCounts | None
    runs: tuple[Run, ...]  # the newest RUNS_LISTED, the newest last
    soaks_until: datetime | None = None  # where it soaks now

    @property
    def at_goal(self) -> int:
        """Return how many of the wave's clients have come to the campaign's goal, or further."""
        return sum(self.phases[phase] for phase in self.wave.campaign.phases_at_goal)

    @property
    def deleted(self) -> int:
        """Return the number of the wave's clients that NOVA has deleted."""
        return self.clients - sum(self.phases.values())

    def to_json(self) -> dict[str, object]:
        """Return the wave for the JSON of commands."""
        wave = self.wave
        return {
            "position": wave.position,
            "part": wave.part,
            "group": wave.group_name,
            "state": self.state.value,
            "began_at": _show_moment(wave.began_at),
            "finished_at": _show_moment(wave.finished_at),
            "clients": self.clients,
            "left_out": self.left_out,
            "phases": {phase.value: number for phase, number in self.phases.items()},
            "counts": asdict(self.counts) if self.counts else None,
            "runs": [
                {
                    "run": run.pk,
                    "from": run.move_from,
                    "to": run.move_to,
                    "state": run.state,
                    "rolls_back": run.only_where_equal,
                }
                for run in self.runs
            ],
        }


@dataclass(frozen=True)
class CampaignSummary:
    """One campaign: what it waits for, and its waves."""

    campaign: Campaign
    groups: tuple[str, ...]  # in their order, as they were called when it was created
    waves_done: int
    waves_all: int  # with those into which what is left of a group will be divided
    waves_to_come: int  # of these, those that are only made once the one before is done
    seconds_left: float | None  # about, at the pace of the waves that are done
    waits_for: Message | None  # None where it is over, and where it stopped and nothing is in work
    waiting: WaitingStep | None
    unfinished_run: Run | None
    waves: tuple[WaveSummary, ...]
    left: tuple[ClientsLeftByRun, ...]  # the newest run first
    frequent_reason: MostFrequentReason | None  # of a stopped one
    left_out: LeftOutClients

    @property
    def percent_of_waves_done(self) -> float:
        return 100 * self.waves_done / self.waves_all if self.waves_all else 0

    def to_json(self) -> dict[str, object]:
        """Return the campaign for the JSON of commands: messages in English, and their keys; times with their zone."""
        campaign, run = self.campaign, self.unfinished_run
        return {
            "campaign": campaign.pk,
            "state": campaign.state,
            "goal": campaign.goal,
            "groups": list(self.groups),
            "by": campaign.by_name,
            "approved_by": campaign.approved_by_name,
            "reason": campaign.reason,
            "created_at": _show_moment(campaign.created_at),
            "changed_at": _show_moment(campaign.changed_at),
            "stopped_because": describe_message(campaign.stopped_because),
            "refused_most_often": self.frequent_reason and self.frequent_reason.to_json(),
            "waits_for": describe_message(self.waits_for),
            "waits_for_clients": self.waiting and self.waiting.to_json(),
            "settings": settings_to_json(campaign),
            "unfinished_run": run.pk if run else None,
            "waves_done": self.waves_done,
            "waves_all": self.waves_all,
            "waves": [wave.to_json() for wave in self.waves],
            "left": [left.to_json() for left in self.left],
            "left_out": self.left_out.to_json(),
        }


def summarize_campaign(
    campaign: Campaign, *, waves: Collection[Wave] | None = None
) -> CampaignSummary:
    """Sum up the campaign with all its waves, or with those of `waves` alone: a page shows some."""
    every_wave = list(campaign.waves.all())
    shown = list(every_wave if waves is None else waves)
    for wave in shown:
        wave.campaign = campaign
    run = find_unfinished_run(campaign)
    wait = explain_waiting(campaign, run)
    summaries = tuple(_summarize_waves(campaign, shown, wait.step))
    left_out = sum(wave.left_out for wave in summaries)
    stopped = campaign.state == Campaign.State.STOPPED
    waves_all = _count_waves(campaign, every_wave)
    return CampaignSummary(
        campaign=campaign,
        groups=tuple(campaign.waves.filter(part=1).values_list("group_name", flat=True)),
        waves_done=sum(wave.finished_at is not None for wave in every_wave),
        waves_all=waves_all,
        waves_to_come=max(0, waves_all - len(every_wave)),
        waits_for=wait.message,
        waiting=wait.step,
        seconds_left=_forecast_seconds_left(campaign, every_wave, waves_all),
        unfinished_run=run,
        waves=summaries,
        left=tuple(list_unmoved_clients(shown)),
        frequent_reason=find_frequent_reason(campaign) if stopped else None,
        left_out=list_first_left_out_clients(shown, left_out),
    )


def _count_waves(campaign: Campaign, waves: list[Wave]) -> int:
    """Count the waves that there are, and those into which what is left of a group will be divided."""
    if campaign.state not in Campaign.NOT_OVER:
        return len(waves)
    begun = [wave for wave in waves if wave.began_at]
    ahead = [wave for wave in waves if wave.began_at is None]
    if not campaign.wave_size:
        return len(waves)
    # A group that has begun may have clients left for another part; it is the last that has.
    begun_groups = [wave.group_id for wave in begun if wave.group_id]
    groups = {wave.group_id for wave in ahead if wave.group_id} | {*begun_groups[-1:]}
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    before = all_clients().in_phases(*(old for old, _new in campaign.steps)).values("pk")
    members = GroupMember.objects.filter(group__in=groups, client__in=before).order_by()
    members = members.exclude(client__in=taken)
    counted = members.values_list("group").annotate(number=Count("client_id"))
    untaken: dict[int, int] = dict(counted)
    parts = sum(ceil(untaken.get(group, 0) / campaign.wave_size) for group in groups)
    return len(begun) + max(parts, len(ahead))


def _forecast_seconds_left(campaign: Campaign, waves: list[Wave], waves_all: int) -> float | None:
    """Return about how long a running campaign takes yet, at the pace of its waves that are done; None without one."""
    took = [
        (wave.finished_at - wave.began_at).total_seconds()
        for wave in waves
        if wave.began_at
        and wave.finished_at
        # A wave in whose time the campaign was stopped took longer than the next one will.
        and not (wave.watched_since and wave.began_at < wave.watched_since < wave.finished_at)
    ]
    if not took or campaign.state != Campaign.State.RUNNING:
        return None
    each, now = sum(took) / len(took), timezone.now()
    left = waves_all * each
    for wave in waves:
        if wave.finished_at:
            left -= each
        elif since := wave.watched_since or wave.began_at:
            left -= min(each, (now - since).total_seconds())
    # Where the last wave takes longer than the others did, nobody knows how long.
    return left if left > 0 else None


def settings_to_json(campaign: Campaign) -> dict[str, object]:
    """Return what the campaign was started with, for programs."""
    begins, ends = campaign.begins_at, campaign.ends_at
    return {
        "wave_size": campaign.wave_size,
        "soak_minutes": campaign.soak_minutes,
        "most_mismatches": campaign.most_mismatches,
        "most_failed_reads": campaign.most_failed_reads,
        "most_refused": campaign.most_refused,
        "begins_at": begins.isoformat("minutes") if begins else None,
        "ends_at": ends.isoformat("minutes") if ends else None,
        "time_zone": timezone.get_default_timezone_name(),
        "rolls_back": campaign.rolls_back,
    }


def _show_moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


# Its waves


def _summarize_waves(
    campaign: Campaign, waves: list[Wave], waiting: WaitingStep | None
) -> Iterable[WaveSummary]:
    ids = [wave.pk for wave in waves]
    taken = WaveClient.objects.not_left_out().filter(wave__in=ids).order_by()
    clients, left_out = _count_clients(ids)
    phases: dict[int, dict[Phase, int]] = defaultdict(lambda: dict.fromkeys(Phase, 0))
    stands_in = Coalesce("client__client_migration__phase", models.Value(Phase.POSTGRES.value))
    # A client that NOVA has deleted is joined to no row, and has no slug there.
    for wave_id, phase, number in taken.values_list("wave", stands_in).annotate(
        number=Count("client__slug")
    ):
        phases[wave_id][Phase(phase)] += number
    counts = campaign.waves.filter(pk__in=ids).begun().count_against_rule()
    runs: dict[int, list[Run]] = defaultdict(list)
    for run in _list_newest_runs(ids):
        runs[run.wave_id or 0].append(run)
    for wave in waves:
        state = _find_state(campaign, wave, runs[wave.pk])
        if state == WaveState.BEGUN and waiting and waiting.wave == wave:
            state = WaveState.WAITING
        yield WaveSummary(
            wave=wave,
            state=state,
            soaks_until=_find_soak_end(campaign, runs[wave.pk])
            if state == WaveState.SOAKING
            else None,
            clients=clients.get(wave.pk, 0),
            left_out=left_out.get(wave.pk, 0),
            phases=phases[wave.pk],
            counts=counts.get(wave.pk),
            runs=tuple(runs[wave.pk]),
        )


def _count_clients(wave_ids: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Count the clients that each wave takes along, and those that the campaign went on without."""
    counted = WaveClient.objects.filter(wave__in=wave_ids).order_by().values_list("wave")
    rows = list(counted.annotate(all=Count("pk"), left_out=Count("left_out_at")))
    return {pk: number - out for pk, number, out in rows}, {pk: out for pk, _number, out in rows}


def _list_newest_runs(wave_ids: list[int]) -> QuerySet[Run]:
    place = Window(RowNumber(), partition_by="wave", order_by="-pk")
    numbered = Run.objects.filter(wave__in=wave_ids).annotate(place=place)
    return numbered.filter(place__lte=RUNS_LISTED).order_by("pk")


def _find_state(campaign: Campaign, wave: Wave, runs: list[Run]) -> WaveState:
    """Say where the wave stands, by its newest runs."""
    if wave.began_at is None:
        return WaveState.NOT_BEGUN
    unfinished = [run for run in runs if run.finished_at is None]
    if wave.rollback_is_due or unfinished:
        rolls_back = wave.rollback_is_due or any(run.only_where_equal for run in unfinished)
        return WaveState.ROLLING_BACK if rolls_back else WaveState.IN_WORK
    since = wave.watched_since or wave.began_at
    if any(run.only_where_equal and run.created_at >= since for run in runs):
        return WaveState.ROLLED_BACK
    if wave.finished_at:
        return WaveState.FINISHED
    until = _find_soak_end(campaign, runs)
    soaks = campaign.state == Campaign.State.RUNNING and until and timezone.now() < until
    return WaveState.SOAKING if soaks else WaveState.BEGUN


def _find_soak_end(campaign: Campaign, runs: list[Run]) -> datetime | None:
    ends = [run.finished_at for run in runs if run.finished_at]
    return max(ends) + campaign.soak if ends else None
