"""Runs: their list, a run's page and its buttons, its items, and what has failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from credentials.localization import intcomma, localize
from credentials.models import name_rows
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    MOST_AHEAD,
    ORIGIN,
    REQUEST_KINDS,
    AuditEvent,
    first_id_at,
)
from migration.core.audit_chain import find_whole_since
from migration.core.clients import VIEW_CAMPAIGNS, VIEW_CLIENTS, VIEW_TABLES, all_clients
from migration.core.comparisons import Comparison
from migration.core.histories import HasPermission, HistoryLine, make_line
from migration.core.pages import (
    RUN_PERMISSION,
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    get_act_url,
    get_signed_in_user,
    link_to_audit,
    read_number,
)
from migration.core.rates import Rate
from migration.core.sentences import LOGINS_NOT_REACHED, NOT_OURS, NOVA_WROTE, PUSH_TAKES_TOO_LONG
from migration.core.text import make_csv_line
from migration.runs.acts import ACTS
from migration.runs.engine import count_in_work, is_in_work, skip_free_items_of_stopped_run
from migration.runs.failures import count_failed_clients, select_current_failures
from migration.runs.items import (
    CAN_BE_RETRIED,
    TRANSIENT,
    Act,
    Outcome,
    RunItem,
    is_due,
    was_never_begun,
    was_written_since_refusal,
)
from migration.runs.models import (
    MOVES_REQUESTED,
    MOVES_REQUESTED_TO_WAIT,
    MOVES_STARTED,
    RUN_STARTED,
    RUN_STEERED,
    Run,
    RunQuerySet,
    StaleRunError,
    WithdrawnRunError,
)
from migration.runs.progress import Progress, find_progress, select_runs_for_progress
from migration.runs.starts import enqueue_run, get_plan_url, get_run_url, may_go_on, start_run
from migration.templatetags.migration_pages import make_label, time_ago
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise, StrPromise


# An item's failure passes by itself, although its class is one of those that don't.
PASSES_BY_ITSELF = (PUSH_TAKES_TOO_LONG.key, NOVA_WROTE.key, LOGINS_NOT_REACHED.key)


def can_succeed(item: RunItem) -> bool:
    """Say whether the item can succeed if it is tried again as it is.

    A gate opens with time, and an error of AWS's passes. Rows have to be mended first: `is_mended`, which the query of
    the items annotates, says whether they were written since.
    """
    if item.outcome == Outcome.REFUSED:
        return True
    if item.outcome != Outcome.FAILED:
        return False
    passes = item.error_class in TRANSIENT or item.error_class == ErrorClass.SCHEMA
    key = item.message.key if item.message else ""
    return passes or key in PASSES_BY_ITSELF or bool(getattr(item, "is_mended", False))


def find_remedies(
    item: RunItem, user: AbstractBaseUser | AnonymousUser
) -> Iterator[tuple[str, str]]:
    """Yield label and address of each link that helps with the item and that this user may follow.

    An item that went well has none. Looking again is no remedy.
    """
    may = user.has_perm  # type: ignore[union-attr]  # both have it
    page = reverse("admin:credentials_client_change", args=[item.client_id])
    failed = item.outcome in (Outcome.FAILED, Outcome.REFUSED)
    if failed and item.error_class == ErrorClass.SCHEMA and may(VIEW_TABLES):
        tables = reverse("admin:credentials_columnmapping_changelist")
        yield gettext("See NOVA's tables"), tables
    if not may(VIEW_CLIENTS):
        return
    keys = item.message.codes if item.message else []
    if failed and item.act == Act.SECRET_SETTINGS and NOT_OURS.key not in keys:
        page = reverse("admin:migration_run_secret_settings")
        yield gettext("See key and regions"), page
    elif failed and item.error_class == ErrorClass.DATA:
        label = (
            gettext("Fix this client")
            if may("credentials.change_client")
            else gettext("See its rows")
        )
        yield label, f"{page}?tab=logins"
    elif failed and NOT_OURS.key in keys:
        adopt = get_act_url("adopt", [item.client_id])
        may_adopt = may(RUN_PERMISSION)
        label = (
            gettext("See whose secret it is, and adopt it")
            if may_adopt
            else gettext("See its checks")
        )
        yield label, adopt if may_adopt else f"{page}?tab=overview"
    elif item.outcome == Outcome.REFUSED:
        yield gettext("See which of its checks fail"), f"{page}?tab=overview"
    elif (failed and item.error_class == ErrorClass.CONFLICT and not can_succeed(item)) or (
        item.comparison_status in Comparison.DIFFERS
    ):
        yield gettext("See what differs"), f"{page}?tab=comparison"


ITEMS_A_PAGE = 50
DIFFERS = Q(comparison_status__in=Comparison.DIFFERS)
SUCCEEDED = ~Q(outcome__in=["", Outcome.SKIPPED, *CAN_BE_RETRIED]) & ~DIFFERS
# The tabs over a run's items, each with its title, the items in it, and what `Progress` calls their number. Open ones
# that workers hold are in progress, the others wait: see `_select_items`.
TABS: dict[str, tuple[StrPromise, Q, str]] = {
    "all": (_("All"), Q(run__isnull=False), "total"),
    "in_progress": (_("In progress"), Q(outcome=""), "in_work"),
    "waiting": (_("Waiting"), Q(outcome=""), "waiting"),
    "not_begun": (_("Not started"), was_never_begun(), "items_never_begun"),
    "failed": (_("Failed"), Q(outcome=Outcome.FAILED), "failed"),
    "refused": (_("Refused"), Q(outcome=Outcome.REFUSED), "refused"),
    "differs": (_("Differs"), DIFFERS, "mismatched"),
    "skipped": (_("Skipped"), Q(outcome=Outcome.SKIPPED) & ~was_never_begun(), "skipped"),
    "done": (_("Done"), SUCCEEDED, "succeeded"),
}


def get_items_context(request: HttpRequest, progress: Progress) -> dict[str, object]:
    """Return the tabs and, of the one that the address names, a page of items in one query.

    Without a tab in the address it is the one that needs somebody: what failed, then what was refused.
    """
    counts: dict[str, int] = {
        key: getattr(progress, name) for key, (_title, _condition, name) in TABS.items()
    }
    chosen = request.GET.get("items", "")
    if chosen not in TABS:
        chosen = next((key for key in ("failed", "refused") if counts[key]), "all")
    pages = Paginator(_select_items(progress.run, chosen), ITEMS_A_PAGE)
    pages.count = counts[chosen]  # else it asks the database
    page = pages.get_page(request.GET.get("page"))
    return {
        "tabs": [
            {"key": key, "label": title, "count": counts[key], "chosen": key == chosen}
            for key, (title, _condition, _name) in TABS.items()
            if counts[key] or key in (chosen, "all", "failed")
        ],
        "chosen_tab": chosen,
        "headings": [
            gettext("Client"),
            gettext("Outcome"),
            gettext("Comparison"),
            gettext("Message"),
            gettext("Finished"),
        ],
        "page": page,
        "rows": list_rows(request, page),
        "may_view_clients": request.user.has_perm(VIEW_CLIENTS),
    }


def list_rows(request: HttpRequest, items: Iterable[RunItem]) -> list[dict[str, object]]:
    """Return a dict for each item (with `is_mended`): the item, its remedies, whether a retry can succeed."""
    items = list(items)
    told = [item for item in items if item.message]
    for item, message in zip(told, name_rows([item.message for item in told]), strict=True):
        item.message = message
    return [
        {
            "item": item,
            "remedies": [*find_remedies(item, request.user)],
            "can_succeed": can_succeed(item),
        }
        for item in items
    ]


def _select_items(run: Run, tab: str) -> QuerySet[Any]:
    """Select the items of the tab, each with whether a worker has it and whether its rows were mended."""
    items: QuerySet[Any] = RunItem.objects.filter(TABS[tab][1], run=run)
    # Of a run that is over there is no lease to look at.
    held = Q(pk__in=[]) if run.finished_at else is_due() & is_in_work()
    items = items.annotate(
        is_held=ExpressionWrapper(held, BooleanField()), is_mended=was_written_since_refusal()
    )
    if tab == "in_progress":
        items = items.filter(is_held=True)
    elif tab == "waiting":
        items = items.exclude(is_held=True)
    return items.order_by("pk") if run.finished_at else items.order_by("-is_held", "pk")


STATE_LOOKS = {
    Run.State.PLANNING: ("info", "progress_activity"),
    Run.State.PLANNED: ("info", "checklist"),
    Run.State.REQUESTED: ("info", "approval"),
    Run.State.RUNNING: ("info", "progress_activity"),
    Run.State.PAUSED: ("warning", "pause"),
    Run.State.STOPPED: ("warning", "stop"),
    Run.State.FINISHED: ("default", "check"),
    Run.State.DISCARDED: ("default", "close"),
}


def make_run_badge(run: Run) -> str:
    """Return the run's state as a label with a colour and an icon."""
    variant, icon = STATE_LOOKS[Run.State(run.state)]
    return make_label(run.get_state_display(), variant, icon)


def get_shown_state(progress: Progress) -> str:
    """Return what a page knows of the run's state: where it is another now, its history has more lines."""
    return f"{progress.run.state}{'.over' if progress.finished else ''}"


def get_progress_context(request: HttpRequest, progress: Progress) -> dict[str, object]:
    """Return the template context of the part of a run's page that changes while the run goes on."""
    goes_on = may_go_on(request, progress.run)
    was_withdrawn = any(group["withdrawn"] for group in progress.groups)
    # Trying again meets these again, until somebody mends them.
    failed_until_mended = sum(
        progress.failed_by_class.get(each, 0) for each in (ErrorClass.DATA, ErrorClass.CONFLICT)
    )
    return {
        "progress": progress,
        "shown_state": get_shown_state(progress),
        "run_badge": make_run_badge(progress.run),
        "may_steer": request.user.has_perm(RUN_PERMISSION),
        "may_go_on": goes_on,
        "may_try_again": goes_on and progress.finished and not was_withdrawn,
        # The main button is the one that can help now.
        "retry_helps": progress.refused or progress.failed > failed_until_mended,
    }


# How much of the history is shown: a run that is stopped and goes on very often has more.
EVENTS_SHOWN = 100
# With one of these a history begins.
STARTS = {
    sentence.key
    for sentence in (RUN_STARTED, MOVES_STARTED, MOVES_REQUESTED, MOVES_REQUESTED_TO_WAIT)
}


def load_run_history(run: Run, *, has_permission: HasPermission) -> list[HistoryLine]:
    """Return what was done with the run as a whole, newest first. Of its clients each has its own.

    Takes a query; another one where it may have been requested for one client.
    """
    own = Q(correlation=f"run {run.pk}")
    if run.wave:
        # Its start and its end are events of the campaign, which name it.
        name = run.name_message.to_json()
        named = json.dumps({"key": name["key"], "values": name["values"]}, separators=(",", ":"))
        own |= Q(
            correlation=f"campaign {run.wave.campaign_id}", facts__contains=named.removesuffix("}")
        )
    # By their ids, as the index has them: it says how few there are.
    until = first_id_at(timezone.now() + MOST_AHEAD)
    if run.kind == Run.Kind.MOVE and run.only_item:
        own &= Q(slug="") | Q(code__in=REQUEST_KINDS)
        own &= Q(slug__in=["", run.only_item.slug])
    else:
        # Not `IN`, which loses the order of the index: of a long run PostgreSQL would rather read all events backwards.
        own &= Q(slug="")
    found = AuditEvent.objects.filter(own, pk__lt=until).newest_first()
    events = list(found.order_by("-pk")[:EVENTS_SHOWN])
    lines, newer, begun_as = list[HistoryLine](), None, set[str]()
    for event in sorted(events, key=attrgetter("place"), reverse=True):
        line, message = make_line(event, has_permission), event.message
        ran = ORIGIN.fullmatch(event.origin)
        if run.wave and ran and not ran["command"]:
            line = replace(line, who=str(run.wave.campaign))
        # Up to release 0.2.0 the start of a campaign's run was the run's; the campaign's was carried over beside it.
        if message.key in STARTS:
            if line.is_carried_over and message.key in begun_as:
                continue
            begun_as.add(message.key)
        state = str(message.values.get("state", ""))
        if message.key == RUN_STEERED.key and state in Run.State:
            # An approval or its refusal says more than the new state that was noted before it.
            if newer in (APPROVAL_EVENT, CANCELLATION_EVENT):
                newer = None
                continue
            icon, label = STATE_LOOKS[Run.State(state)][1], str(Run.State(state).label)
            line = replace(line, icon=icon, text=label)
        lines.append(line)
        newer = event.code
    return lines


def get_history_context(request: HttpRequest, run: Run) -> dict[str, object]:
    """Return the context of the run's history."""
    correlation, day = f"run {run.pk}", timezone.localtime(run.created_at).date()
    history = load_run_history(run, has_permission=request.user.has_perm)
    is_begun = any(line.message and line.message.key in STARTS for line in history)
    whole_since = None if is_begun or run.is_of_schedule else find_whole_since()
    return {
        "history": history,
        "history_whole_since": whole_since
        if whole_since and whole_since > run.created_at
        else None,
        "audit_url": link_to_audit(request, correlation=correlation, since=day),
    }


# What other features add to a run's page, and to the names of runs in their list, by id.
MORE_OF_RUN: list[Callable[[HttpRequest, Run], dict[str, object]]] = []
NOTES_OF_RUNS: list[Callable[[Sequence[Run]], dict[int, SafeString]]] = []


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

    def show(self) -> HttpResponse:
        """Answer with the page of the run; who may start one that is only planned is led to its plan."""
        run = self.original
        if run.state in Run.NOT_STARTED and self.may_view_plan():
            return HttpResponseRedirect(get_plan_url(run))
        return super().show()

    def may_view_plan(self) -> bool:
        """Say whether the user may open the run's plan: who may do its act, and view clients."""
        act, user = ACTS.get(self.original.act), self.request.user
        return act is not None and act.may(user) and user.has_perm(VIEW_CLIENTS)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        progress = self.progress
        context = super().get_context_data(**kwargs)
        context |= get_progress_context(self.request, progress)
        context |= get_items_context(self.request, progress)
        context |= get_history_context(self.request, self.original)
        for get_more in MORE_OF_RUN:
            context |= get_more(self.request, self.original)
        context["may_view_campaigns"] = self.request.user.has_perm(VIEW_CAMPAIGNS)
        context["may_view_plan"] = bool(self.original.planned_at) and self.may_view_plan()
        at_work = self.original.state in (Run.State.RUNNING, Run.State.PAUSED)
        if self.request.user.has_perm(RUN_PERMISSION) and at_work:
            context["rate_form"] = CallRatesForm.from_rates(Rate.objects.all())
        return context


class LiveRunView(AdminView):
    """The part of a run's page that changes while the run goes on, with the rows of the tab that is open.

    With the history too where `state` in the address is not the one that the page knows.
    """

    template_name = "admin/migration/run_page_and_history_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        progress = find_progress(pk)
        if progress is None:
            raise Http404
        context = get_progress_context(request, progress) | get_items_context(request, progress)
        if request.GET.get("state", context["shown_state"]) != context["shown_state"]:
            context |= get_history_context(request, progress.run)
        response = self.render_to_response(context)
        if "requested" in request.GET and progress.run.state != Run.State.REQUESTED:
            # Other parts of the page change too: the request's buttons.
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


def iterate_csv_lines(items: QuerySet[RunItem]) -> Iterator[str]:
    """Yield a line of headings and a line for each item."""
    names = ("slug", "outcome", "error_class", "message", "comparison_status", "attempts")
    yield make_csv_line([*names, "finished_at"])
    for item in items.iterator(chunk_size=1000):
        finished = item.finished_at.isoformat() if item.finished_at else ""
        yield make_csv_line([*(getattr(item, name) for name in names), finished])


class CompareAllView(AdminView):
    """Starts a comparison of all clients."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        return start_run(request, Run.Kind.COMPARE, all_clients())


def stop_run(run: Run, *, by: User) -> None:
    """Stop the run and skip the items that no worker has begun."""
    run.stop(by=by)
    skip_free_items_of_stopped_run(run)


ORDERS: dict[str, Callable[..., None]] = {
    "pause": Run.pause,
    "resume": Run.resume,
    "stop": stop_run,
    "go_on": Run.reopen_never_begun,
    "retry": Run.reopen_failed,
}


class SteerRunView(AdminView):
    """Pauses, resumes, stops, retries or goes on with the run, as the button's `order` says; 400 for another."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        run, user = get_object_or_404(Run, pk=pk), get_signed_in_user(request)
        order, item = request.POST.get("order", ""), request.POST.get("item", "")
        if order not in ORDERS:
            raise BadRequest
        # Then it goes on with its clients, which needs the permission for what it does to them.
        if order in ("resume", "go_on", "retry") and not may_go_on(request, run):
            raise PermissionDenied
        try:
            if order == "retry" and item.isdecimal():
                run.reopen_failed(by=user, item_id=read_number(item) or 0)
            else:
                ORDERS[order](run, by=user)
        except WithdrawnRunError as refusal:
            messages.warning(request, localize(refusal.message))
        except StaleRunError:
            text = gettext("Nothing was changed: %(run)s is %(state)s already.")
            state = run.get_state_display().lower()
            messages.warning(request, text % {"run": run, "state": state})
        else:
            if run.state == Run.State.RUNNING:
                enqueue_run(request, run)
        return HttpResponseRedirect(get_run_url(run))


class SetSharedRatesView(AdminView):
    """Sets the rates that all workers share."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        run = get_object_or_404(Run, pk=pk)
        form = CallRatesForm({} if "reset" in request.POST else request.POST)
        if form.is_valid():
            form.save_shared_rates()
            messages.success(request, gettext("The new rate applies to all workers and runs."))
        else:
            for errors in form.errors.values():
                messages.error(request, " ".join(map(str, errors)))
        return HttpResponseRedirect(get_run_url(run))


MOST_A_SECOND = 1000


class CallRatesForm(forms.Form):
    """The form for the rates of AWS calls and login tests a second, of all workers; empty: the settings' rate."""

    writes = forms.FloatField(
        label=_("Writes per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )
    reads = forms.FloatField(
        label=_("Batch reads per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )
    logins = forms.FloatField(
        label=_("Logins tested per second, all runs"),
        min_value=1,
        max_value=MOST_A_SECOND,
        required=False,
    )

    KINDS: ClassVar = {
        "writes": Rate.Kind.WRITE,
        "reads": Rate.Kind.READ,
        "logins": Rate.Kind.LOGIN,
    }
    is_changed = False  # whether another rate than the settings' holds

    @classmethod
    def from_rates(cls, rates: Iterable[Rate]) -> CallRatesForm:
        """Make the form, filled with these rates, and with the settings' where none is stored."""
        now = {rate.kind: rate.per_second for rate in rates}
        form = cls(
            initial={
                name: f"{rate:g}"
                for name, kind in cls.KINDS.items()
                # A browser sends no form with a number that is out of bounds, which the settings may hold.
                if (rate := now.get(kind) or kind.default_rate) <= MOST_A_SECOND
            }
        )
        for name, kind in cls.KINDS.items():
            form.fields[name].help_text = gettext("%(rate)s in the settings") % {
                "rate": f"{kind.default_rate:g}"
            }
            form.fields[name].widget.attrs |= {
                "class": "border border-base-200 bg-white rounded-default px-3 py-2 w-24"
                " dark:bg-base-900 dark:border-base-700",
            }
        form.is_changed = any(now.get(kind) is not None for kind in cls.KINDS.values())
        return form

    def save_shared_rates(self) -> None:
        """Store the rates that all runs share; None for one that equals the settings', so that it follows them."""
        rates: dict[Rate.Kind, float | None] = {}
        for name, kind in self.KINDS.items():
            typed = self.cleaned_data[name]
            rates[kind] = None if typed == kind.default_rate else typed
        Rate.objects.set_rates({Rate.Kind.CREATE: rates[Rate.Kind.WRITE], **rates})


FAILURES_A_PAGE = 50


class OpenFailuresView(AdminView):
    """Lists each client's newest push, comparison, move… that failed, by the act that the address names."""

    template_name = "admin/migration/failures.html"

    @property
    def title(self) -> str:
        return gettext("Failures")

    def get(self, request: HttpRequest) -> HttpResponse:
        counts = count_failed_clients().by_act
        chosen = request.GET.get("act", "")
        act = Act(chosen) if chosen in Act else None
        found = (
            select_current_failures(act)
            .annotate(is_mended=was_written_since_refusal())
            .select_related("run")
        )
        pages = Paginator(found.order_by("slug", "act"), FAILURES_A_PAGE)
        page = pages.get_page(request.GET.get("page"))
        rows = list_rows(request, page)
        for row, item in zip(rows, page, strict=True):
            row["may_retry"] = item.run.finished_at is not None and may_go_on(request, item.run)
        numbers = {"": sum(counts.values())} | {each.value: counts.get(each, 0) for each in Act}
        labels = {"": gettext("All")} | {each.value: str(each.label) for each in Act}
        tabs = [
            {"key": key, "label": labels[key], "count": number, "chosen": key == (act or "")}
            for key, number in numbers.items()
            if number or key in ("", act)
        ]
        return self.render_to_response(
            self.get_context_data(
                tabs=tabs,
                act=act,
                page=page,
                rows=rows,
                headings=[
                    gettext("Client"),
                    gettext("What"),
                    gettext("Outcome"),
                    gettext("Message"),
                    gettext("Run"),
                    gettext("When"),
                ],
                may_view_clients=request.user.has_perm(VIEW_CLIENTS),
            )
        )


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
    """Leaves out the schedule's comparisons, of which there are hundreds a day, or shows these alone.

    Together they would stand in the order of their ids, which is that of time only among each other (`SWEEP_IDS`).
    """

    title = _("comparisons of the schedule")
    parameter_name = "sweeps"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Run]
    ) -> list[tuple[str, StrOrPromise]]:
        return [("shown", _("Only these"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        runs = cast("RunQuerySet", queryset)
        return runs.without_sweeps() if leaves_out_sweeps(request) else runs.only_sweeps()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        return iter([{**first, "display": gettext("Left out")}, *others])


def leaves_out_sweeps(request: HttpRequest) -> bool:
    return SweepFilter.parameter_name not in request.GET


def shows_requests(request: HttpRequest) -> bool:
    """Say whether the list is that of the open requests, which the menu calls *Requests*."""
    return request.GET.get("state") == Run.State.REQUESTED


# Of the open requests: what somebody needs to know who is to approve them.
REQUEST_COLUMNS = (
    *("run_name", "number_of_clients", "reason_shown", "campaign_link", "by_name", "created_when"),
)


class RunAdmin(ReadOnlyAdmin):
    nothing_yet = _("No runs yet.")
    next_page: ClassVar = (_("Choose clients"), reverse_lazy("admin:credentials_client_changelist"))
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
        names = REQUEST_COLUMNS if shows_requests(request) else self.list_display
        return [name for name in names if may_view or name != "campaign_link"]

    def has_view_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        # Users who may start a run may see how it goes.
        return super().has_view_permission(request, obj) or request.user.has_perm(RUN_PERMISSION)

    @display(description=_("run"), ordering="pk")
    def run_name(self, run: Run) -> SafeString | str:
        if run.kind != Run.Kind.MOVE:
            return str(run)
        lines = [run.move_shown, *run.notes]
        more = format_html_join("", " <small>{}</small>", ((line,) for line in lines))
        return format_html("{}{}", run, more)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        more: dict[str, object] = {"leaves_out_sweeps": leaves_out_sweeps(request)}
        if shows_requests(request):
            # A page of its own: nothing else is left out of it.
            more |= {"title": gettext("Requests"), "leaves_out_sweeps": False}
            more["is_unfiltered"] = len(request.GET) == 1
        return super().changelist_view(request, (extra_context or {}) | more)

    @display(description=_("state"))
    def state_badge(self, run: Run) -> str:
        return make_run_badge(run)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each run how many of its clients workers hold now, and what other features say of it."""
        changelist = super().get_changelist_instance(request)
        if shows_requests(request):
            changelist.nothing_found = gettext("No request is open.")
        in_work = count_in_work(changelist.result_list)
        found = [describe(changelist.result_list) for describe in NOTES_OF_RUNS]
        for run in changelist.result_list:
            run.in_work = in_work.get(run.pk, 0)
            run.notes = [notes[run.pk] for notes in found if run.pk in notes]
        return changelist

    @display(description=_("progress"))
    def done_of_total(self, run: Run) -> str:
        """Show how many clients have an outcome, whichever: the column beside it says which."""
        if run.state in Run.NOT_STARTED:
            return ""
        numbers = {"done": intcomma(run.done), "total": intcomma(run.total)}
        return gettext("%(done)s of %(total)s") % numbers

    @display(description=_("clients"), ordering="total")
    def number_of_clients(self, run: Run) -> str:
        text = ngettext("%(number)s client", "%(number)s clients", run.total)
        return text % {"number": intcomma(run.total)}

    @display(description=_("reason"))
    def reason_shown(self, run: Run) -> str:
        return escape_name(run.reason)

    @display(description=_("outcome"), ordering="failed")
    def outcomes(self, run: Run) -> SafeString:
        """Show each number of clients that is not 0, as a link to them; what needs somebody as a label."""
        page = reverse("admin:migration_run_change", args=[run.pk])
        shown = []
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
            ("not_begun", run.left_out, gettext("%(n)s not started"), ("warning", "warning")),
            ("skipped", run.skipped, ngettext("%(n)s skipped", "%(n)s skipped", run.skipped), None),
            ("in_progress", run.in_work, gettext("%(n)s in progress"), None),
        ):
            if number:
                label = text % {"n": intcomma(number)}
                shown.append((f"{page}?items={tab}", make_label(label, *look) if look else label))
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
    def created_when(self, run: Run) -> SafeString | str:
        return time_ago(run.created_at)
