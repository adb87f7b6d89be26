"""Says what holds now of the clients of a stopped campaign, as far as the database can tell; its reason is of then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Max
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from migration.models.left_clients import PASSES_SOON, select_blocked_now
from migration.models.readiness import FRESH, Blocker
from migration.models.reads import ReadCount
from migration.reports.campaign_lists import CountedClients, make_list_query
from migration.reports.campaign_waits import show_time

if TYPE_CHECKING:
    from datetime import datetime

    from migration.models.campaigns import Campaign

# How many clients are named of each reason.
NAMED = 5
OF_COMPARISON = (Blocker.DIFFERS, Blocker.UNCHECKED)


@dataclass(frozen=True)
class BlockedNow:
    """Clients of the campaign that one thing keeps now, which doesn't pass by itself."""

    campaign: Campaign
    blocker: Blocker
    clients: tuple[tuple[int, str], ...]  # id and slug
    passes_at: datetime | None = None  # where it is enough to wait

    @property
    def named(self) -> tuple[tuple[int, str], ...]:
        return self.clients[:NAMED]

    @property
    def passes_soon(self) -> bool:
        return self.blocker in PASSES_SOON

    @property
    def number(self) -> int:
        return len(self.clients)

    @property
    def not_named(self) -> int:
        return len(self.clients) - len(self.named)

    @property
    def wait_note(self) -> str:
        """Say what to wait for, where that is enough; "" elsewhere."""
        if self.passes_at is None:
            return ""
        text = _(
            "this passes %(n)d minutes after the last one, at %(time)s; if the campaign goes on before, the"
            " whole wave waits until then"
        )
        return text % {"n": FRESH // timedelta(minutes=1), "time": show_time(self.passes_at)}

    @property
    def client_page_query(self) -> str:
        """Return the query of a client's page that shows what keeps it: its comparison, where the stores differ."""
        return "?tab=comparison" if self.blocker in OF_COMPARISON else ""

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows the clients kept by this blocker now."""
        return make_list_query(CountedClients.KEPT_NOW, self.campaign.pk, next=self.blocker.value)


def list_blocked_now(campaign: Campaign) -> list[BlockedNow]:
    """Return what keeps clients of its waves now, the most frequent first, in three queries."""
    kept = select_blocked_now(campaign)
    found: dict[str, list[tuple[int, str]]] = {}
    for pk, slug, blocker in kept.order_by("slug", "pk").values_list("pk", "slug", "blocker"):
        found.setdefault(blocker, []).append((pk, slug))
    numbers = [
        BlockedNow(campaign, Blocker(code), tuple(clients), _find_end(Blocker(code), clients))
        for code, clients in found.items()
    ]
    return sorted(numbers, key=lambda each: -len(each.clients))


def _find_end(blocker: Blocker, clients: list[tuple[int, str]]) -> datetime | None:
    """Return when the reader's last mismatch or failure is FRESH ago; None for other blockers."""
    if blocker != Blocker.READER:
        return None
    counts = ReadCount.objects.filter(client_id__in=[pk for pk, _slug in clients])
    last = counts.aggregate(last=Max(Greatest("last_mismatch_at", "last_failure_at")))["last"]
    return last + FRESH if last else None
