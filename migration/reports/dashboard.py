"""Loads everything that the dashboard shows, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.db import connection
from django.db.models import Case, When
from django.utils import timezone
from django.utils.translation import get_language

from migration.models import OtherStatement, ReaderProcess, Run, read_work_facts
from migration.operations.nova_tables import read_nova_tables
from migration.reports.activity import list_activity
from migration.reports.alerts import AlertData, list_alerts
from migration.reports.client_counts import count_clients
from migration.reports.costs import estimate_costs
from migration.reports.daily_comparisons import load_comparison_chart
from migration.reports.failures import count_failures
from migration.reports.health import list_pulses
from migration.reports.project import make_headline
from migration.reports.run_progress import measure_progress, select_runs_for_progress

if TYPE_CHECKING:
    from migration.models import ReaderSummary
    from migration.reports.activity import Activity
    from migration.reports.alerts import Alert
    from migration.reports.client_counts import ClientCounts, ComparisonCounts
    from migration.reports.costs import CostEstimate
    from migration.reports.daily_comparisons import ComparisonChart
    from migration.reports.health import Pulse
    from migration.reports.project import Headline
    from migration.reports.run_progress import Progress

# From so many clients on, counts are kept for this time.
KEPT_FROM_CLIENTS = 20_000
KEPT_FOR = timedelta(seconds=15)


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
    headline: Headline
    pulses: list[Pulse]
    # When the clients were counted, where that may be a moment ago.
    counted_at: datetime | None


@dataclass(frozen=True)
class Counted:
    """What is counted over all clients, and when: with many of them it takes longer than all the rest of the page."""

    clients: ClientCounts
    comparisons: ComparisonCounts
    costs: CostEstimate
    headline: Headline
    at: datetime

    @classmethod
    def count_now(cls) -> Self:
        """Count in five queries."""
        at = timezone.now()
        clients, comparisons = count_clients()
        headline = make_headline(clients.total, clients.cut_over)
        return cls(clients, comparisons, estimate_costs(), headline, at)


class KeptCounts:
    """The counts of this process, kept for a moment where there are many clients. The page says how old they are."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[str, str | None], Counted] | None = None

    def read(self) -> Counted:
        """Return the counts of now, or of a moment ago."""
        # The labels are in a language; and one process may serve several databases, as a benchmark does.
        place = (str(connection.settings_dict["NAME"]), get_language())
        if self._kept:
            where, counted = self._kept
            if where == place and timezone.now() - counted.at < KEPT_FOR:
                return counted
        counted = Counted.count_now()
        is_kept = counted.clients.total >= KEPT_FROM_CLIENTS
        self._kept = (place, counted) if is_kept else None
        return counted


kept_counts = KeptCounts()


def load_dashboard() -> Dashboard:
    """Load the dashboard, in fifteen queries, or sixteen if others have objects on NOVA's tables."""
    counted = kept_counts.read()
    clients, comparisons = counted.clients, counted.comparisons
    run = _find_run_to_show()
    readers = ReaderProcess.objects.summarize()
    work = read_work_facts()
    data = AlertData(
        clients,
        comparisons,
        read_nova_tables(),
        work,
        readers,
        OtherStatement.objects.called_in_last_hour().count(),
        count_failures(),
    )
    return Dashboard(
        clients=clients,
        comparisons=comparisons,
        run=measure_progress(run) if run else None,
        alerts=list_alerts(data),
        chart=load_comparison_chart(),
        activity=list_activity(),
        costs=counted.costs,
        readers=readers,
        headline=counted.headline,
        pulses=list_pulses(work, answered_at=comparisons.last_answer, readers=readers),
        counted_at=counted.at if counted.clients.total >= KEPT_FROM_CLIENTS else None,
    )


def _find_run_to_show() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    run: Run | None = select_runs_for_progress().order_by(running_first, "-pk").first()
    return run
