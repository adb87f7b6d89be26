"""Shows messages in the language of the page. A text that somebody typed never comes here."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from django.utils.formats import date_format, number_format
from django.utils.html import escape, format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

from nova_credentials.messages import Message

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

    from nova_credentials.messages import Value


def localize(message: Message | None) -> str:
    """The message in the language of the page; one whose sentence is no longer known, in English."""
    if message is None:
        return ""
    sentence = message.sentence
    if sentence is None:
        return message.text
    template = gettext(sentence.template)
    if sentence.one:
        template = ngettext(sentence.one, sentence.template, message.values["n"])  # type: ignore[arg-type]  # a number
    glue = gettext(sentence.glue)
    return template % {name: _localize(value, glue) for name, value in message.values.items()}


def localize_html(message: Message | None) -> SafeString:
    """The same as HTML, where a text that is left in English is marked as such."""
    if message is None or message.sentence:
        return escape(localize(message))
    return format_html('<span lang="en">{}</span>', message.text)


def _localize(value: Value, glue: str) -> str:
    match value:
        case Message():
            return localize(value)
        case tuple():
            return glue.join(_localize(part, glue) for part in value)
        case datetime():
            return timesince(value)
        case date():
            return date_format(value)
        case int() | float():
            return number_format(value, force_grouping=True)
    return value
