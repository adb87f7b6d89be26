"""Loads everything that the dashboard shows, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, When

from migration.campaigns.models import Campaign
from migration.clients.counts import add_up_counts
from migration.clients.models import read_or_count_clients
from migration.models.work_facts import read_background_facts
from migration.nova.models import ReaderProcess
from migration.nova.tables import read_nova_tables
from migration.reports.activity import list_activity
from migration.reports.alert import AlertData
from migration.reports.alerts import list_alerts
from migration.reports.daily_comparisons import load_comparison_chart
from migration.reports.health import list_pulses
from migration.reports.project import make_project_numbers
from migration.runs.models import Run
from migration.runs.progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from datetime import datetime

    from migration.clients.counts import ClientCounts, NewestComparisonCounts
    from migration.nova.models import ReaderSummary
    from migration.reports.activity import Activity
    from migration.reports.alert import Alert
    from migration.reports.daily_comparisons import ComparisonChart
    from migration.reports.health import Pulse
    from migration.reports.project import ProjectNumbers
    from migration.runs.progress import Progress


@dataclass(frozen=True)
class Dashboard:
    """Everything that the dashboard shows to a user with all permissions."""

    clients: ClientCounts
    comparisons: NewestComparisonCounts
    run: Progress | None
    alerts: list[Alert]
    chart: ComparisonChart
    activity: list[Activity]
    readers: ReaderSummary
    headline: ProjectNumbers
    pulses: list[Pulse]
    # The campaigns that take clients further by themselves.
    running_campaigns: list[int]
    # True while any campaign is not over.
    has_campaigns: bool
    # When the clients were counted, where that may be a moment ago.
    counted_at: datetime | None


def load_dashboard() -> Dashboard:
    """Load the dashboard, in sixteen queries.

    One more if others have objects on NOVA's tables, and one if notices are set to reach somebody.
    """
    counts = read_or_count_clients()
    clients, comparisons = add_up_counts(counts)
    run = _find_run_to_show()
    readers = ReaderProcess.objects.summarize()
    work = read_background_facts()
    data = AlertData(
        clients,
        comparisons,
        read_nova_tables(),
        work,
        readers,
        counts.failures,
        counts.clients_to_rotate,
    )
    return Dashboard(
        clients=clients,
        comparisons=comparisons,
        run=measure_progress(run) if run else None,
        alerts=list_alerts(data),
        chart=load_comparison_chart(),
        activity=list_activity(),
        readers=readers,
        headline=make_project_numbers(clients.total, clients.cut_over, counts.cutovers),
        pulses=list_pulses(work, answered_at=comparisons.last_answer, readers=readers),
        running_campaigns=[
            each.pk for each in work.campaigns if each.state == Campaign.State.RUNNING
        ],
        has_campaigns=bool(work.campaigns),
        counted_at=counts.at if counts.is_kept else None,
    )


def _find_run_to_show() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    run: Run | None = select_runs_for_progress().order_by(running_first, "-pk").first()
    return run
