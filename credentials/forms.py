"""Masked forms over the credential tables: no secret leaves the server, and only what was changed is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst, get_text_list
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import StackedInline
from unfold.forms import PaginationInlineFormSet
from unfold.mixins import BaseModelAdminMixin
from unfold.widgets import UnfoldAdminPasswordWidget

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
from credentials.secret_names import find_name_problem, find_slug_in_other_case

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
    """One credential row, whose stored secret is not in the page."""

    instance: Credential

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
                field.help_text = _(
                    "Type it again: the page does not keep secrets that were typed."
                )

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


class CredentialFormSet(PaginationInlineFormSet):
    """A client's rows of one type, at most one of them primary."""

    # Puts the links beside the secrets of a row's form.
    put_links_beside_secrets: Callable[[CredentialForm], None] | None = None

    @property
    def empty_form(self) -> CredentialForm:
        """Return the form that the page keeps for rows that are added."""
        form: CredentialForm = super().empty_form
        if self.put_links_beside_secrets:
            self.put_links_beside_secrets(form)
        return form

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.forms if form.instance.pk or form.has_changed()]
        primary = [form for form in kept if form.instance.is_primary]
        if len(primary) > 1 and self.has_changed():
            raise ValidationError(
                _(
                    "%(number)s %(kind)s are primary, so NOVA could use any of them."
                    " Leave one primary and set the others to No."
                ),
                params={"number": len(primary), "kind": self.model._meta.verbose_name_plural},
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
    can_delete = False
    # Returns the links beside a stored secret, by its row and field, for the user of the page.
    link_secret: Callable[[Credential, str], str] | None = None
    # Returns the links beside a secret that is only typed yet, by its row's form.
    link_new: Callable[[CredentialForm], str] | None = None

    def has_add_permission(self, request: HttpRequest, obj: Client | None) -> bool:
        # Without the right to change a row its secret has no input, so a new row could get no secret.
        return super().has_add_permission(request, obj) and self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False

    @admin.display(description=_("secret"))
    def masked_secret(self, row: Credential) -> str:
        mask = MASK if all(getattr(row, name) for name in row.SECRET_FIELDS) else ""
        links = [self.link_secret(row, name) for name in row.SECRET_FIELDS if self.link_secret]
        return format_html_join(" ", "{}", ((part,) for part in (mask, *links) if part))

    def put_links_beside_secrets(self, formset: CredentialFormSet) -> None:
        """Put the links beside the inputs of secrets, also in the row that the page keeps for those that are added."""
        formset.put_links_beside_secrets = self._put_links_beside_secrets
        for form in formset.forms:
            self._put_links_beside_secrets(form)

    def _put_links_beside_secrets(self, form: CredentialForm) -> None:
        for name in form.instance.SECRET_FIELDS:
            if name in form.fields:
                # Of the input, which a form that was sent has made already of the field.
                field, link = form[name], self._find_link(form, name)
                field.help_text = format_html("{} {}", field.help_text, link)

    def _find_link(self, form: CredentialForm, name: str) -> str:
        if form.instance.pk:
            return self.link_secret(form.instance, name) if self.link_secret else ""
        return self.link_new(form) if self.link_new else ""


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
    fields = (LABEL_FIELDS, *DATABASE_FIELDS)


class EmailInline(CredentialInline):
    model = EmailCredential
    fields = (LABEL_FIELDS, *EMAIL_FIELDS)


class AwsInline(CredentialInline):
    model = AwsCredential
    fields = (LABEL_FIELDS, *AWS_FIELDS)
