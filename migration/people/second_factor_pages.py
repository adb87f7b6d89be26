"""Resets the second factor of somebody who lost it. Asks for one's own password or factor, and tells the person."""

from __future__ import annotations

from functools import cached_property

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.core.pages import AdminView, get_signed_in_user
from migration.people.models import PasswordPlace
from migration.people.password_pages import NO_PROOF, check_own_password_or_code
from migration.people.roles import may_administer
from migration.people.second_factors import NotResetError, find_reset_refusal, reset_second_factor

ALLAUTH_APPS = ("account", "socialaccount", "mfa")


def unregister_allauth_models() -> None:
    """Take allauth's models out of the admin: their pages show and change what proves who somebody is."""
    # Imported so that they have registered them by now, whatever the order of the apps.
    from allauth.account import admin as _accounts  # noqa: F401, PLC0415
    from allauth.mfa import admin as _factors  # noqa: F401, PLC0415
    from allauth.socialaccount import admin as _social  # noqa: F401, PLC0415

    for label in ALLAUTH_APPS:
        found = apps.get_app_config(label).get_models()
        admin.site.unregister([model for model in found if admin.site.is_registered(model)])


class ResetFactorView(AdminView):
    """The page that asks who resets a second factor for their own password or a code, and then resets it."""

    template_name = "admin/migration/reset_factor.html"
    permission_required = "auth.change_user"

    @cached_property
    def user(self) -> User:
        return get_object_or_404(User, pk=self.kwargs["user_id"])

    def has_permission(self) -> bool:
        """Say whether the user may change how this one logs in. Of a superuser's factor the page says why not."""
        if not super().has_permission():
            return False
        by = get_signed_in_user(self.request)
        return self.user.is_superuser or may_administer(by, self.user)

    @property
    def title(self) -> str:
        return _("Reset the second factor of %(who)s") % {"who": self.user.username}

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.show_page()

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        by = get_signed_in_user(request)
        if find_reset_refusal(self.user, by):
            return self.show_page()
        answer = request.POST.get("answer", "")
        if not check_own_password_or_code(request, answer, place=PasswordPlace.USERS):
            return self.show_page(localize(NO_PROOF()))
        try:
            told = reset_second_factor(self.user, by)
        except NotResetError as refusal:
            return self.show_page(localize(refusal.message))
        said = _("%(who)s has no second factor now, and was logged out.") % {
            "who": self.user.username
        }
        if told:
            messages.success(request, f"{said} {_('A mail tells them.')}")
        else:
            messages.warning(request, f"{said} {_('No mail could be sent: tell them yourself.')}")
        return HttpResponseRedirect(reverse("admin:auth_user_change", args=[self.user.pk]))

    def show_page(self, problem: str = "") -> HttpResponse:
        refusal = find_reset_refusal(self.user, get_signed_in_user(self.request))
        context = self.get_context_data(
            original=self.user,
            problem=problem,
            refusal=localize(refusal),
            input_classes=" ".join(BASE_INPUT_CLASSES),
        )
        return self.render_to_response(context)
