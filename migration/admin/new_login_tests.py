"""The test of a login that isn't stored yet, with what is typed for it: of a new client, and of a row that is added."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from django.http import Http404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _

from credentials.models import CREDENTIAL_MODELS
from credentials.onboarding import OnboardingForms
from migration.admin.login_tests import TypedLoginView
from migration.core.pages import ClientView, get_signed_in_user, read_raw_form_text
from migration.models.login_tests import LOGIN_PERMISSION
from migration.operations.client_login_tests import try_typed_login

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

    from credentials.forms import CredentialForm
    from credentials.inlines import CredentialInline
    from credentials.models import Client


class UnstoredLoginTestView(TypedLoginView):
    """Tests a login that isn't stored yet. No stored secret is near: all of it is typed."""

    def find_client(self) -> Client | None:
        """Return the client that gets the login; None where it is being added too."""
        return None

    @cached_property
    def inline(self) -> CredentialInline | None:
        """Return the form's inline for the type of logins in the address; None where the user's form has none."""
        found = self.model_admin.get_inline_instances(self.request, self.find_client())
        return next((each for each in found if self.kwargs["kind"] == each.model.TYPE), None)

    def may_use_page(self) -> bool:
        """Say whether the user may open the page that has the form."""
        return bool(self.model_admin.has_add_permission(self.request))

    def has_permission(self) -> bool:
        if not (super().has_permission() and self.may_use_page()):
            return False
        if self.kwargs["kind"] not in CREDENTIAL_MODELS:
            raise Http404
        return bool(
            self.inline and self.inline.has_add_permission(self.request, self.find_client())
        )

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        form = self.make_form()
        if form is None:
            return self.show_login_not_in_form()
        if not form.is_valid():
            return self.show_errors(form)
        result = try_typed_login(
            form.instance, client=self.find_client(), by=get_signed_in_user(request)
        )
        return self.show_outcome(result.outcome, result.service)

    def make_form(self) -> CredentialForm | None:
        """Return the form of the row that the page names; None where there can be none."""
        row = read_raw_form_text(self.request, "row")
        if self.inline is None:
            return None
        forms = self.inline.get_formset(self.request, self.find_client())
        if not re.fullmatch(rf"{forms.get_default_prefix()}-[0-9]{{1,4}}", row):
            return None
        form: CredentialForm = forms.form(self.request.POST, prefix=row)
        return form


class TestLoginOfNewClientView(UnstoredLoginTestView):
    """Tests a login of a client that is being added, on the onboarding page or on Django's own."""

    __test__ = False  # none of pytest's

    def make_form(self) -> CredentialForm | None:
        if "row" in self.request.POST:
            return super().make_form()
        forms = OnboardingForms(self.model_admin, self.request, self.request.POST)
        form = forms.logins.get(self.kwargs["kind"])
        if form:
            form.empty_permitted = False
        return form


class TestNewLoginView(UnstoredLoginTestView, ClientView):
    """Tests a login that is being added to a client."""

    __test__ = False

    def find_client(self) -> Client:
        return self.client

    def may_use_page(self) -> bool:
        return bool(self.model_admin.has_change_permission(self.request))


def link_new_test(
    request: HttpRequest, form: CredentialForm, client: Client | None, row: str = ""
) -> SafeString | str:
    """Return the button that tests a login that isn't stored; "" for a user who may not. `row`: its form's prefix."""
    model = form.instance._meta.model_name
    wanted = (LOGIN_PERMISSION, f"credentials.add_{model}", f"credentials.change_{model}")
    if not request.user.has_perms(wanted):
        return ""
    kind = form.instance.TYPE.value
    address = (
        reverse("admin:credentials_client_test_new", args=[client.pk, kind])
        if client and client.pk
        else reverse("admin:credentials_client_add_test", args=[kind])
    )
    result = f"login-test-{row or kind}"
    # All fields: the onboarding page keeps secrets out of what it sends while somebody types.
    return format_html(
        '<button class="cursor-pointer text-link underline" type="button" hx-post="{}" hx-target="#{}"'
        ' hx-vals="{}" hx-params="*" hx-disabled-elt="this">{}</button> <span id="{}" role="status"></span>',
        address,
        result,
        json.dumps({"row": row} if row else {}),
        _("Test this login"),
        result,
    )
