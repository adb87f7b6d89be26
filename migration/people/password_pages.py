"""Asks for the user's own password again where that is wanted, counts the wrong ones, and the page that lists them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, ClassVar, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget

from credentials.localization import localize
from migration.core.pages import ReadOnlyAdmin, get_signed_in_user
from migration.people.lockouts import (
    ANYBODY,
    MOST_IN_A_SESSION,
    check_password_or_code,
    count_wrong_passwords,
    end_login_locks,
    find_locks,
)
from migration.people.models import PasswordPlace, WrongPassword
from migration.templatetags.migration_pages import make_label, time_ago
from nova_credentials.messages import Sentence

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


# The form that asks whoever changes users or groups for their own password; nothing keeps it

PASSWORD_FIELD = "current_password"  # noqa: S105  # a name

AnyForm = TypeVar("AnyForm", bound=forms.BaseForm)

NO_PROOF = Sentence(
    "no_proof",
    "That is neither your password nor a code of a second factor that you had before this login.",
)


class ActorPasswordForm(forms.Form):
    """A form that is valid only with the password of the user who sends it; combined with the form of the change."""

    # Of the class that `bind_to_request` makes.
    request: HttpRequest

    current_password = forms.CharField(
        label=_("Your own password again"),
        help_text=_("Every change to users, groups and passwords asks for it."),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )

    def clean_current_password(self) -> str:
        """Check the password, or a code in its place, and keep nothing of it."""
        given = self.cleaned_data.pop(PASSWORD_FIELD)
        if not check_own_password_or_code(self.request, given, place=PasswordPlace.USERS):
            raise ValidationError(localize(NO_PROOF()), code="wrong_password")
        return ""

    @property
    def changed_data(self) -> list[str]:
        """Return what was changed, for the admin's log: the password is part of the question, not of the change."""
        return [name for name in super().changed_data if name != PASSWORD_FIELD]


def bind_to_request(form_class: type[AnyForm], request: HttpRequest) -> type[AnyForm]:
    """Return a subclass of the form that has this request, whose user's password it checks."""
    return type(form_class.__name__, (form_class,), {"request": request})


# The page Wrong passwords: who mistyped or guessed where, who is locked out of the login, and the way in again

if TYPE_CHECKING:

    class WrongPasswordRow(WrongPassword):
        """A record as `get_changelist_instance` gives it."""

        locked_until: datetime | None


class WrongPasswordAdmin(ReadOnlyAdmin):
    list_display = ("typed_when", "user_name", "address", "place", "state")
    list_display_links = None
    list_filter: ClassVar = ["place", "shut_out"]
    list_per_page = 50
    search_fields = ("username", "address")
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    nothing_yet = _("Nobody typed a wrong password lately.")
    actions = ("let_in_again",)

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses that name no record: a record has nothing more to show."""
        return [
            url for url in super().get_urls() if str(url.name).endswith(("_changelist", "_add"))
        ]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each record whether its user is locked out at its address now."""
        changelist = super().get_changelist_instance(request)
        locks = find_locks()
        for row in changelist.result_list:
            is_last = row.shut_out and row.place == PasswordPlace.LOGIN and not row.let_in_at
            end = locks.get((row.username, row.address)) or locks.get((ANYBODY, row.address))
            row.locked_until = end if is_last else None
        return changelist

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("auth.view_user")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_let_in_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("auth.change_user")

    @admin.action(description=_("Let in again"), permissions=["let_in"])
    def let_in_again(self, request: HttpRequest, chosen: QuerySet[WrongPassword]) -> None:
        """End the locks of the chosen users at the chosen addresses."""
        count = end_login_locks(chosen, by=get_signed_in_user(request))
        if not count:
            text = gettext("None of these is locked out now.")
            self.message_user(request, text, messages.WARNING)
            return
        text = ngettext(
            "%(n)s user can try again at once.", "%(n)s users can try again at once.", count
        )
        self.message_user(request, text % {"n": count}, messages.SUCCESS)

    @display(description=_("typed"), ordering="typed_at")
    def typed_when(self, row: WrongPassword) -> SafeString | str:
        return time_ago(row.typed_at)

    @display(description=_("user"), ordering="username")
    def user_name(self, row: WrongPassword) -> str:
        return row.username or gettext("no such user")

    @display(description=_("state"))
    def state(self, row: WrongPasswordRow) -> str:
        if row.locked_until:
            text = gettext("Locked out until %(time)s")
            time = time_format(timezone.localtime(row.locked_until), "TIME_FORMAT")
            return make_label(text % {"time": time}, "danger", "lock")
        if row.let_in_at:
            text = gettext("Let in again by %(who)s")
            return make_label(text % {"who": row.let_in_by}, "success", "lock_open")
        if row.shut_out and row.place == PasswordPlace.LOGIN:
            return make_label(gettext("Was locked out"), "default", "history")
        return make_label(gettext("Session ended"), "warning", "logout") if row.shut_out else "–"
