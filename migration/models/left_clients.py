"""Owns what becomes of clients that hold a campaign up: it goes on without them, if somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models, transaction
from django.utils import timezone

from migration import audit_sentences, campaign_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.campaigns import Campaign, CampaignNotChangedError
from migration.models.clients import all_clients, digest_clients
from migration.models.readiness import Blocker, Standing, select_standing
from migration.models.reasons import require_storable_reason
from migration.models.run_items import CAN_BE_RETRIED, RunItem
from migration.models.runs import Run
from migration.models.waves import WaveClient
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.models.clients import ClientPhaseQuerySet
    from migration.models.run_items import RunItemQuerySet
    from migration.models.waves import Wave

# Passes with the next comparison. What NOVA's reader met keeps a client for half an hour, and its whole wave with it.
PASSES_SOON = (Blocker.UNCHECKED,)


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
        models.Q(phase__in=campaign.phases_at_goal) & ~models.Q(blocker=Blocker.DIFFERS.value)
    )


def find_slugs_unmoved_by_steps(campaign: Campaign) -> dict[int, str]:
    """Return id and slug of each client that a step of the campaign could not move."""
    refused = select_items_unmoved_by_steps(campaign).order_by().values_list("client_id", "slug")
    return dict(refused.distinct())


def find_stuck_slugs(campaign: Campaign) -> dict[int, str]:
    """Return id and slug of each client that a step could not move, or that something lasting keeps now."""
    kept = select_blocked_now(campaign).exclude(blocker__in=[code.value for code in PASSES_SOON])
    return find_slugs_unmoved_by_steps(campaign) | dict(kept.values_list("pk", "slug"))


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
            raise CampaignNotChangedError(
                campaign_sentences.RUN_STILL_IN_WORK(run=run.name_message)
            )
        stuck = find(campaign)
        if digest is not None and digest != digest_clients(stuck):
            raise CampaignNotChangedError(campaign_sentences.OTHERS_ARE_STUCK(n=len(stuck)))
        taken = WaveClient.objects.not_left_out().filter(wave__campaign=campaign, client__in=stuck)
        taken.update(left_out_at=timezone.now())
        _record(campaign, stuck, by=by, reason=reason)
        campaign.go_on(by=by, seen=seen)
    return len(stuck)


def _record(campaign: Campaign, slugs: dict[int, str], *, by: User | None, reason: str) -> None:
    """Write an entry for the campaign, and one for each client, so that the audit of a client has its own."""
    facts = audit_sentences.GOES_ON_WITHOUT(campaign=campaign.name_message, n=len(slugs))
    with campaign.grouping_audit_entries():
        AuditEvent.objects.record(AuditCode.CAMPAIGN, facts, by=by, reason=reason)
        left_out = audit_sentences.LEFT_OUT_OF_CAMPAIGN(campaign=campaign.name_message)
        AuditEvent.objects.insert_already_signed(
            [
                AuditEvent.make_signed(
                    AuditCode.CAMPAIGN, left_out, by=by, client_id=pk, slug=slugs[pk], reason=reason
                )
                for pk in sorted(slugs)
            ]
        )
