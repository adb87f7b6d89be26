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
            "Equal codes mean equal values of the same field. A value can't be read or guessed from its code."
        ),
        "keys.md",
    ),
    "unknown_field": (
        _("Unknown name"),
        _(
            "A field that this site doesn't know. Its name could be a misplaced secret value, so a code is shown "
            "instead. Look it up in AWS. Copying PostgreSQL to AWS removes it."
        ),
        "keys.md",
    ),
}


@register.inclusion_tag("admin/migration/help_word.html")
def help_word(key: str) -> dict[str, object]:
    """Show the word with its "?", which opens the paragraph."""
    word, text, document = WORDS[key]
    return {"word": word, "text": text, "document": document}
