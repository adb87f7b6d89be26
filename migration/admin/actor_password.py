"""Asks whoever changes users or groups for their own password, in the form of the change. Nothing keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget

from credentials.localization import localize
from migration import factor_sentences as sentences
from migration.admin.own_password import check_own_password_or_code
from migration.models import PasswordPlace

if TYPE_CHECKING:
    from django.http import HttpRequest

FIELD = "current_password"

AnyForm = TypeVar("AnyForm", bound=forms.BaseForm)


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
        given = self.cleaned_data.pop(FIELD)
        if not check_own_password_or_code(self.request, given, place=PasswordPlace.USERS):
            raise ValidationError(localize(sentences.NO_PROOF()), code="wrong_password")
        return ""

    @property
    def changed_data(self) -> list[str]:
        """Return what was changed, for the admin's log: the password is part of the question, not of the change."""
        return [name for name in super().changed_data if name != FIELD]


def bind_to_request(form_class: type[AnyForm], request: HttpRequest) -> type[AnyForm]:
    """Return a subclass of the form that has this request, whose user's password it checks."""
    return type(form_class.__name__, (form_class,), {"request": request})
