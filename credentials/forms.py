"""Masked forms over the credential tables: no secret leaves the server, and only what was changed is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import capfirst, get_text_list
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import StackedInline
from unfold.forms import PaginationInlineFormSet
from unfold.mixins import BaseModelAdminMixin
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from credentials.connection_strings import take_apart
from credentials.localization import localize
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
    RowsBusyError,
    RowsChangedError,
    save_columns,
)
from credentials.refusals import insert_rows
from credentials.secret_names import (
    configured_layout,
    find_name_problem,
    find_slug_in_other_case,
)
from nova_credentials import document as documents
from nova_credentials.aws.regions import list_regions
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    # Generic only in the stubs.
    AnyField = models.Field[Any, Any]
    RowForm = forms.ModelForm[models.Model]
else:
    RowForm = forms.ModelForm

# Of these a blank at the beginning or the end is part of the value, and refused.
NOT_STRIPPED = ("db_name",)
# Always of one length, which says nothing of the secret's.
MASK = "•" * 12
# The field of a form that is no column: what was pasted into it is taken apart.
CONNECTION = "connection"
NOT_UNDERSTOOD = {
    CredentialType.DATABASE: _("Not understood. Paste postgres://… or key=value."),
    CredentialType.EMAIL: _("Not understood. Paste imap://… or smtp://…."),
    CredentialType.AWS: _(
        "Not understood. Paste lines with AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=…."
    ),
}
# Shown in the field while it is empty.
EXAMPLES = {
    CredentialType.DATABASE: "postgres://user:password@db.example.com:5432/name",
    CredentialType.EMAIL: "imaps://user:password@imap.example.com",
    CredentialType.AWS: "AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…",
}
# More logins of a type than a body has fields for, which is 1,000: of a number that was made up no page is made.
MOST_FORMS = 125

# The mail providers that NOVA's tables name, and the hosts and ports of their mailboxes.
PROVIDERS = [
    ("gmail", "Gmail"),
    ("outlook", "Outlook, Microsoft 365"),
    ("custom", _("Other")),
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
                gettext("“%(address)s” is not an address. Separate addresses with commas."),
                params={"address": address},
            ) from None
    # NOVA's readers may not strip blanks, so none are stored.
    return ",".join(addresses) or None


class LineEndIgnoringTextField(forms.CharField):
    """Text that counts as changed only where it differs from what the browser was shown."""

    def has_changed(self, initial: object, data: object) -> bool:
        sent = self._as_browsers_send
        return sent(initial) != sent(data) and super().has_changed(initial, data)

    def to_python(self, value: object) -> str | None:
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if text else text

    def _as_browsers_send(self, value: object) -> str:
        """Return the text as a browser sends it back: a text area has one kind of line end, a single line has none."""
        if isinstance(self.widget, forms.Textarea):
            # Browsers drop a line end right after the tag, where Unfold begins the text.
            return re.sub(r"\r\n?", "\n", str(value or "")).removeprefix("\n")
        return re.sub(r"[\r\n]", "", str(value or ""))


class SecretField(forms.CharField):
    """A secret value: written, never shown. Anything typed is a change; an empty input keeps the stored value."""

    def __init__(self, *, label: StrOrPromise) -> None:
        widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password", "spellcheck": "false"})
        super().__init__(strip=False, widget=widget, label=label)

    def has_changed(self, initial: object, data: object) -> bool:
        return bool(data)


class PastedText(UnfoldAdminTextareaWidget):
    """A text that may hold a secret: no page shows it again."""

    def format_value(self, value: object) -> str:
        return ""


class ChangedFieldsForm(RowForm):
    """Validates and writes only the fields that were changed: NOVA's rows may hold values that no form would take."""

    def unchanged_fields(self) -> set[str]:
        """Return the names of a stored row's fields that were left as they are."""
        return set(self.fields) - set(self.changed_data) if self.instance.pk else set()

    def clean(self) -> None:
        super().clean()
        for name in self.unchanged_fields():
            self.cleaned_data.pop(name, None)
            self.errors.pop(name, None)

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() | self.unchanged_fields()  # type: ignore[misc]


class StampField(forms.CharField):
    """The stamp of the client when its form was opened. Nothing of it is stored, so it never counts as changed."""

    widget = forms.HiddenInput

    def has_changed(self, initial: object, data: object) -> bool:
        return False


class ClientForm(ChangedFieldsForm):
    """The form of a client. Refuses to save over what NOVA or a colleague wrote after it was opened."""

    instance: Client
    revision = StampField(required=False, label=_("Revision"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "revision" in self.fields and self.instance.pk and not self.is_bound:
            # Before the inlines read their rows: a write in between makes the form stale.
            self.initial["revision"] = self.instance.make_stamp()

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if "slug" in self.changed_data and (problem := find_name_problem(slug)):
            raise ValidationError(
                _("Choose another slug: %(problem)s."), params={"problem": problem}
            )
        if "slug" in self.changed_data and (
            other := find_slug_in_other_case(slug, of=self.instance)
        ):
            raise ValidationError(
                _("There is a client “%(slug)s”. Two slugs may not differ in capitals alone."),
                params={"slug": other},
            )
        return slug

    def clean(self) -> None:
        stamp = self.cleaned_data.get("revision", "")
        super().clean()
        if "_add_login" in self.data:
            raise ValidationError(
                _("Nothing is saved yet. Fill in the new login and enter the secrets again."),
                code="adds_login",
            )
        if not self.instance.pk:
            return
        try:
            Client.objects.lock_unchanged_rows(self.instance.pk, stamp=stamp)
        except RowsBusyError as error:
            text = _("Nothing was saved: %(problem)s")
            raise ValidationError(
                text, params={"problem": localize(error.message)}, code="busy"
            ) from None
        except RowsChangedError:
            raise ValidationError(
                _(
                    "Nothing was saved: %(name)s was changed since you opened this page, by NOVA or a"
                    " colleague. Open it again and repeat your change."
                ),
                params={"name": self.initial["name"]},
                code="stale",
            ) from None


class CredentialForm(ChangedFieldsForm):
    """One credential row, whose stored secret is not in the page. A pasted connection string fills its other fields."""

    instance: Credential
    connection = forms.CharField(
        label=_("Connection string"),
        required=False,
        widget=PastedText({"rows": 1, "autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Sent by a page without scripts alone: a script takes it apart itself.
        self.pasted = self.is_bound and self.data.get(self.add_prefix(CONNECTION), "").strip()
        self.taken_apart = take_apart(self.pasted, self.instance.TYPE) if self.pasted else {}
        if self.taken_apart:
            typed = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict's
            for name, value in self.taken_apart.items():
                typed[self.add_prefix(name)] = value
            self.data = typed
        pasted = self.fields[CONNECTION].widget.attrs
        pasted["data-not-understood"] = NOT_UNDERSTOOD[self.instance.TYPE]
        pasted["placeholder"] = EXAMPLES[self.instance.TYPE]
        if self.instance.TYPE == CredentialType.AWS:
            self.fields[CONNECTION].label = _("Keys as text")
        if "label" in self.fields:
            self.fields["label"].help_text = _(
                "Needed to rotate a login that is not the primary one."
            )
        for name in self.instance.SECRET_FIELDS:
            self.initial.pop(name, None)
            field = self.fields.get(name)
            if field is None:
                continue
            field.required = not self.instance.pk
            if self.instance.pk and getattr(self.instance, name):
                field.widget.attrs["placeholder"] = MASK
                field.help_text = _("Stored. Leave it empty to keep it.")
            # A filled-in form is shown again only if something in it was refused.
            if self.is_bound and self.data.get(self.add_prefix(name)):
                field.help_text = _("Enter it again: the page does not keep secrets.")

    def unchanged_fields(self) -> set[str]:
        # A pasted text is no column and so never counts as changed, but its error has to stay.
        return super().unchanged_fields() - {CONNECTION}

    @cached_property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if name != CONNECTION]

    def has_changed(self) -> bool:
        """Say whether there is something to save: of a new login more than what the page filled in."""
        if self.pasted or self.instance.pk:
            return bool(self.pasted or self.changed_data)
        return not all(self.get_initial_for_field(self.fields[n], n) for n in self.changed_data)

    def clean_connection(self) -> str:
        if self.pasted and not self.taken_apart:
            raise ValidationError(NOT_UNDERSTOOD[self.instance.TYPE])
        return ""

    def clean(self) -> None:
        super().clean()
        row = self.instance  # as it is stored, until `_post_clean`
        moved = row.list_columns_redirecting_secret(self.changed_data) if row.pk else []
        if not moved:
            return
        labels = {column.name: column.verbose_name for column in row._meta.fields}
        changed = get_text_list([str(labels[name]) for name in moved], gettext("and"))
        for name in set(row.SECRET_FIELDS) - set(self.changed_data):
            self.add_error(
                name,
                ValidationError(
                    _("The %(changed)s changed: enter the %(secret)s again."),
                    code="moved",
                    params={"changed": changed, "secret": labels[name]},
                ),
            )

    def typed_secrets(self) -> dict[str, str]:
        """Return the secret values that were typed, by column."""
        return {
            name: self.cleaned_data[name]
            for name in self.instance.SECRET_FIELDS
            if name in self.changed_data
        }


class EmailForm(CredentialForm):
    """A mailbox. A new one has the hosts and ports of its provider where none are typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        provider = self.fields.get("email_provider")
        if isinstance(provider, forms.ChoiceField):
            stored = self.instance.email_provider if self.instance.pk else "gmail"  # type: ignore[attr-defined]  # a mailbox's
            if stored not in MAIL_SERVERS:
                provider.choices = [(stored or "", stored or _("Not set")), *PROVIDERS]

    def clean_sender_whitelist(self) -> str | None:
        return clean_addresses(self.cleaned_data["sender_whitelist"] or "")

    def clean(self) -> None:
        super().clean()
        provider = self.cleaned_data.get("email_provider")
        if self.instance.pk or provider not in MAIL_SERVERS:
            return
        own = MAIL_SERVERS[provider]
        # Without scripts the page still sends the hosts of the provider that it was opened with.
        others = [servers for servers in MAIL_SERVERS.values() if servers is not own]
        of_others = [value for servers in others for value in servers.values()]
        for name in set(MAIL_SERVER_FIELDS) - set(self.errors):
            typed = self.cleaned_data.get(name)
            if own and (not typed or typed in of_others):
                self.cleaned_data[name] = own[name]
            elif not typed:
                self.add_error(name, self.fields[name].error_messages["required"])


class CredentialFormSet(PaginationInlineFormSet):
    """A client's rows of one type, at most one of them primary."""

    # Of a client that is being added: this one and those of the other types.
    of_new_client: Sequence[CredentialFormSet] = ()

    def clean(self) -> None:
        super().clean()
        if self.of_new_client and self is self.of_new_client[-1]:
            self._judge_new_client()
        kept = [form for form in self.forms if form.instance.pk or form.has_changed()]
        primary = [form for form in kept if form.instance.is_primary]
        if len(primary) > 1 and self.has_changed():
            raise ValidationError(
                _("%(number)s %(kind)s are primary. Leave one primary and set the others to No."),
                params={"number": len(primary), "kind": self.model._meta.verbose_name_plural},
            )

    def _judge_new_client(self) -> None:
        """Refuse a new client without any login, and one whose document no secret can hold."""
        filled = {
            formset.model.TYPE: [form.instance for form in formset.forms if form.has_changed()]
            for formset in self.of_new_client
        }
        if not any(filled.values()):
            raise ValidationError(_("Nothing was saved: fill in at least one login."), code="none")
        slug = self.instance.slug
        if not slug or any(form.errors for each in self.of_new_client for form in each.forms):
            return
        document = documents.build_document(
            self.instance.name, filled, slug=slug, several_primary=True
        )
        prefix, layout = settings.NOVA_SECRET_PREFIX, configured_layout()
        if documents.size_problem(document, slug, prefix=prefix, layout=layout):
            raise ValidationError(
                _(
                    "Nothing was saved: the credentials need more than the %(n)d bytes that a secret can hold."
                    " Shorten them."
                ),
                params={"n": documents.MAX_BYTES},
            )

    def save_new(self, form: CredentialForm, commit: bool = True) -> Credential:
        row: Credential = super().save_new(form, commit=False)
        insert_rows(type(row), [row])
        return row

    def save_existing(
        self, form: CredentialForm, obj: Credential, commit: bool = True
    ) -> Credential:
        save_columns(obj, form.changed_data)
        return obj


class ChangeAwareFields(BaseModelAdminMixin):
    """Makes an admin's forms use fields that notice whether the stored value was changed."""

    formfield_overrides: ClassVar[dict[type[AnyField], dict[str, object]]] = {
        models.CharField: {"form_class": LineEndIgnoringTextField},
        models.TextField: {"form_class": LineEndIgnoringTextField},
    }
    model: type[models.Model]

    def formfield_for_dbfield(
        self, db_field: AnyField, request: HttpRequest, **kwargs: object
    ) -> forms.Field | None:
        if db_field.name in getattr(self.model, "SECRET_FIELDS", ()):
            return SecretField(label=capfirst(db_field.verbose_name))
        if db_field.name == "email_provider":
            return forms.TypedChoiceField(
                label=capfirst(db_field.verbose_name),
                choices=PROVIDERS,
                required=False,
                empty_value=None,
                initial="gmail",
                widget=UnfoldAdminSelectWidget({"data-servers": json.dumps(MAIL_SERVERS)}),
            )
        if db_field.name in NOT_STRIPPED:
            kwargs["strip"] = False
        if db_field.null and isinstance(db_field, models.CharField | models.TextField):
            kwargs["empty_value"] = None
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, models.TextField):
            field.widget.attrs["rows"] = 3
        if db_field.null and isinstance(db_field, models.BooleanField):
            field.widget.choices = [
                ("true", _("Yes")),
                ("false", _("No")),
                ("unknown", _("Not set")),
            ]
        return field


class CredentialInline(ChangeAwareFields, StackedInline):
    """A client's rows of one type; none is deleted here."""

    form = CredentialForm
    formset = CredentialFormSet
    extra = 0
    max_num = MOST_FORMS
    can_delete = False

    def get_formset(
        self, request: HttpRequest, obj: Client | None = None, **kwargs: Any
    ) -> type[CredentialFormSet]:
        formset: type[CredentialFormSet] = super().get_formset(
            request, obj, **{"absolute_max": MOST_FORMS} | kwargs
        )
        return formset

    def has_add_permission(self, request: HttpRequest, obj: Client | None) -> bool:
        # Without the right to change a row its secret has no input, so a new row could get no secret.
        return super().has_add_permission(request, obj) and self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False


# What a login of each type holds, by lines of its form. The columns of an import are the same.
DATABASE_FIELDS = (("db_host", "db_port"), "db_name", "db_user", "db_password")
EMAIL_FIELDS = (
    "email_provider",
    ("imap_host", "imap_port"),
    ("smtp_host", "smtp_port"),
    "email_user",
    "email_password",
    "sender_whitelist",
)
AWS_FIELDS = ("access_key_id", "secret_access_key", "region")
LABEL_FIELDS = ("label", "is_primary")


class DatabaseInline(CredentialInline):
    model = DatabaseCredential

    def get_extra(self, request: HttpRequest, obj: Client | None = None, **kwargs: object) -> int:
        """Return how many empty logins the page opens with: one for a client that is added."""
        return 0 if obj else 1

    fields = (LABEL_FIELDS, *DATABASE_FIELDS)


class EmailInline(CredentialInline):
    form = EmailForm
    model = EmailCredential
    fields = (LABEL_FIELDS, *EMAIL_FIELDS)


class AwsInline(CredentialInline):
    model = AwsCredential
    fields = (LABEL_FIELDS, *AWS_FIELDS)


# Hints beside the fields: what may be a mistake, and is taken all the same. They never quote a secret.

ACCESS_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{16}")


def hint_at_key_id(value: str) -> str:
    """Return a hint where the value is not shaped like an AWS access key id, else nothing."""
    if ACCESS_KEY_ID.fullmatch(value):
        return ""
    return gettext("AWS access key IDs are 20 capital letters and digits and begin with AKIA")


def hint_at_region(value: str) -> str:
    """Return a hint where AWS has no region of this name, else nothing."""
    if value in list_regions():
        return ""
    return gettext("AWS has no region “%(region)s”") % {"region": value}


def hint_at_mail_user(value: str) -> str:
    """Return a hint where the mail user is no mail address, else nothing."""
    try:
        validate_email(value)
    except ValidationError:
        return gettext("This is not an email address. Most providers want one here")
    return ""


HINTS: dict[str, Callable[[str], str]] = {
    "access_key_id": hint_at_key_id,
    "region": hint_at_region,
    "email_user": hint_at_mail_user,
}


def find_hints(form: CredentialForm) -> dict[str, str]:
    """Return the hints at what was typed into the form, by field; `credentials.values` warns of its secrets."""
    found = {
        name: hint(str(value).strip())
        for name, hint in HINTS.items()
        if name in form.fields and (value := form[name].value())
    }
    return {name: text for name, text in found.items() if text}
