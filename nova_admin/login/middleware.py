"""Leads whoever needs a second factor and hasn't given one to the page for it; no other address works meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from migration.people.second_factors import has_second_factor, needs_second_factor
from nova_admin.login.adapter import GIVEN
from nova_admin.session_end import lead_page

# Static files are answered before this is asked.
OPEN = {
    *("admin:second_factor_enter", "admin:second_factor_set_up", "admin:logout", "set_language"),
    *("admin:jsi18n", "session_end"),
    # Whoever has no password proves there who they are before the set-up.
    *("admin:oidc_start", "admin:oidc_callback"),
    # Whoever opens a link of somebody else has to log out first.
    *("admin:open_link", "admin:choose_password"),
}


class RequireSecondFactor:
    """Redirects users who owe a second factor. Asks the database only of sessions that gave none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> HttpResponse | None:
        """Return the way to the second factor, or None where the page may be shown."""
        if not settings.NOVA_REQUIRE_SECOND_FACTOR:
            return None
        match = request.resolver_match
        if (match and match.view_name in OPEN) or not request.user.is_authenticated:
            return None
        if request.session.get(GIVEN) or not needs_second_factor(request.user):
            return None
        page = "enter" if has_second_factor(request.user) else "set_up"
        address = reverse(f"admin:second_factor_{page}")
        if request.method == "GET" and "HX-Request" not in request.headers:
            return HttpResponseRedirect(f"{address}?{urlencode({'next': request.get_full_path()})}")
        # A part of a page that renews itself has the whole page go there: nobody was refused an act.
        return (
            lead_page(request, address)
            if "HX-Request" in request.headers
            else HttpResponseRedirect(address)
        )
