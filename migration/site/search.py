"""Finds clients, runs, campaigns, client groups and pages by what was typed: in the header, or behind Ctrl+K."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Case, Value, When
from django.db.models.lookups import Contains
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from migration.campaigns.models import Campaign
from migration.core.clients import VIEW_CAMPAIGNS, VIEW_CLIENTS, PhaseChoices, all_clients
from migration.core.groups import ClientGroup
from migration.core.pages import list_visible_logins
from migration.core.text import CaseAndAccentsFolded, fold_text, make_folded_expression
from migration.runs.models import Run
from migration.site.menu import RUN_VIEWERS, list_pages
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message
from nova_credentials.shown_names import escape_name

VIEW_GROUPS = "migration.view_clientgroup"
# Of each kind; the list of clients shows all that match.
MOST_FOUND = 8
LONGEST_TEXT = 300
# A kind, or nothing, and a number: "Migration 7", "#7".
NUMBERED = re.compile(r"(?P<kind>\D*?)\s*#?\s*(?P<number>\d{1,18})")
# By this the palette behind Ctrl+K asks for the answers alone.
PART = "extended"


@dataclass(frozen=True)
class SearchResult:
    """One thing that was found: its name, what it is, and the address of its page."""

    title: str
    description: str
    link: str
    icon: str


@require_safe
def show_search(request: HttpRequest) -> TemplateResponse:
    """Show what is found for `s`, with the rights of the user: as a page, or as the part that the palette asks for.

    In place of Unfold's own search, which keeps answers in its cache for five minutes, whatever the user may still see,
    and finds names of models only.
    """
    text = request.GET.get("s", "").strip()
    context = {"searched": text, "results": search_site(text, request)}
    if PART in request.GET:
        return TemplateResponse(request, "unfold/helpers/command_results.html", context)
    whole = {**admin.site.each_context(request), **context, "title": _("Search")}
    return TemplateResponse(request, "admin/migration/search.html", whole)


def search_site(text: str, request: HttpRequest) -> list[SearchResult]:
    """Return what the user may see: runs and campaigns by number, clients (one of this very slug first), the rest.

    In at most five queries.
    """
    words = " ".join(text[:LONGEST_TEXT].split())
    if not words or "\0" in words:
        return []
    may = request.user.has_perm
    places: list[SearchResult] = []
    if any(map(may, RUN_VIEWERS)):
        places += _find_numbered(words, _find_run)
    if may(VIEW_CAMPAIGNS):
        places += _find_numbered(words, _find_campaign)
    if may(VIEW_CLIENTS):
        places += _find_clients(words, list_visible_logins(request))
    if may(VIEW_CLIENTS) and may(VIEW_GROUPS):
        places += _find_groups(words)
    places += _find_pages(words, request)
    return places


def _find_numbered(
    words: str, find: Callable[[int], tuple[SearchResult, Message] | None]
) -> Iterator[SearchResult]:
    """Yield what has this number, unless another kind was named before it, in English or the page's language."""
    asked = NUMBERED.fullmatch(words)
    found = find(int(asked["number"])) if asked else None
    if asked and found:
        place, name = found
        kind = fold_text(asked["kind"])
        if any(fold_text(each).startswith(kind) for each in (place.title, str(name))):
            yield place


def _find_run(number: int) -> tuple[SearchResult, Message] | None:
    run = Run.objects.filter(pk=number).first()
    if run is None:
        return None
    url = reverse("admin:migration_run_change", args=[run.pk])
    state = run.get_state_display()
    return SearchResult(str(run), f"{_('Run')} · {state}", url, "play_circle"), run.name_message


def _find_campaign(number: int) -> tuple[SearchResult, Message] | None:
    campaign = Campaign.objects.filter(pk=number).first()
    if campaign is None:
        return None
    url = reverse("admin:migration_campaign_change", args=[campaign.pk])
    state = campaign.get_state_display()
    place = SearchResult(str(campaign), f"{_('Campaign')} · {state}", url, "waves")
    return place, campaign.name_message


def _find_clients(words: str, logins: Collection[CredentialType]) -> Iterator[SearchResult]:
    is_named_so = Case(When(slug__iexact=words, then=Value(0)), default=Value(1))
    found = all_clients().with_phase().search(words, logins=logins)
    clients = list(found.order_by(is_named_so, "name", "pk")[: MOST_FOUND + 1])
    for client in clients[:MOST_FOUND]:
        phase = PhaseChoices(client.phase).label  # type: ignore[attr-defined]  # annotated
        url = reverse("admin:credentials_client_change", args=[client.pk])
        yield SearchResult(client.name, f"{client.slug} · {phase}", url, "apartment")
    if len(clients) > MOST_FOUND:
        url = f"{reverse('admin:credentials_client_changelist')}?{urlencode({'q': words})}"
        yield SearchResult(_("All matching clients"), _("Clients"), url, "groups")


def _find_groups(words: str) -> Iterator[SearchResult]:
    found = ClientGroup.objects.filter(
        Contains(CaseAndAccentsFolded("name"), make_folded_expression(words))
    )
    for group in found[:MOST_FOUND]:
        url = f"{reverse('admin:credentials_client_changelist')}?group={group.pk}"
        yield SearchResult(escape_name(group.name), _("Client group"), url, "label")


def _find_pages(words: str, request: HttpRequest) -> Iterator[SearchResult]:
    """Yield the pages of this name, or below the entry of this name, that the user may open."""
    folded = fold_text(words)
    for title, entry, url, icon in list_pages(request):
        if folded in fold_text(title) or folded in fold_text(entry):
            yield SearchResult(title, entry or _("Page"), url, icon)
