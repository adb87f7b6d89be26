"""Asks for the user's own password again, on the pages where that is wanted, and counts the wrong ones."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import get_signed_in_user
from migration.factor_sentences import PROOF_TOO_SOON
from migration.models import PasswordPlace
from migration.operations.second_factors import Answer
from migration.operations.wrong_passwords import (
    MOST_IN_A_SESSION,
    check_own_password,
    count_wrong_passwords,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    from nova_credentials.messages import Message

# Of a request that typed the last wrong password that a session may have; the site answers it with a page of its own.
COUNT = "wrong_passwords_in_session"
# Of a request with a code that wasn't looked at: too many wrong ones came before it.
TOO_SOON = "code_came_too_soon"


def confirm_own_password(request: HttpRequest, password: str, *, place: PasswordPlace) -> bool:
    """Say whether it is the own password, or a code of the own factor. A wrong one is recorded; none is no guess.

    After too many the session ends, whatever the page answers.
    """
    if not password:
        return False
    session_key = request.session.session_key or ""
    answer = check_own_password(
        user=get_signed_in_user(request),
        password=password,
        session_key=session_key,
        # Behind a trusted proxy it is the client's too.
        address=request.META.get("REMOTE_ADDR", ""),
        place=place,
    )
    if answer is Answer.RIGHT:
        return True
    setattr(request, TOO_SOON, answer is Answer.TOO_SOON)
    count = count_wrong_passwords(session_key)
    if count >= MOST_IN_A_SESSION:
        setattr(request, COUNT, count)
    return False


def find_reason_to_wait(request: HttpRequest) -> Message | None:
    """Return why `confirm_own_password` looked at no code; None where it did."""
    return PROOF_TOO_SOON() if getattr(request, TOO_SOON, False) else None


def explain_refused_proof(request: HttpRequest) -> str:
    """Say why `confirm_own_password` said no, on a page that takes a password or a code."""
    why = find_reason_to_wait(request)
    wrong = _("That is neither your password nor a code of your second factor.")
    return localize(why) if why else wrong


def count_old_passwords(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Have the page that changes the own password record wrong old ones; it says itself that they are wrong."""

    @wraps(view)
    def confirm_and_change(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.method == "POST":
            old = request.POST.get("old_password", "")
            confirm_own_password(request, old, place=PasswordPlace.PASSWORD_CHANGE)
            if hasattr(request, COUNT):
                # The page looks at the password by itself, and would take it in a session that another guess has ended.
                return HttpResponseRedirect(reverse("admin:login"))
        return view(request, *args, **kwargs)

    return confirm_and_change


admin.site.password_change = count_old_passwords(admin.site.password_change)  # type: ignore[method-assign, assignment]
