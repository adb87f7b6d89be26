"""Copies of secret values in NOVA's database: the page of each client's newest search, and the searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from migration import tasks
from migration.admin.base import (
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    get_signed_in_user,
    read_number,
)
from migration.models.copies import MOST_SEARCH_TRIES, CopySearch, SearchState
from migration.operations.interrupted_searches import request_background_search
from migration.reports.copies import load_clients_at_risk, load_copies_report
from migration.templatetags.migration_pages import make_label, time_ago

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

# Tone and icon of each state; one that reads shows how far it is.
STATE_LOOKS = {
    SearchState.FINISHED: ("success", "check"),
    SearchState.INTERRUPTED: ("danger", "error"),
    SearchState.WAITING: ("info", "hourglass"),
}
SEARCH_PERMISSION = "migration.add_copysearch"


class CopiesView(AdminView):
    """The newest result of each client, for everybody who may view searches."""

    template_name = "admin/migration/copies.html"

    @property
    def title(self) -> str:
        return gettext("Copies")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        report = load_copies_report(request.GET.get("page"))
        context = self.get_context_data(
            report=report,
            page=report.page,
            clients=report.clients,
            search=report.newest,
            search_badge=make_search_badge(report.newest) if report.newest else "",
            may_search=may(SEARCH_PERMISSION),
            may_view_clients=may("credentials.view_client"),
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
        page, clients = load_clients_at_risk(search, self.request.GET.get("page"))
        return super().get_context_data(
            search=search,
            search_badge=make_search_badge(search),
            most_tries=MOST_SEARCH_TRIES,
            page=page,
            clients=clients,
            unsearched=list(search.unsearched_places.filter(client=None)),
            may_view_clients=self.request.user.has_perm("credentials.view_client"),
            **kwargs,
        )


class StartSearchView(AdminView):
    """Has a worker search for the values of all clients, unless a search is already running.

    Leads back to the page of what is left of a client, where that was the page that asked.
    """

    permission_required = SEARCH_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        search = request_background_search(get_signed_in_user(request))
        if search is None:
            messages.warning(request, gettext("A search is already running."))
        else:
            self.queue_or_delete_search(search)
        client_id = read_number(request.POST.get("client", ""))
        if client_id is None:
            return HttpResponseRedirect(reverse("admin:migration_copysearch_report"))
        return HttpResponseRedirect(reverse("admin:credentials_client_leaving", args=[client_id]))

    def queue_or_delete_search(self, search: CopySearch) -> None:
        """Queue the stored search, or delete it where the queue can't be reached; say which to the user."""
        if tasks.enqueue_search(search):
            text = gettext("The search was started. Reload this page to see its result.")
            messages.success(self.request, text)
        else:
            search.delete()
            text = gettext("Nothing was started: the task queue can't be reached. Try again later.")
            messages.error(self.request, text)


class CopySearchAdmin(ReadOnlyAdmin):
    nothing_yet = _("No search was made yet.")
    list_display = ("search_name", "state_badge", "by_name", "clients", "tables", "requested_when")
    list_per_page = 50
    show_full_result_count = False
    object_view = CopySearchView
    own_views: ClassVar = [
        ("report/", "report", CopiesView),
        ("start/", "start", StartSearchView),
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
    """Return how far the search is, as a label."""
    if look := STATE_LOOKS.get(search.state):
        return make_label(str(search.state.label), *look)
    text = gettext("Reading table %(n)d of %(total)d")
    done = min(search.tables_done + 1, max(search.tables, 1))
    return make_label(text % {"n": done, "total": max(search.tables, 1)}, "info", "search")
