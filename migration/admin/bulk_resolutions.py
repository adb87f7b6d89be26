"""Resolves the mismatches of many clients: checks them again and copies in a run, acknowledges at once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from django.contrib import messages
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from migration.admin.base import RUN_PERMISSION, get_typed_reason, read_raw_form_text
from migration.admin.mismatch_undo import redirect_to_report, store_resolutions_undo
from migration.admin.resolution_pages import PlanResolutionsView
from migration.admin.run_starts import start_run
from migration.models.clients import all_clients
from migration.models.permissions import VIEW_RUNS
from migration.models.reasons import require_storable_reason
from migration.models.resolutions import Resolution
from migration.models.runs import Run
from migration.operations import resolutions

if TYPE_CHECKING:
    from django.http import HttpResponse

    from migration.reports.resolution_plans import ResolutionPlan


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
            by=self.user,
        )
        if done:
            text = ngettext(
                "Acknowledged the mismatches of %(n)d client.",
                "Acknowledged the mismatches of %(n)d clients.",
                len(done),
            )
            messages.success(self.request, text % {"n": len(done)})
        if refused:
            text = ngettext(
                "%(n)d client was refused.", "%(n)d clients were refused.", len(refused)
            )
            messages.error(self.request, text % {"n": len(refused)})
        store_resolutions_undo(self.request, [row.pk for row in done])
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


def describe_run_of_copies() -> str:
    return _(
        "A run does it in the background. A client that differs in other fields by its turn is left alone."
    )
