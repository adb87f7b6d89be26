"""The page Wrong passwords: who mistyped or guessed where, who is locked out of the login, and the way in again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin, messages
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from migration.admin.base import ReadOnlyAdmin, get_signed_in_user
from migration.models import PasswordPlace, WrongPassword
from migration.operations.lockouts import ANYBODY, find_locks
from migration.operations.wrong_passwords import end_login_locks
from migration.templatetags.migration_pages import make_label, time_ago

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

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
