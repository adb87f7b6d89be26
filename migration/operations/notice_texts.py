"""Makes the texts of notices, when they are sent: the sentences in the site's language, names without tricks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation

from credentials.localization import localize
from credentials.shown_names import escape_invisible
from migration import notice_sentences as sentences
from migration.operations.environment_names import name_environment

if TYPE_CHECKING:
    from migration.models import Notice

LONGEST_SUBJECT, LONGEST_TEXT = 150, 3_000
# What Slack takes for a mention, a link or a tag; others take a sign "@" alone for a mention.
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b"})


@dataclass(frozen=True)
class NoticeText:
    """A notice in one language."""

    subject: str
    text: str
    signature: str


def make_text(notice: Notice) -> NoticeText:
    """Return the notice's text in the language of NOVA_NOTIFY_LANGUAGE."""
    with translation.override(settings.NOVA_NOTIFY.language):
        site = name_environment()[0]
        return NoticeText(
            subject=escape_invisible(f"[{site}] {notice.title}")[:LONGEST_SUBJECT],
            text=escape_invisible(localize(notice.message))[:LONGEST_TEXT],
            signature=escape_invisible(localize(sentences.SENT_BY_SITE(site=site))),
        )


def make_webhook_body(text: NoticeText) -> dict[str, str]:
    """Return the JSON that Slack takes, and what is like it; nothing in it mentions anybody."""
    return {"text": f"*{text.subject.translate(_SLACK)}*\n{text.text.translate(_SLACK)}"}
