"""Owns what becomes of clients that a campaign could not move: it goes on without them, if somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models, transaction
from django.utils import timezone

from migration import audit_sentences, campaign_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.campaigns import Campaign, CampaignNotChangedError
from migration.models.reasons import check_reason
from migration.models.run_items import CAN_BE_RETRIED, RunItem
from migration.models.runs import Run
from migration.models.waves import WaveClient
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.models.run_items import RunItemQuerySet
    from migration.models.waves import Wave


def select_left_items(waves: Collection[Wave]) -> RunItemQuerySet:
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


def select_refused_items(campaign: Campaign) -> RunItemQuerySet:
    """Select the items of clients that a step of the campaign could not move, as above."""
    items: RunItemQuerySet = select_left_items(campaign.waves.begun()).filter(
        run__only_where_equal=False
    )
    return items


def go_on_without_refused(
    campaign: Campaign,
    *,
    by: User | None,
    seen: datetime | None = None,
    expected: int | None = None,
    reason: str = "",
) -> int:
    """Let a stopped campaign go on without the clients that its steps could not move; return their number.

    They stay in their phase. `expected` is their number as the user saw it. Raises `CampaignNotChangedError`, and
    `ReasonError`.
    """
    check_reason(reason)
    with transaction.atomic():
        # Of two who have it go on, the second waits here.
        Campaign.objects.select_for_update().get(pk=campaign.pk)
        unfinished = Run.objects.filter(wave__campaign=campaign, finished_at=None)
        if run := unfinished.first():
            raise CampaignNotChangedError(
                campaign_sentences.RUN_STILL_IN_WORK(run=run.name_message)
            )
        refused = dict(
            select_refused_items(campaign).order_by().values_list("client_id", "slug").distinct()
        )
        if expected is not None and expected != len(refused):
            raise CampaignNotChangedError(campaign_sentences.OTHER_NUMBER_REFUSED(n=len(refused)))
        taken = WaveClient.objects.taken_along().filter(wave__campaign=campaign, client__in=refused)
        taken.update(left_out_at=timezone.now())
        _record(campaign, refused, by=by, reason=reason)
        campaign.go_on(by=by, seen=seen)
    return len(refused)


def _record(campaign: Campaign, slugs: dict[int, str], *, by: User | None, reason: str) -> None:
    """Write an entry for the campaign, and one for each client, so that the audit of a client has its own."""
    facts = audit_sentences.GOES_ON_WITHOUT(campaign=campaign.name_message, n=len(slugs))
    with campaign.acting_for_it():
        AuditEvent.objects.record(AuditCode.CAMPAIGN, facts, by=by, reason=reason)
        left_out = audit_sentences.LEFT_OUT_OF_CAMPAIGN(campaign=campaign.name_message)
        AuditEvent.objects.record_many(
            [
                AuditEvent.sign_new(
                    AuditCode.CAMPAIGN, left_out, by=by, client_id=pk, slug=slugs[pk], reason=reason
                )
                for pk in sorted(slugs)
            ]
        )
