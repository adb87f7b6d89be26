"""Hints beside the fields of the onboarding page: what may be a mistake, and is taken all the same. Never a secret."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from credentials.forms import CredentialForm
from nova_credentials.aws.regions import list_regions

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
