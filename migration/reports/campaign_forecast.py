"""Forecasts about when a campaign ends, from what its past waves took. Says nothing where no wave is done."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from django.db.models import Count
from django.utils import timezone

from migration.models import Campaign, GroupMember, WaveClient, all_clients

if TYPE_CHECKING:
    from migration.models import Wave


@dataclass(frozen=True)
class Forecast:
    """About when the last wave is done, and what that rests on."""

    ends_at: datetime
    waves_done: int
    seconds_per_wave: float  # from the begin of a wave to its end, its soak times included

    @property
    def seconds_left(self) -> float:
        return (self.ends_at - timezone.now()).total_seconds()


def forecast_end(campaign: Campaign) -> Forecast | None:
    """Return the forecast of a campaign that goes on, in three queries; None where nothing supports one."""
    if campaign.state != Campaign.State.RUNNING:
        return None
    waves = list(campaign.waves.all())
    took = [
        (wave.finished_at - wave.began_at).total_seconds()
        for wave in waves
        # A wave in whose time the campaign was stopped took longer than the next one will.
        if wave.began_at and wave.finished_at and not _stood_still(wave, until=wave.finished_at)
    ]
    if not took:
        return None
    each, now = sum(took) / len(took), timezone.now()
    open_waves = [wave for wave in waves if wave.began_at and not wave.finished_at]
    left = sum(
        max(each - _seconds_since(wave.watched_since), _soaks_for(wave)) for wave in open_waves
    )
    ahead = count_waves_to_begin(campaign, waves)
    if left + ahead * each <= 0:  # it takes longer than the others did: nobody knows how long
        return None
    return Forecast(now + timedelta(seconds=left + ahead * each), len(took), each)


def _seconds_since(moment: datetime | None) -> float:
    return (timezone.now() - moment).total_seconds() if moment else 0.0


def _soaks_for(wave: Wave) -> float:
    """Return for how many seconds its last step soaks still."""
    return max(0.0, -_seconds_since(wave.find_end_of_last_soak()))


def _stood_still(wave: Wave, *, until: datetime) -> bool:
    """Say whether somebody had the campaign go on between the begin of the wave and `until`."""
    return bool(wave.began_at and wave.watched_since and wave.began_at < wave.watched_since < until)


def count_waves_to_begin(campaign: Campaign, waves: list[Wave]) -> int:
    """Count the waves to come, with those into which a group of more clients than a wave may have will be split."""
    ahead = [wave for wave in waves if wave.began_at is None]
    if not campaign.wave_size:
        return len(ahead)
    # A group that has begun may have clients left for another part; it is the last that has.
    begun = [wave for wave in waves if wave.began_at and wave.group_id]
    groups = {wave.group_id for wave in [*ahead, *begun[-1:]] if wave.group_id}
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    before = all_clients().in_phases(*(old for old, _new in campaign.steps)).values("pk")
    members = GroupMember.objects.filter(group__in=groups, client__in=before).order_by()
    members = members.exclude(client__in=taken)
    counted = members.values_list("group").annotate(number=Count("client_id"))
    untaken: dict[int | None, int] = defaultdict(int, counted)
    parts = sum(ceil(untaken[group] / campaign.wave_size) for group in groups)
    return max(parts, len(ahead))
