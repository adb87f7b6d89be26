"""Answers what django-axes asks: who tries to log in, from where, and what somebody who is locked out is told."""

from __future__ import annotations

from collections.abc import Mapping

from axes.handlers.database import AxesDatabaseHandler
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext as _

from migration.people.lockouts import (
    NO_ADDRESS,
    find_lock_end,
    find_username_or_make_code,
    is_address_locked,
    widen_address,
)
from nova_admin.session_end import render_refusal_page
from nova_admin.trusted_proxies import parse_address

# As the forms of Django and of django-allauth name it.
ACCOUNT_FIELDS = ("username", "login", "email")


class LoginHandler(AxesDatabaseHandler):
    """Locks out an address too, from which many users were tried."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, str] | None = None) -> bool:
        locked = super().is_locked(request, credentials)
        return bool(locked) or is_address_locked(get_address(request))


def get_address(request: HttpRequest) -> str:
    """Return the IP address by which the sender's guesses are counted, behind a trusted proxy too; else NO_ADDRESS."""
    address = parse_address(request.META.get("REMOTE_ADDR", ""))
    if address is None:
        return NO_ADDRESS
    is_proxy = settings.NOVA_TRUSTED_PROXIES.trusts(address)
    return str(address) if is_proxy else widen_address(str(address))


def get_account(request: HttpRequest, credentials: Mapping[str, str] | None = None) -> str:
    """Return the username that was typed, as it is stored; a code in its place where no user has it."""
    sent = credentials or request.POST
    typed = next((sent[name] for name in ACCOUNT_FIELDS if sent.get(name)), "")
    return find_username_or_make_code(typed)


def answer_locked_out(
    request: HttpRequest, _response: HttpResponse, credentials: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return the page that says that this address is locked out for this user, until when, and what to do."""
    ends_at = find_lock_end(get_account(request, credentials), get_address(request))
    now = timezone.now()
    ends_at = max(ends_at or now, now)
    local = timezone.localtime(ends_at)
    if is_address_locked(get_address(request)):
        why = _("Too many wrong passwords from your address.")
    else:
        why = _("Too many wrong passwords for this user from your address.")
    texts = [
        why,
        _("Try again after %(time)s %(zone)s.")
        % {"time": time_format(local, "TIME_FORMAT"), "zone": local.tzname()},
        _("This user can still log in from other addresses."),
        _(
            "A User administrator can let you in sooner, in People, Failed logins. Tell them if it wasn't you."
        ),
    ]
    title = _("You are locked out for now")
    response = render_refusal_page(request, title, texts, status=429, may_log_in=False)
    response.headers["Retry-After"] = str(int((ends_at - now).total_seconds()) + 1)
    return response
