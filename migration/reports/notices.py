"""Tells whom notices reach and what became of the newest ones. Knows hosts alone, no address of a webhook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db.models import Count, Max, Q

from migration.models import (
    CHOSEN_EVENTS,
    DeliveryState,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeRule,
)
from migration.operations.notice_recipients import list_configured_recipients

if TYPE_CHECKING:
    from datetime import datetime

NEWEST_SHOWN = 20


@dataclass(frozen=True)
class RecipientReport:
    """One recipient of the settings, by its host, and how it goes with it."""

    way: str
    host: str
    # Of the newest attempt, where it failed.
    problem: str = ""
    sent_at: datetime | None = None
    failed_at: datetime | None = None
    waiting: int = 0

    @property
    def fails(self) -> bool:
        """Say whether the newest attempt failed."""
        return bool(self.problem)


@dataclass(frozen=True)
class EventWays:
    """One event, and the ways on which it goes."""

    event: NoticeEvent
    by_mail: bool
    by_webhook: bool


@dataclass(frozen=True)
class NoticesReport:
    """All that the page *Notices* shows."""

    recipients: list[RecipientReport]
    events: list[EventWays]
    newest: list[Notice]
    # What came of the test that was sent last from this page.
    tested: list[NoticeDelivery]


def load_notices(test_id: int | None = None) -> NoticesReport:
    """Load all that the page of notices shows, in a few queries however many notices there are."""
    rules = NoticeRule.objects.in_bulk()
    events = []
    for event in CHOSEN_EVENTS:
        rule = rules.get(event) or NoticeRule(event=event)
        events.append(EventWays(event, rule.by_mail, rule.by_webhook))
    tests = NoticeDelivery.objects.filter(notice=test_id, notice__event=NoticeEvent.TEST)
    return NoticesReport(
        recipients=list_delivery_reports(),
        events=events,
        newest=list(Notice.objects.prefetch_related("deliveries")[:NEWEST_SHOWN]),
        tested=list(tests.order_by("pk")) if test_id else [],
    )


def list_delivery_reports() -> list[RecipientReport]:
    """Return each recipient of the settings with what became of its deliveries, in two queries."""
    recipients = list_configured_recipients()
    deliveries = NoticeDelivery.objects.filter(target__in=[each.target for each in recipients])
    sent, waiting = Q(state=DeliveryState.SENT), Q(state=DeliveryState.WAITING)
    counted = (
        deliveries.order_by()
        .values("target")
        .annotate(
            sent_at=Max("tried_at", filter=sent),
            failed_at=Max("tried_at", filter=~sent),
            waiting=Count("pk", filter=waiting),
        )
    )
    numbers = {row["target"]: row for row in counted}
    tried = deliveries.filter(tried_at__isnull=False)
    newest = {row.target: row for row in tried.order_by("target", "-tried_at").distinct("target")}
    reports = []
    for each in recipients:
        way, problem = str(each.way.label), _describe_problem(newest.get(each.target))
        report = RecipientReport(way, each.host, problem)
        if row := numbers.get(each.target):
            more = {name: row[name] for name in ("sent_at", "failed_at", "waiting")}
            report = replace(report, **more)
        reports.append(report)
    return reports


def _describe_problem(delivery: NoticeDelivery | None) -> str:
    if delivery is None or delivery.state == DeliveryState.SENT:
        return ""
    return delivery.outcome_text
