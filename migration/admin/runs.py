"""Runs: their list, the page of one, and the buttons that start one over all clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe
from unfold.decorators import display

from migration.admin.base import RUN_PERMISSION, ReadOnlyAdmin, start_run
from migration.dashboard import Progress, progress
from migration.models import Comparison, Outcome, Run, RunItem, clients
from migration.templatetags.migration_pages import label, moment

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

ITEMS_A_PAGE = 50

DIFFERS = Q(comparison_status__in=Comparison.DIFFERS)
# The tabs over a run's items: what each holds.
TABS: dict[str, tuple[Any, Q]] = {
    "all": (_("All"), Q(run__isnull=False)),
    "waiting": (_("Waiting"), Q(outcome="")),
    "failed": (_("Failed"), Q(outcome=Outcome.FAILED)),
    "differs": (_("Differs"), DIFFERS),
    "skipped": (_("Skipped"), Q(outcome=Outcome.SKIPPED)),
    "done": (_("Done"), ~Q(outcome__in=["", Outcome.FAILED, Outcome.SKIPPED]) & ~DIFFERS),
}


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("running", _("Running")),
            ("finished", _("Finished")),
            ("failed", _("With failures")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Run]:
        match self.value():
            case "running":
                return queryset.filter(finished_at=None)
            case "finished":
                return queryset.exclude(finished_at=None)
            case "failed":
                return queryset.filter(failed__gt=0)
        return queryset


class RunAdmin(ReadOnlyAdmin):
    list_display = ("name", "state", "done", "failures", "mismatches", "by", "started")
    list_filter: ClassVar = ["kind", StateFilter]
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return Run.objects.with_counts().select_related("by").order_by("-pk")

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        # Whoever may start a run may see what becomes of it.
        return super().has_view_permission(request, obj) or request.user.has_perm(RUN_PERMISSION)

    @display(description=_("run"), ordering="pk")
    def name(self, run: Run) -> str:
        return str(run)

    @display(description=_("state"))
    def state(self, run: Run) -> str:
        return run_badge(run)

    @display(description=_("done"))
    def done(self, run: Run) -> str:
        return gettext("%(done)d of %(total)d") % {"done": run.done, "total": run.total}

    @display(description=_("failed"), ordering="failed")
    def failures(self, run: Run) -> str | int:
        return label(str(run.failed), "danger", "error") if run.failed else 0

    @display(description=_("differ"), ordering="mismatched")
    def mismatches(self, run: Run) -> str | int:
        return label(str(run.mismatched), "danger", "difference") if run.mismatched else 0

    @display(description=_("started"), ordering="created_at")
    def started(self, run: Run) -> SafeString | str:
        return moment(run.created_at)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("start-all/", view(self.start_all), name="migration_run_start_all"),
            path("compare-all/", view(self.compare_all), name="migration_run_compare_all"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def start_all(self, request: HttpRequest) -> HttpResponseRedirect:
        return self._start(request, Run.Kind.MIGRATE)

    @method_decorator(require_POST)
    def compare_all(self, request: HttpRequest) -> HttpResponseRedirect:
        return self._start(request, Run.Kind.COMPARE)

    def _start(self, request: HttpRequest, kind: Run.Kind) -> HttpResponseRedirect:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        return start_run(request, kind, clients())

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        key = unquote(object_id)
        run = Run.objects.select_related("by").filter(pk=key).first() if key.isdecimal() else None
        if run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        context = self.page_context(request, str(run), opts=self.opts, original=run)
        return TemplateResponse(
            request, "admin/migration/run.html", context | items_context(request, progress(run))
        )


def run_badge(run: Run) -> str:
    if run.finished_at is None:
        return label(gettext("Running"), "info", "progress_activity")
    return label(gettext("Finished"), "default", "check")


def items_context(request: HttpRequest, run: Progress) -> dict[str, Any]:
    """The tab that was asked for and its page of items."""
    chosen = request.GET.get("items", "all")
    if chosen not in TABS:
        chosen = "all"
    items = RunItem.objects.filter(run=run.run)
    tabs = TABS.items()
    counts = items.aggregate(**{key: Count("pk", filter=held) for key, (_label, held) in tabs})
    return {
        "progress": run,
        "run_badge": run_badge(run.run),
        "tabs": [
            {"key": key, "label": title, "count": counts[key], "chosen": key == chosen}
            for key, (title, _held) in tabs
            if counts[key] or key in (chosen, "all", "failed")
        ],
        "chosen": chosen,
        "headings": [
            gettext("Client"),
            gettext("Outcome"),
            gettext("Comparison"),
            gettext("Message"),
            gettext("Finished"),
        ],
        "page": Paginator(items.filter(TABS[chosen][1]).order_by("pk"), ITEMS_A_PAGE).get_page(
            request.GET.get("page")
        ),
        "may_view_clients": request.user.has_perm("credentials.view_client"),
    }
