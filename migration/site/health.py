"""Says how the site's parts are: workers, AWS, the sweep, NOVA's processes, notices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.core.clients import VIEW_CHECKS, VIEW_COMPARISONS, VIEW_READERS, VIEW_RUNS
from migration.core.workers import Worker
from migration.nova.models import ReaderSummary
from migration.nova.readers import describe_readers, pluralize_failing_readers
from migration.runs.models import Run
from migration.site.background import BackgroundFacts
from migration.site.notices import list_recipient_reports


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
        aws = _("has not answered") if work.aws_error else _("not asked yet")
    else:
        aws = _("does not answer; it last did") if work.aws_error else _("answered")
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
            False if work.aws_error else _is_recent(answered_at, late),
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
    page = reverse("admin:migration_run_health")
    is_well = bool(recipients) and not failing
    shown = text % {"n": failing or recipients}
    # Every role may view the checks, and sees by them what the doctor says of notices.
    return Pulse(_("Notices"), is_well, shown, page, VIEW_CHECKS)


def _is_recent(moment: datetime | None, within: timedelta) -> bool | None:
    """Say whether it was within that time; None where it never was."""
    return None if moment is None else timezone.now() - moment <= within
