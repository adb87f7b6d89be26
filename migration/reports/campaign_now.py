"""Says what holds now of the clients of a stopped campaign, as far as the database can tell; its reason is of then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration.models import Blocker, Standing, WaveClient, all_clients, select_standing

if TYPE_CHECKING:
    from migration.models import Campaign

# How many clients are named of each reason.
NAMED = 5


@dataclass(frozen=True)
class KeptNow:
    """Clients of the campaign that one thing keeps now, which doesn't pass by itself."""

    blocker: Blocker
    clients: tuple[tuple[int, str], ...]  # id and slug

    @property
    def named(self) -> tuple[tuple[int, str], ...]:
        return self.clients[:NAMED]

    @property
    def not_named(self) -> int:
        return len(self.clients) - len(self.named)


def list_kept_now(campaign: Campaign) -> list[KeptNow]:
    """Return what keeps clients of its waves now, the most frequent first, in two queries."""
    taken = WaveClient.objects.taken_along().filter(wave__in=campaign.waves.begun())
    ids = list(taken.order_by().values_list("client_id", flat=True))
    # By their ids: see `count_kept_for_now`.
    kept = select_standing(all_clients().filter(pk__in=ids), Standing.BLOCKED)
    # An inactive client at the goal lacks reads for a move that the campaign doesn't make.
    kept = kept.exclude(phase__in=campaign.reached, blocker=Blocker.INACTIVE.value)
    found: dict[str, list[tuple[int, str]]] = {}
    for pk, slug, blocker in kept.order_by("slug", "pk").values_list("pk", "slug", "blocker"):
        found.setdefault(blocker, []).append((pk, slug))
    numbers = [KeptNow(Blocker(code), tuple(clients)) for code, clients in found.items()]
    return sorted(numbers, key=lambda each: -len(each.clients))
