"""Asks for the user's own password again where that is wanted, and counts the wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget

from credentials.localization import localize
from migration.core.pages import get_signed_in_user
from migration.people.lockouts import (
    LOGIN,
    MOST_IN_A_SESSION,
    check_password_or_code,
    count_wrong_passwords,
)
from migration.people.models import PasswordPlace
from migration.people.second_factors import can_prove_by_code
from nova_credentials.messages import Message, Sentence

# Of a request that typed the last wrong password that a session may have; the site answers it with a page of its own.
WRONG_PASSWORDS = "wrong_passwords_in_session"


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
        setattr(request, WRONG_PASSWORDS, count)
    return False


def count_old_passwords(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap the view that changes one's own password, so that wrong old passwords are recorded."""

    @wraps(view)
    def confirm_and_change(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.method == "POST":
            old = request.POST.get("old_password", "")
            check_own_password_or_code(request, old, place=PasswordPlace.PASSWORD_CHANGE)
            if hasattr(request, WRONG_PASSWORDS):
                # The page looks at the password by itself, and would take it in a session that another guess has ended.
                return HttpResponseRedirect(reverse("admin:login"))
        title = {"title": gettext("Change password")}
        answer = view(request, *args, extra_context=title, **kwargs)
        if isinstance(answer, HttpResponseRedirect):
            messages.success(request, gettext("Your password was changed."))
        return answer

    return confirm_and_change


def leave_changed_password(
    request: HttpRequest, extra_context: dict[str, object] | None = None
) -> HttpResponse:
    """Lead on to the dashboard, which shows that it was done."""
    return HttpResponseRedirect(reverse("admin:index"))


admin.site.password_change = count_old_passwords(admin.site.password_change)  # type: ignore[method-assign, assignment]
admin.site.password_change_done = leave_changed_password  # type: ignore[method-assign, assignment]


# The form that asks whoever changes people for their own password; nothing keeps it

PASSWORD_FIELD = "current_password"  # noqa: S105  # a name

AnyForm = TypeVar("AnyForm", bound=forms.BaseForm)

NO_PROOF = Sentence("no_proof", "Wrong password, or wrong or used code.")
WRONG_PASSWORD = Sentence("wrong_own_password", "Wrong password.")


def may_give_code(request: HttpRequest) -> bool:
    """Say whether a code counts beside the password: the user has a second factor that this login didn't make."""
    return can_prove_by_code(get_signed_in_user(request), request.session.get(LOGIN, ""))


def explain_wrong_answer(request: HttpRequest) -> Message:
    """Say what was wrong with the password, or the code."""
    return NO_PROOF() if may_give_code(request) else WRONG_PASSWORD()


class ActorPasswordForm(forms.Form):
    """A form that is valid only with the password of the user who sends it; combined with the form of the change."""

    # Of the class that `bind_to_request` makes.
    request: HttpRequest

    current_password = forms.CharField(
        label=_("Your own password, or a code of your second factor, to confirm"),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not may_give_code(self.request):
            self.fields[PASSWORD_FIELD].label = _("Your own password, to confirm")

    def clean_current_password(self) -> str:
        """Check the password, or a code in its place, and keep nothing of it."""
        given = self.cleaned_data.pop(PASSWORD_FIELD)
        if not check_own_password_or_code(self.request, given, place=PasswordPlace.USERS):
            raise ValidationError(
                localize(explain_wrong_answer(self.request)), code="wrong_password"
            )
        return ""


def bind_to_request(form_class: type[AnyForm], request: HttpRequest) -> type[AnyForm]:
    """Return a subclass of the form that has this request, whose user's password it checks."""
    return type(form_class.__name__, (form_class,), {"request": request})
