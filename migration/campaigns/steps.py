"""Starts, stops and cancels campaigns, and takes each step that is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from migration.campaigns.members import leave_out_inactive, read_campaign_request
from migration.campaigns.models import (
    CAMPAIGN_EVENT,
    GOALS,
    Campaign,
    Wave,
    WaveCounts,
    describe_minutes,
)
from migration.core.audit import (
    REFUSAL_EVENT,
    REQUEST_EVENT,
    require_storable_reason,
)
from migration.core.clients import MOVE_PERMISSIONS, ClientPhaseQuerySet, digest_clients
from migration.core.groups import ClientGroup, GroupMember
from migration.core.refused_acts import record_refusal
from migration.core.sentences import ASK_BY_COMMAND, MAY_NOT_ASK, RUN_WITHDRAWN
from migration.moves.acts import MOVE_ACTS
from migration.moves.approvals import (
    APPROVAL_REFUSED,
    ApprovalStepRefused,
    require_approvable,
)
from migration.runs.acts import Order
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.models import Run, StaleRunError
from nova_credentials.messages import Message, MessageError, Sentence, describe_duration, in_a_row
from nova_credentials.phases import Move, Phase

# What people do: start, approve, stop and cancel a campaign

# The largest number of PostgreSQL's integer.
LARGEST = 2**31 - 1


class CampaignStartRefusedError(MessageError):
    """The campaign can't be started; the message says why."""


class OtherClientsShownError(MessageError):
    """Nothing was started: the page showed other clients than it would be started with now."""


CAMPAIGN_STARTED = Sentence(
    "campaign_started", "Started %(campaign)s to %(goal)s: %(groups)s.", glue=", "
)
CAMPAIGN_REQUESTED = Sentence(
    "campaign_requested", "Requested %(campaign)s to %(goal)s: %(groups)s.", glue=", "
)


def start_campaign(
    *,
    groups: Sequence[ClientGroup],
    goal: Phase = Phase.AWS,
    by: User | None = None,
    shown: str | None = None,
    **settings: Any,
) -> Campaign:
    """Store a campaign that takes the groups to `goal`, in their order. Where its cutover needs an approval, it waits.

    `shown` is `digest_groups` of the page: a group that has other clients by now raises `OtherClientsShownError`.
    `settings` are fields of `Campaign`.

    Raises `CampaignStartRefusedError`, `ReasonError`, and `ApprovalStepRefused` for a request without a reason, or
    without a user who may make the moves.
    """
    campaign = Campaign(goal=goal, by=by, **settings)
    require_storable_reason(campaign.reason)
    require_sense(campaign, groups)
    if waits := awaits_approval(campaign):
        if by is None or not campaign.reason:
            raise ApprovalStepRefused(ASK_BY_COMMAND())
        if not by.has_perm(MOVE_PERMISSIONS[Move.CUTOVER]):
            raise ApprovalStepRefused(MAY_NOT_ASK(who=str(by)))
        campaign.state = Campaign.State.REQUESTED
    with transaction.atomic():
        # Whoever changes their members waits until the campaign has them.
        _lock_free_groups(groups)
        if shown is not None:
            now = digest_groups(groups).split()
            changed = [
                each.name
                for each, digest in zip(groups, now, strict=True)
                if digest not in shown.split()
            ]
            if changed:
                raise OtherClientsShownError(GROUPS_CHANGED(groups=tuple(changed)))
        campaign.save()
        for position, group in enumerate(groups, start=1):
            Wave(campaign=campaign, position=position, group=group, group_name=group.name).save()
        if waits:
            campaign.fix_members()
        sentence = CAMPAIGN_REQUESTED if waits else CAMPAIGN_STARTED
        facts = sentence(
            campaign=campaign.name_message,
            goal=goal.label,
            groups=tuple(group.name for group in groups),
        )
        code = REQUEST_EVENT if waits else CAMPAIGN_EVENT
        campaign.record_act(facts, by=by, code=code, reason=campaign.reason)
    return campaign


def awaits_approval(campaign: Campaign) -> bool:
    """Say whether somebody else has to approve the campaign before it begins."""
    return any(MOVE_ACTS[step].needs_approval for step in campaign.steps)


def digest_groups(groups: Sequence[ClientGroup]) -> str:
    """Return the id of each group and a digest of its members, which tells whether it is as it was shown."""
    members: dict[int, list[int]] = {group.pk: [] for group in groups}
    rows = GroupMember.objects.filter(group__in=members)
    for group_id, pk in rows.values_list("group_id", "pk"):
        members[group_id].append(pk)
    return " ".join(f"{group_id}:{digest_clients(pks)}" for group_id, pks in members.items())


def start_campaign_with(
    *, groups: Mapping[str, ClientPhaseQuerySet], by: User, **campaign: Any
) -> Campaign:
    """Put the clients into new groups of these names, and store a campaign that takes these, as `start_campaign` does.

    Raises what that raises, and `ClientGroupError`; then there is no group either.
    """
    made = []
    with transaction.atomic():
        for name, chosen in groups.items():
            group = ClientGroup(name=name)
            group.store_new(by=by)
            group.put_clients(chosen, by=by)
            made.append(group)
        return start_campaign(groups=made, by=by, **campaign)


# Why a campaign is refused
GROUPS_CHANGED = Sentence(
    "groups_changed",
    "Nothing was started: these groups have other clients than were shown: %(groups)s. Look at the numbers again.",
    glue=", ",
)
NO_GROUPS = Sentence("no_groups", "Nothing was started: choose at least one group.")
GROUP_TWICE = Sentence("group_twice", "Nothing was started: %(group)s is listed more than once.")
GOAL_NOT_POSSIBLE = Sentence(
    "goal_not_possible",
    "Nothing was started: a campaign takes clients to dual write, dual read or AWS, not to %(phase)s.",
)
SOAKS_TOO_SHORT = Sentence(
    "soaks_too_short",
    "Nothing was started: the gate to AWS wants %(wanted)s in dual read, and the campaign would try it after %(soak)s."
    " Every client would be refused. Make the watch time longer.",
)
LIMIT_TOO_LOW = Sentence(
    "limit_too_low",
    "Nothing was started: a limit of the stop rule is 1 or more, the size and the watch time 0 or more.",
)
LIMIT_TOO_HIGH = Sentence(
    "limit_too_high", "Nothing was started: %(number)s is more than can be stored."
)
HALF_THE_HOURS = Sentence(
    "half_the_hours",
    "Nothing was started: give both ends of the hours of the day, or neither.",
)


def require_sense(campaign: Campaign, groups: Sequence[ClientGroup] | None) -> None:
    """Raise `CampaignStartRefusedError` where the campaign could do nothing but be refused.

    `groups` is None where its group is still to be made.
    """
    if campaign.goal not in GOALS:
        goal = Phase(campaign.goal).label
        raise CampaignStartRefusedError(GOAL_NOT_POSSIBLE(phase=goal))
    if groups is not None and not groups:
        raise CampaignStartRefusedError(NO_GROUPS())
    if twice := [group for group, number in Counter(groups or ()).items() if number > 1]:
        raise CampaignStartRefusedError(GROUP_TWICE(group=str(twice[0])))
    limits = (campaign.most_mismatches, campaign.most_failed_reads, campaign.most_refused)
    numbers = (*limits, campaign.wave_size, campaign.soak_minutes)
    if min(limits) < 1 or min(numbers) < 0:
        raise CampaignStartRefusedError(LIMIT_TOO_LOW())
    if max(numbers) > LARGEST:
        raise CampaignStartRefusedError(LIMIT_TOO_HIGH(number=str(max(numbers))))
    if (campaign.begins_at is None) != (campaign.ends_at is None):
        raise CampaignStartRefusedError(HALF_THE_HOURS())
    wanted = float(settings.NOVA_DUAL_READ_HOURS)
    if campaign.goal == Phase.AWS and campaign.soak_minutes < wanted * 60:
        raise CampaignStartRefusedError(
            SOAKS_TOO_SHORT(
                wanted=describe_duration(timedelta(hours=wanted)),
                soak=describe_minutes(campaign.soak_minutes),
            )
        )


GROUP_NOT_THERE = Sentence(
    "group_not_there", "Nothing was started: the group %(group)s has been deleted since."
)
GROUP_TAKEN = Sentence(
    "group_taken",
    "Nothing was started: %(campaign)s, which is not over, takes %(group)s. Cancel that one first.",
)


def _lock_free_groups(groups: Sequence[ClientGroup]) -> None:
    """Lock the groups; raise `CampaignStartRefusedError` where one is gone, or a campaign that is not over takes it."""
    ids = [group.pk for group in groups]
    # Of two that start at once, the second waits here and then sees the first one's waves.
    there = set(ClientGroup.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
    if gone := [group for group in groups if group not in there]:
        raise CampaignStartRefusedError(GROUP_NOT_THERE(group=str(gone[0])))
    taken = Wave.objects.filter(group__in=ids, campaign__state__in=Campaign.NOT_OVER)
    if wave := taken.select_related("campaign", "group").first():
        taken_by = wave.campaign.name_message
        raise CampaignStartRefusedError(GROUP_TAKEN(campaign=taken_by, group=str(wave.group)))


def approve_campaign(
    campaign: Campaign, *, by: User, seen: datetime | None = None, shown: str | None = None
) -> Campaign:
    """Let a requested campaign begin in the name of `by`, and return it. Each client's gate counts at its turn.

    `shown` is the `RequestContent` of the page, as text. Raises `ApprovalStepRefused` where `by` may not approve it or
    it is another now, and `StaleCampaignError`.
    """
    try:
        with transaction.atomic():
            # Of two who decide it, the second waits here, and what it covers stays as it is read.
            campaign = Campaign.objects.select_for_update().get(pk=campaign.pk)
            require_approvable(campaign, read_campaign_request(campaign.pk), shown, by=by)
            campaign.approve(by=by, seen=seen)
    except ApprovalStepRefused as refusal:
        facts = APPROVAL_REFUSED(why=refusal.message)
        with campaign.grouping_audit_entries():
            record_refusal(REFUSAL_EVENT, facts, kind=("campaign approval", campaign.pk), by=by)
        raise
    return campaign


def stop_campaign(campaign: Campaign, *, by: User | None, seen: datetime | None = None) -> None:
    """Stop the campaign and its run in work, which nobody would watch any more. Raises `StaleCampaignError`."""
    with transaction.atomic():
        campaign.stop(by=by, seen=seen)
        stop_steps(campaign, by=by)
    skip_stopped_items(campaign.pk)


def cancel_campaign(
    campaign: Campaign,
    *,
    by: User | None,
    seen: datetime | None = None,
    only_requested: bool = False,
) -> None:
    """Cancel the campaign and stop the step that it has in work; a rollback in work goes on to its end.

    Raises `StaleCampaignError`; with `only_requested` also where somebody has approved it.
    """
    with transaction.atomic():
        campaign.cancel(by=by, seen=seen, only_requested=only_requested)
        stop_steps(campaign, by=by)
    skip_stopped_items(campaign.pk)


# What workers do: they take a campaign further, a step at a time. They begin waves, start their runs, stop by the rule,
# and roll back. Whatever decides is read anew each time, under the campaign's lock: a process that is killed leaves
# nothing half done, and two that come at once make one step.

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
            if wave.find_unfinished_run() or wave.soaks_until(now):
                return None
            campaign.waves.filter(pk=wave.pk).remove_former_members(campaign)
            leave_out_inactive(wave)
            if step := wave.find_next_untried_step():
                return _start_due_step(wave, *step, now)
            wave.finished_at = now
            wave.save(update_fields=["finished_at"])
    if not campaign.hours_allow_step(now):
        return None
    return _begin_next_wave(campaign, waves[-1] if waves else None, now)


RUN_WAS_STOPPED = Sentence(
    "run_was_stopped", "%(run)s of %(wave)s was stopped; the campaign stops with it."
)
CAMPAIGN_GROUP_IS_GONE = Sentence("campaign_group_is_gone", "The group of %(wave)s was deleted.")


def _find_hindrance(wave: Wave) -> Message | None:
    """Say what people did by which the campaign stops; it says nothing about the clients, so none is rolled back."""
    lost_group = wave.group_id is None and not wave.goes_on_without_group
    if lost_group and wave.finished_at is None:
        return CAMPAIGN_GROUP_IS_GONE(wave=wave.name_message)
    if run := wave.find_stopped_run():
        return RUN_WAS_STOPPED(run=run.name_message, wave=wave.name_message)
    return None


# Why a campaign stopped by itself
MISMATCHES_REACHED = Sentence(
    "mismatches_reached",
    "%(n)s clients have a mismatch in %(wave)s (limit: %(limit)s).",
    one="%(n)s client has a mismatch in %(wave)s (limit: %(limit)s).",
)
FAILED_READS_REACHED = Sentence(
    "failed_reads_reached",
    "%(n)s reads failed at AWS in %(wave)s (limit: %(limit)s).",
    one="%(n)s read failed at AWS in %(wave)s (limit: %(limit)s).",
)
REFUSALS_REACHED = Sentence(
    "refusals_reached",
    "%(n)s clients were refused in %(wave)s (limit: %(limit)s).",
    one="%(n)s client was refused in %(wave)s (limit: %(limit)s).",
)


def find_broken_rule(wave: Wave, counts: WaveCounts) -> Message | None:
    """Say which limit of the stop rule the wave has reached; None where it has reached none."""
    campaign, named = wave.campaign, wave.name_message
    for number, limit, sentence in (
        (counts.mismatches, campaign.most_mismatches, MISMATCHES_REACHED),
        (counts.failed_reads, campaign.most_failed_reads, FAILED_READS_REACHED),
        (counts.refused, campaign.most_refused, REFUSALS_REACHED),
    ):
        if number >= limit:
            return sentence(wave=named, n=number, limit=limit)
    return None


ROLLS_BACK = Sentence(
    "rolls_back",
    "Its clients that are read from AWS are rolled back, each where AWS can be read and holds what PostgreSQL holds.",
)


def _stop_by_rule(campaign: Campaign, broken: Mapping[Wave, Message]) -> Run | None:
    """Stop the campaign and the run that it has in work, and roll the waves back that broke the rule if it does so."""
    reasons = list(broken.values())
    if campaign.rolls_back:
        if any(map(_may_roll_back, broken)):
            reasons.append(ROLLS_BACK())
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
    stop_steps(campaign, by=None)


def stop_steps(campaign: Campaign, *, by: User | None) -> None:
    """Stop the runs of steps that are not over."""
    steps = Run.objects.filter(wave__campaign=campaign, only_where_equal=False)
    for run in steps.filter(finished_at=None):
        with suppress(StaleRunError):  # somebody has stopped it already
            if run.state == Run.State.REQUESTED:  # somebody has its refused clients tried again
                run.stop_unapproved(by=by)
                # Within the transaction: by this the run is known never to go on.
                skip_free_items_of_stopped_run(run, why=RUN_WITHDRAWN())
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
            only_where_equal = {"only_where_equal": True}
            order = Order(None, values=only_where_equal, tries=ROLLBACK_TRIES, wave=wave)
            return MOVE_ACTS[Phase.AWS, Phase.DUAL_READ].start(wave.list_clients(), order)
    return None


def _start_due_step(wave: Wave, old: Phase, new: Phase, now: datetime) -> Run | None:
    """Start the step, unless it is out of hours, or waits for clients that lack what comes by itself."""
    if not wave.campaign.hours_allow_step(now) or wave.count_awaited_by_blocker(old, now):
        return None
    return _start_step(wave, old, new)


NOBODY_TO_ASK = Sentence(
    "nobody_to_ask",
    "Its cutover needs an approval now, and no user asked for it. Cancel it, and start another in a user's name.",
)


def _start_step(wave: Wave, old: Phase, new: Phase) -> Run | None:
    """Start the run of a step; where it needs an approval that nobody was asked for yet, the campaign waits for it."""
    campaign = wave.campaign
    act = MOVE_ACTS[old, new]
    if act.needs_approval and not campaign.approved_by_name:
        if campaign.by is None:
            _stop(campaign, NOBODY_TO_ASK())
        else:
            campaign.ask_for_approval()
        return None
    order = Order(campaign.by, campaign.reason, wave=wave)
    return act.start(wave.list_not_moved_back_by_others(), order)


WAVE_BEGUN = Sentence(
    "wave_begun",
    "%(campaign)s began %(wave)s with %(n)s clients.",
    one="%(campaign)s began %(wave)s with %(n)s client.",
)


def _begin_next_wave(campaign: Campaign, last: Wave | None, now: datetime) -> Run | None:
    """Begin the next wave that has clients, and its first step; without one the campaign is finished."""
    while wave := _find_next_wave(campaign, last):
        wave.campaign = campaign
        if not wave.goes_on_without_group and not wave.lock_group():
            _stop(campaign, CAMPAIGN_GROUP_IS_GONE(wave=wave.name_message))
            return None
        number = wave.begin(now=now)
        begun = WAVE_BEGUN(campaign=campaign.name_message, wave=wave.name_message, n=number)
        campaign.record_act(begun, by=None)
        leave_out_inactive(wave)
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
