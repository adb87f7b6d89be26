"""Ends sessions, has pages say when theirs ends, and answers for whoever no longer has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, cast
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.generic import TemplateView

from migration.people.password_pages import WRONG_PASSWORDS
from nova_admin.session_store import LOGGED_IN_AT, SessionStore

# From that long before its end on, a page says when its session ends …
SAID_BEFORE_END = timedelta(minutes=5)
# … and asks again this often, as another page may have renewed it.
ASKED_EVERY = timedelta(minutes=1)
# By this in its address the login page says why it is shown.
ENDED = "ended"
# By this status htmx stops what asks again and again.
STOP_POLLING = 286


class RenewOrEndSessions:
    """Renews a session when somebody uses it, which the polls of an open page don't, and ends it where it has to."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """End the session in which too many wrong passwords were typed, and say so in place of the page."""
        response = self.get_response(request)
        count = getattr(request, WRONG_PASSWORDS, 0)
        if count:
            return log_out_after_wrong_passwords(request, count)
        location = response.get("Location", "")
        if location.startswith(f"{reverse('admin:login')}?") and lost_session(request):
            response["Location"] = f"{location}&{ENDED}=1"
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *_: object
    ) -> HttpResponse | None:
        """Renew the session unless the page polls; without one tell that page, and lead other calls to the login."""
        is_whole = request.user.is_authenticated and LOGGED_IN_AT in request.session
        if SESSION_KEY in request.session and not is_whole:
            # Of an earlier release, which kept sessions for two weeks and may know another backend: a login in the same
            # browser must not go on with its key.
            logout(request)
        if not request.user.is_authenticated:
            if "HX-Request" not in request.headers:
                return None
            if is_poll(request, view):
                # The cookie stays in the browser: by it the login says why it is shown to who leaves this page.
                request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
                return show_session_ended_in_poll(request)
            return lead_page(request, reverse("admin:login"))
        if not is_poll(request, view):
            request.session.renew()  # type: ignore[attr-defined]  # it is a SessionStore
        return None


def lost_session(request: HttpRequest) -> bool:
    """Say whether the browser names a session that is over."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES and request.session.is_empty()


@dataclass(frozen=True)
class SessionEnd:
    """When a session ends, and what a page says of it."""

    ends_at: datetime
    # Using the site doesn't move it: the login was too long ago.
    is_last: bool

    @classmethod
    def of_session(cls, session: SessionBase) -> Self:
        store = cast("SessionStore", session)
        is_last = store.absolute_end is not None and store.ends_at >= store.absolute_end
        return cls(timezone.localtime(store.ends_at), is_last)

    @property
    def left(self) -> timedelta:
        return self.ends_at - timezone.now()

    @property
    def is_near(self) -> bool:
        return self.left <= SAID_BEFORE_END

    @property
    def minutes_left(self) -> int:
        return max(1, round(self.left / timedelta(minutes=1)))

    @property
    def hours_at_most(self) -> float:
        return timedelta(seconds=settings.NOVA_SESSION_LIMIT) / timedelta(hours=1)

    @property
    def seconds_to_next_poll(self) -> int:
        """Return after how many seconds the page asks again; at the end itself, the answer leads to the login."""
        wait = min(self.left, ASKED_EVERY) if self.is_near else self.left - SAID_BEFORE_END
        return max(0, int(wait.total_seconds())) + 1


class SessionEndView(LoginRequiredMixin, TemplateView):
    """The line that says when the session ends, shortly before it does. A POST keeps the session."""

    http_method_names = ("get", "post")
    login_url = reverse_lazy("admin:login")
    template_name = "admin/session_end.html"
    renews_session = False  # a page that is open asks by itself

    def post(self, request: HttpRequest) -> HttpResponse:
        return self.get(request)


def log_out_after_wrong_passwords(request: HttpRequest, count: int) -> HttpResponse:
    """Log out a user who typed a wrong password `count` times, and return the page that says so."""
    logout(request)
    text = _(
        "You entered a wrong password %(n)s times and were logged out. Log in again to continue."
    )
    title = _("Your session has been ended")
    return render_refusal_page(request, title, [text % {"n": count}], status=403, may_log_in=True)


def is_poll(request: HttpRequest, view: Callable[..., HttpResponse]) -> bool:
    """Say whether an open page asks by itself, on a view that says so by `renews_session = False`."""
    view_class = getattr(view, "view_class", None)
    return request.method == "GET" and not getattr(view_class, "renews_session", True)


def show_session_ended_in_poll(request: HttpRequest) -> HttpResponse:
    """Have the line about the session say that it ended, with a link to the login that leads back, and end the polls.

    The rest of the page stays: somebody may have typed into it, and nothing that it shows is asked anew.
    """
    login = f"{reverse('admin:login')}?{urlencode({'next': find_open_page(request)})}"
    response = render(request, "admin/session_ended.html", {"login": login}, status=STOP_POLLING)
    response["HX-Retarget"] = response["HX-Reselect"] = "#session-end"
    response["HX-Reswap"] = "outerHTML"
    return response


def lead_page(request: HttpRequest, address: str) -> HttpResponse:
    """Have htmx open the address in place of the page, and then the page again.

    What a redirect leads to it would show inside the page.
    """
    query = urlencode({"next": find_open_page(request)})
    if lost_session(request):
        query += f"&{ENDED}=1"
    return HttpResponse(status=204, headers={"HX-Redirect": f"{address}?{query}"})


def find_open_page(request: HttpRequest) -> str:
    """Return the page of this site from which htmx asks, without its host; the dashboard where it says none."""
    try:
        parts = urlsplit(request.headers.get("HX-Current-URL", ""))
        page = f"{parts.path}?{parts.query}" if parts.query else parts.path
    except ValueError:  # anybody can send anything
        page = ""
    if not page.startswith("/") or not url_has_allowed_host_and_scheme(page, allowed_hosts=None):
        page = reverse("admin:index")
    return page


def add_session_end(request: HttpRequest) -> dict[str, object]:
    """Give every template the end of the session, which is read from the session where a page shows it."""
    return {"session_end": SimpleLazyObject(lambda: SessionEnd.of_session(request.session))}


def render_refusal_page(
    request: HttpRequest, title: str, texts: list[str], *, status: int, may_log_in: bool
) -> HttpResponse:
    """Return a page, outside the menus, that says why somebody gets no further; `may_log_in` adds the way to do so."""
    context = admin.site.each_context(request) | {"title": title, "texts": texts}
    context["may_log_in"] = may_log_in
    return render(request, "admin/refusal.html", context, status=status)
