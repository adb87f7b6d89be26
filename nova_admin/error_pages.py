"""Says in the site's looks, and in the reader's language, why there is no page.

An error page reads nothing from the database and believes no session: one of them may be what failed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import get_language_from_request, gettext, override
from django.utils.translation import gettext_lazy as _

from migration.people.roles import GUARDED, describe_permission, label_role, list_roles_with
from nova_admin.database.base import find_why_unreachable

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise, StrPromise

    Links = Sequence[tuple[str, StrPromise]]


# The pages of Django's admin, and the permission that each asks for.
PAGES = {
    "changelist": "view",
    "history": "view",
    "add": "add",
    "change": "view",
    "delete": "delete",
}
OF_A_PAGE = re.compile(rf"(?P<app>[a-z]+)_(?P<model>[a-z]+)_(?P<page>{'|'.join(PAGES)})")
OF_A_PERMISSION = re.compile(r"[a-z]+\.[a-z_]+")


def make_handler(status: HTTPStatus, *texts: StrPromise) -> Callable[..., HttpResponse]:
    """Return the view that Django calls for errors of this status: it shows the texts, not the error."""

    def show_page(
        request: HttpRequest, exception: Exception | None = None, reason: str = ""
    ) -> HttpResponse:
        return render_error(request, status, *texts)

    return show_page


def render_error(
    request: HttpRequest, status: HTTPStatus, *texts: StrOrPromise, links: Links = ()
) -> HttpResponse:
    """Return the page with its title, its sentences (what is wrong, then what to do) and links with their labels."""
    as_nobody = copy(request)
    as_nobody.user = AnonymousUser()
    title, *sentences = texts
    language = get_language_from_request(request)
    with override(language):
        context = admin.site.each_context(as_nobody) | {
            "title": title,
            "sentences": sentences,
            "links": links,
            "status": int(status),
        }
        page = render_to_string("error.html", context, as_nobody)
    return HttpResponse(page, status=status, headers={"Content-Language": language})


def refuse_view_on_site(request: HttpRequest, of_object: str) -> HttpResponse:
    """Raise Http404 for Django's address "view on site", whatever the object is: there is no public site."""
    raise Http404


def show_forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the page for 403: which right is missing, which roles have it, and who gives them."""
    links = []
    # The page that refused has asked for the user's rights, so nothing is read for it here.
    if request.user.has_perm("auth.view_user"):
        links.append((reverse("admin:people"), _("People and their roles")))
    with override(get_language_from_request(request)):
        sentences = list(explain_refusal(find_permission(request, exception)))
        title = _("You don't have permission")
        return render_error(request, HTTPStatus.FORBIDDEN, title, *sentences, links=links)


def explain_refusal(permission: str) -> Iterator[str]:
    """Yield what is missing, as far as it is known, and who can give it."""
    roles = list_roles_with(permission)
    if roles:
        if right := describe_permission(permission):
            yield f"{gettext('Missing permission:')} {right}."
        yield f"{gettext('Roles with this permission:')} {', '.join(map(label_role, roles))}."
    else:
        yield gettext("Your role does not allow it.")
    yield gettext("Nothing was changed.")
    if permission in GUARDED:
        yield gettext("Ask a superuser, or a User administrator with such a role, if you need it.")
    else:
        yield gettext("Ask a User administrator if you need it.")


def find_permission(request: HttpRequest, exception: Exception | None) -> str:
    """Return the permission that was lacking: the one that a page of ours names, or that Django's page needs; or ""."""
    if named := str(exception or ""):
        return named if OF_A_PERMISSION.fullmatch(named) else ""
    at = request.resolver_match.url_name if request.resolver_match else None
    found = OF_A_PAGE.fullmatch(at or "")
    if found is None:
        return ""
    return f"{found['app']}.{PAGES[found['page']]}_{found['model']}"


show_bad_request = make_handler(
    HTTPStatus.BAD_REQUEST,
    _("This request can't be read"),
    _("The address, form or cookie is not valid. Nothing was changed."),
    _("Go back and try again. If it happens again, delete this site's cookies."),
)
# For a form without a valid CSRF token.
show_stale_form = make_handler(
    HTTPStatus.FORBIDDEN,
    _("This form is no longer valid"),
    _("You logged in again since the page was opened, or your browser sends no cookies."),
    _("Nothing was changed. Go back, reload the page and send the form again."),
)
show_not_found = make_handler(
    HTTPStatus.NOT_FOUND,
    _("This page does not exist"),
    _("The address is wrong, or the item was deleted."),
    _("Check the address, or start at the dashboard."),
)
_show_failure = make_handler(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    _("Something went wrong"),
    _("The site failed. It may have done part of what you asked."),
    _("Check what was done before you try again. If it fails again, tell an Administrator."),
)


def show_server_error(request: HttpRequest) -> HttpResponse:
    """Return the page for an error of the site, or for a PostgreSQL that can't be reached: 503, with why."""
    why = find_why_unreachable(sys.exc_info()[1])  # Django calls this while it handles the error
    if why is None:
        return _show_failure(request)
    with override(get_language_from_request(request)):
        response = render_error(
            request,
            HTTPStatus.SERVICE_UNAVAILABLE,
            _("The database does not answer"),
            gettext("The site can't reach its PostgreSQL: %(why)s.") % {"why": why},
            _("Check what was done, then try again in a minute."),
            _("If it continues, tell whoever runs the database. The log names the server."),
        )
    response.headers["Retry-After"] = "30"
    return response
