"""The plan of a push as a sheet that prints and as a file, and where its former addresses lead."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from migration.core.pages import AdminView, add_pages
from migration.pushes.plans import export_plan_as_json, summarize_plan
from migration.runs.models import Run
from migration.runs.plans import PlanClass
from migration.runs.starts import get_plan_url

# The clients of these are named each; of the others the number is enough.
NAMED = (PlanClass.OVERWRITTEN, PlanClass.LEFT_ALONE, PlanClass.FAILING, PlanClass.UPDATED)


class FormerPlanView(AdminView):
    """Leads from an address of a release before 0.3.0, with its plan's own number, to what it showed."""

    def get(self, request: HttpRequest, pk: int, rest: str = "") -> HttpResponse:
        run = get_object_or_404(Run.objects.defer("chosen"), former_plan=pk)
        pages = {"sheet/": "plan_sheet", "plan.json": "plan_file"}
        if name := pages.get(rest):
            return HttpResponseRedirect(reverse(f"admin:migration_run_{name}", args=[run.pk]))
        return HttpResponseRedirect(get_plan_url(run))


class BasePlanView(AdminView):
    """What is about the plan of one push; 404 if there is no such plan."""

    @property
    def title(self) -> str:
        return _("Plan of %(run)s") % {"run": self.run}

    @cached_property
    def run(self) -> Run:
        # The ids that were chosen may be very many, and no page shows them.
        planned = Run.objects.exclude(planned_at=None).defer("chosen")
        return get_object_or_404(planned, pk=self.kwargs["pk"], act="push")


class PrintedPlanView(BasePlanView):
    """The plan with all its clients, as a page that prints."""

    template_name = "admin/migration/run_plan_sheet.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        counts = self.run.read_plan_counts()
        summary = summarize_plan(counts)
        names = [name for name in NAMED if counts.classes[name.value]]
        clients = self.run.plan_rows.list_classes([name.value for name in names], most=None)
        context = self.get_context_data(
            run=self.run,
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
            export_plan_as_json(self.run),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="plan-{pk}.json"'},
        )


add_pages(
    "run",
    ("<int:pk>/plan-sheet/", "plan_sheet", PrintedPlanView),
    ("<int:pk>/plan.json", "plan_file", DownloadPlanView),
    ("plan/<int:pk>/", "former_plan", FormerPlanView),
    ("plan/<int:pk>/<path:rest>", "former_plan_part", FormerPlanView),
)
