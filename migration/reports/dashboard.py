"""The numbers of the first page and of runs, in a fixed number of queries, whatever the number of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, When

from migration.models import Run, Worker
from migration.reports.activity import activity
from migration.reports.alerts import Facts, attention
from migration.reports.client_counts import standing
from migration.reports.costs import plan
from migration.reports.daily_comparisons import history
from migration.reports.run_progress import measure_progress, runs_for_progress

if TYPE_CHECKING:
    from migration.reports.activity import Activity
    from migration.reports.alerts import Attention
    from migration.reports.client_counts import Clients, Comparisons
    from migration.reports.costs import Plan
    from migration.reports.daily_comparisons import History
    from migration.reports.run_progress import Progress


@dataclass(frozen=True)
class Summary:
    clients: Clients
    comparisons: Comparisons
    run: Progress | None
    attention: list[Attention]
    history: History
    activity: list[Activity]
    plan: Plan


def summary() -> Summary:
    """All of it: ten queries."""
    of_clients, of_comparisons = standing()
    run = _running_or_latest()
    facts = Facts(of_clients, of_comparisons, Worker.objects.last_seen_at())
    return Summary(
        clients=of_clients,
        comparisons=of_comparisons,
        run=measure_progress(run) if run else None,
        attention=attention(facts),
        history=history(),
        activity=activity(),
        plan=plan(),
    )


def _running_or_latest() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    run: Run | None = runs_for_progress().order_by(running_first, "-pk").first()
    return run
