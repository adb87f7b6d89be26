"""Reads what goes on besides clients (workers, approvals, campaigns, rotations), and says how the site's parts are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.campaigns.models import Campaign
from migration.core.clients import (
    VIEW_CHECKS,
    VIEW_COMPARISONS,
    VIEW_READERS,
    VIEW_RUNS,
    OffboardingState,
)
from migration.core.secrets import DIFFERING_CLIENTS, OF_DELETED_CLIENTS
from migration.core.workers import Worker
from migration.logins.models import make_next_query, today
from migration.nova.models import SEEN_WITHIN, ReaderSummary
from migration.nova.readers import describe_readers, pluralize_failing_readers
from migration.runs.models import Run
from migration.site.notices import OF_AWS, list_recipient_reports
from nova_credentials.messages import Message
from nova_credentials.tables import CLIENTS

# AWS is asked for so many in one call.
FEW_COMPARISONS = 20


@dataclass(frozen=True)
class BackgroundFacts:
    """Holds what the dashboard says of the work in the background; None where there was none yet."""

    worker_seen_at: datetime | None
    swept_at: datetime | None
    requested_runs: int
    # Statements of NOVA's old helper that were called lately.
    other_statements: int
    # The campaigns that are not over, by id; only id, state and the reason of a stop are loaded.
    campaigns: tuple[Campaign, ...]
    # The clients whose rotation stopped, is not finished, or is overdue: as the filter of their list calls them.
    rotations: dict[str, int]
    # The clients that left, or came back, in part only.
    interrupted_offboardings: int
    # The clients whose secrets differ from the settings of key and regions.
    differing_secrets: int
    # The secrets that AWS still has of clients that NOVA deleted.
    secrets_of_deleted_clients: int
    # AWS refused or failed each of the newest comparisons that it was asked for.
    aws_fails: bool


def read_background_facts() -> BackgroundFacts:
    """Return the `BackgroundFacts` as they are now, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT
                (SELECT max(seen_at) FROM migration_worker WHERE idle_because IS NULL),
                (SELECT created_at FROM migration_run WHERE kind = %(compare)s AND by_name = ''
                 ORDER BY id DESC LIMIT 1),
                (SELECT count(*) FROM migration_run WHERE state = %(requested)s),
                (SELECT count(*) FROM migration_otherstatement WHERE called_at > %(called_since)s),
                (SELECT count(*) FROM migration_rotation AS r WHERE outcome = 'stopped' AND NOT EXISTS (
                    SELECT FROM migration_rotation AS newer WHERE newer.client_id = r.client_id AND newer.id > r.id
                )),
                (SELECT count(*) FROM migration_rotation WHERE outcome = '' AND message IS NOT NULL),
                (SELECT count(*) FROM ({make_next_query()}) AS next WHERE due < %(today)s),
                (SELECT count(*) FROM migration_offboarding AS o JOIN {CLIENTS} AS c ON c.id = o.client_id
                 WHERE o.state <> %(offboarded)s),
                (SELECT count(*) FROM ({DIFFERING_CLIENTS.format(prefix="%(prefix)s")}) AS differing),
                (SELECT count(*) FROM ({OF_DELETED_CLIENTS}) AS left_over),
                (SELECT coalesce(json_agg(json_build_array(id, state, stopped_because) ORDER BY id), '[]')
                 FROM migration_campaign WHERE state = ANY(%(not_over)s)),
                coalesce((SELECT bool_and(error_class = ANY(%(of_aws)s)) FROM (
                    SELECT error_class FROM migration_comparison ORDER BY id DESC LIMIT {FEW_COMPARISONS}
                ) AS newest), false)
            """,  # noqa: S608  # constants
            {
                "today": today(),
                "compare": Run.Kind.COMPARE,
                "requested": Run.State.REQUESTED,
                "called_since": timezone.now() - SEEN_WITHIN,
                "not_over": list(Campaign.NOT_OVER),
                "offboarded": OffboardingState.OFFBOARDED,
                "of_aws": list(OF_AWS),
                "prefix": settings.NOVA_SECRET_PREFIX,
            },
        )
        seen_at, swept_at, requested, others, *rotations, left, differing, deleted, rows, fails = (
            cursor.fetchone()
        )
    campaigns = tuple(
        Campaign(pk=pk, state=state, stopped_because=why and Message.from_json(why))
        for pk, state, why in rows
    )
    numbers = dict(zip(("stopped", "unfinished", "overdue"), rotations, strict=True))
    return BackgroundFacts(
        seen_at, swept_at, requested, others, campaigns, numbers, left, differing, deleted, fails
    )


@dataclass(frozen=True)
class Pulse:
    """The health of workers, AWS, sweep, NOVA's processes or notices; `is_well` None: nothing known yet."""

    name: str
    is_well: bool | None
    text: str
    url: str
    permission: str
    # When this was last known.
    at: datetime | None = None


def list_pulses(
    work: BackgroundFacts, *, answered_at: datetime | None, readers: ReaderSummary
) -> list[Pulse]:
    """List the health of each part, in two queries at most; `answered_at`: when AWS last answered."""
    worker_seen_at, swept_at = work.worker_seen_at, work.swept_at
    late = timedelta(minutes=2 * settings.NOVA_SWEEP_MINUTES)
    runs = reverse("admin:migration_run_changelist")
    if answered_at is None:
        aws = _("has not answered") if work.aws_fails else _("not asked yet")
    else:
        aws = _("does not answer; it last did") if work.aws_fails else _("answered")
    return [
        Pulse(
            _("Workers"),
            _is_recent(worker_seen_at, Worker.GONE_AFTER) or False,
            _("seen") if worker_seen_at else _("never seen"),
            runs,
            VIEW_RUNS,
            worker_seen_at,
        ),
        Pulse(
            _("AWS"),
            False if work.aws_fails else _is_recent(answered_at, late),
            aws,
            reverse("admin:migration_comparison_report"),
            VIEW_COMPARISONS,
            answered_at,
        ),
        Pulse(
            _("Sweep"),
            _is_recent(swept_at, late),
            _("began") if swept_at else _("none yet"),
            f"{runs}?kind__exact={Run.Kind.COMPARE}",
            VIEW_RUNS,
            swept_at,
        ),
        Pulse(
            _("NOVA's processes"),
            bool(readers.seen) and not readers.failing,
            f"{readers.failing} {pluralize_failing_readers(readers.failing)}"
            if readers.failing
            else describe_readers(readers),
            reverse("admin:migration_readerprocess_changelist"),
            VIEW_READERS,
        ),
        _judge_notices(),
    ]


def _judge_notices() -> Pulse:
    """Say whether anybody hears of what happens while nobody looks at a page."""
    reports = list_recipient_reports()
    recipients, failing = len(reports), sum(bool(each.problem) for each in reports)
    if not recipients:
        text = _("reach nobody")
    elif failing:
        text = ngettext("fail to reach %(n)s recipient", "fail to reach %(n)s recipients", failing)
    else:
        text = ngettext("reach %(n)s recipient", "reach %(n)s recipients", recipients)
    page = reverse("admin:migration_run_check_nova")
    is_well = bool(recipients) and not failing
    shown = text % {"n": failing or recipients}
    # Every role may view the checks, and sees by them what the doctor says of notices.
    return Pulse(_("Notices"), is_well, shown, page, VIEW_CHECKS)


def _is_recent(moment: datetime | None, within: timedelta) -> bool | None:
    """Say whether it was within that time; None where it never was."""
    return None if moment is None else timezone.now() - moment <= within
