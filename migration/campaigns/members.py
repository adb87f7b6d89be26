"""Owns which clients a campaign takes, and which it has left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models import QuerySet
from django.utils import timezone

from credentials.models import write_array
from migration.campaigns.models import (
    CAMPAIGN_EVENT,
    Campaign,
    CampaignNotChangedError,
    Wave,
    WaveClient,
    members_for_approval,
)
from migration.core.audit import AuditEvent, require_storable_reason
from migration.core.clients import ClientPhaseQuerySet, all_clients, digest_clients
from migration.core.groups import GroupMember
from migration.moves.readiness import Standing, select_standing
from migration.moves.rules import DIFFERS, UNCHECKED
from migration.runs.items import CAN_BE_RETRIED, RunItem, RunItemQuerySet
from migration.runs.models import Run
from migration.runs.requests import RequestContent, read_request_content
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# Clients that hold a campaign up: it goes on without them, if somebody says so

# Passes with the next comparison. What NOVA's reader met keeps a client for half an hour, and its whole wave with it.
PASSES_SOON = (UNCHECKED,)


def select_unmoved_items(waves: Collection[Wave]) -> RunItemQuerySet:
    """Select the items of clients that a run of the waves could not move since they are watched.

    Only of clients that still stand where the run met them, and that the campaign has not gone on without.
    """
    phase, old = "client__client_migration__phase", "run__move_from"
    stands_there = models.Q(**{phase: models.F(old)})
    stands_there |= models.Q(**{phase: None, old: Phase.POSTGRES.value})
    left_out = WaveClient.objects.filter(
        wave=models.OuterRef("run__wave"),
        client=models.OuterRef("client"),
        left_out_at__isnull=False,
    )
    items: RunItemQuerySet = RunItem.objects.filter(
        stands_there,
        ~models.Exists(left_out),
        run__wave__in=[wave.pk for wave in waves],
        run__created_at__gte=models.F("run__wave__watched_since"),
        outcome__in=CAN_BE_RETRIED,
    )
    return items


def select_items_unmoved_by_steps(campaign: Campaign) -> RunItemQuerySet:
    """Select the items of clients that a step of the campaign, not its rollback, could not move."""
    items: RunItemQuerySet = select_unmoved_items(campaign.waves.begun()).filter(
        run__only_where_equal=False
    )
    return items


def select_blocked_now(campaign: Campaign) -> ClientPhaseQuerySet:
    """Select the campaign's clients that are blocked now until somebody acts, with `blocker`. Takes a query."""
    taken = WaveClient.objects.not_left_out().filter(wave__in=campaign.waves.begun())
    ids = list(taken.order_by().values_list("client_id", flat=True))
    # By their ids: see `count_awaited_by_blocker`.
    kept = select_standing(all_clients().with_ids(ids), Standing.BLOCKED)
    # At the goal no move is left to be kept, but the campaign stops again for what differs there.
    return kept.exclude(
        models.Q(phase__in=campaign.phases_at_goal) & ~models.Q(blocker=DIFFERS.code)
    )


def select_blocked_later(campaign: Campaign) -> ClientPhaseQuerySet:
    """Select the clients that wait for a wave to begin and are blocked until somebody acts. Takes two queries."""
    # A group of more clients than a wave may have is taken in parts, while some are left.
    may_take = {"finished_at": None} if campaign.wave_size else {"began_at": None}
    waves = campaign.waves.filter(group__isnull=False, **may_take)
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    waiting = members_for_approval(campaign).filter(group__in=waves.values("group"))
    ids = list(waiting.exclude(client_id__in=taken).values_list("client_id", flat=True))
    before = all_clients().with_ids(ids).in_phases(*(old for old, _new in campaign.steps))
    return select_standing(before, Standing.BLOCKED)


def find_slugs_unmoved_by_steps(campaign: Campaign) -> dict[int, str]:
    """Return id and slug of each client that a step of the campaign could not move."""
    refused = select_items_unmoved_by_steps(campaign).order_by().values_list("client_id", "slug")
    return dict(refused.distinct())


def find_stuck_slugs(campaign: Campaign) -> dict[int, str]:
    """Return id and slug of each client that a step could not move, or that something lasting keeps now."""
    kept = select_blocked_now(campaign).exclude(blocker__in=[each.code for each in PASSES_SOON])
    return find_slugs_unmoved_by_steps(campaign) | dict(kept.values_list("pk", "slug"))


def find_stuck_slugs_of_all_waves(campaign: Campaign) -> dict[int, str]:
    """Return id and slug of the stuck clients, and of those that would stop it again when their wave begins."""
    later = select_blocked_later(campaign).exclude(blocker__in=[each.code for each in PASSES_SOON])
    return find_stuck_slugs(campaign) | dict(later.values_list("pk", "slug"))


RUN_STILL_IN_WORK = Sentence(
    "run_still_in_work",
    "Nothing was done: %(run)s is still running. Try again once it has finished.",
)
OTHERS_ARE_STUCK = Sentence(
    "others_are_stuck",
    "Nothing was done: other clients are blocked now (%(n)s). Check the list again.",
    one="Nothing was done: another client is blocked now. Check the list again.",
)
GOES_ON_WITHOUT = Sentence(
    "goes_on_without",
    "Continued %(campaign)s and left out %(n)s clients.",
    one="Continued %(campaign)s and left out %(n)s client.",
)
LEFT_OUT_OF_CAMPAIGN = Sentence(
    "left_out_of_campaign",
    "Left out of %(campaign)s, which continues without this client.",
)


def go_on_without(
    campaign: Campaign,
    *,
    by: User | None,
    find: Callable[[Campaign], dict[int, str]],
    seen: datetime | None = None,
    digest: str | None = None,
    reason: str = "",
) -> int:
    """Let a stopped campaign go on without the clients that `find` returns; return their number.

    They stay in their phase. `digest` is `digest_clients` of those that the user saw. Raises `CampaignNotChangedError`,
    and `ReasonError`.
    """
    require_storable_reason(reason)
    with transaction.atomic():
        # Of two who have it go on, the second waits here.
        Campaign.objects.select_for_update().get(pk=campaign.pk)
        unfinished = Run.objects.filter(wave__campaign=campaign, finished_at=None)
        if run := unfinished.first():
            raise CampaignNotChangedError(RUN_STILL_IN_WORK(run=run.name_message))
        stuck = find(campaign)
        if digest is not None and digest != digest_clients(stuck):
            raise CampaignNotChangedError(OTHERS_ARE_STUCK(n=len(stuck)))
        taken = WaveClient.objects.filter(wave__campaign=campaign, client__in=stuck)
        taken.not_left_out().update(left_out_at=timezone.now())
        in_waves = taken.values_list("client_id", flat=True)
        _keep_out_of_waves(campaign, {pk: stuck[pk] for pk in stuck.keys() - set(in_waves)})
        name = campaign.name_message
        with campaign.grouping_audit_entries():
            facts = GOES_ON_WITHOUT(campaign=name, n=len(stuck))
            AuditEvent.objects.record(CAMPAIGN_EVENT, facts, by=by, reason=reason)
            _record_left_out(LEFT_OUT_OF_CAMPAIGN(campaign=name), stuck, by=by, reason=reason)
        campaign.go_on(by=by, seen=seen)
    return len(stuck)


def _keep_out_of_waves(campaign: Campaign, clients: dict[int, str]) -> None:
    """Note clients that wait for a wave as left out of the newest one of their group: none takes them any more."""
    wave_of = {wave.group_id: wave for wave in campaign.waves.order_by("part")}
    members = GroupMember.objects.filter(
        client__in=clients, group__in=campaign.waves.values("group")
    )
    group_of = dict(members.values_list("client_id", "group_id"))
    now = timezone.now()
    WaveClient.objects.bulk_create(
        WaveClient(wave=wave_of[group], client_id=pk, slug=clients[pk], left_out_at=now)
        for pk, group in group_of.items()
    )


LEFT_OUT_AS_INACTIVE = Sentence(
    "left_out_as_inactive",
    "Left out of %(campaign)s: NOVA doesn't read inactive clients.",
)
GOES_ON_WITHOUT_INACTIVE = Sentence(
    "goes_on_without_inactive",
    "%(campaign)s left out %(n)s inactive clients of %(wave)s.",
    one="%(campaign)s left out %(n)s inactive client of %(wave)s.",
)


def leave_out_inactive(wave: Wave) -> None:
    """Leave out the wave's inactive clients before they come into dual read: NOVA would never read them there.

    In PostgreSQL alone the first push refuses them, and in dual read the cutover does, which somebody may override.
    """
    before = wave.list_clients().in_phases(Phase.DUAL_WRITE)
    inactive = dict(before.exclude(is_active=True).values_list("pk", "slug"))
    if not inactive:
        return
    campaign, name = wave.campaign, wave.campaign.name_message
    WaveClient.objects.filter(wave=wave, client__in=inactive).update(left_out_at=timezone.now())
    with campaign.grouping_audit_entries():
        facts = GOES_ON_WITHOUT_INACTIVE(campaign=name, wave=wave.name_message, n=len(inactive))
        AuditEvent.objects.record(CAMPAIGN_EVENT, facts, by=None)
        _record_left_out(LEFT_OUT_AS_INACTIVE(campaign=name), inactive, by=None)


def _record_left_out(
    facts: Message, clients: dict[int, str], *, by: User | None, reason: str = ""
) -> None:
    """Record it of each client by itself, so that the audit of a client has its own entry."""
    entries = [
        AuditEvent.make_signed(CAMPAIGN_EVENT, facts, by=by, client_id=pk, slug=slug, reason=reason)
        for pk, slug in sorted(clients.items())
    ]
    AuditEvent.objects.insert_already_signed(entries)


# Clients and groups in a campaign that is not over: taken by a wave, or waiting for theirs

# Whether a member of a group waits for its wave, or for a later part of it. Not who came into the group after somebody
# was asked to approve the campaign, as nobody approves that; one that is stopped has to be approved again.
_WAITS = """
    (wave.began_at IS NULL OR campaign.wave_size > 0)
    AND (campaign.asked_at IS NULL OR member.added_at <= campaign.asked_at OR campaign.state = 'stopped')
    AND NOT EXISTS (
        SELECT FROM migration_waveclient AS gone JOIN migration_wave AS own ON own.id = gone.wave_id
        WHERE gone.client_id = member.client_id AND own.campaign_id = campaign.id
    )
"""
# Who is in a `campaign`, in a wave of it or waiting for one; a client in two of its groups comes twice.
_TAKEN = """
    SELECT taken.client_id
    FROM migration_wave AS wave
    JOIN migration_waveclient AS taken ON taken.wave_id = wave.id
    WHERE wave.campaign_id = campaign.id AND taken.left_out_at IS NULL
"""
_WAITING = f"""
    SELECT member.client_id
    FROM migration_wave AS wave
    JOIN migration_groupmember AS member ON member.group_id = wave.group_id
    WHERE wave.campaign_id = campaign.id AND {_WAITS}
"""  # noqa: S608  # a constant
_OF_CAMPAIGN = f"{_TAKEN} UNION ALL {_WAITING}"
# The same without the waves that are finished: nothing more is done to their clients.
_UNFINISHED = f"{_TAKEN} AND wave.finished_at IS NULL UNION ALL {_WAITING}"
# Leaves out a client that `stands` at the goal, unless the campaign may roll it back: nothing is done to it either.
_NOT_AT_GOAL = """
    AND (campaign.rolls_back OR stands.phase IS NULL
        OR array_position(%s, stands.phase::text) < array_position(%s, campaign.goal::text))
"""
# Who is counted in how far a `campaign` is: also who got to its goal by another way before the wave of its group began.
_COUNTED = f"""
    {_OF_CAMPAIGN}
    UNION ALL
    SELECT member.client_id
    FROM migration_wave AS wave
    JOIN migration_groupmember AS member ON member.group_id = wave.group_id
    JOIN migration_clientmigration AS stands ON stands.client_id = member.client_id
    WHERE wave.campaign_id = campaign.id AND (campaign.asked_at IS NULL OR member.added_at <= campaign.asked_at)
        AND array_position(%s, stands.phase::text) >= array_position(%s, campaign.goal::text)
        AND NOT EXISTS (
            SELECT FROM migration_waveclient AS gone JOIN migration_wave AS own ON own.id = gone.wave_id
            WHERE gone.client_id = member.client_id AND own.campaign_id = campaign.id
        )
"""  # noqa: S608  # a constant
# Who is in some campaigns, each once, with the goal.
_CHOSEN = f"""
    SELECT DISTINCT every_client.client_id, campaign.goal
    FROM migration_campaign AS campaign JOIN LATERAL ({_OF_CAMPAIGN}) AS every_client ON true
    WHERE campaign.id = ANY(%(campaigns)s)
"""  # noqa: S608  # a constant


class CampaignShare(NamedTuple):
    """How many of some clients a campaign has, and whether it moves any clients as things stand."""

    campaign: Campaign
    clients: int
    # Also of one that is stopped, until its run has ended and its rollback is made.
    moves_clients: bool


def count_in_campaigns(
    client_ids: Collection[int] | QuerySet[Any, int], *, in_finished_waves: bool = True
) -> list[CampaignShare]:
    """Return the campaigns that are not over and have some of the clients. Takes one query.

    Without `in_finished_waves`, only those that have something to do with them yet.

    Very many ids are given as the query of one column that selects them, which becomes a part of it.
    """
    if isinstance(client_ids, QuerySet):
        chosen, values = client_ids.query.sql_with_params()
    else:
        chosen, values = "SELECT unnest(%s::bigint[])", (write_array(client_ids),)
    of_campaign, not_at_goal, line = _OF_CAMPAIGN, "", list[list[str]]()
    if not in_finished_waves:
        of_campaign, not_at_goal = _UNFINISHED, _NOT_AT_GOAL
        line = [[phase.value for phase in Phase]] * 2
    found = Campaign.objects.raw(
        f"""
        SELECT campaign.*, counted.number, campaign.state = %s OR EXISTS (
            SELECT FROM migration_wave AS wave LEFT JOIN migration_run AS run ON run.wave_id = wave.id
            WHERE wave.campaign_id = campaign.id
                AND (wave.rollback_is_due OR run.state IN ('running', 'stopped') AND run.finished_at IS NULL)
        ) AS moves_clients
        FROM migration_campaign AS campaign
        JOIN LATERAL (
            SELECT count(DISTINCT every_client.client_id) AS number
            FROM ({of_campaign}) AS every_client
            LEFT JOIN migration_clientmigration AS stands USING (client_id)
            WHERE every_client.client_id IN ({chosen}) {not_at_goal}
        ) AS counted ON counted.number > 0
        WHERE campaign.state = ANY(%s)
        ORDER BY campaign.id
        """,  # noqa: S608  # a constant, and Django's own query
        [Campaign.State.RUNNING, *values, *line, [state.value for state in Campaign.NOT_OVER]],
    )
    return [CampaignShare(each, each.number, each.moves_clients) for each in found]  # type: ignore[attr-defined]  # selected


class CampaignProgress(NamedTuple):
    """How many clients a campaign has, and how many of them are at its goal, or further."""

    campaign_id: int
    done: int
    clients: int

    @property
    def percent(self) -> float:
        return 100 * self.done / self.clients if self.clients else 0


def list_running_campaigns() -> list[CampaignProgress]:
    """Return how far each running campaign is. Takes one query."""
    return measure_campaigns(Campaign.objects.filter(state=Campaign.State.RUNNING))


def measure_campaigns(campaigns: QuerySet[Campaign]) -> list[CampaignProgress]:
    """Return how far each of these campaigns is, which are not over: how many clients it has moved. Takes one query."""
    chosen, values = campaigns.order_by().values("pk").query.sql_with_params()
    line = [phase.value for phase in Phase]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT campaign.id, count(DISTINCT present.id) FILTER (
                WHERE array_position(%s, coalesce(kept.phase, %s)::text)
                    >= array_position(%s, campaign.goal::text)
            ), count(DISTINCT present.id)
            FROM migration_campaign AS campaign
            LEFT JOIN LATERAL ({_COUNTED}) AS every_client ON true
            LEFT JOIN public.clients AS present ON present.id = every_client.client_id
            LEFT JOIN migration_clientmigration AS kept ON kept.client_id = present.id
            WHERE campaign.id IN ({chosen})
            GROUP BY 1 ORDER BY 1
            """,  # noqa: S608  # a constant, and Django's own query
            [line, Phase.POSTGRES.value, line, line, line, *values],
        )
        return [CampaignProgress(*row) for row in cursor.fetchall()]


def list_clients_in_campaigns() -> set[int]:
    """Return the ids of the clients that are in a campaign that is not over. Takes two queries."""
    return {pk for pk, _goal in _read_goals()}


def select_taken_further() -> models.Q:
    """Return the condition of the clients that a campaign that is not over is to take further. Takes two queries."""
    line, by_goal = list(Phase), defaultdict[str, list[int]](list)
    for pk, goal in _read_goals():
        by_goal[goal].append(pk)
    condition = models.Q(pk__in=[])
    for goal, ids in by_goal.items():
        before = line[: line.index(Phase(goal))]
        condition |= models.Q(pk__in=ids) & (
            models.Q(client_migration__phase__in=before) | models.Q(client_migration=None)
        )
    return condition


def _read_goals() -> list[tuple[int, str]]:
    """Return client id and goal of each client in a campaign that is not over."""
    campaigns = list(Campaign.objects.not_over().values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(_CHOSEN, {"campaigns": campaigns})
        return [(pk, goal) for pk, goal in cursor]


def read_campaign_request(campaign_id: int) -> RequestContent:
    """Return what an approval of the campaign covers: the clients that it may move, and how. Takes one query."""
    return read_request_content(
        f"SELECT client_id, NULL AS slug FROM ({_CHOSEN}) AS chosen",  # noqa: S608  # a constant
        """
        SELECT concat_ws(' ', campaign::text, (
            SELECT string_agg(concat_ws(' ', position, part, group_id, group_name), ' ' ORDER BY position, part)
            FROM migration_wave WHERE campaign_id = campaign.id
        )) FROM migration_campaign AS campaign WHERE id = ANY(%(campaigns)s)
        """,
        {"campaigns": [campaign_id]},
    )


def count_new_members(campaign: Campaign) -> int:
    """Count the clients that came into the campaign's groups after its request: an approval doesn't cover them."""
    if campaign.asked_at is None:
        return 0
    groups = campaign.waves.filter(group__isnull=False).values("group")
    new = GroupMember.objects.filter(group__in=groups, added_at__gt=campaign.asked_at)
    return all_clients().filter(pk__in=new.values("client_id")).count()


class NewMemberVerdict(Enum):
    """Whether a campaign takes a client that comes into a group of it now."""

    LATER = auto()  # when its wave begins
    IN_ANOTHER_PART = auto()  # its wave has begun, and what is left of the group makes another one
    NOT_APPROVED = auto()  # it was requested for the clients that were there
    TOO_LATE = auto()  # its wave has begun


def list_newest_waves_of_groups(group_ids: Collection[int]) -> list[tuple[Wave, NewMemberVerdict]]:
    """List each group's newest wave in a campaign not over, and whether it takes a new member. Takes one query."""
    waves = Wave.objects.filter(campaign__state__in=Campaign.NOT_OVER, group__in=group_ids)
    newest = waves.select_related("campaign", "group").order_by("group_id", "-part")
    return [(wave, _judge_wave(wave)) for wave in newest.distinct("group_id")]


def _judge_wave(wave: Wave) -> NewMemberVerdict:
    # One that is stopped waits for another approval, once it is to go on.
    if wave.campaign.asked_at and wave.campaign.state != Campaign.State.STOPPED:
        return NewMemberVerdict.NOT_APPROVED
    if wave.began_at is None:
        return NewMemberVerdict.LATER
    # A group of more clients than a wave may have is taken in parts, while some are left.
    has_parts = wave.campaign.wave_size and wave.finished_at is None
    return NewMemberVerdict.IN_ANOTHER_PART if has_parts else NewMemberVerdict.TOO_LATE
