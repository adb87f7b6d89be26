"""Sends notices: knows whom they reach, sets what is told, makes the texts, claims each delivery before it is sent.

Two workers never send the same delivery at once. One that is killed while it sends leaves a delivery that is sent
again: a mail has the same Message-ID then.
"""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass, field
from hashlib import sha256
from smtplib import SMTPException
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Count, Max, Min, Q
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.crypto import salted_hmac

from credentials.localization import localize
from credentials.shown_names import escape_invisible
from migration import notice_sentences as sentences
from migration.core.audit import AuditCode, AuditEvent
from migration.core.mails import NO_SERVER, send_mail_in_time
from migration.core.notices import (
    CHOSEN_EVENTS,
    DeliveryAttempt,
    DeliveryOutcome,
    DeliveryState,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeSwitch,
    NoticeWay,
)
from migration.operations.environment_names import name_environment
from migration.operations.webhooks import post_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from django.contrib.auth.models import User

    from nova_credentials.messages import Message

SALT = "migration.notices"
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
MAIL_PROBLEMS: tuple[tuple[type[Exception], DeliveryOutcome], ...] = (
    (TimeoutError, DeliveryOutcome.TIMED_OUT),
    (gaierror, DeliveryOutcome.NO_SUCH_HOST),
    (ssl.SSLError, DeliveryOutcome.TLS_PROBLEM),
    (ConnectionError, DeliveryOutcome.UNREACHABLE),
)
# All mails go by one server.
NO_MAIL_SERVER_THERE = frozenset(outcome for _kinds, outcome in MAIL_PROBLEMS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipient:
    """A webhook or a mail address. `target` stands for the address where it is stored, `host` where it is shown."""

    way: NoticeWay
    target: str
    host: str
    address: str = field(repr=False)


@dataclass(frozen=True)
class RecipientReport:
    """How it goes with one recipient of the settings."""

    recipient: Recipient
    # What came of the newest attempt, where it failed.
    problem: str = ""
    sent_at: datetime | None = None
    failed_at: datetime | None = None
    waiting: int = 0
    # Of what was never tried: the number, and since when the oldest waits.
    untried: int = 0
    untried_since: datetime | None = None


# Whom they reach


def list_configured_recipients() -> list[Recipient]:
    """Return the recipients that the settings name, webhooks first."""
    notify = settings.NOVA_NOTIFY
    return [
        *(_make_recipient(NoticeWay.WEBHOOK, url) for url in notify.urls),
        *(_make_recipient(NoticeWay.MAIL, email) for email in notify.emails),
    ]


def _make_recipient(way: NoticeWay, address: str) -> Recipient:
    target = salted_hmac(SALT, f"{way}:{address}", algorithm="sha256").hexdigest()
    is_mail = way == NoticeWay.MAIL
    host = address.rpartition("@")[2] if is_mail else urlsplit(address).hostname
    return Recipient(way, target, host or "", address)


def list_recipient_reports() -> list[RecipientReport]:
    """Return how it goes with each recipient of the settings: in a query, in a second one where one fails."""
    recipients = list_configured_recipients()
    if not recipients:
        return []
    deliveries = NoticeDelivery.objects.filter(target__in=[each.target for each in recipients])
    sent, waiting = Q(state=DeliveryState.SENT), Q(state=DeliveryState.WAITING)
    untried = waiting & Q(tries=0)
    rows = (
        deliveries.order_by()
        .values("target")
        .annotate(
            sent_at=Max("tried_at", filter=sent),
            failed_at=Max("tried_at", filter=~sent),
            waiting=Count("pk", filter=waiting),
            untried=Count("pk", filter=untried),
            untried_since=Min("notice__created_at", filter=untried),
        )
    )
    numbers: dict[str, dict[str, Any]] = {}
    for row in rows:
        counted = dict[str, Any](row)
        numbers[counted.pop("target")] = counted
    failing = [
        target
        for target, row in numbers.items()
        if row["failed_at"] and (not row["sent_at"] or row["failed_at"] > row["sent_at"])
    ]
    problems = {}
    if failing:
        tried = NoticeDelivery.objects.filter(target__in=failing, tried_at__isnull=False)
        newest = tried.order_by("target", "-tried_at").distinct("target")
        problems = {delivery.target: delivery.outcome_text for delivery in newest}
    return [
        RecipientReport(each, problems.get(each.target, ""), **numbers.get(each.target, {}))
        for each in recipients
    ]


def plan_deliveries(notice: Notice, switch: NoticeSwitch) -> Iterator[NoticeDelivery]:
    """Yield a delivery for each recipient that the notice goes to."""
    told = [each for each in list_configured_recipients() if switch.is_on(each.way)]
    for each in told:
        yield NoticeDelivery(notice=notice, way=each.way, target=each.target, host=each.host)
    user = notice.recipient
    addresses = {each.address.casefold() for each in told}
    if user and find_email(user) and user.email.casefold() not in addresses:
        host = user.email.rpartition("@")[2]
        yield NoticeDelivery(
            notice=notice, way=NoticeWay.MAIL, target=f"user {user.pk}", host=host, user=user
        )


def find_address(delivery: NoticeDelivery) -> str:
    """Return the address to which this delivery goes now; "" where the settings, or the user, have it no more."""
    if delivery.user_id:
        return find_email(delivery.user) if delivery.user else ""
    found = (
        each.address for each in list_configured_recipients() if each.target == delivery.target
    )
    return next(found, "")


def find_email(user: User) -> str:
    """Return the user's mail address; "" of who is deactivated, or has none."""
    return user.email if user.is_active else ""


# What is told


def set_switches(
    shown: Collection[str],
    *,
    by_mail: Collection[str],
    by_webhook: Collection[str],
    by: User,
) -> bool:
    """Set on which channels the shown events are told; return whether anything changed. Ignores unknown events."""
    with transaction.atomic():
        before = {row.event: row for row in NoticeSwitch.objects.select_for_update()}
        after = {event: before.get(event) or NoticeSwitch(event=event) for event in CHOSEN_EVENTS}
        changed = []
        for event, switch in after.items():
            ways = event in by_mail, event in by_webhook
            if event in shown and ways != (switch.by_mail, switch.by_webhook):
                switch.by_mail, switch.by_webhook = ways
                switch.save()
                changed.append(event)
        if changed:
            facts = sentences.NOTICES_SET(
                mail=_name_events(after.values(), NoticeWay.MAIL),
                webhook=_name_events(after.values(), NoticeWay.WEBHOOK),
            )
            AuditEvent.objects.record(AuditCode.NOTICES, facts, by=by)
    return bool(changed)


def _name_events(switches: Collection[NoticeSwitch], way: NoticeWay) -> tuple[Message | str, ...]:
    return tuple(each.event for each in switches if each.is_on(way)) or (sentences.NO_EVENT(),)


# Texts


@dataclass(frozen=True)
class NoticeText:
    """A notice in one language."""

    subject: str
    text: str
    link: str  # "" where the settings don't tell the site's address
    signature: str


def make_text(notice: Notice) -> NoticeText:
    """Return the notice's text in the language of NOVA_NOTIFY_LANGUAGE, its names without tricks."""
    with translation.override(settings.NOVA_NOTIFY.language):
        site = name_environment()[0]
        return NoticeText(
            subject=escape_invisible(f"[{site}] {notice.title}")[:LONGEST_SUBJECT],
            text=escape_invisible(localize(notice.facts))[:LONGEST_TEXT],
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


# Sending


def send_notices(*, seconds: float) -> None:
    """Make the deliveries of new notices, and try those that are due; none is begun after so many seconds."""
    hand_out_notices()
    deliver_notices(seconds=seconds)


@transaction.atomic
def hand_out_notices() -> None:
    """Store the deliveries of new notices, each by its switches. Sends nothing."""
    # Of two workers the second waits here, and then finds nothing.
    new = Notice.objects.filter(handed_out_at=None).select_for_update(of=("self",))
    notices = list(new.select_related("recipient").order_by("pk"))
    switches = NoticeSwitch.objects.in_bulk()
    NoticeDelivery.objects.bulk_create(
        delivery
        for notice in notices
        for delivery in plan_deliveries(
            notice, switches.get(notice.event) or NoticeSwitch(event=notice.event)
        )
    )
    handed_out = Notice.objects.filter(pk__in=[notice.pk for notice in notices])
    handed_out.update(handed_out_at=timezone.now())


def deliver_notices(*, seconds: float, notice_id: int | None = None) -> None:
    """Try the deliveries that are due, of all notices or of one; none is begun after so many seconds.

    A recipient that fails is left out for the rest, and every mail where the mail server does not answer: one that
    hangs costs one time-out.
    """
    until, failed, ways = time.monotonic() + seconds, set[str](), set(NoticeWay)
    while time.monotonic() < until:
        delivery = NoticeDelivery.objects.claim_next(without=failed, ways=ways, notice_id=notice_id)
        if delivery is None:
            return
        attempt = _try_delivery(delivery)
        delivery.settle(attempt)
        if attempt.outcome != DeliveryOutcome.SENT:
            failed.add(delivery.target)
            if delivery.way == NoticeWay.MAIL and attempt.outcome in NO_MAIL_SERVER_THERE:
                ways.discard(NoticeWay.MAIL)
            logger.warning(
                "notice %s (%s) to %s at %s: %s",
                delivery.notice_id,
                delivery.notice.event,
                delivery.way,
                delivery.host,
                attempt.outcome,
            )


def _try_delivery(delivery: NoticeDelivery) -> DeliveryAttempt:
    if delivery.is_too_old_to_send:
        return DeliveryAttempt(DeliveryOutcome.TOO_LATE)
    address = find_address(delivery)
    if not address:
        return DeliveryAttempt(DeliveryOutcome.NOT_WANTED)
    send: Callable[[NoticeDelivery, str], DeliveryAttempt] = (
        _send_mail if delivery.way == NoticeWay.MAIL else _call_webhook
    )
    try:
        return send(delivery, address)
    except Exception as error:  # noqa: BLE001 (any defect of ours)
        # One delivery must not keep the others waiting. An error's text can hold the address.
        logger.error("notice %s was not sent: %s", delivery.notice_id, type(error).__name__)  # noqa: TRY400
        return DeliveryAttempt(DeliveryOutcome.DEFECT)


def _call_webhook(delivery: NoticeDelivery, address: str) -> DeliveryAttempt:
    body = make_webhook_body(make_text(delivery.notice))
    return post_json(url=address, body=body, loopback_allowed=settings.NOVA_NOTIFY.loopback_allowed)


def _send_mail(delivery: NoticeDelivery, address: str) -> DeliveryAttempt:
    if settings.EMAIL_BACKEND == NO_SERVER:
        return DeliveryAttempt(DeliveryOutcome.NO_MAIL_SERVER)
    text = make_text(delivery.notice)
    mail = EmailMessage(
        text.subject,
        "\n\n".join(filter(None, [text.text, text.link, f"-- \n{text.signature}\n"])),
        None,
        [address],
        headers={"Message-ID": make_message_id(delivery), "Auto-Submitted": "auto-generated"},
    )
    try:
        send_mail_in_time(mail)
    except (OSError, SMTPException, ValueError) as error:
        # Its text may quote addresses and what the server said.
        found = (outcome for kinds, outcome in MAIL_PROBLEMS if isinstance(error, kinds))
        return DeliveryAttempt(next(found, DeliveryOutcome.MAIL_REFUSED))
    return DeliveryAttempt(DeliveryOutcome.SENT)


def make_message_id(delivery: NoticeDelivery) -> str:
    """Return the same Message-ID for each attempt, by which mail programs know the same mail."""
    name = sha256(f"{delivery.notice.key}:{delivery.target}".encode()).hexdigest()[:32]
    return f"<{name}@nova-admin.invalid>"


def send_test_to_recipients(*, by: User, seconds: float) -> Notice:
    """Send a test to every recipient of the settings, now; who isn't reached in this time is tried by the workers."""
    with transaction.atomic():
        notice = Notice.objects.create(
            event=NoticeEvent.TEST,
            facts=sentences.NOTICE_TEST(who=by.get_username()),
            key=f"{NoticeEvent.TEST}:{uuid4()}",
            handed_out_at=timezone.now(),
        )
        planned = plan_deliveries(notice, NoticeSwitch(event=NoticeEvent.TEST))
        NoticeDelivery.objects.bulk_create(planned)
    deliver_notices(seconds=seconds, notice_id=notice.pk)
    return notice
