"""Tells what happened in a campaign, and whether it changed since a page was shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from operator import attrgetter
from uuid import UUID

from django.db import connection
from django.db.models import Count, Max, Q
from django.db.models.functions import TruncMinute
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext

from credentials.localization import intcomma, localize
from migration.campaigns.models import (
    CAMPAIGN,
    CAMPAIGN_ASKED_AGAIN,
    CAMPAIGN_CANCELLED,
    CAMPAIGN_FINISHED,
    CAMPAIGN_STEERED,
    CAMPAIGN_STOPPED_BY_HAND,
    CAMPAIGN_WENT_ON,
    Campaign,
    WaveClient,
)
from migration.core.audit import ORIGIN, AuditEvent, is_ahead
from migration.core.clients import MOVE_EVENT, VIEW_RUNS, PhaseChange, PhaseChoices, is_move_back
from migration.core.histories import HasPermission, HistoryLine, make_line
from migration.core.pages import read_number
from migration.runs.models import Run
from nova_credentials.messages import Message

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


# The history: who did what with it, what its runs did, and why it stopped, from the audit

# The newest are shown at first, and so many at most.
EVENTS_SHOWN = 30
MOST_EVENTS = 1000
# Up to release 0.2.0 an entry named the new state alone; it is shown in the words of today.
FORMER_STATES = {
    "stopped": CAMPAIGN_STOPPED_BY_HAND,
    "running": CAMPAIGN_WENT_ON,
    "requested": CAMPAIGN_ASKED_AGAIN,
    "finished": CAMPAIGN_FINISHED,
    "cancelled": CAMPAIGN_CANCELLED,
}


def name_campaigns(events: Collection[AuditEvent]) -> dict[UUID, str]:
    """Return the names of the campaigns that did some of these events by themselves, by the ids of the events.

    Asks once, for the campaigns of runs.
    """
    groups = {}
    for event in events:
        ran = ORIGIN.fullmatch(event.origin)
        word, _blank, digits = event.correlation.partition(" ")
        if ran and not ran["command"] and (number := read_number(digits)) is not None:
            groups[event.pk] = word, number
    runs = {number for word, number in groups.values() if word == "run"}
    of_campaigns = Run.objects.filter(pk__in=runs, wave__isnull=False)
    campaigns = dict(of_campaigns.values_list("pk", "wave__campaign")) if runs else {}
    found = {
        pk: number if word == "campaign" else campaigns.get(number) if word == "run" else None
        for pk, (word, number) in groups.items()
    }
    return {pk: localize(CAMPAIGN(id=str(each))) for pk, each in found.items() if each is not None}


def list_history(
    campaign: Campaign, *, has_permission: HasPermission, most: int = EVENTS_SHOWN
) -> tuple[list[HistoryLine], bool]:
    """Return the newest events, the newest first, and whether there are more. Takes two queries.

    Entries that the audit let go are left out.
    """
    chosen = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", slug="")
    entries = chosen.newest_first()[: most + 1]
    lines = [_tell(campaign, entry, has_permission) for entry in entries]
    lines += _tell_moves_back(campaign, most + 1)
    lines.sort(key=attrgetter("place"), reverse=True)
    return lines[:most], len(lines) > most


def _tell(campaign: Campaign, entry: AuditEvent, has_permission: HasPermission) -> HistoryLine:
    line, message = make_line(entry, has_permission), entry.message
    if name := name_campaigns([entry]).get(entry.pk):
        # It did it by itself, in the name of who started it.
        line = replace(line, who=name)
    if message.key == CAMPAIGN_STEERED.key:
        former = FORMER_STATES.get(str(message.values.get("state")))
        return replace(line, message=former(campaign=campaign.name_message)) if former else line
    run = message.values.get("run")
    number = str(run.values.get("id", "")) if isinstance(run, Message) else ""
    if not isinstance(run, Message) or not number.isdecimal() or not has_permission(VIEW_RUNS):
        return line
    url = reverse("admin:migration_run_change", args=[number])
    return replace(line, part_of=localize(run), part_of_url=url)


def _tell_moves_back(campaign: Campaign, most: int) -> Iterator[HistoryLine]:
    """Yield how many of its clients somebody moved back without it, each person's of one minute together."""
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    changes = PhaseChange.objects.filter(
        is_move_back(),
        Q(run=None) | Q(run__wave=None),
        ~Q(is_ahead("changed_at")),
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
        text %= {"n": intcomma(number), "move": move}
        yield HistoryLine(at, MOVE_EVENT.icon, str(MOVE_EVENT.label), text=text, who=who)
