"""Tells what happened in a campaign, and whether it changed since a page was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.db.models import Count, Max, Q
from django.db.models.functions import TruncMinute
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from migration.campaigns.models import (
    CAMPAIGN_EVENT,
    CAMPAIGN_STEERED,
    STOPPED_BY,
    STOPPED_BY_COMMAND,
    Campaign,
    Wave,
    WaveClient,
)
from migration.core.audit import (
    APPROVAL_EVENT,
    REFUSAL_EVENT,
    REQUEST_EVENT,
    SYSTEM,
    AuditEvent,
    first_id_at,
)
from migration.core.clients import PhaseChange, PhaseChoices, is_move_back
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.messages import Message, Sentence

# Whether anything that a campaign's page shows has changed: in one query, as open pages ask every few seconds

# The digest leaves out reads, workers that fall silent and times: a page shows these anew after so many seconds.
SHOWN_AFTER_SECONDS = 60

DIGEST = """
SELECT md5(concat_ws(' ', campaign::text, (
    SELECT string_agg(concat_ws(' ', wave::text, run.id, run.state, run.steered_at, run.finished_at, (
        SELECT count(*) FROM migration_runitem AS item
        WHERE item.run_id = run.id AND run.finished_at IS NULL AND item.outcome > ''
    )), ' ' ORDER BY wave.id, run.id)
    FROM migration_wave AS wave LEFT JOIN migration_run AS run ON run.wave_id = wave.id
    WHERE wave.campaign_id = campaign.id
), (
    SELECT max(id) FROM migration_phasechange
), (
    SELECT max(id) FROM migration_comparison
), (
    SELECT id FROM migration_auditevent ORDER BY id DESC LIMIT 1
), %s::bigint))
FROM migration_campaign AS campaign WHERE campaign.id = %s
"""


def digest_campaign(campaign_id: int) -> str | None:
    """Return a digest of the campaign, its waves, their runs and what was done last; None where there is none."""
    # Not all open pages in the same second. The number is whatever an address says: any, kept small here.
    shift = campaign_id % SHOWN_AFTER_SECONDS
    period = int((timezone.now().timestamp() + shift) // SHOWN_AFTER_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(DIGEST, [period, campaign_id])
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None


# The history: who did what with it and why it stopped, from the audit, and what its runs did

# The newest are shown at first, and so many at most.
EVENTS_SHOWN = 30
MOST_EVENTS = 1000
CODES = (CAMPAIGN_EVENT, REQUEST_EVENT, APPROVAL_EVENT, REFUSAL_EVENT)
# What a campaign waits for
WAITS_FOR_APPROVAL = Sentence(
    "waits_for_approval", "Requested: it begins once somebody else has approved it."
)
HAS_FINISHED = Sentence("has_finished", "It finished.")
# Of a new state: what happened, where somebody did it and where nobody is named.
STATES = {
    "stopped": (STOPPED_BY, STOPPED_BY_COMMAND),
    "running": (
        Sentence("went_on_by", "%(who)s had it go on."),
        Sentence("went_on", "It went on."),
    ),
    "requested": (
        Sentence("asked_again_by", "%(who)s had it go on; it waits for an approval."),
        WAITS_FOR_APPROVAL,
    ),
    "finished": (HAS_FINISHED, HAS_FINISHED),
    "cancelled": (
        Sentence("was_cancelled_by", "%(who)s cancelled it."),
        Sentence("was_cancelled", "It was cancelled by command."),
    ),
}
CAMPAIGN_APPROVED = Sentence("campaign_approved", "Approved %(campaign)s, which %(who)s requested.")
CAMPAIGN_STOPPED = Sentence("campaign_stopped", "%(campaign)s stopped by itself: %(why)s")
# Entries that say more than the new state that was noted beside them.
TELL_THE_STATE = {
    CAMPAIGN_STOPPED.key: "stopped",
    CAMPAIGN_APPROVED.key: "running",
}


@dataclass(frozen=True)
class CampaignEvent:
    """What happened to a campaign, or what a run of it did."""

    at: datetime
    message: Message | None = None
    who: str = ""  # "" where the sentence names them, or nobody did it
    reason: str = ""  # as somebody typed it
    entry: UUID | None = None  # its place in the audit
    # Of a run
    run_id: int | None = None
    text: str = ""


def list_history(campaign: Campaign, most: int = EVENTS_SHOWN) -> tuple[list[CampaignEvent], bool]:
    """Return the newest events, the oldest of them first, and whether there are more. Takes four queries.

    Entries that the audit let go are left out.
    """
    chosen = AuditEvent.objects.filter(
        pk__gte=first_id_at(campaign.created_at),
        code__in=CODES,
        correlation=f"campaign {campaign.pk}",
        slug="",
    )
    entries = list(chosen.order_by("-pk")[: most + 1])[::-1]
    counted = Run.objects.filter(wave__campaign=campaign).with_counts()
    runs = list(counted.select_related("wave__campaign").order_by("-pk")[: most + 1])
    of_runs = [event for run in runs for event in _tell_run(run)]
    # By time alone: of two at once, what the audit has came first.
    told = [*_tell(entries), *of_runs, *_tell_moves_back(campaign, most + 1)]
    events = sorted(told, key=lambda event: event.at)
    return events[-most:], len(events) > most


def _tell(entries: list[AuditEvent]) -> Iterator[CampaignEvent]:
    for place, entry in enumerate(entries):
        message, who = entry.message, "" if entry.who == SYSTEM else entry.who
        if message.key == CAMPAIGN_STEERED.key:
            state = str(message.values.get("state"))
            beside = entries[max(place - 1, 0) : place + 2]
            if any(TELL_THE_STATE.get(each.message.key) == state for each in beside):
                continue
            if state in STATES:
                by, by_nobody = STATES[state]
                message, who = by(who=who) if who else by_nobody(), ""
        yield CampaignEvent(entry.at, message, who, entry.reason, entry.pk)


class CountedRun(Protocol):
    """A run as `with_counts` gets it."""

    pk: int
    wave: Wave | None
    only_where_equal: bool
    created_at: datetime
    finished_at: datetime | None
    total: int
    succeeded: int
    refused: int
    failed: int
    skipped: int
    left_out: int

    @property
    def move_shown(self) -> str: ...


def _tell_run(run: CountedRun) -> Iterator[CampaignEvent]:
    """Yield its begin, and its end with what came of its clients."""
    if run.wave is None:
        return
    names = {"run": str(run), "wave": localize(run.wave.name_message)}
    number = {"n": intcomma(run.total), "move": run.move_shown}
    begins = (
        ngettext(
            "%(run)s rolls back %(n)s client of %(wave)s: %(move)s.",
            "%(run)s rolls back %(n)s clients of %(wave)s: %(move)s.",
            run.total,
        )
        if run.only_where_equal
        else ngettext(
            "%(run)s takes %(n)s client of %(wave)s further: %(move)s.",
            "%(run)s takes %(n)s clients of %(wave)s further: %(move)s.",
            run.total,
        )
    )
    yield CampaignEvent(run.created_at, run_id=run.pk, text=begins % {**names, **number})
    if run.finished_at:
        ended = _("%(run)s of %(wave)s ended. %(results)s.")
        numbers = (
            (Outcome.MOVED.label, run.succeeded),
            (Outcome.REFUSED.label, run.refused),
            (Outcome.FAILED.label, run.failed),
            (Outcome.SKIPPED.label, run.skipped),
            (_("Not begun"), run.left_out),
        )
        results = ", ".join(f"{label}: {intcomma(n)}" for label, n in numbers if n)
        text = ended % {**names, "results": results or _("It had no client left")}
        yield CampaignEvent(run.finished_at, run_id=run.pk, text=text)


def _tell_moves_back(campaign: Campaign, most: int) -> Iterator[CampaignEvent]:
    """Yield how many of its clients somebody moved back without it, each person's of one minute together."""
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    changes = PhaseChange.objects.filter(
        is_move_back(),
        Q(run=None) | Q(run__wave=None),
        client__in=taken,
        changed_at__gte=campaign.created_at,
    )
    together = changes.order_by().annotate(minute=TruncMinute("changed_at"))
    rows = together.values_list("minute", "by_name", "old", "new")
    counted = rows.annotate(n=Count("client", distinct=True), at=Max("changed_at"))
    for _minute, who, old, new, number, at in counted.order_by("-minute")[:most]:
        text = ngettext(
            "%(n)s client was moved back by hand: %(move)s",
            "%(n)s clients were moved back by hand: %(move)s",
            number,
        )
        move = f"{PhaseChoices(old).label} → {PhaseChoices(new).label}"
        yield CampaignEvent(at, who=who, text=text % {"n": intcomma(number), "move": move})
