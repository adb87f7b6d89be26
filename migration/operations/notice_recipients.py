"""Knows whom notices reach: the webhooks and addresses of the settings, and who asked for what was decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.crypto import salted_hmac

from migration.models import DeliveryState, NoticeDelivery, NoticeRule, NoticeWay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from migration.models import Notice, NoticeEvent

SALT = "migration.notices"


@dataclass(frozen=True)
class Recipient:
    """A webhook or a mail address. `target` stands for the address where it is stored, `host` where it is shown."""

    way: NoticeWay
    target: str
    host: str
    address: str = field(repr=False)


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


def is_told(event: NoticeEvent) -> bool:
    """Say whether somebody in the settings is told of the event. Takes a query where there is anybody."""
    ways = {each.way for each in list_configured_recipients()}
    if not ways:
        return False
    rule = NoticeRule.objects.filter(event=event).first() or NoticeRule(event=event)
    return any(_goes_by(rule, way) for way in ways)


def count_failing_recipients() -> int:
    """Return how many of the settings' recipients the newest attempt to reach failed. A query, where there are any."""
    targets = [each.target for each in list_configured_recipients()]
    if not targets:
        return 0
    tried = NoticeDelivery.objects.filter(target__in=targets, tried_at__isnull=False)
    newest = (
        tried.order_by("target", "-tried_at").distinct("target").values_list("state", flat=True)
    )
    return sum(state != DeliveryState.SENT for state in newest)


def _goes_by(rule: NoticeRule, way: NoticeWay) -> bool:
    return rule.by_mail if way == NoticeWay.MAIL else rule.by_webhook


def plan_deliveries(notice: Notice, rule: NoticeRule) -> Iterator[NoticeDelivery]:
    """Yield a delivery for each recipient that the notice goes to."""
    told = [each for each in list_configured_recipients() if _goes_by(rule, each.way)]
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
