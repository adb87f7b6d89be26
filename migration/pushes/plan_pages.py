"""The plan of a run: its page, the sheet that prints, the file, and the buttons that start or discard it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration import tasks
from migration.core.clients import ClientPhaseQuerySet
from migration.core.pages import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    AdminView,
    add_pages,
    describe_notes_of_clients,
    get_signed_in_user,
    read_raw_form_text,
)
from migration.pushes.plans import (
    can_page_wait_for_plan,
    export_plan_as_json,
    start_planned_run,
    summarize_plan,
    work_on_plan,
)
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlanCounts, PlanDrift, PlanInOtherStateError, RunPlan
from migration.runs.starts import enqueue_run, get_run_url, start_run

# A run over more clients has a plan first.
NEED_NO_PLAN = 50
# The page names so many clients of a class; the sheet and the file name all.
CLIENTS_SHOWN = 100
# These are named each; of the others the number is enough.
NAMED = (PlanClass.OVERWRITTEN, PlanClass.LEFT_ALONE, PlanClass.FAILING, PlanClass.UPDATED)


def plan_or_start_run(request: HttpRequest, chosen: ClientPhaseQuerySet) -> HttpResponseRedirect:
    """Start a migration of a few clients at once; lead to the plan of one of many."""
    ids = list(chosen.order_by("pk").values_list("pk", flat=True))
    if len(ids) <= NEED_NO_PLAN:
        return start_run(request, Run.Kind.MIGRATE, chosen)
    return request_plan(request, chosen=ids)


def request_plan(
    request: HttpRequest, *, chosen: Collection[int] | None, overwrite: bool = False
) -> HttpResponseRedirect:
    """Have a plan made in the user's name, and lead to its page."""
    plan = RunPlan.store_request(by=get_signed_in_user(request), chosen=chosen, overwrite=overwrite)
    work_on_or_enqueue_plan(request, plan)
    return HttpResponseRedirect(get_plan_url(plan))


def work_on_or_enqueue_plan(request: HttpRequest, plan: RunPlan) -> Run | None:
    """Make or check a small plan now and return the run that this started; enqueue a large one."""
    if can_page_wait_for_plan(plan):
        return work_on_plan(plan_id=plan.pk, interactive=True)
    if not tasks.enqueue_plan(plan):
        text = _("The task queue can't be reached. The plan is made once the queue answers again.")
        messages.warning(request, text)
    return None


def get_plan_url(plan: RunPlan) -> str:
    """Return the address of the plan's page."""
    return reverse("admin:migration_run_plan", args=[plan.pk])


class PlanMigrateAllView(AdminView):
    """Has the plan of a migration of all clients made."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        return request_plan(request, chosen=None)


class BasePlanView(AdminView):
    """A page or a file about one plan; 404 if there is no such plan."""

    @property
    def title(self) -> str:
        return _("Plan %(n)d") % {"n": self.plan.pk}

    @cached_property
    def plan(self) -> RunPlan:
        # The ids that were chosen may be very many, and no page shows them.
        plans = RunPlan.objects.select_related("run").defer("chosen")
        return get_object_or_404(plans, pk=self.kwargs["pk"], act="push")


class PlanView(BasePlanView):
    """The page of one plan."""

    template_name = "admin/migration/run_plan.html"
    most_shown: ClassVar[int | None] = CLIENTS_SHOWN

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.render_to_response(self.get_context_data())

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        counts = self.plan.read_counts()
        summary = summarize_plan(counts)
        has_perm = self.request.user.has_perm
        # Of campaigns with clients of the plan; none while it can't be started.
        campaign_notes = []
        if self.plan.is_open and not self.plan.is_looking:
            planned = self.plan.rows.values_list("client_id", flat=True)
            campaign_notes = describe_notes_of_clients(self.request, planned, number=counts.clients)
        return super().get_context_data(
            plan=self.plan,
            summary=summary,
            waiting_reason=self.plan.explain_missing_worker(),
            counts=[
                (name.value, name.label, number, bool(number) and name in NAMED)
                for name in PlanClass
                for number in [summary.counts[name.value]]
            ],
            sections=list_sections(self.plan, counts, most=self.most_shown),
            differences=describe_drift(self.plan, most=self.most_shown),
            differing=len(self.plan.differences),
            most_shown=self.most_shown,
            sparing=counts.spared,
            campaign_notes=campaign_notes,
            may_run=has_perm(RUN_PERMISSION),
            may_overwrite=has_perm(RUN_PERMISSION) and has_perm(RESOLVE_PERMISSION),
            may_view_clients=has_perm("credentials.view_client"),
            **kwargs,
        )


class LivePlanView(PlanView):
    """Shows the plan's content again and again, while it is being made."""

    template_name = "admin/migration/run_plan_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        response = super().get(request, pk)
        if self.plan.run:
            response["HX-Redirect"] = get_run_url(self.plan.run)
        elif not self.plan.is_looking:
            response["HX-Refresh"] = "true"
        return response


class PrintedPlanView(PlanView):
    """The plan with all its clients, as a page that prints."""

    template_name = "admin/migration/run_plan_sheet.html"
    most_shown = None


class DownloadPlanView(BasePlanView):
    """The plan as a JSON file."""

    def get(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        return StreamingHttpResponse(
            export_plan_as_json(self.plan),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="plan-{pk}.json"'},
        )


class SteerPlanView(AdminView):
    """Starts or discards the plan, or has another made, as the button in `order` says; 400 for another."""

    permission_required = RUN_PERMISSION

    @cached_property
    def plan(self) -> RunPlan:
        return get_object_or_404(RunPlan, pk=self.kwargs["pk"], act="push")

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        order = request.POST.get("order", "")
        if order not in ORDERS:
            raise BadRequest
        try:
            return ORDERS[order](request, self.plan)
        except PlanInOtherStateError as error:
            messages.warning(request, localize(error.message))
            return HttpResponseRedirect(get_plan_url(self.plan))


def check_and_start_plan(request: HttpRequest, plan: RunPlan) -> HttpResponseRedirect:
    """Have the plan looked at again, and started if nothing differs; start it where the page showed what differs."""
    if plan.state == RunPlan.State.DIFFERS:
        if read_raw_form_text(request, "seen") != plan.state:
            text = _(
                "Not started: meanwhile somebody had the plan looked at again. Look at what differs."
            )
            messages.warning(request, text)
            return HttpResponseRedirect(get_plan_url(plan))
        run: Run | None = start_planned_run(plan=plan, by=get_signed_in_user(request))
    else:
        plan.begin_check(by=get_signed_in_user(request))
        run = work_on_or_enqueue_plan(request, plan)
    if run is None:
        return HttpResponseRedirect(get_plan_url(plan))
    enqueue_run(request, run)
    return HttpResponseRedirect(get_run_url(run))


def discard_plan(request: HttpRequest, plan: RunPlan) -> HttpResponseRedirect:
    """Close the plan without a run."""
    plan.discard(by=get_signed_in_user(request))
    return HttpResponseRedirect(get_plan_url(plan))


def replace_plan(
    request: HttpRequest, plan: RunPlan, *, overwrite: bool | None = None
) -> HttpResponseRedirect:
    """Discard this plan if it is open, and have another one made over the same clients."""
    if plan.is_open:
        plan.discard(by=get_signed_in_user(request))
    overwrites = plan.overwrite if overwrite is None else overwrite
    return request_plan(request, chosen=plan.chosen, overwrite=overwrites)


def plan_overwriting(request: HttpRequest, plan: RunPlan) -> HttpResponseRedirect:
    """Have another plan made that overwrites what somebody else wrote: who may resolve mismatches may do so."""
    if not request.user.has_perm(RESOLVE_PERMISSION):
        raise PermissionDenied
    return replace_plan(request, plan, overwrite=True)


ORDERS: dict[str, Callable[[HttpRequest, RunPlan], HttpResponseRedirect]] = {
    "start": check_and_start_plan,
    "discard": discard_plan,
    "again": replace_plan,
    "overwrite": plan_overwriting,
}


def list_sections(
    plan: RunPlan, counts: PlanCounts, *, most: int | None
) -> list[dict[str, object]]:
    """Return the classes whose clients are named, each with at most so many of them."""
    names = [name for name in NAMED if counts.classes[name.value]]
    clients = plan.rows.list_classes([name.value for name in names], most=most)
    return [
        {
            "key": name.value,
            "title": name.label,
            "clients": clients[name.value],
            "number": counts.classes[name.value],
            "shown": most,
            "replaces": any(client.replaced for client in clients[name.value]),
        }
        for name in names
    ]


def describe_drift(plan: RunPlan, *, most: int | None) -> list[dict[str, object]]:
    """Return what was not as planned, in the page's language: at most so many clients."""
    classes = dict(PlanClass.choices)
    return [
        {
            "id": row["id"],
            "slug": row["slug"],
            "what": ", ".join(str(PlanDrift(code).label) for code in row["codes"]),
            "planned": classes.get(row["planned"], "–"),
            "found": classes.get(row["found"], "–"),
        }
        for row in plan.differences[:most]
    ]


add_pages(
    "run",
    ("start-all/", "start_all", PlanMigrateAllView),
    ("plan/<int:pk>/", "plan", PlanView),
    ("plan/<int:pk>/live/", "plan_live", LivePlanView),
    ("plan/<int:pk>/sheet/", "plan_sheet", PrintedPlanView),
    ("plan/<int:pk>/plan.json", "plan_file", DownloadPlanView),
    ("plan/<int:pk>/order/", "plan_order", SteerPlanView),
)
