"""Says what a campaign waits for now: an approval, a run, a soak time, an hour of the day, or a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from migration import campaign_sentences, sentences
from migration.models import Campaign, Run, Worker

if TYPE_CHECKING:
    from datetime import datetime

    from nova_credentials.messages import Message, Sentence

RUN_SENTENCES: dict[str, Sentence] = {
    Run.State.PAUSED: campaign_sentences.WAITS_FOR_PAUSED_RUN,
    Run.State.REQUESTED: campaign_sentences.WAITS_FOR_REQUESTED_RUN,
}


def find_unfinished_run(campaign: Campaign) -> Run | None:
    """Return the run of the campaign that is not over; a step before a rollback, which waits for it."""
    unfinished = Run.objects.filter(wave__campaign=campaign, finished_at=None)
    return unfinished.select_related("wave").order_by("pk").first()


def explain_waiting(campaign: Campaign, run: Run | None) -> Message | None:
    """Say what the campaign waits for now; None where nothing happens by itself."""
    if campaign.state == Campaign.State.REQUESTED:
        return campaign_sentences.WAITS_FOR_APPROVAL()
    if campaign.is_over and run is None:
        return None
    if run and run.wave:
        sentence = RUN_SENTENCES.get(run.state, campaign_sentences.WAITS_FOR_RUN)
        return sentence(run=run.name_message, wave=run.wave.name_message)
    if campaign.state == Campaign.State.STOPPED:
        due = campaign.waves.filter(rollback_is_due=True).first()
        return campaign_sentences.WAITS_FOR_ROLLBACK(wave=due.name_message) if due else None
    return _explain_next_step(campaign)


def _explain_next_step(campaign: Campaign) -> Message:
    """Say when a running campaign, none of whose runs is in work, makes its next step."""
    now = timezone.now()
    wave = campaign.waves.begun().filter(finished_at=None).first()
    if wave:
        wave.campaign = campaign
        until = wave.soaks_until()
        if until and now < until:
            return campaign_sentences.SOAKS(wave=wave.name_message, until=show_time(until))
    if campaign.begins_at and campaign.ends_at and not campaign.may_begin_step(now):
        return campaign_sentences.WAITS_FOR_HOURS(
            begin=f"{campaign.begins_at:%H:%M}",
            end=f"{campaign.ends_at:%H:%M}",
            zone=timezone.get_default_timezone_name(),
        )
    seen_at = Worker.objects.last_seen_at()
    if seen_at is None or now - seen_at > Worker.GONE_AFTER:
        return sentences.NO_WORKER()
    return campaign_sentences.GOES_FURTHER()


def show_time(moment: datetime) -> str:
    """Return the moment with the site's time zone; a message shows a datetime as its age, and this one is to come."""
    local = timezone.localtime(moment)
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"
