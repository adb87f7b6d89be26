"""Pages of comparisons and mismatches: the report, and what resolves them, for one client or many."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import ClassVar, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.functional import cached_property
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize, localize_html
from credentials.models import Client, CountingGap
from migration.core.audit import ReasonError
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.comparisons import Comparison, OpenMismatch, Resolution
from migration.core.pages import (
    NO_MODEL_IN_PATH,
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    AdminView,
    ClientRow,
    ClientTab,
    ClientView,
    ObjectView,
    ReadOnlyAdmin,
    get_act_url,
    get_signed_in_user,
    get_tab_url,
    get_typed_reason,
    read_number,
    read_raw_form_text,
    redirect_back,
    show_refusal,
)
from migration.core.secrets import Secret
from migration.pushes.acts import SESSION_KEY, Resolve
from migration.pushes.mismatches import get_report_context, read_filters, select_report_rows
from migration.pushes.resolutions import (
    NotResolved,
    check_again,
    find_undo_refusal_in_database,
    plan_undo,
    undo_copy,
)
from migration.runs.act_pages import SELECTIONS, get_act_url_for_source
from migration.runs.acts import ACTS, Act
from migration.runs.models import Run
from migration.runs.pages import MORE_OF_RUN
from migration.runs.starts import start_run
from migration.templatetags.migration_pages import badge, time_ago
from nova_credentials.phases import Phase

# Of an address of an act: the clients are those that the report shows.
REPORT = "mismatches"
ACT = "admin:migration_comparison_act"

# Undoing the user's last acknowledgement

OFFERED_FOR = timedelta(hours=1)


def describe_undoable_act(request: HttpRequest) -> str:
    """Say which acknowledgement of mismatches the user can undo; "" where there is none."""
    undo = request.session.get(SESSION_KEY)
    if not undo or time.time() - undo["at"] > OFFERED_FOR.total_seconds():
        return ""
    number = len(undo["resolutions"])
    text = ngettext(
        "You acknowledged the mismatches of %(n)d client.",
        "You acknowledged the mismatches of %(n)d clients.",
        number,
    )
    return text % {"n": number}


class UndoResolutionsView(AdminView):
    """Takes the acknowledgements back, as far as nobody changed them since."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        undo = request.session.pop(SESSION_KEY, None)
        if undo is None:
            messages.warning(request, _("There is nothing to undo."))
            return redirect_to_report(request)
        by = get_signed_in_user(request)
        number = len(Resolution.objects.withdraw_acknowledgements(undo["resolutions"], by=by))
        if number:
            text = ngettext("Undone for %(n)d.", "Undone for %(n)d.", number)
            messages.success(request, text % {"n": number})
        if changed := len(undo["resolutions"]) - number:
            text = ngettext(
                "%(n)d was not undone: it has changed since.",
                "%(n)d were not undone: they have changed since.",
                changed,
            )
            messages.warning(request, text % {"n": changed})
        return redirect_to_report(request)


def get_report_url(request: HttpRequest) -> str:
    """Return the address of the report with the filters of this one."""
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return f"{url}?{query}" if query else url


def redirect_to_report(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the report with the filters of this address."""
    return HttpResponseRedirect(get_report_url(request))


# What is selected in the report


def find_selected(request: HttpRequest) -> list[int]:
    """Return the ids of the clients that a form names: those that are ticked, or all that the report's filters show."""
    if "select_across" in request.POST:
        # By the filters of the report that the user came from.
        return list(select_found(request).values_list("pk", flat=True))
    ids = map(read_number, request.POST.getlist(ACTION_CHECKBOX_NAME))
    return [pk for pk in ids if pk is not None]


def select_found(request: HttpRequest) -> ClientPhaseQuerySet:
    """Select the clients that the report shows with the filters of this address."""
    rows = select_report_rows(read_filters(request.GET), user=get_signed_in_user(request))
    return all_clients().filter(pk__in=rows.order_by().values("client_id")).order_by("slug")


SELECTIONS[REPORT] = select_found


class OpenActView(AdminView):
    """Leads from what is selected in the report to the page of the act whose button was pressed."""

    @cached_property
    def act(self) -> Act:
        act = ACTS.get(self.kwargs["act"])
        if act is None or not act.in_report:
            raise Http404
        return act

    def has_permission(self) -> bool:
        return self.act.may(self.request.user)

    def get_permission_denied_message(self) -> str:
        return self.act.permission

    def post(self, request: HttpRequest, act: str) -> HttpResponseRedirect:
        back = get_report_url(request)
        if "select_across" in request.POST:
            filters = read_filters(request.GET)
            return HttpResponseRedirect(get_act_url_for_source(act, REPORT, filters, back=back))
        return HttpResponseRedirect(get_act_url(act, find_selected(request), back=back))


class CompareSelectedView(AdminView):
    """Starts a comparison run over the clients that are selected in the report, at once: it only reads."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        chosen = all_clients().with_ids(find_selected(request))
        if not chosen.exists():
            messages.warning(request, _("Nothing was done: select a client first."))
            return redirect_to_report(request)
        return start_run(request, Run.Kind.COMPARE, chosen)


# One client


class CompareNowView(ClientView):
    """Compares both stores of the client at once, and says what came of it."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        try:
            resolution = check_again(client_id=self.client.pk, by=get_signed_in_user(request))
        except NotResolved as refusal:
            show_refusal(request, client_id, refusal.message)
        else:
            text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
            messages.success(request, text.strip())
        return redirect_back(request, client_id)


class UndoCopyView(ClientView):
    """Shows by codes what undoing the client's newest copy would change, and does that once a reason is given."""

    template_name = "admin/migration/undo_copy.html"
    permission_required = RESOLVE_PERMISSION

    @property
    def title(self) -> str:
        return _("Put the former values back: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = self.get_context_data(
            copy=Resolution.objects.find_undoable_copy(self.client.pk),
            back=get_tab_url(client_id, ClientTab.COMPARISON),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            may_view_comparisons=request.user.has_perm("migration.view_comparison"),
        )
        try:
            context["plan"] = plan_undo(self.client.pk)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if not reason:
            messages.error(request, _("Nothing was put back: give a reason or a ticket."))
            return here
        try:
            resolution = undo_copy(
                client_id=self.client.pk,
                by=get_signed_in_user(request),
                reason=reason,
                # What the page showed: its digest.
                seen=read_raw_form_text(request, "seen"),
            )
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
        messages.success(request, text.strip())
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.COMPARISON))


def get_undo_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the copy that the user may undo, and why the database alone refuses it."""
    may_undo = request.user.has_perm(RESOLVE_PERMISSION)
    copy = Resolution.objects.find_undoable_copy(client.pk) if may_undo else None
    if copy is None:
        return {}
    why = find_undo_refusal_in_database(copy, phase=Phase(client.phase), revision=client.revision)
    return {"undoable_copy": copy, "undo_refusal": why}


def list_resolving_pages(request: HttpRequest, client_id: int) -> list[tuple[str, str]]:
    """Return label and address of each act that resolves the client's mismatch, as far as the user may."""
    back = get_tab_url(client_id, ClientTab.COMPARISON)
    return [
        (str(act.label), get_act_url(act.code, [client_id], back=back))
        for act in list_report_acts(request)
        if isinstance(act, Resolve)
    ]


def list_report_acts(request: HttpRequest) -> list[Act]:
    """Return the acts that the report offers the user for what is selected."""
    return [act for act in ACTS.values() if act.in_report and act.may(request.user)]


# The report

# Without a field that differs there is nothing to copy.
FOR_CLIENTS = ("check", "acknowledge", "set_owner")


class ReportButton(NamedTuple):
    """A button over the report: it posts the selected clients to `url`."""

    label: str
    url: str
    # It only reads, and stands in the bar itself.
    is_first: bool


class MismatchReportView(AdminView):
    """The report, for everybody who may view comparisons."""

    template_name = "admin/migration/mismatch_report.html"

    @property
    def title(self) -> str:
        return _("Mismatches")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        report = get_report_context(request.GET, user=get_signed_in_user(request))
        buttons = self.list_buttons(status=read_filters(request.GET).get("status", ""))
        context = self.get_context_data(
            may_run=may(RUN_PERMISSION),
            may_view_clients=may("credentials.view_client"),
            buttons=buttons,
            first_url=buttons[0].url if buttons else "",
            has_more_buttons=any(not each.is_first for each in buttons),
            undo=describe_undoable_act(request)
            if may(UndoResolutionsView.permission_required)
            else "",
            **report,
        )
        return self.render_to_response(context | NO_MODEL_IN_PATH)

    def list_buttons(self, *, status: str) -> list[ReportButton]:
        """Return the buttons that the user may press over the selection."""
        query = urlencode(read_filters(self.request.GET))
        found = [
            (act.code, f"{act.label}…", reverse(ACT, args=[act.code]))
            for act in list_report_acts(self.request)
        ]
        if self.request.user.has_perm(RUN_PERMISSION):
            check = reverse("admin:migration_comparison_check")
            found.insert(0, ("check", _("Compare now"), check))
        return [
            ReportButton(label, f"{url}?{query}", name == "check")
            for name, label, url in found
            if is_offered(name, status)
        ]


def is_offered(name: str, status: str) -> bool:
    """Say whether the act makes sense for the clients that this status selects."""
    if status == "match":
        return name == "check"
    return status != "unchecked" or name in FOR_CLIENTS


# The list of comparisons, and the page of one


class ComparisonView(ObjectView[Comparison]):
    """The page of one comparison."""

    template_name = "admin/migration/comparison.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        may = self.request.user.has_perm
        newest = Comparison.objects.filter(client_id=self.original.client_id).first()
        return super().get_context_data(
            comparison=self.original,
            newest=newest if newest != self.original else None,
            may_view_clients=may("credentials.view_client"),
            may_resolve=may(RESOLVE_PERMISSION),
            **get_versions_and_writers_context(self.original),
            **kwargs,
        )


class ComparisonAdmin(ReadOnlyAdmin):
    nothing_yet = gettext_lazy(
        "Not compared yet. Choose “Compare all clients” on the page of mismatches."
    )
    next_page: ClassVar = (
        gettext_lazy("Open the mismatches"),
        reverse_lazy("admin:migration_comparison_report"),
    )
    list_display = (
        "slug",
        "result_badge",
        "number_of_mismatches",
        "short_message",
        "compared_when",
    )
    list_filter = ("status",)
    # Only the beginning of the slug is searched, which the index answers.
    search_fields = ("slug__startswith",)
    search_help_text = gettext_lazy("The slug begins with")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    object_view = ComparisonView
    own_views: ClassVar = [
        ("report/", "report", MismatchReportView),
        ("report/act/<slug:act>/", "act", OpenActView),
        ("report/check/", "check", CompareSelectedView),
        ("report/undo/", "undo", UndoResolutionsView),
    ]

    @display(description=gettext_lazy("result"), ordering="status")
    def result_badge(self, comparison: Comparison) -> str:
        return badge(comparison.status)

    @display(description=gettext_lazy("fields that differ"))
    def number_of_mismatches(self, comparison: Comparison) -> int:
        return len(comparison.mismatches)

    @display(description=gettext_lazy("message"))
    def short_message(self, comparison: Comparison) -> SafeString:
        whole = localize_html(comparison.message)
        return mark_safe(Truncator(whole).chars(100, html=True))  # noqa: S308  # a part of what is safe

    @display(description=gettext_lazy("compared"), ordering="compared_at")
    def compared_when(self, comparison: Comparison) -> SafeString | str:
        return time_ago(comparison.compared_at)


def get_versions_and_writers_context(comparison: Comparison) -> dict[str, object]:
    """Return the versions in both stores and who wrote last. Takes four queries."""
    pk = comparison.client_id
    written = Client.objects.filter(pk=pk).aggregate(
        **{
            f"in_{rows or 'clients'}": Max(f"{rows}updated_at")
            for rows in ("", "databases__", "emails__", "aws_logins__")
        }
    )
    saved = LogEntry.objects.filter(
        content_type__app_label="credentials", content_type__model="client", object_id=str(pk)
    )
    return {
        "client": Client.objects.with_revision()
        .select_related("client_owner__owner")
        .filter(pk=pk)
        .first(),
        "rows_written_at": max(filter(None, written.values()), default=None),
        "saved_here": saved.select_related("user").order_by("-pk").first(),
        "secrets": Secret.objects.filter(client_id=pk).order_by("name"),
        # What is open now, whichever comparison was the last to find it.
        "open_mismatches": OpenMismatch.objects.filter(client_id=pk).order_by("path"),
    }


def get_push_cause_context(_request: HttpRequest, run: Run) -> dict[str, object]:
    """Say whether a push of the schedule looks at every client, as writes of NOVA went uncounted since the last."""
    if run.kind != Run.Kind.PUSH or not run.is_of_schedule:
        return {}
    before = Run.objects.of_schedule().filter(kind=run.kind, pk__lt=run.pk).order_by("pk").last()
    gaps = CountingGap.objects.open_at_or_after(before.created_at if before else None)
    return {"follows_a_gap": gaps.filter(found_at__lte=run.created_at).exists()}


MORE_OF_RUN.append(get_push_cause_context)
