"""The numbers of the first page and of runs, in a fixed number of queries, whatever the number of clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Case, Exists, Max, OuterRef, Q, When
from django.utils import timezone
from django.utils.functional import cached_property

from migration.models import Outcome, Run, RunItem
from migration.overview.activity import activity
from migration.overview.attention import Facts, attention
from migration.overview.history import history
from migration.overview.plan import plan
from migration.overview.standing import standing

if TYPE_CHECKING:
    from migration.overview.activity import Activity
    from migration.overview.attention import Attention
    from migration.overview.history import History
    from migration.overview.plan import Plan
    from migration.overview.standing import Clients, Comparisons

# A worker takes a batch up within a second or two.
STALLED_AFTER = timedelta(seconds=30)
LEFT_BEHIND_AFTER = timedelta(minutes=10)
# Below this a rate says nothing about how long the rest takes.
ESTIMATE_FROM_PERCENT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    run: Run
    counts: dict[str, int]
    last_outcome_at: datetime | None

    @cached_property
    def total(self) -> int:
        return self.counts["clients"]

    @cached_property
    def done(self) -> int:
        return sum(self.counts[outcome] for outcome in Outcome)

    @property
    def waiting(self) -> int:
        return self.total - self.done

    @property
    def percent(self) -> float:
        return 100 * self.done / self.total if self.total else 100

    @property
    def finished(self) -> bool:
        return self.run.finished_at is not None

    @property
    def seconds(self) -> float:
        """From its start to its end, or to now."""
        return ((self.run.finished_at or timezone.now()) - self.run.created_at).total_seconds()

    @property
    def per_second(self) -> float | None:
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """None where it is finished or too early to say."""
        if self.finished or not self.per_second or self.percent < ESTIMATE_FROM_PERCENT:
            return None
        return self.waiting / self.per_second

    @property
    def stalled_since(self) -> datetime | None:
        """Since when nothing happened, where that is longer than a worker at work takes."""
        since = self.last_outcome_at or self.run.created_at
        stalled = not self.finished and timezone.now() - since > STALLED_AFTER
        return since if stalled else None


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
    """All of it: nine queries."""
    of_clients, of_comparisons = standing()
    running = _running_or_latest()
    run = progress(running) if running else None
    facts = Facts(of_clients, of_comparisons, run.stalled_since if run else None)
    return Summary(
        clients=of_clients,
        comparisons=of_comparisons,
        run=run,
        attention=attention(facts),
        history=history(),
        activity=activity(),
        plan=plan(),
    )


def _running_or_latest() -> Run | None:
    """One that was left behind hides no newer one."""
    lately = timezone.now() - LEFT_BEHIND_AFTER
    item = RunItem.objects.filter(run_id=OuterRef("pk"), finished_at__gt=lately)
    running = Q(finished_at=None) & (Q(created_at__gt=lately) | Exists(item))
    running_first = Case(When(running, then=0), default=1)
    return Run.objects.select_related("by").order_by(running_first, "-pk").first()


def progress(run: Run) -> Progress:
    """How far the run is: two queries."""
    last = run.items.aggregate(last=Max("finished_at"))["last"]
    return Progress(run, run.counts(), last)
