"""The saved views above the clients list, and their two buttons: save the present filters, delete a view."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import AdminView, get_signed_in_user, read_number, read_raw_form_text
from migration.admin.client_filters import CLIENT_FILTERS
from migration.models import SavedView, SavedViewError

if TYPE_CHECKING:
    from django.http import HttpRequest

KEPT_PARAMETERS = {*(each.parameter_name for each in CLIENT_FILTERS), SEARCH_VAR, ORDER_VAR}


def get_views_context(request: HttpRequest) -> dict[str, object]:
    """Return the user's views, which of them is shown now, and the query that could be saved."""
    query = clean_query(request.GET.urlencode())
    views = list(SavedView.objects.filter(user=get_signed_in_user(request)))
    return {
        "saved_views": [{"view": view, "is_shown": view.query == query} for view in views],
        "query_to_save": query,
    }


def clean_query(text: str) -> str:
    """Return the filters, search and order of a query, and nothing else of it."""
    pairs = parse_qsl(text)
    return urlencode(sorted(pair for pair in pairs if pair[0] in KEPT_PARAMETERS))


class SaveViewView(AdminView):
    """Keeps the filters that the list was shown with, under the name that was typed."""

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        query = clean_query(read_raw_form_text(request, "query"))
        try:
            view = SavedView.objects.keep(
                get_signed_in_user(request), read_raw_form_text(request, "name"), query
            )
        except SavedViewError as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("Saved the view %(name)s.") % {"name": view.name})
        return redirect_to_list(query)


class DeleteViewView(AdminView):
    """Deletes a view of the user's own. For one of somebody else it does as if there were none."""

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        mine = SavedView.objects.filter(user=get_signed_in_user(request))
        view = mine.filter(pk=read_number(read_raw_form_text(request, "view")) or 0).first()
        if view is None:
            messages.info(request, _("That view is not there any more."))
        else:
            view.delete()
            messages.success(request, _("Deleted the view %(name)s.") % {"name": view.name})
        return redirect_to_list(clean_query(read_raw_form_text(request, "query")))


def redirect_to_list(query: str) -> HttpResponseRedirect:
    url = reverse("admin:credentials_client_changelist")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
