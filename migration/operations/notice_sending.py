"""Sends notices: makes their deliveries, claims each before it is sent, and stores what came of it.

Two workers never send the same delivery at once. One that is killed while it sends leaves a delivery that is sent
again: a mail has the same Message-ID then.
"""

from __future__ import annotations

import logging
import ssl
import time
from hashlib import sha256
from smtplib import SMTPException
from socket import gaierror
from typing import TYPE_CHECKING
from uuid import uuid4

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from migration import notice_sentences as sentences
from migration.models import (
    DeliveryAttempt,
    DeliveryOutcome,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeRule,
    NoticeWay,
)
from migration.operations.bounded_mail import send_mail_in_time
from migration.operations.mails import NO_SERVER
from migration.operations.notice_recipients import find_address, plan_deliveries
from migration.operations.notice_texts import make_text, make_webhook_body
from migration.operations.webhooks import post_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

MAIL_PROBLEMS: tuple[tuple[type[Exception], DeliveryOutcome], ...] = (
    (TimeoutError, DeliveryOutcome.TIMED_OUT),
    (gaierror, DeliveryOutcome.NO_SUCH_HOST),
    (ssl.SSLError, DeliveryOutcome.TLS_PROBLEM),
    (ConnectionError, DeliveryOutcome.UNREACHABLE),
)
# All mails go by one server.
NO_MAIL_SERVER_THERE = frozenset(outcome for _kinds, outcome in MAIL_PROBLEMS)

logger = logging.getLogger(__name__)


def send_notices(*, seconds: float) -> None:
    """Make the deliveries of what is ready, and try those that are due; none is begun after so many seconds."""
    hand_out_ready_notices()
    deliver_notices(seconds=seconds)


@transaction.atomic
def hand_out_ready_notices() -> int:
    """Store deliveries of ready notices, one digest's together; return the number of notices. Sends nothing."""
    # Of two workers the second waits here, and then finds nothing. Runs are joined: a row of theirs need not be there.
    found = Notice.objects.ready().select_for_update(of=("self",)).select_related("recipient")
    notices = _put_together(list(found.order_by("pk")))
    rules = NoticeRule.objects.in_bulk()
    planned = [
        delivery
        for notice in notices
        for delivery in plan_deliveries(
            notice, rules.get(notice.event) or NoticeRule(event=notice.event)
        )
    ]
    NoticeDelivery.objects.bulk_create(planned)
    handed_out = Notice.objects.filter(pk__in=[notice.pk for notice in notices])
    return handed_out.update(handed_out_at=timezone.now())


def _put_together(notices: list[Notice]) -> list[Notice]:
    """Leave of each digest the first row, which counts the others too; these are deleted."""
    by_digest: dict[str, list[Notice]] = {}
    for notice in notices:
        by_digest.setdefault(notice.digest or notice.key, []).append(notice)
    for first, *others in by_digest.values():
        if others:
            first.take_over(others)
            first.save(update_fields=["number", "names"])
            Notice.objects.filter(pk__in=[other.pk for other in others]).delete()
    return [first for first, *_others in by_digest.values()]


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
        planned = plan_deliveries(notice, NoticeRule(event=NoticeEvent.TEST))
        NoticeDelivery.objects.bulk_create(planned)
    deliver_notices(seconds=seconds, notice_id=notice.pk)
    return notice
