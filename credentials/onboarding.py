"""The steps in which a client is added, and what is said meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from django import forms
from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.forms import BoundField
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from credentials.forms import ClientForm, CredentialForm, CredentialInline
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
)
from credentials.prices import SECRET_A_MONTH
from credentials.refusals import insert_rows
from credentials.secret_names import configured_layout, find_name_problem, find_name_warning
from nova_credentials import document as documents
from nova_credentials.aws.regions import list_regions
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from credentials.forms import AnyField


# Hints beside the fields of the onboarding page: what may be a mistake, and is taken all the same. Never a secret.

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


# Onboarding: the forms that make a client with its first login of each type at once. Knows no phase.


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
    fields = ("db_host", "db_port", "db_name", "db_user", "db_password")


class NewEmailInline(CredentialInline):
    """The inline by which the onboarding page makes its form of a new mail login."""

    model = EmailCredential
    form = NewEmailForm
    fields = (
        "email_provider",
        *MAIL_SERVER_FIELDS,
        "email_user",
        "email_password",
        "sender_whitelist",
    )

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
    fields = ("access_key_id", "secret_access_key", "region")


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
        self.logins: dict[CredentialType, NewLoginForm] = {}
        for credential_type, inline_class in SECTIONS.items():
            inline = inline_class(Client, admin.admin_site)
            if inline.has_add_permission(request, None):
                is_mail = credential_type == CredentialType.EMAIL
                self.logins[credential_type] = _make_login_form(
                    inline,
                    request,
                    data,
                    prefix=credential_type,
                    initial=_mail_servers(mail_provider) if is_mail else None,
                )

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

    @property
    def slug_warning(self) -> str | None:
        return find_name_warning(self.slug) if self.slug else None

    @cached_property
    def hints(self) -> dict[str, str]:
        """Return the hints beside the inputs, by the inputs' names."""
        found = {
            form.add_prefix(name): hint
            for form in self.filled_logins.values()
            for name, hint in find_hints(form).items()
        }
        if warning := self.slug_warning:
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

    @property
    def dollars_a_month(self) -> Decimal:
        return SECRET_A_MONTH * len(self.secret_names)

    def _is_too_large(self) -> bool:
        slug = self.client.instance.slug
        rows = {t: [form.instance] for t, form in self.filled_logins.items()}
        document = documents.build_document(self.client.instance.name, rows, slug=slug)
        prefix = settings.NOVA_SECRET_PREFIX
        return bool(
            documents.size_problem(document, slug, prefix=prefix, layout=configured_layout())
        )


def _make_login_form(
    inline: CredentialInline,
    request: HttpRequest,
    data: Mapping[str, str] | None,
    *,
    prefix: str,
    initial: dict[str, str | int | None] | None,
) -> NewLoginForm:
    form = forms.modelform_factory(
        inline.model,
        inline.form,
        inline.fields,
        formfield_callback=_make_fields_by(inline, request),
    )
    login = form(
        data, prefix=prefix, initial=initial, empty_permitted=True, use_required_attribute=False
    )
    return cast("NewLoginForm", login)


def _make_fields_by(
    admin: ModelAdmin[Client] | CredentialInline, request: HttpRequest
) -> Callable[[AnyField], forms.Field | None]:
    """Return the function that makes form fields as this admin's own pages do."""
    return partial(admin.formfield_for_dbfield, request=request)


def _mail_servers(provider: str) -> dict[str, str | int | None]:
    servers = MAIL_SERVERS.get(provider, {})
    return {"email_provider": provider} | {name: servers.get(name) for name in MAIL_SERVER_FIELDS}
