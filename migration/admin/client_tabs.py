"""The tabs of a client's page: which one a request opens, and the address of each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from django.contrib.admin.options import IS_POPUP_VAR
from django.urls import reverse
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

HISTORY_PAGE = "history"
HISTORY_VIEW = "credentials_client_history"  # Django's address
FILTERS = "_changelist_filters"  # of the list that a form leads back to


class ClientTab(StrEnum):
    """A tab of the page; its value is what the address has."""

    OVERVIEW = "overview"
    LOGINS = "logins"
    COMPARISON = "comparison"
    HISTORY = "history"


def read_tab(request: HttpRequest) -> ClientTab:
    """Return the tab that the request opens: a form that was sent has the logins, an unknown name the overview."""
    match = request.resolver_match
    if match and match.url_name == HISTORY_VIEW:
        return ClientTab.HISTORY
    if request.method == "POST" or IS_POPUP_VAR in request.GET:
        return ClientTab.LOGINS
    name = request.GET.get("tab", "")
    if name in set(ClientTab):
        return ClientTab(name)
    return ClientTab.HISTORY if HISTORY_PAGE in request.GET else ClientTab.OVERVIEW


def get_tab_url(client_id: int, tab: ClientTab, part: str = "") -> str:
    """Return the address of a client's tab; `part` is the id of what it jumps to."""
    url = reverse("admin:credentials_client_change", args=[client_id])
    url = url if tab == ClientTab.OVERVIEW else f"{url}?tab={tab}"
    return f"{url}#{part}" if part else url


def list_tabs(
    request: HttpRequest, client_id: int, shown: ClientTab
) -> Iterator[dict[str, object]]:
    """Yield the tabs for the page that shows one of them; each keeps the filters of the list."""
    labels = {
        ClientTab.OVERVIEW: _("Overview"),
        ClientTab.LOGINS: _("Logins"),
        ClientTab.COMPARISON: _("Comparison"),
        ClientTab.HISTORY: _("History"),
    }
    page = reverse("admin:credentials_client_change", args=[client_id])
    query = request.GET.copy()
    for name in set(query) - {FILTERS}:
        del query[name]
    for tab, label in labels.items():
        query["tab"] = tab
        url = f"{page}?{query.urlencode()}"
        yield {"name": tab, "label": label, "url": url, "is_shown": tab == shown}
