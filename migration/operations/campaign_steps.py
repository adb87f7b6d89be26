"""Takes campaigns further, a step at a time: begins waves, starts their runs, stops by the rule, and rolls back.

Whatever decides is read anew each time, under the campaign's lock: a process that is killed leaves nothing half done,
and two that come at once make one step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from migration import audit_sentences, campaign_sentences, sentences
from migration.models.campaigns import Campaign
from migration.models.notices import Notice, NoticeEvent
from migration.models.planned_moves import PlannedMoves
from migration.models.runs import MANY_TRIES, Run
from migration.models.steered_runs import StaleRunError
from migration.models.waves import Wave
from migration.operations.gates import needs_approval
from migration.operations.skipped_items import skip_free_items_of_stopped_run
from nova_credentials.messages import in_a_row
from nova_credentials.phases import MOVES, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.models.wave_counts import WaveCounts
    from nova_credentials.messages import Message

# A rollback that meets NOVA at a client tries it again within seconds; whoever waits longer does it by hand.
ROLLBACK_TRIES = 3


def skip_stopped_items(campaign_id: int) -> None:
    """Skip what stopped runs left open, once the stop is committed.

    Who processes a batch has read the stop then, or its lease shows which batch it is.
    """
    stopped = Run.objects.filter(wave__campaign=campaign_id, state=Run.State.STOPPED)
    for run in stopped.filter(finished_at=None):
        skip_free_items_of_stopped_run(run)


def advance_campaign(campaign_id: int) -> Run | None:
    """Do what is next in the campaign; return the run that was started, which the caller enqueues.

    Does nothing where another process is at it, or where it waits: for a run, a soak time, an hour, clients that lack
    what comes by itself, or a person.
    """
    unfinished = Run.objects.filter(wave__campaign=campaign_id, finished_at=None)
    for each in unfinished:
        each.finish_if_done()  # its worker may have been killed before it did
    run = _do_next(campaign_id)
    if unfinished.filter(state=Run.State.STOPPED).exists():
        skip_stopped_items(campaign_id)
        run = run or _do_next(campaign_id)
    return run


def _do_next(campaign_id: int) -> Run | None:
    with transaction.atomic():
        campaign = Campaign.objects.lock_to_take_further(campaign_id)
        if campaign and campaign.state == Campaign.State.RUNNING:
            return _take_running_further(campaign, timezone.now())
        if campaign and campaign.state == Campaign.State.STOPPED:
            return _start_due_rollback(campaign)
    return None


def _take_running_further(campaign: Campaign, now: datetime) -> Run | None:
    waves = list(campaign.waves.begun().select_related("group"))
    counted = campaign.waves.begun().count_against_rule()
    broken = {}
    for wave in waves:
        wave.campaign = campaign
        if why := find_broken_rule(wave, counted[wave.pk]):
            broken[wave] = why
    if broken:
        return _stop_by_rule(campaign, broken)
    if hindrance := next(filter(None, map(_find_hindrance, waves)), None):
        _stop(campaign, hindrance)
        return None
    return _begin_next_step(campaign, waves, now)


def _begin_next_step(campaign: Campaign, waves: Sequence[Wave], now: datetime) -> Run | None:
    """Begin the next step of the first wave that is not finished, unless that wave waits; else the next wave."""
    for wave in waves:
        if wave.finished_at is None:
            if wave.find_unfinished_run() or now < (wave.find_end_of_last_soak() or now):
                return None
            campaign.waves.filter(pk=wave.pk).remove_former_members(campaign)
            if step := wave.find_next_untried_step():
                return _start_due_step(wave, *step, now)
            wave.finished_at = now
            wave.save(update_fields=["finished_at"])
    if not campaign.hours_allow_step(now):
        return None
    return _begin_next_wave(campaign, waves[-1] if waves else None, now)


def _find_hindrance(wave: Wave) -> Message | None:
    """Say what people did by which the campaign stops; it says nothing about the clients, so none is rolled back."""
    if wave.is_held_by_lost_group and wave.finished_at is None:
        return campaign_sentences.CAMPAIGN_GROUP_IS_GONE(wave=wave.name_message)
    if run := wave.find_stopped_run():
        return campaign_sentences.RUN_WAS_STOPPED(run=run.name_message, wave=wave.name_message)
    return None


def find_broken_rule(wave: Wave, counts: WaveCounts) -> Message | None:
    """Say which limit of the stop rule the wave has reached; None where it has reached none."""
    campaign, named = wave.campaign, wave.name_message
    for number, limit, sentence in (
        (counts.mismatches, campaign.most_mismatches, campaign_sentences.MISMATCHES_REACHED),
        (counts.failed_reads, campaign.most_failed_reads, campaign_sentences.FAILED_READS_REACHED),
        (counts.refused, campaign.most_refused, campaign_sentences.REFUSALS_REACHED),
    ):
        if number >= limit:
            return sentence(wave=named, n=number, limit=limit)
    return None


def _stop_by_rule(campaign: Campaign, broken: Mapping[Wave, Message]) -> Run | None:
    """Stop the campaign and the run that it has in work, and roll the waves back that broke the rule if it does so."""
    reasons = list(broken.values())
    if campaign.rolls_back:
        if any(map(_may_roll_back, broken)):
            reasons.append(campaign_sentences.ROLLS_BACK())
        campaign.waves.filter(pk__in=[wave.pk for wave in broken]).update(rollback_is_due=True)
    _stop(campaign, in_a_row(*reasons) or reasons[0])
    return _start_due_rollback(campaign)


def _may_roll_back(wave: Wave) -> bool:
    """Say whether the wave has clients that are read from AWS, or a run in work that may move some there."""
    run = wave.find_unfinished_run()
    cuts_over = run is not None and run.move_to == Phase.AWS
    return cuts_over or wave.list_clients().in_phases(Phase.AWS).exists()


def _stop(campaign: Campaign, why: Message) -> None:
    """Stop the campaign and the run of a step that it has in work; a rollback in work goes on."""
    campaign.stop_by_itself(why)
    stopped = audit_sentences.CAMPAIGN_STOPPED(campaign=campaign.name_message, why=why)
    act = campaign.record_act(stopped, by=None)
    Notice.objects.record_act_as(NoticeEvent.WAVE_STOPPED, act)
    stop_steps(campaign, by=None)


def stop_steps(campaign: Campaign, *, by: User | None) -> None:
    """Stop the runs of steps that are not over."""
    steps = Run.objects.filter(wave__campaign=campaign, only_where_equal=False)
    for run in steps.filter(finished_at=None):
        with suppress(StaleRunError):  # somebody has stopped it already
            if run.state == Run.State.REQUESTED:  # somebody has its refused clients tried again
                run.stop_unapproved(by=by)
                # Within the transaction: by this the run is known never to go on.
                skip_free_items_of_stopped_run(run, why=sentences.RUN_WITHDRAWN())
            else:
                run.stop(by=by)


def _start_due_rollback(campaign: Campaign) -> Run | None:
    """Start the rollback of the wave that broke the rule, once its moves have ended: workers finish their batches."""
    # Somebody may have had refused clients tried again since it stopped.
    stop_steps(campaign, by=None)
    for wave in campaign.waves.filter(rollback_is_due=True):
        if wave.find_unfinished_run():
            return None
        wave.rollback_is_due = False
        wave.save(update_fields=["rollback_is_due"])
        if wave.list_clients().in_phases(Phase.AWS).exists():
            return _start_rollback(wave)
    return None


def _start_rollback(wave: Wave) -> Run:
    moves = PlannedMoves(Phase.AWS, Phase.DUAL_READ, only_where_equal=True)
    return Run.start(
        kind=Run.Kind.MOVE,
        chosen=wave.list_clients(),
        tries=ROLLBACK_TRIES,
        moves=moves,
        campaign_wave=wave,
    )


def _start_due_step(wave: Wave, old: Phase, new: Phase, now: datetime) -> Run | None:
    """Start the step, unless it is out of hours, or waits for clients that lack what comes by itself."""
    if not wave.campaign.hours_allow_step(now):
        return None
    if now < wave.waits_at_most_until() and wave.count_awaited_by_blocker(old):
        return None
    return _start_step(wave, old, new)


def _start_step(wave: Wave, old: Phase, new: Phase) -> Run | None:
    """Start the run of a step; where it needs an approval that nobody was asked for yet, the campaign waits for it."""
    campaign = wave.campaign
    approved = needs_approval(MOVES[old, new])
    if approved and not campaign.approved_by_name:
        if campaign.by is None:
            _stop(campaign, campaign_sentences.NOBODY_TO_ASK())
        else:
            campaign.ask_for_approval()
        return None
    return Run.start(
        kind=Run.Kind.MOVE,
        chosen=wave.list_not_moved_back_by_others(),
        by=campaign.by,
        tries=MANY_TRIES,
        moves=PlannedMoves(old, new, campaign.reason),
        campaign_wave=wave,
        approved_by=campaign.approved_by if approved else None,
        approved_by_name=campaign.approved_by_name if approved else "",
    )


def _begin_next_wave(campaign: Campaign, last: Wave | None, now: datetime) -> Run | None:
    """Begin the next wave that has clients, and its first step; without one the campaign is finished."""
    while wave := _find_next_wave(campaign, last):
        wave.campaign = campaign
        if not wave.goes_on_without_group and not wave.lock_group():
            _stop(campaign, campaign_sentences.CAMPAIGN_GROUP_IS_GONE(wave=wave.name_message))
            return None
        number = wave.begin(now=now)
        begun = audit_sentences.WAVE_BEGUN(
            campaign=campaign.name_message, wave=wave.name_message, n=number
        )
        campaign.record_act(begun, by=None)
        if step := wave.find_next_untried_step():
            return _start_due_step(wave, *step, now)
        wave.finished_at = now
        wave.save(update_fields=["finished_at"])
        last = wave
    campaign.finish()
    return None


def _find_next_wave(campaign: Campaign, last: Wave | None) -> Wave | None:
    """Return the wave after `last`: the rest of its group, or the next group; None after the last one."""
    splits = last if campaign.wave_size else None
    if splits and not splits.goes_on_without_group and not splits.lock_group():
        return splits  # nobody knows whether it had clients left
    if splits and splits.list_joinable_clients().exists():
        return Wave.objects.create(
            campaign=campaign,
            position=splits.position,
            part=splits.part + 1,
            group=splits.group,
            group_name=splits.group_name,
        )
    return campaign.waves.filter(began_at=None).order_by("position", "part").first()
