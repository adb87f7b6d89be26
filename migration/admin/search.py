"""The search in the header of every page, and the palette behind Ctrl+K: both ask this page, in place of Unfold's own.

Unfold's keeps answers in its cache for five minutes, whatever the user may still see, and finds names of models only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from migration.core.pages import list_visible_logins
from migration.reports.site_search import SearchResult, Seeker, search_site

if TYPE_CHECKING:
    from django.http import HttpRequest
    from unfold.sites import UnfoldAdminSite

# By this the palette asks for the answers alone.
PART = "extended"


@require_safe
def show_search(request: HttpRequest) -> TemplateResponse:
    """Show what is found for `s`, with the rights of the user: as a page, or as the part that the palette asks for."""
    text = request.GET.get("s", "").strip()
    seeker = Seeker(
        may=request.user.has_perm,
        logins=list_visible_logins(request),
        pages=list_allowed_pages(request),
    )
    context = {"searched": text, "results": search_site(text, seeker)}
    if PART in request.GET:
        return TemplateResponse(request, "unfold/helpers/command_results.html", context)
    whole = {**admin.site.each_context(request), **context, "title": _("Search")}
    return TemplateResponse(request, "admin/migration/search.html", whole)


def list_allowed_pages(request: HttpRequest) -> list[SearchResult]:
    """Return the pages of the sidebar that the user may open, and those of the account."""
    site = cast("UnfoldAdminSite", admin.site)
    items = [
        SearchResult(str(item["title"]), _("Page"), str(item["link"]), item["icon"])
        for group in site.get_sidebar_list(request)
        for item in group["items"]
        if item["has_permission"]
    ]
    account = site.each_context(request)["account_links"]
    return items + [
        SearchResult(str(item["title"]), _("Page"), str(item["link"]), "person") for item in account
    ]
