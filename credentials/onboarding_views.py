"""The onboarding page, and the answers to what is typed into it. No secret is in anything that they send."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db import transaction
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from django.views.generic.base import ContextMixin, TemplateResponseMixin, View
from unfold.views import UnfoldModelAdminViewMixin

from credentials.localization import localize
from credentials.models import Client, Credential
from credentials.onboarding import MAIL_SERVER_FIELDS, OnboardingForms
from credentials.prices import SECRET_A_MONTH, TEN_THOUSAND_CALLS
from credentials.refusals import RefusedByDatabaseError, convert_refusals
from nova_credentials.credential_types import CredentialType

TYPING_PAUSE = "input changed delay:300ms"


class OnboardingView(UnfoldModelAdminViewMixin, TemplateResponseMixin, ContextMixin, View):
    """The base of the onboarding views: it checks the permission and makes the forms for this user."""

    model_admin: ModelAdmin[Client]
    permission_required = "credentials.add_client"
    title = gettext_lazy("Add a client")

    def make_forms(
        self, data: Mapping[str, str] | None = None, *, mail_provider: str = "gmail"
    ) -> OnboardingForms:
        """Return the forms of the logins that the user may add, filled with `data` where it is given."""
        forms = OnboardingForms(self.model_admin, self.request, data, mail_provider=mail_provider)
        _wire_inputs(forms)
        if data is not None:
            for form in forms.all_forms:
                for field in form:
                    field.hint = forms.hints.get(field.html_name)  # type: ignore[attr-defined]  # for the template
        return forms


class OnboardClientView(OnboardingView):
    """The page that onboards a client. A subclass may extend `get_context_data` and act in `act_after_commit`."""

    template_name = "admin/credentials/onboard.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_page(self.make_forms())

    def post(self, request: HttpRequest) -> HttpResponse:
        forms = self.make_forms(request.POST)
        if forms.logins and forms.is_valid() and (client := self.save_client(forms)):
            return HttpResponseRedirect(
                reverse("admin:credentials_client_change", args=[client.pk])
            )
        return self.show_page(forms)

    def show_page(self, forms: OnboardingForms) -> HttpResponse:
        """Show the forms, or lead to Django's own if the user may add a client but no login."""
        if not forms.logins:
            return HttpResponseRedirect(reverse("admin:credentials_client_add_form"))
        return self.render_to_response(self.get_context_data(**_page_context(forms)))

    def save_client(self, forms: OnboardingForms) -> Client | None:
        """Store the client with its logins and return it; return None, and say why, if the database refuses it."""
        try:
            with convert_refusals(), transaction.atomic():
                client, rows = forms.save_client()
                self._log_addition(client, rows)
                self.act_before_commit(client, forms)
        except RefusedByDatabaseError as refusal:
            problem = localize(refusal.message)
            forms.add_refusal(_("Nothing was saved: %(problem)s") % {"problem": problem})
            return None
        text = _("%(name)s was added, with its %(logins)s.")
        logins = ", ".join(str(row._meta.verbose_name) for row in rows)
        messages.success(self.request, text % {"name": client.name, "logins": logins})
        for hint in forms.describe_hints():
            messages.warning(self.request, hint)
        self.act_after_commit(client)
        return client

    def act_before_commit(self, client: Client, forms: OnboardingForms) -> None:
        """Do what a subclass does with a new client in the transaction that stores it."""

    def act_after_commit(self, client: Client) -> None:
        """Do what a subclass does with a new client, once it is committed."""

    def _log_addition(self, client: Client, rows: list[Credential]) -> None:
        with override(None):  # the log is translated when it is read
            added = [{"name": str(row._meta.verbose_name), "object": str(row)} for row in rows]
        log = [{"added": {}}, *({"added": row} for row in added)]
        self.model_admin.log_addition(self.request, client, log)


class CheckOnboardingView(OnboardingView):
    """The answer while somebody types: the errors of the one field, and the secrets' names and cost."""

    template_name = "admin/credentials/onboard_check.html"

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = request.POST.dict()
        for name in self.make_forms().secret_fields:
            typed.pop(name, None)
        forms = self.make_forms(typed)
        filled = forms.filled_logins
        for form in forms.logins.values():
            form.empty_permitted = False  # so that its errors show, though it may still be left out
        fields = [
            _check_result(
                field,
                required=form is forms.client or form in filled.values(),
                warning=forms.hints.get(field.html_name),
            )
            for form in forms.all_forms
            for field in form
            if field.html_name == request.headers.get("HX-Trigger-Name")
            and field.html_name not in forms.secret_fields
        ]
        return self.render_to_response({"checked_fields": fields, **_summary_context(forms)})


class MailServerFieldsView(OnboardingView):
    """The inputs for hosts and ports, filled for the mail provider that was chosen."""

    template_name = "admin/credentials/onboard_fields.html"

    def has_permission(self) -> bool:
        return bool(super().has_permission() and self.make_forms().mail_server_fields)

    def get(self, request: HttpRequest) -> HttpResponse:
        forms = self.make_forms(mail_provider=request.GET.get("email-email_provider", ""))
        return self.render_to_response({"fields": forms.mail_server_fields})


def _wire_inputs(forms: OnboardingForms) -> None:
    """Have htmx check every input that is not a secret while it is typed into; describe each by its texts."""
    for form in forms.all_forms:
        for field in form:
            attrs = field.field.widget.attrs
            texts = ("helptext", "error") if field.help_text else ("error",)
            attrs["aria-describedby"] = " ".join(f"{field.auto_id}_{text}" for text in texts)
            if field.name == "email_provider":
                servers = reverse("admin:credentials_client_add_mail")
                attrs |= {"hx-get": servers, "hx-trigger": "change", "hx-target": "#mail-hosts"}
            elif field.html_name not in forms.secret_fields:
                check = reverse("admin:credentials_client_add_check")
                attrs |= {"hx-post": check, "hx-trigger": TYPING_PAUSE}


def _page_context(forms: OnboardingForms) -> dict[str, object]:
    titles = {
        CredentialType.DATABASE: _("Database login"),
        CredentialType.EMAIL: _("Mail login"),
        CredentialType.AWS: _("AWS login"),
    }
    sections = [
        {
            "type": credential_type,
            "title": capfirst(titles[credential_type]),
            "form": form,
            "fields": [field for field in form if field.name not in MAIL_SERVER_FIELDS],
        }
        for credential_type, form in forms.logins.items()
    ]
    return {
        "client": forms.client,
        "sections": sections,
        "mail_server_fields": forms.mail_server_fields,
        "secret_fields": ",".join(forms.secret_fields),
        "error_count": sum(len(form.errors) for form in forms.all_forms),
        "refusals": forms.client.non_field_errors(),
        **_summary_context(forms),
    }


def _summary_context(forms: OnboardingForms) -> dict[str, object]:
    """Return the names of the secrets that there will be, and AWS's prices in dollars."""
    return {
        "names": forms.secret_names,
        "dollars": forms.dollars_a_month,
        "secret_a_month": SECRET_A_MONTH,
        "ten_thousand_calls": TEN_THOUSAND_CALLS,
    }


def _check_result(field: BoundField, *, required: bool, warning: str | None) -> dict[str, object]:
    """Return what the page shows beside a field; no error of one that is blank and may be left out."""
    judged = required or field.data not in (None, "")
    errors = field.errors if judged else []
    return {"id": f"{field.auto_id}_error", "errors": errors, "warning": warning}
