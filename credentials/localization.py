"""Translates messages into the language of the page. A text that somebody typed is never translated."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext

from nova_credentials.messages import Message, Sentence, describe_age

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from nova_credentials.messages import Value  # it is there for type checkers alone

LABELLED = ("AwsCredential", "EmailCredential", "DatabaseCredential", "Client")
# Sentence -> its value with the names of fields, by which it stores them. Pages name them as forms do.
FIELDS_IN = {
    "fields_of_client": "fields",
    "login_added": "fields",
    "login_changed": "fields",
    "revealed": "field",
    "reveal_refused": "field",
}


def localize(message: Message | None, *, at: datetime | None = None) -> str:
    """Return the message in the language of the page, or in English if its sentence is no longer known.

    Times in it are shown as their age now, or as of `at`.
    """
    if message is None:
        return ""
    sentence = message.sentence
    if sentence is None:
        return message.text
    if sentence.one:
        template = ngettext(sentence.one, sentence.template, message.values["n"])  # type: ignore[arg-type]  # a number
    else:
        template = gettext(sentence.template)
    values = {name: _format_value(value, sentence, at) for name, value in message.values.items()}
    if name := FIELDS_IN.get(message.key):
        values[name] = ", ".join(map(_label_field, values[name].split(", ")))
    return template % values


def _label_field(name: str) -> str:
    """Return the label of a field of the client or of a login; the name, where it is none."""
    return str(_load_labels().get(name, name))


@lru_cache(maxsize=1)
def _load_labels() -> dict[str, StrOrPromise]:
    models = [apps.get_model("credentials", name) for name in LABELLED]
    return {
        name: field.verbose_name
        for model in models
        for field in model._meta.concrete_fields
        for name in (field.name, field.column)
    }


def localize_html(message: Message | None, at: datetime | None = None) -> SafeString:
    """Return the localized message as HTML; a text that stays English is marked with that language."""
    if message is None or message.sentence:
        return escape(localize(message, at=at))
    return format_html('<span lang="en">{}</span>', message.text)


def _format_value(value: Value, sentence: Sentence, at: datetime | None) -> str:
    match value:
        case Message():
            return localize(value, at=at)
        case tuple():
            return gettext(sentence.glue).join(_format_value(part, sentence, at) for part in value)
        case datetime():
            return localize(describe_age((at or timezone.now()) - value))
        case date():
            return date_format(value)
        case int() if -1000 < value < 1000:
            return str(value)  # without separators in every language
        case int() | float():
            return intcomma(value)
    return value


def intcomma(value: float | Decimal, decimals: int | None = None) -> str:
    """Return the number with its thousands set apart, as the language of the page does it."""
    # Spanish does it from five digits on.
    first = 10_000 if (get_language() or "").startswith("es") else 1000
    return number_format(value, decimals, force_grouping=not -first < value < first)


def find_local(moment: datetime) -> datetime:
    """Return the moment in the reader's time zone; as it is where it is none there, as the last that can be stored."""
    try:
        return timezone.localtime(moment)
    except OverflowError:
        return moment


def show_moment(moment: datetime) -> str:
    """Return date and time in the reader's time zone, which it names: for texts, which can't tell UTC on hover."""
    local = find_local(moment)
    zone = local.tzname() or ""
    return f"{date_format(local, 'DATETIME_FORMAT')} {f'UTC{zone}' if zone[:1] in '+-' else zone}"


def find_site_day() -> date:
    """Return today's date in the site's time zone, by which days are stored and compared, whoever reads the page."""
    return timezone.localdate(timezone=timezone.get_default_timezone())
