"""Judges values that no client and no login can have. Forms, imports and commands share it through the models' fields.

Knows no table, and quotes no value. What a row holds already is judged by nobody.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from nova_credentials.messages import Message, Sentence

# A purge leaves this in a secret's column, with the name of the secret behind it (`pointers.py`).
POINTER = "aws-secretsmanager:"

# Can't be seen, or turn the text after them around. Some scripts join letters by U+200C and U+200D.
_HIDDEN = re.compile("[\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_LABEL = r"(?!-)[\w-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_ACCESS_KEY_ID = re.compile(r"[A-Z0-9]{16,128}")
_SECRET_ACCESS_KEY = re.compile(r"[A-Za-z0-9/+=]{40}")
_PORTS = gettext_lazy("Use 1 to 65535.")
PORT_VALIDATORS = (MinValueValidator(1, _PORTS), MaxValueValidator(65535, _PORTS))


def check_line(value: str) -> None:
    """Refuse control characters, line ends among them, and characters that hide or turn text around."""
    _refuse_hidden(value, allowed="")


def check_text(value: str) -> None:
    """Refuse the same in a text of several lines."""
    _refuse_hidden(value, allowed="\r\n\t")


def _refuse_hidden(value: str, *, allowed: str) -> None:
    for character in value:
        is_control = unicodedata.category(character) == "Cc" and character not in allowed
        if is_control or _HIDDEN.match(character):
            raise ValidationError(
                _("Remove the hidden character %(character)s."),
                params={"character": f"U+{ord(character):04X}"},
            )


def check_slug(value: str) -> None:
    """Refuse a slug of dots alone, which is a folder wherever a path is made of it."""
    if value and not value.strip("."):
        raise ValidationError(_("A slug needs a letter or a digit."))


def check_host(value: str) -> None:
    """Refuse what is neither a name nor an address: with a scheme, a user, a port, a path or blanks."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        # Resolvers take digits and dots alone for an address, whatever DNS has.
        if not value.strip("0123456789."):
            raise ValidationError(
                _("An IPv4 address is four numbers from 0 to 255, such as 10.0.0.8.")
            ) from None
        if not _HOST.fullmatch(value):
            raise ValidationError(
                _(
                    "Enter only the host, such as db.example.com, without scheme, user, port, path or spaces."
                )
            ) from None


def check_hosts(value: str) -> None:
    """Refuse the same in a database's host: PostgreSQL's clients take several with commas between them."""
    for host in value.split(","):
        check_host(host)


def has_outer_blanks(value: str) -> bool:
    """Say whether it begins or ends with a blank."""
    return value != value.strip()


def check_outer_blanks(value: str) -> None:
    """Refuse blanks around a name that PostgreSQL compares with them."""
    if has_outer_blanks(value):
        raise ValidationError(_("It begins or ends with a space. Remove the space."))


def check_secret(value: str) -> None:
    """Refuse blanks alone, several lines, and what a restore could not tell from a pointer that a purge put there."""
    if not value.strip():
        raise ValidationError(_("A secret can't be only spaces"))
    if "\n" in value or "\r" in value:
        raise ValidationError(_("A secret is one line. Remove the line break."))
    if value.startswith(POINTER):
        raise ValidationError(
            _("A secret can't begin with %(pointer)s"), params={"pointer": POINTER}
        )


SECRET_HAS_OUTER_BLANKS = Sentence(
    "secret_has_outer_blanks", "%(name)s begins or ends with a space, which is kept."
)


def warn_of_outer_blanks(secrets: Mapping[str, object]) -> list[Message]:
    """Name the secrets that begin or end with a blank. A secret may, so whoever takes it takes it as it is."""
    return [
        SECRET_HAS_OUTER_BLANKS(name=name)
        for name, value in secrets.items()
        if has_outer_blanks(str(value))
    ]


def check_access_key_id(value: str) -> None:
    """Refuse what isn't shaped as AWS documents a key's id."""
    if not _ACCESS_KEY_ID.fullmatch(value):
        raise ValidationError(
            _("An access key ID is 16 to 128 capital letters and digits, usually 20.")
        )


def check_secret_access_key(value: str) -> None:
    """Refuse what isn't shaped as every secret key that AWS makes."""
    if not _SECRET_ACCESS_KEY.fullmatch(value):
        raise ValidationError(_("A secret access key is 40 characters: letters, digits, / and +."))
