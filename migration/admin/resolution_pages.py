"""The page that plans how the mismatches of many clients are resolved, and does it when it is confirmed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from django.contrib import messages
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
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
from migration.models import PhaseChoices, ReasonError
from migration.operations.bulk_resolutions import resolve_each
from migration.reports.mismatches import select_report_rows
from migration.reports.resolution_plans import plan_resolutions

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    from migration.models import Resolution
    from migration.operations.bulk_resolutions import BulkResolution
    from migration.reports.resolution_plans import ResolutionPlan

# The page names so many clients, and so many refusals.
CLIENTS_SHOWN = 100
REFUSALS_SHOWN = 10


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


class ResolveEachView(PlanResolutionsView):
    """Resolves one client after the other; shows the plan again for those that the time did not suffice for."""

    def make_operation(self, plan: ResolutionPlan) -> Callable[..., Resolution]:
        """Return the operation on one client, with what the form says for it."""
        raise NotImplementedError

    def describe_done(self, clients: int) -> str:
        """Return a sentence that says of how many clients the mismatches were resolved; subclasses write it."""
        raise NotImplementedError

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        operation = self.make_operation(plan)
        result = resolve_each(
            [client.client_id for client in plan.resolvable_clients],
            lambda client_id: operation(client_id=client_id, by=self.user),
        )
        self.report_result(result, {client.client_id: client.slug for client in plan.clients})
        if not result.left:
            return redirect_to_report(self.request)
        text = ngettext(
            "%(n)d client was not begun: this took too long. Go on with it below.",
            "%(n)d clients were not begun: this took too long. Go on with them below.",
            len(result.left),
        )
        messages.warning(self.request, text % {"n": len(result.left)})
        left = {
            c.client_id: c.comparison_id
            for c in plan.resolvable_clients
            if c.client_id in result.left
        }
        return self.show_plan(plan_resolutions(self.kind, left))

    def report_result(self, result: BulkResolution, slugs: dict[int, str]) -> None:
        """Say what was done, and what was refused and why."""
        if result.done:
            messages.success(self.request, self.describe_done(len(result.done)))
        refused = list(result.refused.items())
        for client_id, why in refused[:REFUSALS_SHOWN]:
            messages.error(self.request, f"{slugs[client_id]}: {localize(why)}")
        if (others := len(refused) - REFUSALS_SHOWN) > 0:
            text = ngettext(
                "%(n)d more client was refused.", "%(n)d more clients were refused.", others
            )
            messages.error(self.request, text % {"n": others})
