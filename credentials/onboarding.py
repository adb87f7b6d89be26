"""Onboarding: the forms that make a client with its first login of each kind at once. Knows no phase."""

from __future__ import annotations

import re
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from credentials.admin import (
    AwsInline,
    ClientForm,
    CredentialForm,
    CredentialInline,
    DatabaseInline,
    EmailInline,
    name_problem,
    name_warning,
)
from credentials.models import Client
from credentials.prices import SECRET_A_MONTH
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

    from credentials.models import Credential

# The providers that NOVA's tables name, and where their mailboxes are.
PROVIDERS = [
    ("gmail", "Gmail"),
    ("outlook", "Outlook, Microsoft 365"),
    ("custom", gettext_lazy("Another one")),
]
HOSTS: dict[str, dict[str, str | int]] = {
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
HOST_FIELDS = tuple(HOSTS["gmail"])


class NewClientForm(ClientForm):
    revision = None  # type: ignore[assignment]  # takes the field away

    class Meta:
        model = Client
        fields = ("name", "slug", "description")


class NewLoginForm(CredentialForm):
    """A login that is left out where nothing was typed into it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, empty_permitted=True, use_required_attribute=False, **kwargs)

    def has_changed(self) -> bool:
        # What the page fills in by itself says nothing of what is wanted.
        given = (self.get_initial_for_field(self.fields[n], n) for n in self.changed_data)
        return not all(given)


class NewEmailForm(NewLoginForm):
    def clean_sender_whitelist(self) -> str | None:
        typed = re.split(r"[,\n]", self.cleaned_data["sender_whitelist"] or "")
        addresses = [address.strip() for address in typed if address.strip()]
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(
                    _("“%(address)s” is no address. Separate addresses by commas."),
                    params={"address": address},
                ) from None
        # Without the blanks: NOVA need not take them off.
        return ",".join(addresses) or None

    def clean(self) -> None:
        super().clean()
        own = HOSTS.get(self.cleaned_data.get("email_provider", ""), {})
        # Without JavaScript the page still shows those of the provider that it came with.
        of_others = [other[name] for other in HOSTS.values() for name in other if other is not own]
        for name in set(HOST_FIELDS) - set(self.errors):
            typed = self.cleaned_data.get(name)
            if own and (not typed or typed in of_others):
                self.cleaned_data[name] = own[name]
            elif not typed:
                self.add_error(name, self.fields[name].error_messages["required"])


class NewDatabase(DatabaseInline):
    form = NewLoginForm
    # A model form names them as it likes; the base class has a tuple of another length.
    fields = ("db_host", "db_port", "db_name", "db_user", "db_password")  # type: ignore[assignment]


class NewEmail(EmailInline):
    form = NewEmailForm
    fields = ("email_provider", *HOST_FIELDS, "email_user", "email_password", "sender_whitelist")  # type: ignore[assignment]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "email_provider":
            widget = UnfoldAdminSelectWidget()
            return forms.ChoiceField(label=_("Provider"), choices=PROVIDERS, widget=widget)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class NewAws(AwsInline):
    form = NewLoginForm
    fields = ("access_key_id", "secret_access_key", "region")  # type: ignore[assignment]


SECTIONS: dict[CredentialType, type[CredentialInline]] = {
    CredentialType.DATABASE: NewDatabase,
    CredentialType.EMAIL: NewEmail,
    CredentialType.AWS: NewAws,
}


class Onboarding:
    """What was typed into the page, one form for the client and one for each login that the user may add."""

    def __init__(
        self,
        admin: ModelAdmin[Client],
        request: HttpRequest,
        data: Mapping[str, Any] | None = None,
        *,
        mail_provider: str = "gmail",
    ) -> None:
        def formfield(owner: Any) -> Any:
            return partial(owner.formfield_for_dbfield, request=request)

        client = forms.modelform_factory(Client, NewClientForm, formfield_callback=formfield(admin))
        self.client = client(data)
        self.logins: dict[CredentialType, forms.ModelForm[Any]] = {}
        for credential_type, inline in SECTIONS.items():
            rows = inline(Client, admin.admin_site)
            if rows.has_add_permission(request, None):
                form = forms.modelform_factory(
                    inline.model, inline.form, inline.fields, formfield_callback=formfield(rows)
                )
                is_mail = credential_type == CredentialType.EMAIL
                initial = _mail_hosts(mail_provider) if is_mail else None
                self.logins[credential_type] = form(data, prefix=credential_type, initial=initial)

    @property
    def parts(self) -> list[forms.ModelForm[Any]]:
        return [self.client, *self.logins.values()]

    @cached_property
    def filled(self) -> dict[CredentialType, forms.ModelForm[Any]]:
        """The logins into which something was typed."""
        return {t: form for t, form in self.logins.items() if form.has_changed()}

    @property
    def secret_fields(self) -> list[str]:
        """The names of the inputs that hold a secret."""
        return [
            form.add_prefix(name)
            for form in self.logins.values()
            for name in form._meta.model.SECRET_FIELDS
        ]

    def is_valid(self) -> bool:
        # Each is judged, so that every error is told at once.
        valid = not any([form.errors for form in self.parts])  # noqa: C419
        if not self.filled:
            self.refuse(_("Nothing was saved: fill in at least one login."))
        elif valid and self._too_large():
            text = _("Nothing was saved: a secret holds up to %(n)d bytes, and this is more.")
            self.refuse(text % {"n": documents.MAX_BYTES})
        return self.client.is_valid() and valid

    def refuse(self, reason: str) -> None:
        self.client.add_error(None, reason)

    def save(self) -> tuple[Client, list[Credential]]:
        """Stores the client and its logins; within the caller's transaction."""
        client = self.client.save()
        rows = []
        for form in self.filled.values():
            form.instance.client = client
            rows.append(form.save())
        return client, rows

    @property
    def slug(self) -> str:
        """As it was typed, less the blanks around it."""
        return (self.client["slug"].value() or "").strip()

    @property
    def slug_warning(self) -> str | None:
        """What is risky about it."""
        return name_warning(self.slug) if self.slug else None

    @property
    def secret_names(self) -> list[str]:
        """The names that its secrets will have; none where the slug can't be taken."""
        if name_problem(self.slug) or "slug" in self.client.errors:
            return []
        names = documents.secret_names(
            self.slug, prefix=settings.NOVA_SECRET_PREFIX, layout=_layout()
        )
        return [name for part, name in names.items() if part == "client" or part in self.filled]

    @property
    def dollars_a_month(self) -> Decimal:
        return SECRET_A_MONTH * len(self.secret_names)

    def _too_large(self) -> bool:
        slug = self.client.instance.slug
        logins = {t.plural: [form.instance.login(slug)] for t, form in self.filled.items()}
        none: dict[str, list[Any]] = {t.plural: [] for t in CredentialType}
        document = documents.build_document(self.client.instance.name, **none | logins)
        prefix = settings.NOVA_SECRET_PREFIX
        return bool(documents.size_problem(document, slug, prefix=prefix, layout=_layout()))


def _layout() -> Layout:
    return Layout(settings.NOVA_SECRET_LAYOUT)


def _mail_hosts(provider: str) -> dict[str, str | int | None]:
    chosen = HOSTS.get(provider, {})
    return {"email_provider": provider} | {name: chosen.get(name) for name in HOST_FIELDS}
