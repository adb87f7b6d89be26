"""The page of one run, the part of it that refreshes itself, its buttons, and those that start a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from credentials.localization import localize
from migration.admin.base import (
    RUN_PERMISSION,
    AdminView,
    ObjectView,
    get_signed_in_user,
    read_number,
)
from migration.admin.run_items import get_items_context, iterate_csv_lines
from migration.admin.run_starts import enqueue_run, get_run_url, may_go_on, start_run
from migration.models.clients import all_clients
from migration.models.permissions import VIEW_CAMPAIGNS
from migration.models.rates import Rate
from migration.models.runs import Run
from migration.models.steered_runs import StaleRunError, WithdrawnRunError
from migration.operations import skipped_items
from migration.reports.run_progress import Progress, find_progress, select_runs_for_progress
from migration.templatetags.migration_pages import make_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse

MOST_A_SECOND = 1000
STATE_LOOKS = {
    Run.State.REQUESTED: ("info", "approval"),
    Run.State.RUNNING: ("info", "progress_activity"),
    Run.State.PAUSED: ("warning", "pause"),
    Run.State.STOPPED: ("warning", "stop"),
    Run.State.FINISHED: ("default", "check"),
}


# What other features add to a run's page.
MORE_OF_RUN: list[Callable[[HttpRequest, Run], dict[str, object]]] = []


class RunView(ObjectView[Run]):
    """The page of one run."""

    template_name = "admin/migration/run.html"

    progress: Progress

    def find_object(self, key: str) -> Run | None:
        runs = select_runs_for_progress().select_related("wave__campaign")
        found = find_progress(read_number(key) or 0, runs)
        if found is None:
            return None
        self.progress = found
        return found.run

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        progress = self.progress
        context = super().get_context_data(**kwargs)
        context |= get_progress_context(self.request, progress)
        context |= get_items_context(self.request, progress)
        context["plan_id"] = self.original.plan_id  # type: ignore[attr-defined]  # annotated
        for get_more in MORE_OF_RUN:
            context |= get_more(self.request, self.original)
        context["may_view_campaigns"] = self.request.user.has_perm(VIEW_CAMPAIGNS)
        if self.request.user.has_perm(RUN_PERMISSION) and not self.original.finished_at:
            context["rate_form"] = CallRatesForm.from_rates(Rate.objects.all())
        return context


class LiveRunView(AdminView):
    """The part of a run's page, and of the dashboard, that changes while the run goes on.

    With `items`, a tab, in the address: of the run's page, with that tab's rows.
    """

    template_name = "admin/migration/run_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        progress = find_progress(pk)
        if progress is None:
            raise Http404
        context = get_progress_context(request, progress)
        if "items" in request.GET:
            self.template_name = "admin/migration/run_page_live.html"
            context |= get_items_context(request, progress)
        response = self.render_to_response(context)
        is_approved = "requested" in request.GET and progress.run.state != Run.State.REQUESTED
        if is_approved or (progress.finished and "items" not in request.GET):
            # Other parts of the page change too: the request's buttons, the dashboard's numbers.
            response["HX-Refresh"] = "true"
        return response


class DownloadItemsView(AdminView):
    """The items of one run as a CSV file."""

    def get(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        run = get_object_or_404(Run, pk=pk)
        return StreamingHttpResponse(
            iterate_csv_lines(run.items.order_by("pk")),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="run-{run.pk}.csv"'},
        )


class StartRunView(AdminView):
    """Starts a run over all clients; each subclass names its kind."""

    permission_required = RUN_PERMISSION
    run_kind: ClassVar[Run.Kind]

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        return start_run(request, self.run_kind, all_clients())


class CompareAllView(StartRunView):
    run_kind = Run.Kind.COMPARE


class RunButtonView(AdminView):
    """A button on the page of one run; 404 if there is no such run."""

    permission_required = RUN_PERMISSION

    @cached_property
    def run(self) -> Run:
        return get_object_or_404(Run, pk=self.kwargs["pk"])


class SteerRunView(RunButtonView):
    """Pauses, resumes, stops, retries or goes on with the run, as the button's `order` says; 400 for another."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        run, user = self.run, get_signed_in_user(request)
        order, item = request.POST.get("order", ""), request.POST.get("item", "")
        if order not in ORDERS:
            raise BadRequest
        if order in GOES_ON and not may_go_on(request, run):
            raise PermissionDenied
        try:
            if order == "retry" and item.isdecimal():
                run.reopen_failed(by=user, item_id=read_number(item) or 0)
            else:
                ORDERS[order](run, by=user)
        except WithdrawnRunError as refusal:
            messages.warning(request, localize(refusal.message))
        except StaleRunError:
            text = _("Nothing was changed: %(run)s is %(state)s already.")
            state = run.get_state_display().lower()
            messages.warning(request, text % {"run": run, "state": state})
        else:
            if run.state == Run.State.RUNNING:
                enqueue_run(request, run)
        return HttpResponseRedirect(get_run_url(run))


class SetSharedRatesView(RunButtonView):
    """Sets the rates that all workers share."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        run, form = self.run, CallRatesForm({} if "reset" in request.POST else request.POST)
        if form.is_valid():
            form.save_shared_rates()
            messages.success(request, _("The new rate applies to all workers and runs."))
        else:
            for errors in form.errors.values():
                messages.error(request, " ".join(map(str, errors)))
        return HttpResponseRedirect(get_run_url(run))


class CallRatesForm(forms.Form):
    """The form for the rates of AWS calls and login tests a second, of all workers; empty: the settings' rate."""

    writes = forms.FloatField(
        label=gettext_lazy("Writes per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )
    reads = forms.FloatField(
        label=gettext_lazy("Batch reads per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )
    logins = forms.FloatField(
        label=gettext_lazy("Logins tested per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )

    is_changed = False  # whether another rate than the settings' holds

    @classmethod
    def from_rates(cls, rates: Iterable[Rate]) -> CallRatesForm:
        """Make the form, filled with these rates, and with the settings' where none is stored."""
        now = {rate.kind: rate.per_second for rate in rates}
        kinds = {
            "writes": Rate.Kind.WRITE,
            "reads": Rate.Kind.READ,
            "logins": Rate.Kind.LOGIN,
        }
        form = cls(
            initial={
                name: show_rate_number(rate)
                for name, kind in kinds.items()
                # A browser sends no form with a number that is out of bounds, which the settings may hold.
                if (rate := now.get(kind) or kind.default_rate) <= MOST_A_SECOND
            }
        )
        for name, kind in kinds.items():
            form.fields[name].help_text = _("%(rate)s in the settings") % {
                "rate": show_rate_number(kind.default_rate)
            }
            form.fields[name].widget.attrs |= {
                "class": "border border-base-200 bg-white rounded-default px-3 py-2 w-24"
                " dark:bg-base-900 dark:border-base-700",
            }
        form.is_changed = any(now.get(kind) is not None for kind in kinds.values())
        return form

    def save_shared_rates(self) -> None:
        """Store the rates that all runs share; None for one that equals the settings', so that it follows them."""
        writes, reads, logins = (
            None if typed == kind.default_rate else typed
            for typed, kind in (
                (self.cleaned_data["writes"], Rate.Kind.WRITE),
                (self.cleaned_data["reads"], Rate.Kind.READ),
                (self.cleaned_data["logins"], Rate.Kind.LOGIN),
            )
        )
        Rate.objects.set_rates(
            {
                Rate.Kind.CREATE: writes,
                Rate.Kind.WRITE: writes,
                Rate.Kind.READ: reads,
                Rate.Kind.LOGIN: logins,
            }
        )


def show_rate_number(rate: float) -> str:
    """Return the rate without a point where it is whole."""
    return f"{rate:g}"


def stop_run(run: Run, *, by: User) -> None:
    """Stop the run and skip the items that no worker has begun."""
    run.stop(by=by)
    skipped_items.skip_free_items_of_stopped_run(run)


ORDERS: dict[str, Callable[..., None]] = {
    "pause": Run.pause,
    "resume": Run.resume,
    "stop": stop_run,
    "go_on": Run.reopen_never_begun,
    "retry": Run.reopen_failed,
}

# After these it goes on with its clients, which needs the permission for what it does to them.
GOES_ON = ("resume", "go_on", "retry")


def make_run_badge(run: Run) -> str:
    """Return the run's state as a label with a colour and an icon."""
    variant, icon = STATE_LOOKS[Run.State(run.state)]
    return make_label(run.get_state_display(), variant, icon)


def get_progress_context(request: HttpRequest, progress: Progress) -> dict[str, object]:
    """Return the template context of the part of a run's page that changes while the run goes on."""
    goes_on = may_go_on(request, progress.run)
    return {
        "progress": progress,
        "run_badge": make_run_badge(progress.run),
        "may_steer": request.user.has_perm(RUN_PERMISSION),
        "may_go_on": goes_on,
        "may_try_again": goes_on and progress.finished and progress.request_was_not_withdrawn,
        # The main button is the one that can help now: what failed by its data has to be mended first.
        "retry_helps": progress.refused or progress.failed > progress.failed_until_mended,
    }
