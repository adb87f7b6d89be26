"""Runs: their list, the page of one, and the buttons that start one over all clients."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe
from unfold.decorators import display

from migration.admin.base import RUN_PERMISSION, ReadOnlyAdmin, enqueue_run, run_url, start_run
from migration.models import Comparison, Outcome, Rate, Run, RunItem, StaleRunError, select_clients
from migration.operations import runs
from migration.reports.run_progress import Progress, measure_progress, select_runs_for_progress
from migration.templatetags.migration_pages import label, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
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
STATE_LOOKS = {
    Run.State.RUNNING: ("info", "progress_activity"),
    Run.State.PAUSED: ("warning", "pause"),
    Run.State.STOPPED: ("warning", "stop"),
    Run.State.FINISHED: ("default", "check"),
}


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*Run.State.choices, ("failed", _("With failures"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Run]:
        if self.value() == "failed":
            return queryset.filter(failed__gt=0)
        return queryset.filter(state=self.value()) if self.value() in Run.State else queryset


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
            path("<int:pk>/live/", view(self.live), name="migration_run_live"),
            path("<int:pk>/items.csv", view(self.items_csv), name="migration_run_items"),
            path("<int:pk>/steer/", view(self.steer), name="migration_run_steer"),
            path("<int:pk>/rate/", view(self.set_rate), name="migration_run_rate"),
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
        return start_run(request, kind, select_clients())

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
        run = select_runs_for_progress().filter(pk=key).first() if key.isdecimal() else None
        if run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        context = self.page_context(request, str(run), opts=self.opts, original=run)
        context |= live_context(request, run)
        context |= items_context(request, context["progress"])
        if request.user.has_perm(RUN_PERMISSION) and not run.finished_at:
            context["rate_form"] = RateForm.of(Rate.objects.all())
        return TemplateResponse(request, "admin/migration/run.html", context)

    @method_decorator(require_safe)
    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of a run's page that changes while it runs, and of the dashboard."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(select_runs_for_progress(), pk=pk)
        response = TemplateResponse(
            request, "admin/migration/run_live.html", live_context(request, run)
        )
        if run.finished_at:
            # The rest of the page tells of the end too.
            response["HX-Refresh"] = "true"
        return response

    @method_decorator(require_safe)
    def items_csv(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = get_object_or_404(Run, pk=pk)
        return StreamingHttpResponse(
            csv_lines(run.items.order_by("pk")),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="run-{run.pk}.csv"'},
        )

    @method_decorator(require_POST)
    def steer(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        """Pause, resume, stop, retry: the name of the button that was pressed."""
        run = self._steerable(request, pk)
        order = STEERING.get(request.POST.get("order", ""))
        if order is None:
            raise BadRequest
        item = request.POST.get("item", "")
        only = {"item_id": int(item)} if item.isdecimal() and order is Run.retry_failed else {}
        try:
            order(run, by=request.user, **only)
        except StaleRunError:
            messages.warning(
                request,
                gettext("Nothing was changed: %(run)s is %(state)s already.")
                % {"run": run, "state": run.get_state_display().lower()},
            )
        else:
            if run.state == Run.State.RUNNING:
                enqueue_run(request, run)
        return self._back_to(run)

    @method_decorator(require_POST)
    def set_rate(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        run = self._steerable(request, pk)
        form = RateForm(request.POST)
        if form.is_valid():
            form.save()
            messages.success(request, gettext("The new rate applies to all workers and runs."))
        else:
            for errors in form.errors.values():
                messages.error(request, " ".join(map(str, errors)))
        return self._back_to(run)

    def _steerable(self, request: HttpRequest, pk: int) -> Run:
        if not request.user.has_perm(RUN_PERMISSION):
            raise PermissionDenied
        return get_object_or_404(Run, pk=pk)

    def _back_to(self, run: Run) -> HttpResponseRedirect:
        return HttpResponseRedirect(run_url(run))


def _stop(run: Run, *, by: Any) -> None:
    run.stop(by=by)
    runs.skip_open_items(run)


STEERING: dict[str, Callable[..., None]] = {
    "pause": Run.pause,
    "resume": Run.resume,
    "stop": _stop,
    "retry": Run.retry_failed,
}


class RateForm(forms.Form):
    """Calls a second of all workers together; an empty field is the rate of the settings."""

    writes = forms.FloatField(
        label=_("Creates per second; updates have the same rate"),
        min_value=1,
        max_value=1000,
        required=False,
    )
    reads = forms.FloatField(
        label=_("Batch reads per second"), min_value=1, max_value=1000, required=False
    )

    @classmethod
    def of(cls, rates: Iterable[Rate]) -> RateForm:
        now = {rate.kind: rate.per_second for rate in rates}
        form = cls(initial={"writes": now.get(Rate.Kind.WRITE), "reads": now.get(Rate.Kind.READ)})
        for name, kind in (("writes", Rate.Kind.WRITE), ("reads", Rate.Kind.READ)):
            form.fields[name].widget.attrs |= {
                "placeholder": f"{kind.default_rate:g}",
                "class": "border border-base-200 bg-white rounded-default px-3 py-2 w-24"
                " dark:bg-base-900 dark:border-base-700",
            }
        return form

    def save(self) -> None:
        writes, reads = self.cleaned_data["writes"], self.cleaned_data["reads"]
        Rate.objects.set_rates(
            {Rate.Kind.CREATE: writes, Rate.Kind.WRITE: writes, Rate.Kind.READ: reads}
        )


def run_badge(run: Run) -> str:
    variant, icon = STATE_LOOKS[Run.State(run.state)]
    return label(run.get_state_display(), variant, icon)


def live_context(request: HttpRequest, run: Run) -> dict[str, Any]:
    """What of a run changes while it runs; `run` is one of `select_runs_for_progress()`."""
    now = measure_progress(run)
    return {
        "progress": now,
        "run_badge": run_badge(run),
        "may_steer": request.user.has_perm(RUN_PERMISSION),
    }


def items_context(request: HttpRequest, now: Progress) -> dict[str, Any]:
    """The tab that was asked for and its page of items."""
    run = now.run
    counts = {
        "all": now.total,
        "waiting": now.waiting,
        "failed": now.failed,
        "differs": now.mismatched,
        "skipped": now.count_items([Outcome.SKIPPED]),
        "done": now.succeeded,
    }
    chosen = request.GET.get("items", "all")
    if chosen not in TABS:
        chosen = "all"
    items = RunItem.objects.filter(TABS[chosen][1], run=run).order_by("pk")
    return {
        "tabs": [
            {"key": key, "label": title, "count": counts[key], "chosen": key == chosen}
            for key, (title, _held) in TABS.items()
            if counts[key] or key in (chosen, "all", "failed")
        ],
        "chosen": chosen,
        "held_batches": runs.held_batches(run.pk) if not run.finished_at else set(),
        "headings": [
            gettext("Client"),
            gettext("Outcome"),
            gettext("Comparison"),
            gettext("Message"),
            gettext("Finished"),
        ],
        "page": Paginator(items, ITEMS_A_PAGE).get_page(request.GET.get("page")),
        "may_view_clients": request.user.has_perm("credentials.view_client"),
    }


class Echo:
    """What the csv module writes to: it hands each line on."""

    def write(self, line: str) -> str:
        return line


def csv_lines(items: QuerySet[RunItem]) -> Iterator[str]:
    names = ("slug", "outcome", "error_class", "message", "comparison_status", "attempts")
    write = csv.writer(Echo()).writerow
    yield write([*names, "finished_at"])
    for item in items.iterator(chunk_size=1000):
        finished = item.finished_at.isoformat() if item.finished_at else ""
        yield write([*(plain(getattr(item, name)) for name in names), finished])


def plain(value: Any) -> str:
    """The value as text; a spreadsheet would take one that begins like these for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
