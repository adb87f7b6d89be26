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
    "phase": (
        _("Phase"),
        _(
            "Where a client stands on its way to AWS: which store NOVA reads, and which it writes. A client goes one"
            " phase forward when its checks pass, and one back at any time, but for a purge."
        ),
        "phases.md",
    ),
    "push": (
        _("Push"),
        _(
            "Writing a client's logins from PostgreSQL to its secret in AWS. It is pending from a write to the rows"
            " until AWS has the same; a worker does it within a minute."
        ),
        "phases.md",
    ),
    "sweep": (
        _("Sweep"),
        _(
            "A comparison of all clients that write both stores, which the workers make every few minutes by"
            " themselves. It finds what somebody changed on one side alone."
        ),
        "phases.md",
    ),
    "streak": (
        _("Streak"),
        _(
            "How many comparisons in a row found both stores equal since the client entered its phase. They count only"
            " some time apart, so that pressing a button thrice makes no streak."
        ),
        "phases.md",
    ),
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
