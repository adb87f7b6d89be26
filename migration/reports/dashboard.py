"""Loads everything that the dashboard shows, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, When

from migration.models import OtherStatement, ReaderProcess, Run, Worker
from migration.operations.nova_tables import read_nova_tables
from migration.reports.activity import list_activity
from migration.reports.alerts import AlertData, list_alerts
from migration.reports.client_counts import count_clients
from migration.reports.costs import estimate_costs
from migration.reports.daily_comparisons import load_comparison_chart
from migration.reports.run_progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from migration.models import ReaderSummary
    from migration.reports.activity import Activity
    from migration.reports.alerts import Alert
    from migration.reports.client_counts import ClientCounts, ComparisonCounts
    from migration.reports.costs import CostEstimate
    from migration.reports.daily_comparisons import ComparisonChart
    from migration.reports.run_progress import Progress


@dataclass(frozen=True)
class Dashboard:
    """Everything that the dashboard shows to a user with all permissions."""

    clients: ClientCounts
    comparisons: ComparisonCounts
    run: Progress | None
    alerts: list[Alert]
    chart: ComparisonChart
    activity: list[Activity]
    costs: CostEstimate
    readers: ReaderSummary


def load_dashboard() -> Dashboard:
    """Load the dashboard, in fifteen queries, or sixteen if others have objects on NOVA's tables."""
    clients, comparisons = count_clients()
    run = _find_run_to_show()
    readers = ReaderProcess.objects.summarize()
    data = AlertData(
        clients,
        comparisons,
        read_nova_tables(),
        Worker.objects.last_seen_at(),
        readers,
        OtherStatement.objects.called_in_last_hour().count(),
    )
    return Dashboard(
        clients=clients,
        comparisons=comparisons,
        run=measure_progress(run) if run else None,
        alerts=list_alerts(data),
        chart=load_comparison_chart(),
        activity=list_activity(),
        costs=estimate_costs(),
        readers=readers,
    )


def _find_run_to_show() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    run: Run | None = select_runs_for_progress().order_by(running_first, "-pk").first()
    return run
