"""Starts, approves, stops and cancels campaigns, as people say; `campaign_steps` takes them further."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from migration import audit_sentences, campaign_sentences, sentences
from migration.models.audit_events import AuditCode
from migration.models.campaign_clients import read_campaign_request
from migration.models.campaigns import GOALS, Campaign, describe_minutes
from migration.models.client_groups import ClientGroup
from migration.models.phases import MOVE_PERMISSIONS
from migration.models.reasons import require_storable_reason
from migration.models.waves import Wave
from migration.operations.approvals import ApprovalStepRefused, find_second_user_refusal
from migration.operations.campaign_steps import skip_stopped_items, stop_steps
from migration.operations.evidence import describe_duration
from migration.operations.gates import needs_approval
from nova_credentials.messages import MessageError
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, time

    from django.contrib.auth.models import User

    from migration.models.clients import ClientPhaseQuerySet

# The largest number of PostgreSQL's integer.
LARGEST = 2**31 - 1


class CampaignStartRefusedError(MessageError):
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

    Raises `CampaignStartRefusedError`, `ReasonError`, and `ApprovalStepRefused` for a request without user or reason.
    """
    require_storable_reason(reason)
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
    require_sense(campaign, groups)
    if waits := any(needs_approval(MOVES[step]) for step in campaign.steps):
        _require_requester(by, reason)
        campaign.state = Campaign.State.REQUESTED
    with transaction.atomic():
        _lock_free_groups(groups)
        campaign.save()
        for position, group in enumerate(groups, start=1):
            Wave(campaign=campaign, position=position, group=group, group_name=group.name).save()
        if waits:
            campaign.fix_members()
        sentence = audit_sentences.CAMPAIGN_REQUESTED if waits else audit_sentences.CAMPAIGN_STARTED
        facts = sentence(
            campaign=campaign.name_message,
            goal=goal.label,
            groups=tuple(group.name for group in groups),
        )
        code = AuditCode.REQUEST if waits else AuditCode.CAMPAIGN
        campaign.record_act(facts, by=by, code=code, reason=reason)
    return campaign


def start_campaign_with(
    *, chosen: ClientPhaseQuerySet, name: str, by: User, **campaign: Any
) -> Campaign:
    """Put the clients into a new group of this name, and store a campaign that takes it, as `start_campaign` does.

    Raises what that raises, and `ClientGroupError`; then there is no group either.
    """
    with transaction.atomic():
        group = ClientGroup(name=name)
        group.store_new(by=by)
        group.put_clients(chosen, by=by)
        return start_campaign(groups=[group], by=by, **campaign)


def require_sense(campaign: Campaign, groups: Sequence[ClientGroup] | None) -> None:
    """Raise `CampaignStartRefusedError` where the campaign could do nothing but be refused.

    `groups` is None where its group is still to be made.
    """
    if campaign.goal not in GOALS:
        goal = Phase(campaign.goal).label
        raise CampaignStartRefusedError(campaign_sentences.GOAL_NOT_POSSIBLE(phase=goal))
    if groups is not None and not groups:
        raise CampaignStartRefusedError(campaign_sentences.NO_GROUPS())
    if twice := [group for group, number in Counter(groups or ()).items() if number > 1]:
        raise CampaignStartRefusedError(campaign_sentences.GROUP_TWICE(group=str(twice[0])))
    _require_storable_numbers(campaign)
    if (campaign.begins_at is None) != (campaign.ends_at is None):
        raise CampaignStartRefusedError(campaign_sentences.HALF_THE_HOURS())
    wanted = float(settings.NOVA_DUAL_READ_HOURS)
    if campaign.goal == Phase.AWS and campaign.soak_minutes < wanted * 60:
        raise CampaignStartRefusedError(
            campaign_sentences.SOAKS_TOO_SHORT(
                wanted=describe_duration(timedelta(hours=wanted)),
                soak=describe_minutes(campaign.soak_minutes),
            )
        )


def _require_storable_numbers(campaign: Campaign) -> None:
    limits = (campaign.most_mismatches, campaign.most_failed_reads, campaign.most_refused)
    numbers = (*limits, campaign.wave_size, campaign.soak_minutes)
    if min(limits) < 1 or min(numbers) < 0:
        raise CampaignStartRefusedError(campaign_sentences.LIMIT_TOO_LOW())
    if max(numbers) > LARGEST:
        raise CampaignStartRefusedError(campaign_sentences.LIMIT_TOO_HIGH(number=str(max(numbers))))


def _require_requester(by: User | None, reason: str) -> None:
    """Raise `ApprovalStepRefused` unless a user who may make the moves asks for them, with a reason."""
    if by is None or not reason:
        raise ApprovalStepRefused(sentences.ASK_BY_COMMAND())
    if not by.has_perm(MOVE_PERMISSIONS[Move.CUTOVER]):
        raise ApprovalStepRefused(sentences.MAY_NOT_ASK(who=str(by)))


def _lock_free_groups(groups: Sequence[ClientGroup]) -> None:
    """Lock the groups; raise `CampaignStartRefusedError` where one is gone, or a campaign that is not over takes it."""
    ids = [group.pk for group in groups]
    # Of two that start at once, the second waits here and then sees the first one's waves.
    there = set(ClientGroup.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
    if gone := [group for group in groups if group not in there]:
        raise CampaignStartRefusedError(campaign_sentences.GROUP_NOT_THERE(group=str(gone[0])))
    taken = Wave.objects.filter(group__in=ids, campaign__state__in=Campaign.NOT_OVER)
    if wave := taken.select_related("campaign", "group").first():
        taken_by = wave.campaign.name_message
        raise CampaignStartRefusedError(
            campaign_sentences.GROUP_TAKEN(campaign=taken_by, group=str(wave.group))
        )


def approve_campaign(
    *, campaign_id: int, by: User, seen: datetime | None = None, shown: str | None = None
) -> Campaign:
    """Let a requested campaign begin in the name of `by`. Each client's gate counts at its turn.

    `shown` is the `RequestContent` of the page, as text. Raises `ApprovalStepRefused` where `by` may not approve it or
    it is another now, `StaleCampaignError`, and `Campaign.DoesNotExist`.
    """
    with transaction.atomic():
        # Of two who decide it, the second waits here, and what it covers stays as it is read.
        campaign = Campaign.objects.select_for_update().get(pk=campaign_id)
        why_not = find_second_user_refusal(campaign.by, campaign.by_name, by)
        if campaign.state == Campaign.State.REQUESTED:
            # Who had it go on asked for this approval.
            if campaign.steered_by_id == by.pk:
                why_not = sentences.OWN_REQUEST()
            why_not = why_not or read_campaign_request(campaign.pk).find_difference(shown)
        if why_not:
            facts = audit_sentences.APPROVAL_REFUSED(why=why_not)
            campaign.record_act(facts, by=by, code=AuditCode.REFUSAL)
        else:
            campaign.approve(by=by, seen=seen)
            facts = audit_sentences.CAMPAIGN_APPROVED(
                campaign=campaign.name_message, who=campaign.by_name
            )
            campaign.record_act(facts, by=by, code=AuditCode.APPROVAL, reason=campaign.reason)
    if why_not:
        raise ApprovalStepRefused(why_not)
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
