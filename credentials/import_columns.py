"""Owns the columns of an import: their names, and the form fields that read their cells. Knows no phase."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from django import forms
from django.contrib.admin.utils import flatten
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES
from django.db import models
from django.utils.translation import gettext as _

from credentials.forms import (
    AWS_FIELDS,
    DATABASE_FIELDS,
    EMAIL_FIELDS,
    MAIL_SERVERS,
    NOT_STRIPPED,
    LineEndIgnoringTextField,
    SecretField,
    clean_addresses,
)
from credentials.models import CREDENTIAL_MODELS, Credential
from nova_credentials.credential_types import CredentialType

AnyModel = type[models.Model]

CLIENT_COLUMNS = ("name", "description", "is_active")
# The columns are those of the form, under the models' names: they are unique over all three types.
LOGIN_COLUMNS: dict[CredentialType, tuple[str, ...]] = {
    CredentialType.DATABASE: tuple(flatten(DATABASE_FIELDS)),
    CredentialType.EMAIL: tuple(flatten(EMAIL_FIELDS)),
    CredentialType.AWS: tuple(flatten(AWS_FIELDS)),
}
SECRET_COLUMNS = {name for model in CREDENTIAL_MODELS.values() for name in model.SECRET_FIELDS}
IMPORT_COLUMNS = (
    *("slug", *CLIENT_COLUMNS, "groups", "label"),
    *(name for names in LOGIN_COLUMNS.values() for name in names),
)
# As people and spreadsheets write it, in the site's two languages.
YES = {"yes", "true", "1", "sí", "si", "verdadero"}
NO = {"no", "false", "0", "falso"}


def is_blank(column: str, text: str) -> bool:
    """Say whether a cell is left empty. Blanks in the cell of a secret are not: the field refuses them."""
    return not (text if column in SECRET_COLUMNS else text.strip())


def read_cell(model: AnyModel, column: str, text: str) -> object:
    """Return the value of a cell as the client's form would take it.

    Raises ValidationError, which quotes nothing: a secret may stand in a wrong column.
    """
    match column:
        case "is_active":
            word = text.strip().lower()
            if word not in YES | NO:
                raise ValidationError(_("Write yes or no."))
            return word in YES
        case "email_provider":
            provider = text.strip().lower()
            if provider not in MAIL_SERVERS:
                raise ValidationError(
                    _("Write one of these: %(providers)s."),
                    params={"providers": ", ".join(MAIL_SERVERS)},
                )
            return provider
        case "sender_whitelist":
            try:
                return clean_addresses(text)
            except ValidationError:
                raise ValidationError(
                    _("One of them is not an address. Separate addresses with commas.")
                ) from None
    value = _make_field(model, column).clean(text)
    if value not in EMPTY_VALUES:
        _get_column(model, column).run_validators(value)
    return value


def list_required(model: type[Credential]) -> list[str]:
    """Return the columns that every new login of this type needs."""
    fields = {field.name: field for field in model._meta.concrete_fields}
    return [
        name
        for name in LOGIN_COLUMNS[model.TYPE]
        if not fields[name].null and not fields[name].has_default()
    ]


@cache
def _make_field(model: AnyModel, column: str) -> forms.Field:
    if column in SECRET_COLUMNS:
        return SecretField(label=column)
    db_field = _get_column(model, column)
    options: dict[str, Any] = {}
    if isinstance(db_field, models.CharField | models.TextField):
        options = {"form_class": LineEndIgnoringTextField, "strip": column not in NOT_STRIPPED}
    return cast("forms.Field", db_field.formfield(**options))


def _get_column(model: AnyModel, column: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", model._meta.get_field(column))
