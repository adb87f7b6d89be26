"""The items of a run: the tabs that its page sorts them into, and their download as CSV."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migration.models import CAN_BE_RETRIED, Comparison, Outcome, RunItem
from migration.models.run_items import is_due, is_left_out
from migration.operations import run_batches
from migration.operations.csv_cells import defuse_formula

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django_stubs_ext import StrPromise

    from migration.reports.run_progress import Progress

ITEMS_A_PAGE = 50

DIFFERS = Q(comparison_status__in=Comparison.DIFFERS)
# The tabs over a run's items, each with its title and the items in it. Open ones that workers hold are in progress, the
# others wait: see `get_items_context`.
TABS: dict[str, tuple[StrPromise, Q]] = {
    "all": (gettext_lazy("All"), Q(run__isnull=False)),
    "in_progress": (gettext_lazy("In progress"), Q(outcome="")),
    "waiting": (gettext_lazy("Waiting"), Q(outcome="")),
    "not_begun": (gettext_lazy("Not begun"), is_left_out()),
    "failed": (gettext_lazy("Failed"), Q(outcome=Outcome.FAILED)),
    "refused": (gettext_lazy("Refused"), Q(outcome=Outcome.REFUSED)),
    "differs": (gettext_lazy("Differs"), DIFFERS),
    "skipped": (gettext_lazy("Skipped"), Q(outcome=Outcome.SKIPPED) & ~is_left_out()),
    "done": (
        gettext_lazy("Done"),
        ~Q(outcome__in=["", Outcome.SKIPPED, *CAN_BE_RETRIED]) & ~DIFFERS,
    ),
}


def get_items_context(request: HttpRequest, progress: Progress) -> dict[str, object]:
    """Return the tabs and, of the one that the address names, a page of items."""
    run, counts = progress.run, _count_by_tab(progress)
    chosen = request.GET.get("items", "all")
    if chosen not in TABS:
        chosen = "all"
    held = run_batches.held_batches(run.pk) if not run.finished_at else set[int]()
    items = RunItem.objects.filter(TABS[chosen][1], run=run).order_by("pk")
    in_work = is_due() & Q(batch__in=held)
    if chosen == "in_progress":
        items = items.filter(in_work)
    elif chosen == "waiting":
        items = items.exclude(in_work)
    return {
        "tabs": [
            {"key": key, "label": title, "count": counts[key], "chosen": key == chosen}
            for key, (title, _condition) in TABS.items()
            if counts[key] or key in (chosen, "all", "failed")
        ],
        "chosen_tab": chosen,
        "held_batches": held,
        "headings": [_("Client"), _("Outcome"), _("Comparison"), _("Message"), _("Finished")],
        "page": Paginator(items, ITEMS_A_PAGE).get_page(request.GET.get("page")),
        "may_view_clients": request.user.has_perm("credentials.view_client"),
    }


def _count_by_tab(progress: Progress) -> dict[str, int]:
    return {
        "all": progress.total,
        "in_progress": progress.in_work,
        "waiting": progress.waiting,
        "not_begun": progress.left_out,
        "failed": progress.failed,
        "refused": progress.refused,
        "differs": progress.mismatched,
        "skipped": progress.skipped,
        "done": progress.succeeded,
    }


class LineBuffer:
    """Stands in for a file: the csv module's `writerow` returns what `write` returns, the line itself."""

    def write(self, line: str) -> str:
        return line


def iterate_csv_lines(items: QuerySet[RunItem]) -> Iterator[str]:
    """Yield a line of headings and a line for each item."""
    names = ("slug", "outcome", "error_class", "message", "comparison_status", "attempts")
    write_line = csv.writer(LineBuffer()).writerow
    yield write_line([*names, "finished_at"])
    for item in items.iterator(chunk_size=1000):
        finished = item.finished_at.isoformat() if item.finished_at else ""
        yield write_line([*(defuse_formula(getattr(item, name)) for name in names), finished])
