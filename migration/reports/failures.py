"""Lists the clients whose newest push, comparison or move failed. Decides by client, never by the latest run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import BigIntegerField, CharField, Count, F, Q, Value
from django.utils.translation import ngettext

from migration.models import Act, Run, RunItem, all_clients

if TYPE_CHECKING:
    from migration.models.run_items import RunItemQuerySet

# Beside the acts, the key of what the latest migration did not begin.
LEFT_OUT = "left_out"


def select_failures(act: Act | None = None) -> RunItemQuerySet:
    """Select an item for each client and act that needs attention, without the pushes that are named as refused."""
    refused = Q(act=Act.PUSH, client__in=all_clients().push_refused().order_by().values("pk"))
    found: RunItemQuerySet = RunItem.objects.needing_attention().exclude(refused)
    return found if act is None else found.filter(act=act)


@dataclass(frozen=True)
class FailureCounts:
    """The number of clients that need attention by act, and of those that the latest migration did not begin."""

    by_act: dict[Act, int]
    left_out: int
    # The latest migration; None where it left nobody out.
    run_id: int | None


def count_failures() -> FailureCounts:
    """Count the failures, and what a stop left out, in one query."""
    no_run = Value(None, BigIntegerField())
    failed = select_failures().order_by().annotate(what=F("act"), of=no_run)
    latest = Run.objects.filter(kind=Run.Kind.MIGRATE).order_by("-pk").values("pk")[:1]
    left_out = RunItem.objects.left_out().filter(run__in=latest).order_by()
    rest = left_out.annotate(what=Value(LEFT_OUT, CharField()), of=F("run"))
    rows = (
        failed.values_list("what", "of")
        .annotate(n=Count("pk"))
        .union(rest.values_list("what", "of").annotate(n=Count("pk")), all=True)
    )
    counted = {what: (run_id, number) for what, run_id, number in rows}
    run_id, number = counted.get(LEFT_OUT, (None, 0))
    return FailureCounts(
        {act: counted[act][1] for act in Act if act in counted}, left_out=number, run_id=run_id
    )


def describe_failures(act: Act, number: int) -> str:
    """Say after the number what happened to these clients, in the page's language."""
    return {
        Act.PUSH: ngettext(
            "client failed in its newest push or migration",
            "clients failed in their newest push or migration",
            number,
        ),
        Act.COMPARE: ngettext(
            "client failed in its newest comparison",
            "clients failed in their newest comparison",
            number,
        ),
        Act.MOVE: ngettext(
            "client was not moved by its newest run of moves",
            "clients were not moved by their newest run of moves",
            number,
        ),
    }[act]
