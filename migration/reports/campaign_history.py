"""Tells the history of a campaign from the audit: its begin, its stops and why, who had it go on, its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration import audit_sentences, campaign_sentences
from migration.models import AuditCode, AuditEvent
from migration.models.audit_actors import SYSTEM
from migration.models.audit_signatures import first_id_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from migration.models import Campaign
    from nova_credentials.messages import Message

# The newest are shown; the audit has all of them.
EVENTS_SHOWN = 30
CODES = (AuditCode.CAMPAIGN, AuditCode.REQUEST, AuditCode.APPROVAL, AuditCode.REFUSAL)
# Of a new state: what happened, where somebody did it and where nobody is named.
STATES = {
    "stopped": (campaign_sentences.STOPPED_BY, campaign_sentences.STOPPED_BY_COMMAND),
    "running": (campaign_sentences.WENT_ON_BY, campaign_sentences.WENT_ON),
    "requested": (campaign_sentences.ASKED_AGAIN_BY, campaign_sentences.WAITS_FOR_APPROVAL),
    "finished": (campaign_sentences.HAS_FINISHED, campaign_sentences.HAS_FINISHED),
    "cancelled": (campaign_sentences.WAS_CANCELLED_BY, campaign_sentences.WAS_CANCELLED),
}
# Entries that say more than the new state that was noted beside them.
TELL_THE_STATE = {
    audit_sentences.CAMPAIGN_STOPPED.key: "stopped",
    audit_sentences.CAMPAIGN_APPROVED.key: "running",
}


@dataclass(frozen=True)
class CampaignEvent:
    """What happened to a campaign; `entry` is its place in the audit."""

    at: datetime
    message: Message
    who: str  # "" where the sentence names them, or nobody did it
    entry: UUID


def list_history(campaign: Campaign) -> list[CampaignEvent]:
    """Return the newest events, the oldest first, in one query; entries that the audit let go are left out."""
    chosen = AuditEvent.objects.filter(
        pk__gte=first_id_at(campaign.created_at),
        code__in=CODES,
        correlation=f"campaign {campaign.pk}",
        slug="",
    )
    entries = list(chosen.order_by("-pk")[: EVENTS_SHOWN + 1])[::-1]
    return list(_tell(entries))[-EVENTS_SHOWN:]


def _tell(entries: list[AuditEvent]) -> Iterator[CampaignEvent]:
    for place, entry in enumerate(entries):
        message, who = entry.message, "" if entry.who == SYSTEM else entry.who
        if message.key == audit_sentences.CAMPAIGN_STEERED.key:
            state = str(message.values.get("state"))
            beside = entries[max(place - 1, 0) : place + 2]
            if any(TELL_THE_STATE.get(each.message.key) == state for each in beside):
                continue
            if state in STATES:
                by, by_nobody = STATES[state]
                message, who = by(who=who) if who else by_nobody(), ""
        yield CampaignEvent(entry.at, message, who, entry.pk)
