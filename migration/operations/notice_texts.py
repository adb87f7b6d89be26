"""Makes the texts of notices, when they are sent: the sentences in the site's language, names without tricks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse
from django.utils import translation

from credentials.localization import localize
from credentials.shown_names import escape_invisible
from migration import notice_sentences as sentences
from migration.models import NoticeEvent
from migration.operations.environment_names import name_environment

if TYPE_CHECKING:
    from migration.models import Notice

LONGEST_SUBJECT, LONGEST_TEXT = 150, 3_000
# The page that says more; the dashboard for what is not here.
PAGES = {
    NoticeEvent.MISMATCH: "comparison_report",
    NoticeEvent.RUN_ENDED: "run_changelist",
    NoticeEvent.WAVE_STOPPED: "campaign_changelist",
    NoticeEvent.APPROVAL_WANTED: "moverequest_changelist",
    NoticeEvent.APPROVAL_DECIDED: "moverequest_changelist",
    NoticeEvent.AWS_GONE: "run_check_aws",
    NoticeEvent.WORKERS_GONE: "run_check_nova",
    NoticeEvent.READERS_GONE: "readerprocess_changelist",
    NoticeEvent.DUPLICATE: "run_aws_writes",
    NoticeEvent.COPIES_FOUND: "copysearch_report",
    NoticeEvent.WRITES_STOPPED: "run_aws_writes",
    NoticeEvent.SETTINGS_DIFFER: "run_secret_settings",
    NoticeEvent.AUDIT_BROKEN: "auditevent_changelist",
    NoticeEvent.TEST: "run_notices",
}
# What Slack takes for a mention, a link or a tag; others take a sign "@" alone for a mention.
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b"})


@dataclass(frozen=True)
class NoticeText:
    """A notice in one language."""

    subject: str
    text: str
    link: str  # "" where the settings don't tell the site's address
    signature: str


def make_text(notice: Notice) -> NoticeText:
    """Return the notice's text in the language of NOVA_NOTIFY_LANGUAGE."""
    with translation.override(settings.NOVA_NOTIFY.language):
        site = name_environment()[0]
        return NoticeText(
            subject=escape_invisible(f"[{site}] {notice.title}")[:LONGEST_SUBJECT],
            text=escape_invisible(localize(notice.message))[:LONGEST_TEXT],
            link=make_link(notice.event),
            signature=escape_invisible(localize(sentences.SENT_BY_SITE(site=site))),
        )


def make_link(event: str) -> str:
    """Return the address of the page about the event; "" where no setting names the site itself.

    That is the first of CSRF_TRUSTED_ORIGINS that is no pattern, which has the port too, else of ALLOWED_HOSTS.
    """
    origins = [each for each in settings.CSRF_TRUSTED_ORIGINS if "*" not in each]
    hosts = [f"https://{each}" for each in settings.ALLOWED_HOSTS if each[0] not in ".*"]
    site = next(iter(origins + hosts), "")
    page = PAGES.get(event)  # type: ignore[call-overload]  # a later release's event is in no list
    return site and site + reverse(f"admin:migration_{page}" if page else "admin:index")


def make_webhook_body(text: NoticeText) -> dict[str, str]:
    """Return the JSON that Slack takes, and what is like it; nothing in it mentions anybody."""
    lines = [f"*{text.subject.translate(_SLACK)}*", text.text.translate(_SLACK), text.link]
    return {"text": "\n".join(filter(None, lines))}
