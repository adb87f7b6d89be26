"""The page that plans how the mismatches of many clients are resolved, and does it when it is confirmed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from django.contrib import messages
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import (
    NO_MODEL_IN_PATH,
    RESOLVE_PERMISSION,
    AdminView,
    get_signed_in_user,
    get_typed_reason,
    read_number,
    read_raw_form_text,
)
from migration.admin.mismatch_report import read_filters
from migration.admin.mismatch_undo import redirect_to_report
from migration.models.phases import PhaseChoices
from migration.models.reasons import ReasonError
from migration.reports.mismatches import select_report_rows
from migration.reports.resolution_plans import plan_resolutions

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    from migration.reports.resolution_plans import ResolutionPlan

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
    heading: ClassVar[StrOrPromise]

    @property
    def title(self) -> str:
        return str(self.heading)

    @cached_property
    def user(self) -> User:
        return get_signed_in_user(self.request)

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
