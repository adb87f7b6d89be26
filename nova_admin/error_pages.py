"""Says in the site's looks, and in the reader's language, why there is no page.

An error page reads nothing from the database and believes no session: one of them may be what failed.
"""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import get_language_from_request, override
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django_stubs_ext import StrPromise


def show_bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Show the page for a request that can't be a valid one. The exception's text is for the log alone."""
    return render_error(
        request,
        HTTPStatus.BAD_REQUEST,
        _("This request can't be read"),
        _("No page of this site sends such an address, form or cookie. Nothing was changed."),
        _("Go back and try again. If it happens again, delete this site's cookies."),
    )


def show_refusal(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Show the page for somebody who lacks the permission."""
    return render_error(
        request,
        HTTPStatus.FORBIDDEN,
        _("You may not do this"),
        _("Your role does not allow it. Nothing was changed."),
        _("If you need it for your work, ask an Administrator for another role."),
    )


def show_stale_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Show the page for a form without a valid CSRF token. The reason is in the log."""
    return render_error(
        request,
        HTTPStatus.FORBIDDEN,
        _("This form is no longer valid"),
        _("You logged in again since the page was opened, or your browser sends no cookies."),
        _("Nothing was changed. Go back, reload the page and send the form again."),
    )


def show_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Show the page for an address that leads nowhere."""
    return render_error(
        request,
        HTTPStatus.NOT_FOUND,
        _("This page does not exist"),
        _("The address is wrong, or what it was about is gone."),
        _("Check the address, or begin at the dashboard."),
    )


def show_server_error(request: HttpRequest) -> HttpResponse:
    """Show the page for an error of the site's own."""
    return render_error(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        _("Something went wrong"),
        _("The site failed, and its log says at what. It may have done a part of what you asked."),
        _("See what was done before you try again. If it fails again, tell an Administrator."),
    )


def render_error(request: HttpRequest, status: HTTPStatus, *texts: StrPromise) -> HttpResponse:
    """Return the page with its title and its sentences: what is wrong, then what to do."""
    as_nobody = copy(request)
    as_nobody.user = AnonymousUser()
    title, *sentences = texts
    language = get_language_from_request(request)
    with override(language):
        context = admin.site.each_context(as_nobody) | {
            "title": title,
            "sentences": sentences,
            "status": int(status),
        }
        page = render_to_string("error.html", context, as_nobody)
    return HttpResponse(page, status=status, headers={"Content-Language": language})
