"""Onboarding: the page that makes a client with its first logins, and its answers to what is typed into it.

No secret is in anything that it sends. Knows no phase.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import flatten
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from django.views.generic.base import ContextMixin, TemplateResponseMixin, View
from unfold.views import UnfoldModelAdminViewMixin
from unfold.widgets import UnfoldAdminSelectWidget

from credentials.forms import (
    AWS_FIELDS,
    DATABASE_FIELDS,
    EMAIL_FIELDS,
    ClientForm,
    CredentialForm,
    CredentialInline,
)
from credentials.localization import localize
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
)
from credentials.prices import SECRET_A_MONTH, TEN_THOUSAND_CALLS
from credentials.refusals import RefusedByDatabaseError, convert_refusals, insert_rows
from credentials.secret_names import configured_layout, find_name_problem, find_name_warning
from nova_credentials import document as documents
from nova_credentials.aws.regions import list_regions
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from credentials.forms import AnyField

# Between the last key and the question to the server.
TYPING_PAUSE = "input changed delay:300ms"

# The mail providers that NOVA's tables name, and the hosts and ports of their mailboxes.
PROVIDERS = [
    ("gmail", "Gmail"),
    ("outlook", "Outlook, Microsoft 365"),
    ("custom", gettext_lazy("Other")),
]
MAIL_SERVERS: dict[str, dict[str, str | int]] = {
    "gmail": {
        "imap_host": "imap.gmail.com",
        "imap_port": 993,
        "smtp_host": "smtp.gmail.com",
        "smtp_port": 587,
    },
    "outlook": {
        "imap_host": "outlook.office365.com",
        "imap_port": 993,
        "smtp_host": "smtp.office365.com",
        "smtp_port": 587,
    },
    "custom": {},
}
MAIL_SERVER_FIELDS = tuple(MAIL_SERVERS["gmail"])


def clean_addresses(text: str) -> str | None:
    """Return the addresses with only commas between them, None for none; raise ValidationError for other text."""
    typed = re.split(r"[,\n]", text)
    addresses = [address.strip() for address in typed if address.strip()]
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ValidationError(
                _("“%(address)s” is not an address. Separate addresses with commas."),
                params={"address": address},
            ) from None
    # NOVA's readers may not strip blanks, so none are stored.
    return ",".join(addresses) or None


class NewClientForm(ClientForm):
    """The form of the new client on the onboarding page."""

    revision = None  # type: ignore[assignment]  # takes the field away

    class Meta:
        model = Client
        fields = ("name", "slug", "description")


class NewLoginForm(CredentialForm):
    """A login that is left out if nothing was typed into it."""

    def has_changed(self) -> bool:
        # A change to a value that the page filled in doesn't mean that this login is wanted.
        prefilled = (self.get_initial_for_field(self.fields[n], n) for n in self.changed_data)
        return not all(prefilled)


class NewEmailForm(NewLoginForm):
    """A mailbox, whose hosts and ports come from its provider where none are typed."""

    def clean_sender_whitelist(self) -> str | None:
        return clean_addresses(self.cleaned_data["sender_whitelist"] or "")

    def clean(self) -> None:
        super().clean()
        own = MAIL_SERVERS.get(self.cleaned_data.get("email_provider", ""), {})
        # Without JavaScript the page still sends the hosts of the provider that it was opened with.
        others = [servers for servers in MAIL_SERVERS.values() if servers is not own]
        of_others = [value for servers in others for value in servers.values()]
        for name in set(MAIL_SERVER_FIELDS) - set(self.errors):
            typed = self.cleaned_data.get(name)
            if own and (not typed or typed in of_others):
                self.cleaned_data[name] = own[name]
            elif not typed:
                self.add_error(name, self.fields[name].error_messages["required"])


class NewDatabaseInline(CredentialInline):
    """The inline by which the onboarding page makes its form of a new database login."""

    model = DatabaseCredential
    form = NewLoginForm
    fields = flatten(DATABASE_FIELDS)


class NewEmailInline(CredentialInline):
    """The inline by which the onboarding page makes its form of a new mail login."""

    model = EmailCredential
    form = NewEmailForm
    fields = flatten(EMAIL_FIELDS)

    def formfield_for_dbfield(
        self, db_field: AnyField, request: HttpRequest, **kwargs: object
    ) -> forms.Field | None:
        if db_field.name == "email_provider":
            widget = UnfoldAdminSelectWidget()
            return forms.ChoiceField(label=_("Provider"), choices=PROVIDERS, widget=widget)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class NewAwsInline(CredentialInline):
    """The inline by which the onboarding page makes its form of a new AWS login."""

    model = AwsCredential
    form = NewLoginForm
    fields = flatten(AWS_FIELDS)


SECTIONS: dict[CredentialType, type[CredentialInline]] = {
    CredentialType.DATABASE: NewDatabaseInline,
    CredentialType.EMAIL: NewEmailInline,
    CredentialType.AWS: NewAwsInline,
}


class OnboardingForms:
    """The forms of the onboarding page: one for the client, one for each login that the user may add."""

    def __init__(
        self,
        admin: ModelAdmin[Client],
        request: HttpRequest,
        data: Mapping[str, str] | None = None,
        *,
        mail_provider: str = "gmail",
    ) -> None:
        client_form = forms.modelform_factory(
            Client, NewClientForm, formfield_callback=_make_fields_by(admin, request)
        )
        self.client = cast("NewClientForm", client_form(data))
        servers = MAIL_SERVERS.get(mail_provider, {})
        mail_servers: dict[str, str | int | None] = {"email_provider": mail_provider}
        mail_servers |= {name: servers.get(name) for name in MAIL_SERVER_FIELDS}
        self.logins: dict[CredentialType, NewLoginForm] = {}
        for credential_type, inline_class in SECTIONS.items():
            inline = inline_class(Client, admin.admin_site)
            if inline.has_add_permission(request, None):
                form = forms.modelform_factory(
                    inline.model,
                    inline.form,
                    inline.fields,
                    formfield_callback=_make_fields_by(inline, request),
                )
                login = form(
                    data,
                    prefix=credential_type,
                    initial=mail_servers if credential_type == CredentialType.EMAIL else None,
                    empty_permitted=True,
                    use_required_attribute=False,
                )
                self.logins[credential_type] = cast("NewLoginForm", login)

    @property
    def all_forms(self) -> list[ClientForm | CredentialForm]:
        return [self.client, *self.logins.values()]

    @cached_property
    def filled_logins(self) -> dict[CredentialType, NewLoginForm]:
        """Return the logins into which something was typed."""
        return {t: form for t, form in self.logins.items() if form.has_changed()}

    @property
    def secret_fields(self) -> list[str]:
        """Return the names of the inputs that hold a secret."""
        return [
            form.add_prefix(name)
            for form in self.logins.values()
            for name in form.instance.SECRET_FIELDS
        ]

    @property
    def mail_server_fields(self) -> list[BoundField]:
        """Return the inputs for the mail provider's hosts and ports; none if the user may add no mail login."""
        form = self.logins.get(CredentialType.EMAIL)
        return [form[name] for name in MAIL_SERVER_FIELDS] if form else []

    def is_valid(self) -> bool:
        # A list, so that every form is validated and the page shows all errors at once.
        valid = not any([form.errors for form in self.all_forms])  # noqa: C419
        if not self.filled_logins:
            self.add_refusal(_("Nothing was saved: fill in at least one login."))
        elif valid and self._is_too_large():
            text = _(
                "Nothing was saved: the credentials need more than the %(n)d bytes that a secret can hold."
                " Shorten them."
            )
            self.add_refusal(text % {"n": documents.MAX_BYTES})
        return self.client.is_valid() and valid

    def add_refusal(self, reason: str) -> None:
        """Show, above the forms, why nothing was saved."""
        self.client.add_error(None, reason)

    def save_client(self) -> tuple[Client, list[Credential]]:
        """Store the client and its filled logins, within the caller's transaction, and return them.

        Raises `RefusedByDatabaseError` where a trigger left a row out.
        """
        insert_rows(Client, [self.client.save(commit=False)])
        for form in self.filled_logins.values():
            form.instance.client_id = self.client.instance.pk
            insert_rows(form.instance.__class__, [form.save(commit=False)])
        return self.client.instance, [form.instance for form in self.filled_logins.values()]

    @property
    def slug(self) -> str:
        """Return the slug as it was typed, without the blanks around it."""
        return (self.client["slug"].value() or "").strip()

    @cached_property
    def hints(self) -> dict[str, str]:
        """Return the hints beside the inputs, by the inputs' names."""
        found = {
            form.add_prefix(name): hint
            for form in self.filled_logins.values()
            for name, hint in find_hints(form).items()
        }
        if self.slug and (warning := find_name_warning(self.slug)):
            found[self.client.add_prefix("slug")] = warning
        return found

    def describe_hints(self) -> list[str]:
        """Return a line for each hint: the label of its field, a colon and the hint."""
        bound = {field.html_name: field for form in self.all_forms for field in form}
        return [f"{bound[name].label}: {hint}." for name, hint in self.hints.items()]

    @property
    def secret_names(self) -> list[str]:
        """Return the names that the client's secrets will have; empty if the slug can't be taken."""
        if find_name_problem(self.slug) or "slug" in self.client.errors:
            return []
        names = documents.secret_names(
            self.slug, prefix=settings.NOVA_SECRET_PREFIX, layout=configured_layout()
        )
        filled = self.filled_logins
        return [name for part, name in names.items() if part == "client" or part in filled]

    def _is_too_large(self) -> bool:
        slug = self.client.instance.slug
        rows = {t: [form.instance] for t, form in self.filled_logins.items()}
        document = documents.build_document(self.client.instance.name, rows, slug=slug)
        prefix = settings.NOVA_SECRET_PREFIX
        return bool(
            documents.size_problem(document, slug, prefix=prefix, layout=configured_layout())
        )


def _make_fields_by(
    admin: ModelAdmin[Client] | CredentialInline, request: HttpRequest
) -> Callable[[AnyField], forms.Field | None]:
    """Return the function that makes form fields as this admin's own pages do."""
    return partial(admin.formfield_for_dbfield, request=request)


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
    """The page that onboards a client. A subclass may extend `get_context_data`, and lead elsewhere afterwards."""

    template_name = "admin/credentials/onboard.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_page(self.make_forms())

    def post(self, request: HttpRequest) -> HttpResponse:
        forms = self.make_forms(request.POST)
        if forms.logins and forms.is_valid() and (client := self.save_client(forms)):
            return HttpResponseRedirect(self.get_next_url(client))
        return self.show_page(forms)

    def show_page(self, forms: OnboardingForms) -> HttpResponse:
        """Show the forms, or lead to Django's own if the user may add a client but no login."""
        if not forms.logins:
            return HttpResponseRedirect(reverse("admin:credentials_client_add_form"))
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
        context = self.get_context_data(
            client=forms.client,
            sections=sections,
            mail_server_fields=forms.mail_server_fields,
            secret_fields=",".join(forms.secret_fields),
            error_count=sum(len(form.errors) for form in forms.all_forms),
            refusals=forms.client.non_field_errors(),
            **_summary_context(forms),
        )
        return self.render_to_response(context)

    def save_client(self, forms: OnboardingForms) -> Client | None:
        """Store the client with its logins and return it; return None, and say why, if the database refuses it."""
        try:
            with convert_refusals(), transaction.atomic():
                client, rows = forms.save_client()
                with override(None):  # the log is translated when it is read
                    added = [
                        {"name": str(row._meta.verbose_name), "object": str(row)} for row in rows
                    ]
                log = [{"added": {}}, *({"added": row} for row in added)]
                self.model_admin.log_addition(self.request, client, log)
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
        return client

    def act_before_commit(self, client: Client, forms: OnboardingForms) -> None:
        """Do what a subclass does with a new client in the transaction that stores it."""

    def get_next_url(self, client: Client) -> str:
        """Return where the page leads once the client is stored."""
        return reverse("admin:credentials_client_change", args=[client.pk])


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


def _summary_context(forms: OnboardingForms) -> dict[str, object]:
    """Return the names of the secrets that there will be, and AWS's prices in dollars."""
    names = forms.secret_names
    return {
        "names": names,
        "dollars": SECRET_A_MONTH * len(names),
        "secret_a_month": SECRET_A_MONTH,
        "ten_thousand_calls": TEN_THOUSAND_CALLS,
    }


def _check_result(field: BoundField, *, required: bool, warning: str | None) -> dict[str, object]:
    """Return what the page shows beside a field; no error of one that is blank and may be left out."""
    judged = required or field.data not in (None, "")
    errors = field.errors if judged else []
    return {"id": f"{field.auto_id}_error", "errors": errors, "warning": warning}


# Hints beside the fields: what may be a mistake, and is taken all the same. They never quote a secret.

ACCESS_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{16}")


def hint_at_key_id(value: str) -> str:
    """Return a hint where the value is not shaped like an AWS access key id, else nothing."""
    if ACCESS_KEY_ID.fullmatch(value):
        return ""
    return _("AWS's access key ids are 20 capital letters and digits, and begin with AKIA")


def hint_at_region(value: str) -> str:
    """Return a hint where AWS has no region of this name, else nothing."""
    if value in list_regions():
        return ""
    return _("AWS has no region “%(region)s”, as far as this site knows") % {"region": value}


def hint_at_mail_user(value: str) -> str:
    """Return a hint where the mail user is no mail address, else nothing."""
    try:
        validate_email(value)
    except ValidationError:
        return _("This is no mail address, which most providers want here")
    return ""


def hint_at_outer_blanks(value: str) -> str:
    """Return a hint, which quotes nothing, where the secret begins or ends with a blank, else nothing."""
    if value == value.strip():
        return ""
    return _(
        "It begins or ends with a blank. If that is a mistake, type it again on the client's page"
    )


HINTS: dict[str, Callable[[str], str]] = {
    "access_key_id": hint_at_key_id,
    "region": hint_at_region,
    "email_user": hint_at_mail_user,
}


def find_hints(form: CredentialForm) -> dict[str, str]:
    """Return the hints at what was typed into the form, by field. Its secrets are hinted at once it is valid."""
    found = {
        name: hint(str(value).strip())
        for name, hint in HINTS.items()
        if name in form.fields and (value := form[name].value())
    }
    if form.is_bound and form.is_valid():
        found |= {name: hint_at_outer_blanks(value) for name, value in form.typed_secrets().items()}
    return {name: text for name, text in found.items() if text}
