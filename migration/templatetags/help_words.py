"""Questions about words of the site: each opens one paragraph, with a link to the document that says more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

register = template.Library()

# By key: the question, its paragraph, and the document.
WORDS: dict[str, tuple[StrPromise, StrPromise, str]] = {
    "revision": (
        _("What is a revision?"),
        _(
            "How often a client's rows were written. If the newest revision is higher than the one that was pushed,"
            " AWS lacks the newest write."
        ),
        "counting.md",
    ),
    "code": (
        _("What is a code?"),
        _(
            "Eight characters that stand for a value, made with a key that only the site has. Equal codes mean equal"
            " values of the same field; no value can be read or guessed from one."
        ),
        "keys.md",
    ),
    "unknown_field": (
        _("What is an unknown name?"),
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
    """Show the question, which opens the paragraph."""
    question, text, document = WORDS[key]
    return {"question": question, "text": text, "document": document}
