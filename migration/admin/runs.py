"""Runs: their list, and the addresses of their pages and buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Q
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from migration.admin.base import RUN_PERMISSION, ReadOnlyAdmin
from migration.admin.failures import OpenFailuresView
from migration.admin.run_views import (
    CompareAllView,
    DownloadItemsView,
    LiveRunView,
    RunView,
    SetSharedRatesView,
    SteerRunView,
    make_run_badge,
)
from migration.models.permissions import VIEW_CAMPAIGNS
from migration.models.runs import Run
from migration.operations.run_batches import count_in_work
from migration.templatetags.migration_pages import make_label, time_ago

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Protocol

    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.utils.safestring import SafeString
    from django_stubs_ext import StrOrPromise

    from migration.models.runs import RunQuerySet

    class RunRow(Protocol):
        """A run with the columns that `with_counts` adds to it."""

        pk: int
        done: int
        total: int
        succeeded: int
        failed: int
        skipped: int
        left_out: int
        in_work: int
        refused: int
        mismatched: int
        created_at: datetime


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Run]
    ) -> list[tuple[str, StrOrPromise]]:
        return [*Run.State.choices, ("failed", _("With failures"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        if self.value() == "failed":
            return queryset.filter(Q(failed__gt=0) | Q(refused__gt=0))
        return queryset.filter(state=self.value()) if self.value() in Run.State else queryset


class SweepFilter(admin.SimpleListFilter):
    """Leaves out the schedule's comparisons, of which there are hundreds a day, until somebody asks for them."""

    title = _("comparisons of the schedule")
    parameter_name = "sweeps"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Run]
    ) -> list[tuple[str, StrOrPromise]]:
        return [("shown", _("Shown"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        runs = cast("RunQuerySet", queryset)
        return runs.without_sweeps() if leaves_out_sweeps(request) else runs

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        return iter([{**first, "display": gettext("Left out")}, *others])


def leaves_out_sweeps(request: HttpRequest) -> bool:
    """Say whether the list leaves out the schedule's comparisons: not where it is narrowed by kind or state anyway."""
    return not request.GET.keys() & {SweepFilter.parameter_name, "kind__exact", "state"}


class RunAdmin(ReadOnlyAdmin):
    nothing_yet = _("There is no run yet. A migration or comparison of clients is one.")
    list_display = (
        "run_name",
        "state_badge",
        "done_of_total",
        "outcomes",
        "campaign_link",
        "by_name",
        "created_when",
    )
    list_filter: ClassVar = ["kind", StateFilter, SweepFilter]
    list_before_template = "admin/migration/run_sweeps.html"
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    object_view = RunView
    own_views: ClassVar = [
        ("compare-all/", "compare_all", CompareAllView),
        ("failures/", "failures", OpenFailuresView),
        ("<int:pk>/live/", "live", LiveRunView),
        ("<int:pk>/items.csv", "items", DownloadItemsView),
        ("<int:pk>/steer/", "steer", SteerRunView),
        ("<int:pk>/rate/", "rate", SetSharedRatesView),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        counted = Run.objects.with_counts().select_related("wave__campaign")
        return counted.order_by("-pk")

    def get_list_display(self, request: HttpRequest) -> list[str]:
        may_view = request.user.has_perm(VIEW_CAMPAIGNS)
        return [name for name in self.list_display if may_view or name != "campaign_link"]

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        # Users who may start a run may see how it goes.
        return super().has_view_permission(request, obj) or request.user.has_perm(RUN_PERMISSION)

    @display(description=_("run"), ordering="pk")
    def run_name(self, run: Run) -> SafeString | str:
        if run.kind != Run.Kind.MOVE:
            return str(run)
        return format_html('{}<span class="block list-second-line">{}</span>', run, run.move_shown)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        more = {"leaves_out_sweeps": leaves_out_sweeps(request)}
        return super().changelist_view(request, (extra_context or {}) | more)

    @display(description=_("state"))
    def state_badge(self, run: Run) -> str:
        return make_run_badge(run)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each run how many of its clients workers hold now."""
        changelist = super().get_changelist_instance(request)
        if leaves_out_sweeps(request):
            # Else the page's header would count the others, and its link would lead here again.
            changelist.full_result_count = changelist.result_count
        in_work = count_in_work(changelist.result_list)
        for run in changelist.result_list:
            run.in_work = in_work.get(run.pk, 0)
        return changelist

    # Whatever came of them, which the column beside it says.
    @display(description=_("progress"))
    def done_of_total(self, run: RunRow) -> str:
        numbers = {"done": intcomma(run.done), "total": intcomma(run.total)}
        return gettext("%(done)s of %(total)s") % numbers

    @display(description=_("outcome"), ordering="failed")
    def outcomes(self, run: RunRow) -> SafeString:
        """Show each number of clients that is not 0, as a link to them; what needs somebody as a label."""
        page = reverse("admin:migration_run_change", args=[run.pk])
        shown = [
            (f"{page}?items={tab}", make_label(text, *look) if look else text)
            for tab, text, look in list_outcome_labels(run)
        ]
        links = format_html_join("", '<a class="text-link underline" href="{}">{}</a>', shown)
        return format_html('<div class="run-outcomes">{}</div>', links)

    @display(description=_("campaign"), ordering="wave__campaign")
    def campaign_link(self, run: Run) -> SafeString | str:
        if run.wave is None:
            return ""
        url = reverse("admin:migration_campaign_change", args=[run.wave.campaign_id])
        link = '<a class="text-link underline" href="{}">{}</a>'
        return format_html(link, url, run.wave.campaign)

    @display(description=_("created"), ordering="created_at")
    def created_when(self, run: RunRow) -> SafeString | str:
        return time_ago(run.created_at)


class OutcomeLabel(NamedTuple):
    """How many of a run's clients had one outcome, as its row of the list shows it."""

    tab: str  # of the run's page, which names them
    text: str  # the number in words
    look: tuple[str, str] | None  # colour and icon of the label; None: a plain text


def list_outcome_labels(run: RunRow) -> Iterator[OutcomeLabel]:
    """Yield a label for each outcome that clients had."""
    for tab, number, text, look in (
        ("done", run.succeeded, ngettext("%(n)s done", "%(n)s done", run.succeeded), None),
        (
            "failed",
            run.failed,
            ngettext("%(n)s failed", "%(n)s failed", run.failed),
            ("danger", "error"),
        ),
        (
            "refused",
            run.refused,
            ngettext("%(n)s refused", "%(n)s refused", run.refused),
            ("warning", "block"),
        ),
        (
            "differs",
            run.mismatched,
            ngettext("%(n)s differs", "%(n)s differ", run.mismatched),
            ("danger", "difference"),
        ),
        ("not_begun", run.left_out, gettext("%(n)s not begun"), ("warning", "warning")),
        ("skipped", run.skipped, ngettext("%(n)s skipped", "%(n)s skipped", run.skipped), None),
        ("in_progress", run.in_work, gettext("%(n)s in progress"), None),
    ):
        if number:
            yield OutcomeLabel(tab, text % {"n": intcomma(number)}, look)
