"""The items of a run: the tabs that its page sorts them into, and their download as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migration.admin.run_remedies import can_succeed, list_remedies
from migration.models.comparisons import Comparison
from migration.models.run_items import (
    CAN_BE_RETRIED,
    Outcome,
    RunItem,
    is_due,
    was_never_begun,
    was_written_since_refusal,
)
from migration.operations import run_batches
from migration.operations.csv_cells import make_csv_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django_stubs_ext import StrPromise

    from migration.models.runs import Run
    from migration.reports.run_progress import Progress

ITEMS_A_PAGE = 50

DIFFERS = Q(comparison_status__in=Comparison.DIFFERS)
# The tabs over a run's items, each with its title and the items in it. Open ones that workers hold are in progress, the
# others wait: see `get_items_context`.
TABS: dict[str, tuple[StrPromise, Q]] = {
    "all": (gettext_lazy("All"), Q(run__isnull=False)),
    "in_progress": (gettext_lazy("In progress"), Q(outcome="")),
    "waiting": (gettext_lazy("Waiting"), Q(outcome="")),
    "not_begun": (gettext_lazy("Not begun"), was_never_begun()),
    "failed": (gettext_lazy("Failed"), Q(outcome=Outcome.FAILED)),
    "refused": (gettext_lazy("Refused"), Q(outcome=Outcome.REFUSED)),
    "differs": (gettext_lazy("Differs"), DIFFERS),
    "skipped": (gettext_lazy("Skipped"), Q(outcome=Outcome.SKIPPED) & ~was_never_begun()),
    "done": (
        gettext_lazy("Done"),
        ~Q(outcome__in=["", Outcome.SKIPPED, *CAN_BE_RETRIED]) & ~DIFFERS,
    ),
}


class CountedPaginator(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    """Pages of which the number of items is known already."""

    def __init__(self, items: QuerySet[RunItem], number: int) -> None:
        super().__init__(items, ITEMS_A_PAGE)
        self.number = number

    @property
    def count(self) -> int:
        return self.number


def get_items_context(request: HttpRequest, progress: Progress) -> dict[str, object]:
    """Return the tabs and, of the one that the address names, a page of items in one query.

    Without a tab in the address it is the one that needs somebody: what failed, then what was refused.
    """
    run, counts = progress.run, count_by_tab(progress)
    chosen = request.GET.get("items", "")
    if chosen not in TABS:
        chosen = next((key for key in ("failed", "refused") if counts[key]), "all")
    pages = CountedPaginator(_select_items(run, chosen), counts[chosen])
    page = pages.get_page(request.GET.get("page"))
    return {
        "tabs": [
            {"key": key, "label": title, "count": counts[key], "chosen": key == chosen}
            for key, (title, _condition) in TABS.items()
            if counts[key] or key in (chosen, "all", "failed")
        ],
        "chosen_tab": chosen,
        "headings": [_("Client"), _("Outcome"), _("Comparison"), _("Message"), _("Finished")],
        "page": page,
        "rows": list_rows(request, page),
        "may_view_clients": request.user.has_perm("credentials.view_client"),
    }


def list_rows(request: HttpRequest, items: Iterable[RunItem]) -> list[dict[str, object]]:
    """Return a dict for each item (with `is_mended`): the item, its remedies, whether a retry can succeed."""
    return [
        {
            "item": item,
            "remedies": list_remedies(item, request.user),
            "can_succeed": can_succeed(item),
        }
        for item in items
    ]


def _select_items(run: Run, tab: str) -> QuerySet[Any]:
    """Select the items of the tab, each with whether a worker has it and whether its rows were mended."""
    items: QuerySet[Any] = RunItem.objects.filter(TABS[tab][1], run=run)
    # Of a run that is over there is no lease to look at.
    held = Q(pk__in=[]) if run.finished_at else is_due() & run_batches.is_in_work(run.pk)
    items = items.annotate(
        is_held=ExpressionWrapper(held, BooleanField()), is_mended=was_written_since_refusal()
    )
    if tab == "in_progress":
        items = items.filter(is_held=True)
    elif tab == "waiting":
        items = items.exclude(is_held=True)
    return items.order_by("pk") if run.finished_at else items.order_by("-is_held", "pk")


def count_by_tab(progress: Progress) -> dict[str, int]:
    return {
        "all": progress.total,
        "in_progress": progress.in_work,
        "waiting": progress.waiting,
        "not_begun": progress.items_never_begun,
        "failed": progress.failed,
        "refused": progress.refused,
        "differs": progress.mismatched,
        "skipped": progress.skipped,
        "done": progress.succeeded,
    }


def iterate_csv_lines(items: QuerySet[RunItem]) -> Iterator[str]:
    """Yield a line of headings and a line for each item."""
    names = ("slug", "outcome", "error_class", "message", "comparison_status", "attempts")
    yield make_csv_line([*names, "finished_at"])
    for item in items.iterator(chunk_size=1000):
        finished = item.finished_at.isoformat() if item.finished_at else ""
        yield make_csv_line([*(getattr(item, name) for name in names), finished])
