"""Pages of comparisons and mismatches: the report, and what resolves them, for one client or many."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import ClassVar, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize, localize_html
from credentials.models import Client
from migration.core.audit import ReasonError, require_storable_reason
from migration.core.clients import VIEW_RUNS, PhaseChoices, all_clients
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
    get_signed_in_user,
    get_tab_url,
    get_typed_reason,
    read_number,
    read_raw_form_text,
    redirect_back,
    show_refusal,
)
from migration.core.secrets import Secret
from migration.pushes import resolutions
from migration.pushes.mismatches import get_report_context, read_filters, select_report_rows
from migration.pushes.resolutions import (
    NotResolved,
    ResolutionPlan,
    copy_to_postgres,
    find_undo_refusal_in_database,
    plan_copy_to_postgres,
    plan_resolutions,
    plan_undo,
    undo_copy,
)
from migration.runs.models import Run
from migration.runs.starts import start_run
from migration.templatetags.migration_pages import badge, time_ago
from nova_credentials.phases import Phase

# Undoing the user's last acknowledgement

# Which it was is kept in their session, as ids. A session of an earlier release may hold another act under the former
# name.
SESSION_KEY = "acknowledgement_undo"
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
                "%(n)d was left as it is: it was changed or resolved since.",
                "%(n)d were left as they are: they were changed or resolved since.",
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


# Many clients: a page with the plan, which is carried out when it is confirmed

# The page names so many clients.
CLIENTS_SHOWN = 100


def find_selected(request: HttpRequest) -> dict[int, int | None]:
    """Return the selected clients, each with the comparison that the page showed (None: not shown yet)."""
    if "clients" in request.POST:
        pairs = [pair.partition(":") for pair in read_raw_form_text(request, "clients").split()]
        ids = [(read_number(pk), read_number(shown)) for pk, _colon, shown in pairs]
    elif "all" in request.POST:
        # By the filters of the report that the user came from.
        rows = select_report_rows(read_filters(request.GET), user=get_signed_in_user(request))
        found = rows.order_by().values_list("client_id", flat=True).distinct()
        ids = [(pk, None) for pk in found]
    else:
        ids = [(read_number(pk), None) for pk in request.POST.getlist("client")]
    return {pk: shown for pk, shown in ids if pk is not None}


class PlanResolutionsView(AdminView):
    """Shows the plan for the selected clients, and carries it out where the form says `confirmed`.

    The page names the clients in one field, each with the comparison that it shows: a form has at most a thousand
    fields, and a selection may have more clients.
    """

    template_name = "admin/migration/mismatch_plan.html"
    permission_required = RESOLVE_PERMISSION
    kind: ClassVar[str]
    heading: ClassVar[str | Promise]

    @property
    def title(self) -> str:
        return str(self.heading)

    def post(self, request: HttpRequest) -> HttpResponse:
        plan = plan_resolutions(self.kind, find_selected(request))
        if not plan.clients:
            messages.warning(request, _("Nothing was done: select a client first."))
            return redirect_to_report(request)
        if "confirmed" not in request.POST or not plan.resolvable_clients:
            return self.show_plan(plan)
        try:
            return self.carry_out(plan)
        except ReasonError as refusal:
            messages.error(request, localize(refusal.message))
            return self.show_plan(plan)

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        """Carry out the plan that the page showed, and answer with where to go on."""
        raise NotImplementedError

    def describe_effects(self, plan: ResolutionPlan) -> list[str]:
        """Return what will happen, and how it is undone."""
        raise NotImplementedError

    def label_button(self, clients: int) -> str:
        """Return the label of the button that carries out the plan for so many clients."""
        raise NotImplementedError

    def show_plan(self, plan: ResolutionPlan) -> HttpResponse:
        resolvable_clients = plan.resolvable_clients
        return self.render_to_response(
            self.get_context_data(
                plan=plan,
                kind=self.kind,
                resolvable_clients=[
                    (client, PhaseChoices(client.phase).label)
                    for client in resolvable_clients[:CLIENTS_SHOWN]
                ],
                others=max(0, len(resolvable_clients) - CLIENTS_SHOWN),
                number=len(resolvable_clients),
                effects=self.describe_effects(plan) if resolvable_clients else [],
                button=self.label_button(len(resolvable_clients)),
                clients=" ".join(f"{c.client_id}:{c.comparison_id}" for c in plan.clients),
                query=self.request.GET.urlencode(),
                today=timezone.localdate(),
                typed_reason=get_typed_reason(self.request),
                typed_until=self.request.POST.get("until", ""),
                may_view_clients=self.request.user.has_perm("credentials.view_client"),
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
            | NO_MODEL_IN_PATH
        )


class CompareClientsAgainView(PlanResolutionsView):
    """Starts a comparison run over the clients."""

    permission_required = RUN_PERMISSION
    kind = Resolution.Kind.CHECK
    heading = gettext_lazy("Check again")

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        ids = [client.client_id for client in plan.resolvable_clients]
        return start_run(self.request, Run.Kind.COMPARE, all_clients().with_ids(ids))

    def describe_effects(self, plan: ResolutionPlan) -> list[str]:
        return [_("A run reads both stores of each client and compares them. It changes no value.")]

    def label_button(self, clients: int) -> str:
        return ngettext("Check %(n)d client again", "Check %(n)d clients again", clients) % {
            "n": clients
        }


class CopyView(PlanResolutionsView):
    """Starts a run that copies one store to the other, one client after the other; `kind` says which."""

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        reason = get_typed_reason(self.request)
        require_storable_reason(reason)
        chosen = all_clients().with_ids([client.client_id for client in plan.resolvable_clients])
        page = start_run(self.request, Run.Kind(self.kind), chosen, reason=reason)
        may_view = any(map(self.request.user.has_perm, (VIEW_RUNS, RUN_PERMISSION)))
        return page if may_view else redirect_to_report(self.request)


def describe_run_of_copies() -> str:
    return _(
        "A run does it in the background. A client that differs in other fields by its turn is left alone."
    )


class CopyToAwsView(CopyView):
    """Copies the clients' rows to AWS."""

    kind = Resolution.Kind.TO_AWS
    heading = gettext_lazy("Copy PostgreSQL to AWS")

    def describe_effects(self, plan: ResolutionPlan) -> list[str]:
        texts = [
            _("PostgreSQL's values are written to AWS."),
            _("No button undoes it. What is in AWS now stays there as the previous version."),
        ]
        if number := plan.number_cut_over:
            text = ngettext(
                "NOVA reads AWS for %(n)d of them: it gets the copied values at once.",
                "NOVA reads AWS for %(n)d of them: it gets the copied values at once.",
                number,
            )
            texts.insert(1, text % {"n": number})
        return [*texts, describe_run_of_copies()]

    def label_button(self, clients: int) -> str:
        text = ngettext("Copy %(n)d client to AWS", "Copy %(n)d clients to AWS", clients)
        return text % {"n": clients}


class BulkCopyToPostgresView(CopyView):
    """Copies AWS's documents into the clients' rows."""

    kind = Resolution.Kind.TO_POSTGRES
    heading = gettext_lazy("Copy AWS to PostgreSQL")

    def describe_effects(self, plan: ResolutionPlan) -> list[str]:
        texts = [
            _("AWS's values are written into NOVA's tables."),
            _(
                "What PostgreSQL holds now is kept in AWS first. The page of each client can put it back, as long as"
                " nobody changes either store."
            ),
        ]
        if number := plan.number_not_cut_over:
            text = ngettext(
                "NOVA reads PostgreSQL for %(n)d of them: it gets the copied values at once.",
                "NOVA reads PostgreSQL for %(n)d of them: it gets the copied values at once.",
                number,
            )
            texts.insert(1, text % {"n": number})
        return [*texts, describe_run_of_copies()]

    def label_button(self, clients: int) -> str:
        text = ngettext(
            "Copy %(n)d client to PostgreSQL", "Copy %(n)d clients to PostgreSQL", clients
        )
        return text % {"n": clients}


class AcknowledgeMismatchesView(PlanResolutionsView):
    """Acknowledges what the newest comparison of each client found, until a day."""

    kind = Resolution.Kind.ACKNOWLEDGE
    heading = gettext_lazy("Acknowledge mismatches")

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        if not get_typed_reason(self.request) or self.read_last_day() < timezone.localdate():
            text = _("Nothing was acknowledged: give a reason and a day, today or later.")
            messages.error(self.request, text)
            return self.show_plan(plan)
        done, refused = resolutions.acknowledge_each(
            shown={client.client_id: client.comparison_id for client in plan.resolvable_clients},
            until=self.read_last_day(),
            reason=get_typed_reason(self.request),
            by=get_signed_in_user(self.request),
        )
        if done:
            text = ngettext(
                "Acknowledged the mismatches of %(n)d client.",
                "Acknowledged the mismatches of %(n)d clients.",
                len(done),
            )
            messages.success(self.request, text % {"n": len(done)})
            ids = [row.pk for row in done]
            self.request.session[SESSION_KEY] = {"resolutions": ids, "at": time.time()}
        if refused:
            text = ngettext(
                "%(n)d client was refused.", "%(n)d clients were refused.", len(refused)
            )
            messages.error(self.request, text % {"n": len(refused)})
        return redirect_to_report(self.request)

    def read_last_day(self) -> date:
        """Return the day until which it is acknowledged; `date.min` if the form gives none."""
        try:
            return date.fromisoformat(read_raw_form_text(self.request, "until"))
        except ValueError:
            return date.min

    def describe_effects(self, plan: ResolutionPlan) -> list[str]:
        return [
            _("Until that day they need no attention. Gates stay shut."),
            _("Nothing is changed in PostgreSQL or AWS. It can be undone."),
            _("It does not cover other differences that a later comparison finds."),
        ]

    def label_button(self, clients: int) -> str:
        text = ngettext(
            "Acknowledge the mismatches of %(n)d client",
            "Acknowledge the mismatches of %(n)d clients",
            clients,
        )
        return text % {"n": clients}


# One client


class ResolveMismatchView(ClientView):
    """Does with the client's mismatch what `kind` in the form says; 404 if it says nothing known."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        # First: a client that is not there is a 404, whatever was typed.
        client, kind = self.client, request.POST.get("kind", "")
        reason, until = get_typed_reason(request), self.read_last_day()
        operations: dict[str, Callable[..., Resolution]] = {
            "check": resolutions.check_again,
            "to_aws": partial(resolutions.copy_to_aws, reason=reason),
            "to_postgres": partial(resolutions.copy_to_postgres, reason=reason),
            "acknowledge": partial(
                resolutions.acknowledge,
                reason=reason,
                until=until,
                shown=read_number(request.POST.get("shown", "")),
            ),
        }
        if kind not in operations:
            raise Http404
        if kind == "acknowledge" and (not reason or until < timezone.localdate()):
            text = _("Nothing was acknowledged: give a reason and a day, today or later.")
            messages.error(request, text)
            return redirect_back(request, client_id)
        try:
            by = get_signed_in_user(request)
            resolution = operations[kind](client_id=client.pk, by=by)
        except (NotResolved, ReasonError) as refusal:
            show_refusal(request, client_id, refusal.message)
        else:
            text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
            messages.success(request, text.strip())
        return redirect_back(request, client_id)

    def read_last_day(self) -> date:
        """Return the day until which the mismatch is acknowledged; `date.min` if the form gives none."""
        try:
            return date.fromisoformat(self.request.POST.get("until", ""))
        except ValueError:
            return date.min


class ShownResolutionView(ClientView):
    """Shows by codes what resolving a client's mismatch would change, and does that once a reason is given."""

    permission_required = RESOLVE_PERMISSION
    # Does what the page showed, whose digest the form sends as `seen`.
    resolve: Callable[..., Resolution]
    reason_is_missing: str | Promise

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if not reason:
            messages.error(request, str(self.reason_is_missing))
            return here
        try:
            resolution = self.resolve(
                client_id=self.client.pk,
                by=get_signed_in_user(request),
                reason=reason,
                seen=read_raw_form_text(request, "seen"),
            )
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
        messages.success(request, text.strip())
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.COMPARISON))


class CopyToPostgresView(ShownResolutionView):
    """The page that copies from AWS to PostgreSQL."""

    template_name = "admin/migration/copy_to_postgres.html"
    resolve = staticmethod(copy_to_postgres)
    reason_is_missing = gettext_lazy("Nothing was copied: give a reason or a ticket.")

    @property
    def title(self) -> str:
        return _("Copy AWS to PostgreSQL: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = self.get_context_data(
            back=get_tab_url(client_id, ClientTab.COMPARISON),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            may_run=request.user.has_perm(RUN_PERMISSION),
            may_view_comparisons=request.user.has_perm("migration.view_comparison"),
        )
        try:
            plan = plan_copy_to_postgres(self.client.pk)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        else:
            context |= {"plan": plan, "why_not": plan.refusal, "comparison": plan.comparison}
        return self.render_to_response(context)


class UndoCopyView(ShownResolutionView):
    """The page that undoes the client's newest copy."""

    template_name = "admin/migration/undo_copy.html"
    resolve = staticmethod(undo_copy)
    reason_is_missing = gettext_lazy("Nothing was put back: give a reason or a ticket.")

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


def get_undo_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the copy that the user may undo, and why the database alone refuses it."""
    may_undo = request.user.has_perm(RESOLVE_PERMISSION)
    copy = Resolution.objects.find_undoable_copy(client.pk) if may_undo else None
    if copy is None:
        return {}
    why = find_undo_refusal_in_database(copy, phase=Phase(client.phase), revision=client.revision)
    return {"undoable_copy": copy, "undo_refusal": why}


# The report

# By the name of the address, with the icon of the button.
REPORT_ACTS: dict[str, tuple[type[AdminView], str]] = {
    "check": (CompareClientsAgainView, "compare_arrows"),
    "to_aws": (CopyToAwsView, "cloud_upload"),
    "to_postgres": (BulkCopyToPostgresView, "cloud_download"),
    "acknowledge": (AcknowledgeMismatchesView, "done_all"),
}
OWN_VIEWS: list[tuple[str, str, type[AdminView]]] = [
    *(
        (f"report/{name.replace('_', '-')}/", name, view)
        for name, (view, _icon) in REPORT_ACTS.items()
    ),
    ("report/undo/", "undo", UndoResolutionsView),
]
# Without a field that differs there is nothing to copy.
FOR_CLIENTS = (Resolution.Kind.CHECK, Resolution.Kind.ACKNOWLEDGE, "owners")


class ReportButton(NamedTuple):
    """A button over the report: it posts the selected clients to `url`."""

    label: str
    icon: str
    url: str


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
            may_run=may(CompareClientsAgainView.permission_required),
            may_view_clients=may("credentials.view_client"),
            buttons=buttons,
            first_url=buttons[0].url if buttons else "",
            undo=describe_undoable_act(request)
            if may(UndoResolutionsView.permission_required)
            else "",
            **report,
        )
        return self.render_to_response(context | NO_MODEL_IN_PATH)

    def list_buttons(self, *, status: str) -> list[ReportButton]:
        """Return the buttons that the user may press over the selection."""
        query = urlencode(read_filters(self.request.GET))
        return [
            ReportButton(
                f"{view.heading}…", icon, f"{reverse(f'admin:migration_comparison_{name}')}?{query}"
            )
            for name, (view, icon) in REPORT_ACTS.items()
            if self.request.user.has_perm(view.permission_required or "")
            and is_offered(name, status)
        ]


def is_offered(name: str, status: str) -> bool:
    """Say whether the act makes sense for the clients that this status selects."""
    if status == "match":
        return name == Resolution.Kind.CHECK
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
        "Nothing was compared yet. “Compare all clients” on the page of mismatches does it."
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
    own_views: ClassVar = [("report/", "report", MismatchReportView), *OWN_VIEWS]

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
