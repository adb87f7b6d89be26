"""The numbers of the first page and of runs, in a fixed number of queries, whatever the number of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, When

from migration.models import Run, Worker
from migration.overview.activity import activity
from migration.overview.attention import Facts, attention
from migration.overview.history import history
from migration.overview.plan import plan
from migration.overview.standing import standing
from migration.progress import progress, runs

if TYPE_CHECKING:
    from migration.overview.activity import Activity
    from migration.overview.attention import Attention
    from migration.overview.history import History
    from migration.overview.plan import Plan
    from migration.overview.standing import Clients, Comparisons
    from migration.progress import Progress


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
        run=progress(run) if run else None,
        attention=attention(facts),
        history=history(),
        activity=activity(),
        plan=plan(),
    )


def _running_or_latest() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    run: Run | None = runs().order_by(running_first, "-pk").first()
    return run
