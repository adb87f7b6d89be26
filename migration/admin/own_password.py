"""Asks for the user's own password again, on the pages where that is wanted, and counts the wrong ones."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpResponseRedirect
from django.urls import reverse

from migration.admin.base import get_signed_in_user
from migration.models import PasswordPlace
from migration.operations.wrong_passwords import (
    MOST_IN_A_SESSION,
    check_password_or_code,
    count_wrong_passwords,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


# Of a request that typed the last wrong password that a session may have; the site answers it with a page of its own.
COUNT = "wrong_passwords_in_session"


def check_own_password_or_code(
    request: HttpRequest, password: str, *, place: PasswordPlace
) -> bool:
    """Say whether it is the user's password or a code of their factor; record it if wrong and not empty.

    After too many the session ends, whatever the page answers.
    """
    if not password:
        return False
    session_key = request.session.session_key or ""
    if check_password_or_code(
        user=get_signed_in_user(request),
        password=password,
        session_key=session_key,
        # Behind a trusted proxy it is the client's too.
        address=request.META.get("REMOTE_ADDR", ""),
        place=place,
    ):
        return True
    count = count_wrong_passwords(session_key)
    if count >= MOST_IN_A_SESSION:
        setattr(request, COUNT, count)
    return False


def count_old_passwords(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap the view that changes one's own password, so that wrong old passwords are recorded."""

    @wraps(view)
    def confirm_and_change(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.method == "POST":
            old = request.POST.get("old_password", "")
            check_own_password_or_code(request, old, place=PasswordPlace.PASSWORD_CHANGE)
            if hasattr(request, COUNT):
                # The page looks at the password by itself, and would take it in a session that another guess has ended.
                return HttpResponseRedirect(reverse("admin:login"))
        return view(request, *args, **kwargs)

    return confirm_and_change


admin.site.password_change = count_old_passwords(admin.site.password_change)  # type: ignore[method-assign, assignment]
