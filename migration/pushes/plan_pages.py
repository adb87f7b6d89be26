"""The stored plan of a push as a sheet that prints and as a file, and where its former address leads."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from migration.core.pages import AdminView, add_pages
from migration.pushes.plans import OVERWRITE, export_plan_as_json, summarize_plan
from migration.runs.act_pages import get_act_plan_url
from migration.runs.plans import PlanClass, RunPlan

# The clients of these are named each; of the others the number is enough.
NAMED = (PlanClass.OVERWRITTEN, PlanClass.LEFT_ALONE, PlanClass.FAILING, PlanClass.UPDATED)


def list_plan_files(plan: RunPlan) -> list[tuple[str, str]]:
    """Return label and address of the sheet and the file of a plan; none before it is made."""
    if not plan.made_at:
        return []
    return [
        (_("Sheet to print"), reverse("admin:migration_run_plan_sheet", args=[plan.pk])),
        (_("Download as JSON"), reverse("admin:migration_run_plan_file", args=[plan.pk])),
    ]


class BasePlanView(AdminView):
    """What is about the plan of one push; 404 if there is no such plan."""

    @property
    def title(self) -> str:
        return _("Plan %(n)d") % {"n": self.plan.pk}

    @cached_property
    def plan(self) -> RunPlan:
        # The ids that were chosen may be very many, and no page shows them.
        plans = RunPlan.objects.select_related("run").defer("chosen")
        return get_object_or_404(plans, pk=self.kwargs["pk"], act="push")


class FormerPlanView(BasePlanView):
    """The address of a plan's page in former releases."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponseRedirect(get_act_plan_url(self.plan))


class PrintedPlanView(BasePlanView):
    """The plan with all its clients, as a page that prints."""

    template_name = "admin/migration/run_plan_sheet.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        counts = self.plan.read_counts()
        summary = summarize_plan(counts)
        names = [name for name in NAMED if counts.classes[name.value]]
        clients = self.plan.rows.list_classes([name.value for name in names], most=None)
        context = self.get_context_data(
            plan=self.plan,
            overwrites=OVERWRITE in self.plan.overrides,
            summary=summary,
            counts=[
                (name.value, name.label, summary.counts[name.value], name in names)
                for name in PlanClass
                if name in NAMED or summary.counts[name.value]
            ],
            sections=[
                {
                    "key": name.value,
                    "title": name.label,
                    "clients": clients[name.value],
                    "number": counts.classes[name.value],
                    "replaces": any(client.replaced for client in clients[name.value]),
                }
                for name in names
            ],
        )
        return self.render_to_response(context)


class DownloadPlanView(BasePlanView):
    """The plan as a JSON file."""

    def get(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        return StreamingHttpResponse(
            export_plan_as_json(self.plan),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="plan-{pk}.json"'},
        )


add_pages(
    "run",
    ("plan/<int:pk>/", "plan", FormerPlanView),
    ("plan/<int:pk>/sheet/", "plan_sheet", PrintedPlanView),
    ("plan/<int:pk>/plan.json", "plan_file", DownloadPlanView),
)
