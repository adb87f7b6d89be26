"""The logins of a client as inlines of its page: which fields they have, and that secrets are masked in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.admin import StackedInline
from unfold.mixins import BaseModelAdminMixin

from credentials.forms import (
    MASK,
    CredentialForm,
    CredentialFormSet,
    LineEndIgnoringTextField,
    SecretField,
)
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
)

if TYPE_CHECKING:
    AnyField = models.Field[Any, Any]


PORTS = {"min_value": 1, "max_value": 65535}


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
        if db_field.name.endswith("_port"):
            kwargs |= PORTS
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
    # Returns what stands beside a stored secret, by row and field, for the user of the page.
    link_secret: Callable[[Credential, str], str] | None = None
    # The same of a row that isn't stored yet, by its form.
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


class DatabaseInline(CredentialInline):
    model = DatabaseCredential
    fields = (
        ("label", "is_primary"),
        ("db_host", "db_port"),
        "db_name",
        "db_user",
        "db_password",
    )


class EmailInline(CredentialInline):
    model = EmailCredential
    fields = (
        ("label", "is_primary"),
        "email_provider",
        ("imap_host", "imap_port"),
        ("smtp_host", "smtp_port"),
        "email_user",
        "email_password",
        "sender_whitelist",
    )


class AwsInline(CredentialInline):
    model = AwsCredential
    fields = (("label", "is_primary"), "access_key_id", "secret_access_key", "region")
