"""Says which clients of groups a campaign could not move as things stand, before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db.models import Count

from migration.models.clients import all_clients
from migration.models.readiness import Blocker, with_blocker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from migration.models.client_groups import ClientGroup
    from nova_credentials.phases import Phase


@dataclass(frozen=True)
class BlockedClientCount:
    """The number of a group's clients that a blocker keeps from their next phase until somebody removes it."""

    group: ClientGroup
    blocker: Blocker
    number: int

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows them."""
        return urlencode({"group": self.group.pk, "next": self.blocker.value})


def count_by_group_and_blocker(
    groups: Sequence[ClientGroup], before: Iterable[Phase]
) -> list[BlockedClientCount]:
    """Count, by group and blocker, clients in the phases `before` that need somebody, in one query."""
    member, ids = "group_members__group", [group.pk for group in groups]
    clients = with_blocker(all_clients().in_phases(*before).filter(**{f"{member}__in": ids}))
    rows = clients.order_by().values_list(member, "blocker").annotate(number=Count("pk"))
    numbers = {(pk, Blocker(code)): number for pk, code, number in rows}
    stays = [each for each in Blocker if each not in (Blocker.READY, Blocker.LAST)]
    return [
        BlockedClientCount(group, blocker, numbers[group.pk, blocker])
        for group in groups
        for blocker in stays
        if not blocker.passes_by_itself and (group.pk, blocker) in numbers
    ]
