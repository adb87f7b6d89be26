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
        "nova.md",
    ),
    "code": (
        _("What is a code?"),
        _(
            "Equal codes mean equal values of the same field. A value can't be read or guessed from its code."
        ),
        "secrets.md",
    ),
    "unknown_field": (
        _("What is an unknown name?"),
        _(
            "A field that this site doesn't know. Its name could be a misplaced secret value, so a code is shown "
            "instead. Look it up in AWS. Copying PostgreSQL to AWS removes it."
        ),
        "secrets.md",
    ),
}


@register.inclusion_tag("admin/migration/help_word.html")
def help_word(key: str) -> dict[str, object]:
    """Show the question, which opens the paragraph."""
    question, text, document = WORDS[key]
    return {"question": question, "text": text, "document": document}
