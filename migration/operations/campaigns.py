"""Takes campaigns further, a step at a time: begins waves, starts their runs, stops by the rule, and rolls back.

Whatever decides is read anew each time, under the campaign's lock: a process that is killed leaves nothing half done,
and two that come at once make one step.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from migration import audit_sentences, campaign_sentences, sentences
from migration.models import (
    GOALS,
    MANY_TRIES,
    MOVE_PERMISSIONS,
    AuditCode,
    Campaign,
    ClientGroup,
    PlannedMoves,
    Run,
    StaleRunError,
    Wave,
    check_reason,
)
from migration.operations.approvals import NotApproved, find_second_user_refusal
from migration.operations.gates import needs_approval
from migration.operations.runs import skip_open_items
from nova_credentials.messages import MessageError, in_a_row
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, time

    from django.contrib.auth.models import User

    from migration.models import WaveCounts
    from nova_credentials.messages import Message

# The largest number of PostgreSQL's integer.
LARGEST = 2**31 - 1
# A rollback that meets NOVA at a client tries it again within seconds; whoever waits longer does it by hand.
ROLLBACK_TRIES = 3


class CampaignRefusedError(MessageError):
    """The campaign can't be started; the message says why."""


def start_campaign(
    *,
    groups: Sequence[ClientGroup],
    goal: Phase = Phase.AWS,
    by: User | None = None,
    reason: str = "",
    wave_size: int = 0,
    soak_minutes: int = 0,
    most_mismatches: int = 1,
    most_failed_reads: int = 1,
    most_refused: int = 1,
    begins_at: time | None = None,
    ends_at: time | None = None,
    rolls_back: bool = False,
) -> Campaign:
    """Store a campaign that takes the groups to `goal`, in their order. Where its cutover needs an approval, it waits.

    Raises `CampaignRefusedError`, `NotApproved` where the request lacks a user or a reason, and `ReasonError`.
    """
    check_reason(reason)
    campaign = Campaign(
        goal=goal,
        by=by,
        reason=reason,
        wave_size=wave_size,
        soak_minutes=soak_minutes,
        most_mismatches=most_mismatches,
        most_failed_reads=most_failed_reads,
        most_refused=most_refused,
        begins_at=begins_at,
        ends_at=ends_at,
        rolls_back=rolls_back,
    )
    _require_sense(campaign, groups)
    if waits := any(needs_approval(MOVES[step]) for step in campaign.steps):
        _require_requester(by, reason)
        campaign.state = Campaign.State.REQUESTED
    with transaction.atomic():
        _lock_free_groups(groups)
        campaign.save()
        for position, group in enumerate(groups, start=1):
            Wave(campaign=campaign, position=position, group=group, group_name=group.name).save()
        sentence = audit_sentences.CAMPAIGN_REQUESTED if waits else audit_sentences.CAMPAIGN_STARTED
        facts = sentence(
            campaign=campaign.name_message,
            goal=goal.label,
            groups=tuple(group.name for group in groups),
        )
        code = AuditCode.REQUEST if waits else AuditCode.CAMPAIGN
        campaign.record_act(facts, by=by, code=code, reason=reason)
    return campaign


def _require_sense(campaign: Campaign, groups: Sequence[ClientGroup]) -> None:
    """Raise `CampaignRefusedError` where the campaign could do nothing but be refused."""
    if campaign.goal not in GOALS:
        goal = Phase(campaign.goal).label
        raise CampaignRefusedError(campaign_sentences.GOAL_NOT_POSSIBLE(phase=goal))
    if not groups:
        raise CampaignRefusedError(campaign_sentences.NO_GROUPS())
    if twice := [group for group, number in Counter(groups).items() if number > 1]:
        raise CampaignRefusedError(campaign_sentences.GROUP_TWICE(group=str(twice[0])))
    _require_storable_numbers(campaign)
    if (campaign.begins_at is None) != (campaign.ends_at is None):
        raise CampaignRefusedError(campaign_sentences.HALF_THE_HOURS())
    wanted = float(settings.NOVA_DUAL_READ_HOURS)
    if campaign.goal == Phase.AWS and campaign.soak_minutes < wanted * 60:
        facts = {"wanted": wanted, "soak": campaign.soak_minutes / 60}
        raise CampaignRefusedError(campaign_sentences.SOAKS_TOO_SHORT(**facts))


def _require_storable_numbers(campaign: Campaign) -> None:
    limits = (campaign.most_mismatches, campaign.most_failed_reads, campaign.most_refused)
    numbers = (*limits, campaign.wave_size, campaign.soak_minutes)
    if min(limits) < 1 or min(numbers) < 0:
        raise CampaignRefusedError(campaign_sentences.LIMIT_TOO_LOW())
    if max(numbers) > LARGEST:
        raise CampaignRefusedError(campaign_sentences.LIMIT_TOO_HIGH(number=str(max(numbers))))


def _require_requester(by: User | None, reason: str) -> None:
    """Raise `NotApproved` unless a user who may make the moves asks for them, with a reason."""
    if by is None or not reason:
        raise NotApproved(sentences.ASK_BY_COMMAND())
    if not by.has_perm(MOVE_PERMISSIONS[Move.CUTOVER]):
        raise NotApproved(sentences.MAY_NOT_ASK(who=str(by)))


def _lock_free_groups(groups: Sequence[ClientGroup]) -> None:
    """Lock the groups; raise `CampaignRefusedError` where one is gone, or a campaign that is not over takes it."""
    ids = [group.pk for group in groups]
    # Of two that start at once, the second waits here and then sees the first one's waves.
    there = set(ClientGroup.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
    if gone := [group for group in groups if group not in there]:
        raise CampaignRefusedError(campaign_sentences.GROUP_NOT_THERE(group=str(gone[0])))
    taken = Wave.objects.filter(group__in=ids, campaign__state__in=Campaign.NOT_OVER)
    if wave := taken.select_related("campaign", "group").first():
        taken_by = wave.campaign.name_message
        raise CampaignRefusedError(
            campaign_sentences.GROUP_TAKEN(campaign=taken_by, group=str(wave.group))
        )


def approve_campaign(*, campaign_id: int, by: User) -> Campaign:
    """Let a requested campaign begin in the name of `by`. Each client's gate counts at its turn.

    Raises `NotApproved` where `by` may not approve it, `StaleCampaignError`, and `Campaign.DoesNotExist`.
    """
    campaign = Campaign.objects.get(pk=campaign_id)
    if why_not := find_second_user_refusal(campaign.by, campaign.by_name, by):
        facts = audit_sentences.APPROVAL_REFUSED(why=why_not)
        campaign.record_act(facts, by=by, code=AuditCode.REFUSAL)
        raise NotApproved(why_not)
    with transaction.atomic():
        campaign.approve(by=by)
        approved = audit_sentences.CAMPAIGN_APPROVED(
            campaign=campaign.name_message, who=campaign.by_name
        )
        campaign.record_act(approved, by=by, code=AuditCode.APPROVAL, reason=campaign.reason)
    return campaign


def take_further(campaign_id: int) -> Run | None:
    """Do what is next in the campaign; return the run that was started, which the caller enqueues.

    Does nothing where another process is at it, or where it waits: for a run, a soak time, an hour, or a person.
    """
    unfinished = Run.objects.filter(wave__campaign=campaign_id, finished_at=None)
    for each in unfinished:
        each.finish_if_done()  # its worker may have been killed before it did
    run = _do_next(campaign_id)
    for each in unfinished.filter(state=Run.State.STOPPED):
        # Once the stop is committed: who processes a batch has read it then, or its lease shows which batch it is.
        skip_open_items(each)
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
    for wave in waves:
        wave.campaign = campaign
        if why := find_broken_rule(wave, counted[wave.pk]):
            return _stop_by_rule(wave, why)
    if hindrance := next(filter(None, map(_find_hindrance, waves)), None):
        _stop(campaign, hindrance)
        return None
    return _begin_next_step(campaign, waves, now)


def _begin_next_step(campaign: Campaign, waves: Sequence[Wave], now: datetime) -> Run | None:
    """Begin the next step of the first wave that is not finished, unless that wave waits; else the next wave."""
    for wave in waves:
        if wave.finished_at is None:
            if wave.find_unfinished_run() or now < (wave.soaks_until() or now):
                return None
            if step := wave.find_next_step():
                return _start_step(wave, *step) if campaign.may_begin_step(now) else None
            wave.finished_at = now
            wave.save(update_fields=["finished_at"])
    if not campaign.may_begin_step(now):
        return None
    return _begin_next_wave(campaign, waves[-1] if waves else None, now)


def _find_hindrance(wave: Wave) -> Message | None:
    """Say what people did by which the campaign stops; it says nothing about the clients, so none is rolled back."""
    if wave.lacks_group and wave.finished_at is None:
        return campaign_sentences.GROUP_IS_GONE(wave=wave.name_message)
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


def _stop_by_rule(wave: Wave, why: Message) -> Run | None:
    """Stop the campaign and the run that it has in work, and roll the wave back if its campaign does so."""
    campaign = wave.campaign
    if campaign.rolls_back:
        why = in_a_row(why, campaign_sentences.ROLLS_BACK()) or why
        wave.rollback_is_due = True
        wave.save(update_fields=["rollback_is_due"])
    _stop(campaign, why)
    return _start_due_rollback(campaign)


def _stop(campaign: Campaign, why: Message) -> None:
    """Stop the campaign and the run of a step that it has in work; a rollback in work goes on."""
    campaign.stop_by_itself(why)
    stopped = audit_sentences.CAMPAIGN_STOPPED(campaign=campaign.name_message, why=why)
    campaign.record_act(stopped, by=None)
    steps = Run.objects.filter(wave__campaign=campaign, only_where_equal=False)
    for run in steps.filter(finished_at=None):
        with suppress(StaleRunError):  # somebody has stopped it already
            if run.state == Run.State.REQUESTED:  # somebody has its refused clients tried again
                run.cancel_request(by=None)
            else:
                run.stop(by=None)


def _start_due_rollback(campaign: Campaign) -> Run | None:
    """Start the rollback of the wave that broke the rule, once its moves have ended: workers finish their batches."""
    wave = campaign.waves.filter(rollback_is_due=True).first()
    if wave is None or wave.find_unfinished_run():
        return None
    wave.rollback_is_due = False
    wave.save(update_fields=["rollback_is_due"])
    if not wave.list_clients().in_phases(Phase.AWS).exists():
        return None
    moves = PlannedMoves(Phase.AWS, Phase.DUAL_READ, only_where_equal=True)
    return Run.start(
        kind=Run.Kind.MOVE,
        chosen=wave.list_clients(),
        tries=ROLLBACK_TRIES,
        moves=moves,
        campaign_wave=wave,
    )


def _start_step(wave: Wave, old: Phase, new: Phase) -> Run | None:
    """Start the run of a step; where it needs an approval that nobody was asked for yet, the campaign waits for it."""
    campaign = wave.campaign
    approved = needs_approval(MOVES[old, new])
    if approved and not campaign.approved_by_name:
        campaign.wait_for_approval()
        return None
    return Run.start(
        kind=Run.Kind.MOVE,
        chosen=wave.list_clients(),
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
        if wave.lacks_group:
            _stop(campaign, campaign_sentences.GROUP_IS_GONE(wave=wave.name_message))
            return None
        number = wave.begin(now=now)
        begun = audit_sentences.WAVE_BEGUN(
            campaign=campaign.name_message, wave=wave.name_message, n=number
        )
        campaign.record_act(begun, by=None)
        if step := wave.find_next_step():
            return _start_step(wave, *step)
        wave.finished_at = now
        wave.save(update_fields=["finished_at"])
        last = wave
    campaign.finish()
    return None


def _find_next_wave(campaign: Campaign, last: Wave | None) -> Wave | None:
    """Return the wave after `last`: the rest of its group, or the next group; None after the last one."""
    if last and campaign.wave_size and last.lacks_group:
        return last  # nobody knows whether it had clients left
    if last and campaign.wave_size and last.list_takeable().exists():
        return Wave.objects.create(
            campaign=campaign,
            position=last.position,
            part=last.part + 1,
            group=last.group,
            group_name=last.group_name,
        )
    return campaign.waves.filter(began_at=None).order_by("position", "part").first()
