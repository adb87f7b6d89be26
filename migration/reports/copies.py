"""Loads the newest search for copies of each client, one page of clients at a time, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q

from credentials.models import Client
from migration.models.copies import (
    CopySearch,
    FoundCopy,
    Redaction,
    SearchedClient,
    UnsearchedPlace,
)
from migration.reports.redaction_commands import RedactionCommandLines, write_redaction_commands

if TYPE_CHECKING:
    from datetime import datetime

CLIENTS_A_PAGE = 50
REDACTIONS_SHOWN = 20


@dataclass(frozen=True)
class ClientCopies:
    """One client in its newest search: the columns with copies, and what was not looked at."""

    client_id: int
    slug: str
    searched_at: datetime
    search_id: int
    found: list[FoundCopy]
    # Of this client alone.
    unknown: list[UnsearchedPlace]
    # The number of places that were not looked at for any client.
    unsearched: int

    @property
    def is_proven_clean(self) -> bool:
        """Say whether nothing was found and nothing left unlooked at."""
        return not (self.found or self.unknown or self.unsearched)


@dataclass(frozen=True)
class CopiesReport:
    """Everything that the page *Copies* shows."""

    page: Page[SearchedClient]
    clients: list[ClientCopies]
    with_copies: int
    clean: int
    # Nothing was found, but something was not looked at.
    uncertain: int
    never_searched: int
    newest: CopySearch | None
    redactions: list[Redaction]
    commands: RedactionCommandLines


def load_copies_report(page_number: str | None) -> CopiesReport:
    """Load one page of the report, in nine queries."""
    present = SearchedClient.objects.filter(client__in=Client.objects.values("pk"))
    newest = SearchedClient.objects.filter(pk__in=present.newest_of_each_client().values("pk"))
    counts = newest.aggregate(
        all=Count("pk"),
        with_copies=Count("pk", filter=Q(rows_found__gt=0)),
        clean=Count("pk", filter=Q(rows_found=0, not_looked_at=0)),
    )
    paginator = Paginator(newest.order_by("-rows_found", "-not_looked_at", "slug"), CLIENTS_A_PAGE)
    paginator.count = counts["all"]
    page = paginator.get_page(page_number)
    clients = _load_clients(list(page.object_list))
    return CopiesReport(
        page=page,
        clients=clients,
        commands=write_redaction_commands([copy for row in clients for copy in row.found]),
        with_copies=counts["with_copies"],
        clean=counts["clean"],
        uncertain=counts["all"] - counts["with_copies"] - counts["clean"],
        never_searched=Client.objects.count() - counts["all"],
        newest=CopySearch.objects.first(),
        redactions=list(Redaction.objects.all()[:REDACTIONS_SHOWN]),
    )


def load_clients_at_risk(
    search: CopySearch, page_number: str | None
) -> tuple[Page[SearchedClient], list[ClientCopies]]:
    """Load one page of the clients of one search that have copies, or values that were not looked for."""
    at_risk = search.searched_clients.filter(
        Q(rows_found__gt=0) | Q(client_id__in=search.unsearched_places.values("client_id"))
    )
    page = Paginator(at_risk.order_by("slug", "pk"), CLIENTS_A_PAGE).get_page(page_number)
    return page, _load_clients(list(page.object_list))


def _load_clients(rows: list[SearchedClient]) -> list[ClientCopies]:
    searches, clients = {row.search_id for row in rows}, {row.client_id for row in rows}
    found: dict[tuple[int, int], list[FoundCopy]] = {}
    for copy in FoundCopy.objects.filter(search_id__in=searches, client_id__in=clients):
        found.setdefault((copy.search_id, copy.client_id), []).append(copy)
    unknown: dict[tuple[int, int | None], list[UnsearchedPlace]] = {}
    # Of places for every client only the number is shown here, and `not_looked_at` has it.
    for place in UnsearchedPlace.objects.filter(search_id__in=searches, client_id__in=clients):
        unknown.setdefault((place.search_id, place.client_id), []).append(place)
    return [
        ClientCopies(
            client_id=row.client_id,
            slug=row.slug,
            searched_at=row.searched_at,
            search_id=row.search_id,
            found=found.get((row.search_id, row.client_id), []),
            unknown=(own := unknown.get((row.search_id, row.client_id), [])),
            unsearched=row.not_looked_at - len(own),
        )
        for row in rows
    ]
