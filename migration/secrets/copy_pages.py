"""The pages of searches for copies: each client's newest result, the searches, how far one is, what redacts."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from credentials.models import Client
from migration import tasks
from migration.core.clients import SEARCH_PERMISSION, ClientMigration, PhaseChoices
from migration.core.pages import (
    BACK,
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    get_signed_in_user,
    read_number,
    read_search,
)
from migration.secrets.copies import request_background_search, write_grants
from migration.secrets.models import (
    MOST_SEARCH_TRIES,
    CopySearch,
    FoundCopy,
    Redaction,
    SearchedClient,
    SearchState,
    UnsearchedPlace,
)
from migration.secrets.redaction import CODE_TABLES, CREDENTIAL_TABLES, DEFAULT_COLUMNS
from migration.templatetags.migration_pages import make_label, time_ago
from nova_credentials.phases import Phase

CLIENTS_A_PAGE = 50
REDACTIONS_SHOWN = 20
# Of an address: that the page shows a search already, and that it must not be loaded anew.
SHOWN, KEEPS_PAGE = "shown", "keeps"
# Of an address: which clients the list has, those to look at unless it says so.
SHOW, TO_SEE, CLEAN, NEVER = "show", "", "clean", "never"
IS_CLEAN = Q(rows_found=0, not_looked_at=0)
# Tone and icon of each state.
STATE_LOOKS = {
    SearchState.READING: ("info", "search"),
    SearchState.FINISHED: ("success", "check"),
    SearchState.INTERRUPTED: ("danger", "error"),
    SearchState.WAITING: ("info", "hourglass"),
}
# Names without a character that a shell would take for something else.
PLAIN_SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PLAIN_COLUMN = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*){2}")


class CopiesView(AdminView):
    """The newest result of each client, for everybody who may view searches."""

    template_name = "admin/migration/copies.html"

    @property
    def title(self) -> str:
        return gettext("Copies")

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show a page of clients: those with copies or not fully searched, unless the address chooses others."""
        present = SearchedClient.objects.filter(client__in=Client.objects.values("pk"))
        newest = SearchedClient.objects.filter(pk__in=present.newest_of_each_client().values("pk"))
        counts = newest.aggregate(
            all=Count("pk"),
            with_copies=Count("pk", filter=Q(rows_found__gt=0)),
            clean=Count("pk", filter=IS_CLEAN),
        )
        to_see = counts["all"] - counts["clean"]
        never_searched = Client.objects.count() - counts["all"]
        shown = request.GET.get(SHOW, "")
        shown = shown if shown in (CLEAN, NEVER) else TO_SEE
        searched = read_search(request)
        if shown == NEVER:
            rest = Client.objects.exclude(pk__in=present.values("client_id")).order_by("slug", "pk")
            chosen: QuerySet[Any] = rest.filter(slug__icontains=searched)
        else:
            of_kind = newest.filter(IS_CLEAN) if shown == CLEAN else newest.exclude(IS_CLEAN)
            chosen = of_kind.filter(slug__icontains=searched)
            chosen = chosen.order_by("-rows_found", "-not_looked_at", "slug")
        page = Paginator(chosen, CLIENTS_A_PAGE).get_page(request.GET.get("page"))
        rows = list(page.object_list)
        clients = [] if shown == NEVER else _load_clients(rows)
        search = CopySearch.objects.first()
        unread = list(search.unsearched_places.filter(client=None)) if search else []
        chips = [
            (TO_SEE, gettext("To look at"), to_see),
            (NEVER, gettext("Not searched"), never_searched),
            (CLEAN, gettext("None found"), counts["clean"]),
        ]
        context = self.get_context_data(
            page=page,
            query=urlencode({SHOW: shown, "q": searched}) + "&",
            clients=clients,
            never=rows if shown == NEVER else [],
            shown=shown,
            searched=searched,
            chips=[
                {
                    "url": f"?{SHOW}={name}" if name else "?",
                    "label": label,
                    "count": n,
                    "is_chosen": name == shown,
                }
                for name, label, n in chips
            ],
            commands=write_redaction_commands([copy for row in clients for copy in row.found]),
            with_copies=counts["with_copies"],
            clean=counts["clean"],
            # Nothing was found, but something was not looked at.
            uncertain=to_see - counts["with_copies"],
            never_searched=never_searched,
            unread=unread,
            grants=write_grants(unread),
            redactions=list(Redaction.objects.all()[:REDACTIONS_SHOWN]),
            search=search,
            search_badge=make_search_badge(search) if search else "",
            may_search=request.user.has_perm(SEARCH_PERMISSION)
            and not (search and search.is_under_way),
            may_view_clients=request.user.has_perm("credentials.view_client"),
        )
        return self.render_to_response(context)


class CopySearchView(ObjectView[CopySearch]):
    """One search: everything that was found, and everything that was not looked at."""

    template_name = "admin/migration/copy_search.html"

    @property
    def title(self) -> str:
        return name_search(self.original)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        search = self.original
        # The clients that have copies, or values that were not looked for.
        at_risk = search.searched_clients.filter(
            Q(rows_found__gt=0) | Q(client_id__in=search.unsearched_places.values("client_id"))
        )
        paginator = Paginator(at_risk.order_by("slug", "pk"), CLIENTS_A_PAGE)
        page = paginator.get_page(self.request.GET.get("page"))
        return super().get_context_data(
            search=search,
            search_badge=make_search_badge(search),
            most_tries=MOST_SEARCH_TRIES,
            page=page,
            clients=_load_clients(list(page.object_list)),
            unsearched=list(search.unsearched_places.filter(client=None)),
            may_view_clients=self.request.user.has_perm("credentials.view_client"),
            **kwargs,
        )


class StartSearchView(AdminView):
    """Has a worker search for the values of the form's client, or of all, unless a search is already running.

    Leads back to the page that asked, which shows how far the search is.
    """

    permission_required = SEARCH_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        client_id = read_number(request.POST.get("client", ""))
        chosen = None if client_id is None else [client_id]
        search = request_background_search(get_signed_in_user(request), chosen)
        if search is None:
            messages.warning(
                request, gettext("A search is already running. Start this one after it.")
            )
        elif tasks.enqueue_search(search):
            messages.success(request, gettext("The search for copies has begun."))
        else:
            search.delete()
            text = gettext("Nothing was started: the task queue can't be reached. Try again later.")
            messages.error(request, text)
        back = request.POST.get(BACK, "")
        if not back or not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
            back = reverse("admin:migration_copysearch_report")
        return HttpResponseRedirect(back)


class LiveSearchView(AdminView):
    """Shows open pages how far the search is that is under way, again and again until it ends.

    The page is loaded anew then, or says so where something may have been typed on it.
    """

    template_name = "admin/migration/copy_search_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest) -> HttpResponse:
        search = CopySearch.objects.first()
        if search is None or not (search.is_under_way or SHOWN in request.GET):
            return HttpResponse(status=204)
        keeps_page = KEEPS_PAGE in request.GET
        response = self.render_to_response(
            {
                "search": search,
                "search_badge": make_search_badge(search),
                "keeps_page": keeps_page,
            }
        )
        if not search.is_under_way and not keeps_page:
            response["HX-Refresh"] = "true"
        return response


class CopySearchAdmin(ReadOnlyAdmin):
    nothing_yet = _("No search was made yet.")
    next_page: ClassVar = (
        _("Search for copies"),
        reverse_lazy("admin:migration_copysearch_report"),
    )
    list_display = ("search_name", "state_badge", "by_name", "clients", "tables", "requested_when")
    list_per_page = 50
    show_full_result_count = False
    object_view = CopySearchView
    own_views: ClassVar = [
        ("report/", "report", CopiesView),
        ("start/", "start", StartSearchView),
        ("live/", "live", LiveSearchView),
    ]

    @display(description=_("search"), ordering="pk")
    def search_name(self, search: CopySearch) -> str:
        return name_search(search)

    @display(description=_("state"))
    def state_badge(self, search: CopySearch) -> str:
        return make_search_badge(search)

    @display(description=_("requested"), ordering="requested_at")
    def requested_when(self, search: CopySearch) -> SafeString | str:
        return time_ago(search.requested_at)


def name_search(search: CopySearch) -> str:
    """Return the search's name in the page's language."""
    return gettext("Search %(id)s") % {"id": search.pk}


def make_search_badge(search: CopySearch) -> str:
    """Return the state of the search, as a label."""
    return make_label(str(search.state.label), *STATE_LOOKS[search.state])


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


@dataclass
class RedactionCommandLines:
    """The `find_copies --redact` commands for the clients on a page; "" where there is nothing to replace."""

    # Of executions, where only those that have ended are changed.
    history: str = ""
    # Of other tables, where no state says which rows NOVA is done with.
    others: str = ""
    # Clients with copies that are still read from PostgreSQL, with their phase.
    too_early: list[tuple[str, str]] = field(default_factory=list)
    # Slug and column of what could be replaced but is in no command, for a name that a shell would not take as it is.
    unwritten: list[tuple[str, str]] = field(default_factory=list)

    @property
    def say_something(self) -> bool:
        """Say whether anything of the page can be replaced, now or later."""
        return bool(self.history or self.others or self.too_early or self.unwritten)


def write_redaction_commands(found: Collection[FoundCopy]) -> RedactionCommandLines:
    """Return the commands that replace what was found, as far as it may be replaced, in one query."""
    ids = {copy.client_id for copy in found}
    phases = dict(ClientMigration.objects.filter(pk__in=ids).values_list("pk", "phase"))
    early: dict[str, str] = {}
    history: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    unwritten: list[tuple[str, str]] = []
    for copy in found:
        phase = Phase(phases.get(copy.client_id, Phase.POSTGRES))
        column = f"{copy.table}.{copy.column}"
        if not phase.aws_is_authority:
            early[copy.slug] = str(PhaseChoices(phase).label)
        elif copy.table in (*CODE_TABLES, *CREDENTIAL_TABLES):
            continue
        # Nobody pastes what others wrote: a shell has to take both names as they are.
        elif not (PLAIN_SLUG.fullmatch(copy.slug) and PLAIN_COLUMN.fullmatch(column)):
            unwritten.append((copy.slug, column))
        elif column in DEFAULT_COLUMNS:
            history.append((copy.slug, column))
        else:
            others.append((copy.slug, column))
    return RedactionCommandLines(
        _write_command(history), _write_command(others), sorted(early.items()), sorted(unwritten)
    )


def _write_command(found: Collection[tuple[str, str]]) -> str:
    """Write one command for all slugs and columns of what was found; "" for nothing."""
    if not found:
        return ""
    slugs = sorted({slug for slug, _column in found})
    columns = sorted({column for _slug, column in found})
    return f"python manage.py find_copies {' '.join(slugs)} --redact --column {' '.join(columns)}"
