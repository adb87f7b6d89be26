"""Examines whether notices get to whom they are set to reach."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from migration.models import Campaign, ClientMigration, DeliveryState, NoticeDelivery
from migration.operations.doctor import notice_sentences as sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.notice_recipients import list_configured_recipients
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# A worker takes what waits within a minute.
WAITS_TOO_LONG = timedelta(minutes=10)


def examine_notice_deliveries(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that notices reach everybody, as their newest attempts went. Sends none."""
    recipients = list_configured_recipients()
    failures = 0
    for each in recipients:
        of_recipient = NoticeDelivery.objects.filter(target=each.target)
        newest = of_recipient.filter(tried_at__isnull=False).order_by("-tried_at").first()
        names = {"host": each.host, "way": each.way.value}
        untried = of_recipient.waiting().filter(tries=0).select_related("notice").order_by("pk")
        oldest = untried.first()
        if newest and newest.state != DeliveryState.SENT:
            message = sentences.NOTICES_FAIL(problem=newest.outcome_text, **names)
        elif oldest and timezone.now() - oldest.notice.created_at > WAITS_TOO_LONG:
            ago = oldest.notice.created_at
            message = sentences.NOTICES_WAIT(n=untried.count(), ago=ago, **names)
        else:
            continue
        failures += 1
        yield report_failure(CheckName.NOTICES, message, sentences.SEE_THE_NOTICES())
    if not recipients and _is_at_work():
        told = sentences.NOTICES_REACH_NOBODY(), sentences.SET_WHOM_NOTICES_REACH()
        yield report_failure(CheckName.NOTICES, *told)
    elif not recipients:
        yield report_ok(CheckName.NOTICES, sentences.NOTICES_REACH_NOBODY())
    elif not failures:
        yield report_ok(CheckName.NOTICES, sentences.NOTICES_REACH(n=len(recipients)))


def _is_at_work() -> bool:
    """Say whether somebody should be told: NOVA reads a client from AWS, or a campaign moves clients by itself."""
    reads_aws = [phase.value for phase in Phase if phase.reads_aws]
    clients = ClientMigration.objects.exclude_deleted_clients().filter(phase__in=reads_aws)
    return clients.exists() or Campaign.objects.not_over().exists()
