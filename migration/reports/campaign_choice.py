"""Chooses the clients of a campaign that begins without a group: those that can go, and of the others why not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.utils.translation import gettext_lazy as _

from migration.models.campaign_clients import list_clients_in_campaigns
from migration.models.campaigns import Campaign
from migration.models.clients import all_clients
from migration.models.phases import PhaseChoices
from migration.models.readiness import Blocker, Standing, find_standing, with_blocker
from migration.operations.ready_clients import select_unpushable
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from django_stubs_ext import StrOrPromise

# How many clients are named of each reason.
NAMED = 5
# Of clients whose first push would be refused; the client's page says what of its rows is wrong.
UNFIT = _("No secret can be made of its rows")


@dataclass(frozen=True)
class UnchosenClients:
    """Clients of one phase that stay out, as something keeps them that needs somebody."""

    phase: Phase
    reason: StrOrPromise
    clients: tuple[tuple[int, str], ...]  # id and slug
    list_query: str  # of the client list, which shows them; "" where no filter shows just them

    @property
    def phase_label(self) -> str:
        return str(PhaseChoices(self.phase).label)

    @property
    def number(self) -> int:
        return len(self.clients)

    @property
    def named(self) -> tuple[tuple[int, str], ...]:
        return self.clients[:NAMED]

    @property
    def not_named(self) -> int:
        return self.number - len(self.named)


@dataclass(frozen=True)
class ChosenClients:
    """The clients that the campaign takes, and how many stay out."""

    ids: tuple[int, ...]
    by_phase: Counter[Phase]
    left: tuple[UnchosenClients, ...]
    in_campaigns: int
    at_goal: int

    @property
    def number(self) -> int:
        return len(self.ids)


def choose_clients(goal: Phase, *, only: Collection[int] | None = None) -> ChosenClients:
    """Choose from all clients, or from these: who stands before the goal and is ready, or waits for what passes."""
    before = [old for old, _new in Campaign(goal=goal).steps]
    clients = all_clients() if only is None else all_clients().filter(pk__in=only)
    rows = with_blocker(clients).order_by("slug", "pk")
    busy, unfit = list_clients_in_campaigns(), set(select_unpushable().values_list("pk", flat=True))
    ids: list[int] = []
    by_phase: Counter[Phase] = Counter()
    kept: dict[tuple[Phase, Blocker | None], list[tuple[int, str]]] = {}
    at_goal = in_campaigns = 0
    for pk, slug, phase, code in rows.values_list("pk", "slug", "phase", "blocker"):
        blocker = Blocker(code)
        if phase not in before:
            at_goal += 1
        elif pk in busy:
            in_campaigns += 1
        elif find_standing(phase, blocker) == Standing.BLOCKED:
            kept.setdefault((Phase(phase), blocker), []).append((pk, slug))
        elif pk in unfit:
            kept.setdefault((Phase(phase), None), []).append((pk, slug))
        else:
            ids.append(pk)
            by_phase[Phase(phase)] += 1
    left = [_describe_left(*key, found, busy, only) for key, found in kept.items()]
    most_first = sorted(left, key=lambda each: -each.number)
    return ChosenClients(tuple(ids), by_phase, tuple(most_first), in_campaigns, at_goal)


def _describe_left(
    phase: Phase,
    blocker: Blocker | None,
    clients: list[tuple[int, str]],
    busy: Collection[int],
    only: Collection[int] | None,
) -> UnchosenClients:
    # The list knows neither a selection nor who is in some campaign.
    is_listed = only is None and not busy
    if blocker is None:
        return UnchosenClients(phase, UNFIT, tuple(clients), "")
    query = urlencode({"phase": phase.value, "next": blocker.value}) if is_listed else ""
    return UnchosenClients(phase, blocker.label, tuple(clients), query)
