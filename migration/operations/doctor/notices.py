"""Examines whether notices get to whom they are set to reach. Names hosts, and no address of a webhook."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from migration.models.campaigns import Campaign
from migration.models.clients import ClientMigration
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.notices import list_recipient_reports
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# A worker takes what waits within a minute.
WAITS_TOO_LONG = timedelta(minutes=10)

NOTICES_REACH = Sentence(
    "notices_reach",
    "Notices are set to reach %(n)s recipients, and none of them fails.",
    one="Notices are set to reach one recipient, and it does not fail.",
)
NOTICES_REACH_NOBODY = Sentence(
    "notices_reach_nobody",
    "Notices are set to reach nobody (NOVA_NOTIFY_URLS, NOVA_NOTIFY_EMAILS).",
)
SET_WHOM_NOTICES_REACH = Sentence(
    "set_whom_notices_reach",
    "Set one of them, and start the site and its workers anew: otherwise nobody hears when a campaign stops, when both"
    " stores differ, or when AWS does not answer. docs/notices.md has more.",
)
NOTICES_FAIL = Sentence(
    "notices_fail", "The newest notice to %(host)s (%(way)s) failed: %(problem)s."
)
NOTICES_WAIT = Sentence(
    "notices_wait",
    "%(n)s notices to %(host)s (%(way)s) have been waiting, the oldest for %(ago)s.",
    one="A notice to %(host)s (%(way)s) has been waiting for %(ago)s.",
)
SEE_THE_NOTICES = Sentence(
    "see_the_notices",
    "The page “Notices” has a test. docs/notices.md says what each problem means; a worker has to run.",
)


def examine_notice_deliveries(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that notices reach everybody, as their newest attempts went. Sends none."""
    reports, failures = list_recipient_reports(), 0
    for each in reports:
        names = {"host": each.recipient.host, "way": each.recipient.way.value}
        since = each.untried_since
        if each.problem:
            message = NOTICES_FAIL(problem=each.problem, **names)
        elif since and timezone.now() - since > WAITS_TOO_LONG:
            message = NOTICES_WAIT(n=each.untried, ago=since, **names)
        else:
            continue
        failures += 1
        yield report_failure(CheckName.NOTICES, message, SEE_THE_NOTICES())
    if not reports and _is_at_work():
        told = NOTICES_REACH_NOBODY(), SET_WHOM_NOTICES_REACH()
        yield report_failure(CheckName.NOTICES, *told)
    elif not reports:
        yield report_ok(CheckName.NOTICES, NOTICES_REACH_NOBODY())
    elif not failures:
        yield report_ok(CheckName.NOTICES, NOTICES_REACH(n=len(reports)))


def _is_at_work() -> bool:
    """Say whether somebody should be told: NOVA reads a client from AWS, or a campaign moves clients by itself."""
    reads_aws = [phase.value for phase in Phase if phase.reads_aws]
    clients = ClientMigration.objects.exclude_deleted_clients().filter(phase__in=reads_aws)
    return clients.exists() or Campaign.objects.not_over().exists()
