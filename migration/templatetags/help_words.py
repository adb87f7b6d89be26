"""The "?" beside a word of the site: one paragraph that explains it, and a link to the document that says more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

register = template.Library()

# By key: the word, its paragraph, and the document.
WORDS: dict[str, tuple[StrPromise, StrPromise, str]] = {
    "revision": (
        _("Revision"),
        _(
            "How often a client's rows were written. If the newest revision is higher than the one that was pushed,"
            " AWS lacks the newest write."
        ),
        "counting.md",
    ),
    "code": (
        _("Code"),
        _(
            "Eight characters that stand for a value, made with a key that only the site has. Equal codes mean equal"
            " values of the same field; no value can be read or guessed from one."
        ),
        "keys.md",
    ),
    "unknown_field": (
        _("Unknown name"),
        _(
            "A field that this site doesn't know, nearly always one that AWS alone has. Its name could be a secret"
            " value in the wrong place, so a question mark and a code stand for it. See in AWS what it is; copying"
            " PostgreSQL to AWS writes the secret without it."
        ),
        "keys.md",
    ),
}


@register.inclusion_tag("admin/migration/help_word.html")
def help_word(key: str) -> dict[str, object]:
    """Show the word with its "?", which opens the paragraph."""
    word, text, document = WORDS[key]
    return {"word": word, "text": text, "document": document}
