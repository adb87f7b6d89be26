"""Masked forms over the credential tables: no secret leaves the server, and only what was changed is written.

Knows no phase. `migration/admin/` registers a subclass of `ClientAdmin`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpResponseRedirect
from django.utils.text import capfirst, get_text_list
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, StackedInline
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminPasswordWidget

from credentials.copying import POINTER
from credentials.localization import localize
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
    RowsBusyError,
    save_columns,
)
from credentials.refusals import RefusedByDatabaseError, database_refusals
from nova_credentials import document as documents
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from django.contrib.admin.helpers import InlineAdminFormSet
    from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    RowForm = forms.ModelForm[Any]  # generic only in the stubs
else:
    RowForm = forms.ModelForm

# As wide, whatever is stored.
MASK = "•" * 12
PORTS = {"min_value": 1, "max_value": 65535}


class StoredText(forms.CharField):
    """Text that counts as changed only where it differs from what the browser was shown."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self._as_sent(initial) != self._as_sent(data) and super().has_changed(initial, data)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if text else text

    def _as_sent(self, value: Any) -> str:
        """What browsers make of line ends: CRLF in a text area, nothing in a line."""
        if isinstance(self.widget, forms.Textarea):
            # One right after the tag, where Unfold begins the text, is not part of it.
            return re.sub(r"\r\n?", "\n", str(value or "")).removeprefix("\n")
        return re.sub(r"[\r\n]", "", str(value or ""))


class SecretField(forms.CharField):
    """Written, never shown. Whatever is typed is a change; nothing typed keeps what is stored."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password", "spellcheck": "false"})
        super().__init__(strip=False, widget=widget, **kwargs)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data)

    def clean(self, value: Any) -> Any:
        value = super().clean(value)
        if value and value.startswith(POINTER):
            # A restore could not tell it from what a purge put there.
            raise ValidationError(
                _("A secret may not begin with %(pointer)s"), params={"pointer": POINTER}
            )
        return value


class StoredRowForm(RowForm):
    """What was not changed is neither judged nor written: NOVA's rows may hold what no form would take."""

    def untouched(self) -> set[str]:
        return set(self.fields) - set(self.changed_data) if self.instance.pk else set()

    def clean(self) -> None:
        super().clean()
        for name in self.untouched():
            self.cleaned_data.pop(name, None)
            self.errors.pop(name, None)

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() | self.untouched()  # type: ignore[misc]


class ClientForm(StoredRowForm):
    """Refuses to save over what NOVA or a colleague wrote after the form was opened."""

    revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["revision"] = self.instance.revision

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if "slug" in self.changed_data and (problem := name_problem(slug)):
            raise ValidationError(
                _("Choose another slug: %(problem)s."), params={"problem": problem}
            )
        return slug

    def clean(self) -> None:
        opened_at = self.cleaned_data.get("revision")
        super().clean()
        try:
            now = Client.objects.revision_for_update(self.instance.pk) if self.instance.pk else None
        except RowsBusyError as error:
            text = _("Nothing was saved: %(problem)s")
            raise ValidationError(
                text, params={"problem": localize(error.message)}, code="busy"
            ) from None
        if self.instance.pk and opened_at != now:
            raise ValidationError(
                _(
                    "Nothing was saved: %(name)s was changed since you opened this page, by NOVA or a colleague."
                    " Open it again and repeat your change."
                ),
                params={"name": self.initial["name"]},
                code="stale",
            )


def name_problem(slug: str) -> str | None:
    """Why no secret can have this client's name, under the site's prefix and layout."""
    problem = documents.name_problem(slug, prefix=settings.NOVA_SECRET_PREFIX, layout=_layout())
    return localize(problem) or None


def name_warning(slug: str) -> str | None:
    """What is risky about the name of this client's secret."""
    warning = documents.name_warning(slug, prefix=settings.NOVA_SECRET_PREFIX, layout=_layout())
    return localize(warning) or None


def _layout() -> Layout:
    return Layout(settings.NOVA_SECRET_LAYOUT)


class CredentialForm(StoredRowForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self._meta.model.SECRET_FIELDS:
            self.initial.pop(name, None)
            if name in self.fields:
                self._mask(name, self.fields[name])

    def clean(self) -> None:
        super().clean()
        # Until `_post_clean` the instance is as it is stored.
        if self.instance.pk and (moved := self.instance.moved_by(self.changed_data)):
            for name in set(self.instance.SECRET_FIELDS) - set(self.changed_data):
                self.add_error(name, self._asked_again(moved, name))

    def typed_secrets(self) -> dict[str, str]:
        return {
            name: self.cleaned_data[name]
            for name in self._meta.model.SECRET_FIELDS
            if name in self.changed_data
        }

    def _asked_again(self, moved: list[str], secret: str) -> ValidationError:
        columns = self._meta.model._meta
        changed = [str(columns.get_field(name).verbose_name) for name in moved]
        return ValidationError(
            _("The %(changed)s changed: enter the %(secret)s again."),
            code="moved",
            params={
                "changed": get_text_list(changed, gettext("and")),
                "secret": columns.get_field(secret).verbose_name,
            },
        )

    def _mask(self, name: str, field: forms.Field) -> None:
        field.required = not self.instance.pk
        if self.instance.pk and getattr(self.instance, name):
            field.widget.attrs["placeholder"] = MASK
            field.help_text = _("Stored. Leave it empty to keep it.")
        # A form that was filled in is shown again only where something in it was refused.
        if self.is_bound and self.data.get(self.add_prefix(name)):
            field.help_text = _("Type it again: the page does not keep secrets that were typed.")


class CredentialFormSet(PaginationInlineFormSet):
    """A client's rows of one kind; at most one of them primary."""

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

    def save_existing(self, form: Any, obj: Credential, commit: bool = True) -> Credential:
        save_columns(obj, form.changed_data)
        return obj


class StoredRowFields:
    """Form fields that can tell what is stored from what was changed."""

    formfield_overrides: ClassVar[dict[type[models.Field[Any, Any]], dict[str, Any]]] = {
        models.CharField: {"form_class": StoredText},
        models.TextField: {"form_class": StoredText},
    }
    model: type[models.Model]

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in getattr(self.model, "SECRET_FIELDS", ()):
            return SecretField(label=capfirst(db_field.verbose_name))
        if db_field.name.endswith("_port"):
            kwargs |= PORTS
        if db_field.null and isinstance(db_field, models.CharField | models.TextField):
            kwargs["empty_value"] = None
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if isinstance(db_field, models.TextField):
            field.widget.attrs["rows"] = 3
        if db_field.null and isinstance(db_field, models.BooleanField):
            field.widget.choices = [
                ("true", _("Yes")),
                ("false", _("No")),
                ("unknown", _("Not set")),
            ]
        return field


class CredentialInline(StoredRowFields, StackedInline):
    form = CredentialForm
    formset = CredentialFormSet
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any) -> bool:
        # Whoever may not change a row is shown no field for its secret, so none for a new one either.
        return super().has_add_permission(request, obj) and self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("secret"))
    def masked(self, row: Credential) -> str:
        return MASK if all(getattr(row, name) for name in row.SECRET_FIELDS) else ""


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


class ClientAdmin(StoredRowFields, ModelAdmin):
    """One client with its credentials on one page."""

    form = ClientForm
    inlines: ClassVar = [DatabaseInline, EmailInline, AwsInline]
    search_fields = ("name", "slug")
    search_help_text = _("Name or slug")
    warn_unsaved_form = True

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> list[str]:
        fields = ["name", "slug", "description", "is_active"]
        return [*fields, "revision"] if obj and self.has_change_permission(request, obj) else fields

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Client]:
        return Client.objects.with_revision().order_by("name", "pk")

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        try:
            with database_refusals():
                return super().changeform_view(request, *args, **kwargs)
        except RefusedByDatabaseError as refusal:
            text = _("Nothing was saved: %(problem)s")
            messages.error(request, text % {"problem": localize(refusal.message)})
        return HttpResponseRedirect(request.get_full_path())

    def get_inline_formsets(self, *args: Any, **kwargs: Any) -> list[InlineAdminFormSet]:
        """Takes the secrets out of what is shown read-only, for whatever reason it is."""
        wrapped: list[Any] = super().get_inline_formsets(*args, **kwargs)
        for formset in wrapped:
            if not formset.has_change_permission:
                secret = formset.opts.model.SECRET_FIELDS
                formset.fieldsets = [
                    (
                        None,
                        {
                            "fields": [f for f in formset.opts.fields if f not in secret]
                            + ["masked"]
                        },
                    )
                ]
        return wrapped

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        if not change:
            super().save_model(request, obj, form, change)
        elif form.changed_data:
            save_columns(obj, form.changed_data)
        if "slug" in form.changed_data and (warning := name_warning(obj.slug)):
            messages.warning(request, f"{warning}.")
