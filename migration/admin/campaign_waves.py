"""Describes the waves of a campaign for its page: each number with its limit, and the list that it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext as _

from migration.models.campaigns import Campaign
from migration.reports.campaign_lists import CountedClients, make_list_query
from migration.reports.campaigns import WaveState
from migration.templatetags.migration_pages import make_label
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from migration.reports.campaigns import WaveSummary

WAVE_LOOKS = {
    WaveState.NOT_BEGUN: ("default", "schedule"),
    WaveState.IN_WORK: ("info", "progress_activity"),
    WaveState.SOAKING: ("info", "hourglass"),
    WaveState.WAITING: ("info", "hourglass"),
    WaveState.BEGUN: ("default", "play_arrow"),
    WaveState.ROLLING_BACK: ("warning", "undo"),
    WaveState.ROLLED_BACK: ("warning", "undo"),
    WaveState.FINISHED: ("success", "check"),
}
# Each number of a wave leads to a list of exactly the clients that it counts.
COUNTED_LISTS = {
    "refused": CountedClients.REFUSED,
    "mismatches": CountedClients.DIFFERING,
    "failed_reads": CountedClients.FAILED_READS,
}


def get_wave_context(wave: WaveSummary) -> dict[str, object]:
    """Return what the page shows of one wave; in `counts` each number with its limit and its list's query."""
    campaign, counts, pk = wave.wave.campaign, wave.counts, wave.wave.pk
    variant, icon = WAVE_LOOKS[wave.state]
    stands_still = wave.state == WaveState.BEGUN and campaign.state == Campaign.State.STOPPED
    was_left = wave.state == WaveState.BEGUN and campaign.is_over
    # Somebody moved clients of it back, or took them out of their group.
    lacks_some = wave.state == WaveState.FINISHED and wave.at_goal < wave.clients - wave.deleted
    label = str(wave.state.label)
    if stands_still or lacks_some:
        label = _("Stands still") if stands_still else _("Finished, not all at the goal")
        variant, icon = "warning", "stop" if stands_still else icon
    elif was_left:
        label, icon = _("Left where it was"), "cancel"
    in_aws = wave.phases[Phase.AWS]
    limits = (
        ("refused", campaign.most_refused),
        ("mismatches", campaign.most_mismatches),
        ("failed_reads", campaign.most_failed_reads),
    )
    labels = {
        "refused": _("Refused"),
        "mismatches": _("Mismatches"),
        "failed_reads": _("Failed reads"),
    }
    until = wave.soaks_until
    return {
        "pk": pk,
        "name": wave.wave.name_message,
        "badge": make_label(label, variant, icon),
        # By the action of the client list, which moves exactly those that its filter shows.
        "in_aws": 0 if wave.state == WaveState.ROLLING_BACK else in_aws,
        "in_aws_query": make_list_query(CountedClients.TAKEN, pk, phase=Phase.AWS.value),
        "began_at": wave.wave.began_at,
        "finished_at": wave.wave.finished_at,
        "clients": wave.clients if counts else None,
        "at_goal": wave.at_goal,
        "percent": 100 * wave.at_goal / wave.clients if wave.clients else 0,
        "deleted": wave.deleted,
        "left_out": wave.left_out,
        "left_out_query": make_list_query(CountedClients.LEFT_OUT, pk),
        "phases": [
            (phase, number, make_list_query(CountedClients.TAKEN, pk, phase=phase.value))
            for phase, number in wave.phases.items()
            if number
        ],
        "soak_left": (until - timezone.now()).total_seconds() if until else None,
        "counts": [
            (
                labels[name],
                number := getattr(counts, name),
                limit,
                number >= limit,
                make_list_query(COUNTED_LISTS[name], pk),
            )
            for name, limit in (limits if counts else ())
        ],
        "runs": wave.runs,
    }
