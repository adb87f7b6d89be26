"""Counts what has failed and was not done since, of all runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    CharField,
    Count,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from migration.core.clients import all_clients
from migration.core.comparisons import Resolution
from migration.runs.items import Act, RunItem, RunItemQuerySet
from migration.runs.models import Run

# Beside the acts, the key of what the latest migration did not begin.
LEFT_OUT = "left_out"


def select_current_failures(act: Act | None = None) -> RunItemQuerySet:
    """Select an item for each client and act that needs attention, without the pushes that are named as refused."""
    failed = RunItem.objects.needing_attention().annotate(named=_is_named_as_refused())
    found: RunItemQuerySet = failed.filter(named=False)
    return found if act is None else found.filter(act=act)


def select_failed_pushes() -> RunItemQuerySet:
    """Select the newest push of each client where it failed, also of those that are named as refused."""
    found: RunItemQuerySet = RunItem.objects.needing_attention().filter(act=Act.PUSH).order_by()
    return found


def select_failed_push_client_ids() -> QuerySet[RunItem, Any]:
    """Select the ids of the clients whose newest push failed, also of those that are named as refused."""
    return select_failed_pushes().values("client_id")


@dataclass(frozen=True)
class SiteFailureCounts:
    """The number of clients that need attention by act, and of those that the latest migration did not begin."""

    by_act: dict[Act, int]
    left_out: int
    # The latest migration; None where it left nobody out.
    run_id: int | None
    # Of the clients whose newest push failed, by the result of their newest comparison that nobody acknowledged: to
    # name them once.
    by_status: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "by_act": {str(act): number for act, number in self.by_act.items()}}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        # A worker of a later release may know more acts.
        by_act = {Act(act): n for act, n in kept["by_act"].items() if act in Act.values}
        return cls(by_act, kept["left_out"], kept["run_id"], kept["by_status"])


def count_failed_clients() -> SiteFailureCounts:
    """Count clients that need attention, by act, and those the latest migration did not begin, in one query."""
    acknowledged = Resolution.objects.acknowledging_newest_comparison().values("client_id")
    failed = RunItem.objects.needing_attention().annotate(
        what=F("act"),
        of=Value(None, BigIntegerField()),
        named=_is_named_as_refused(),
        status=Case(
            When(client__in=acknowledged, then=Value("")),
            default=Coalesce("client__client_migration__comparison_status", Value("")),
        ),
    )
    started = Run.objects.started().filter(kind=Run.Kind.MIGRATE)
    latest = started.order_by("-created_at", "-pk").values("pk")[:1]
    rest = (
        RunItem.objects.never_begun()
        .filter(run__in=latest)
        .annotate(
            what=Value(LEFT_OUT, CharField()),
            of=F("run"),
            named=Value(False),  # Django's own signature
            status=Value(""),
        )
    )
    columns = ("what", "of", "named", "status")
    rows = list(
        failed.order_by()
        .values_list(*columns)
        .annotate(n=Count("pk"))
        .union(rest.order_by().values_list(*columns).annotate(n=Count("pk")), all=True)
    )
    by_act: Counter[Act] = Counter()
    by_status: Counter[str] = Counter()
    left_out, run_id = 0, None
    for what, of, named, status, number in rows:
        if what == LEFT_OUT:
            left_out, run_id = number, of
            continue
        if not named:
            by_act[Act(what)] += number
        if what == Act.PUSH:
            by_status[status] += number
    return SiteFailureCounts(
        {act: by_act[act] for act in Act if act in by_act}, left_out, run_id, by_status
    )


def _is_named_as_refused() -> Combinable:
    """Return whether the item is a push that the list of refused pushes names."""
    clients = all_clients().push_refused().order_by().values("pk")
    return ExpressionWrapper(Q(act=Act.PUSH, client__in=clients), BooleanField())
