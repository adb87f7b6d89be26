"""Resolves the mismatches of many clients: checks them again, copies, acknowledges."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import messages
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from migration.admin.base import RUN_PERMISSION, get_typed_reason, read_raw_form_text
from migration.admin.mismatch_undo import store_resolutions_undo
from migration.admin.resolution_pages import PlanResolutionsView, ResolveEachView
from migration.admin.run_starts import start_run
from migration.models import Resolution, Run, all_clients
from migration.operations import resolutions

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from migration.operations.bulk_resolutions import BulkResolution
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


class CopyToAwsView(ResolveEachView):
    """Pushes the clients' rows."""

    kind = Resolution.Kind.TO_AWS
    heading = gettext_lazy("Copy PostgreSQL to AWS")

    def make_operation(self, plan: ResolutionPlan) -> Callable[..., Resolution]:
        return partial(resolutions.copy_to_aws, reason=get_typed_reason(self.request))

    def describe_done(self, clients: int) -> str:
        text = ngettext(
            "Copied PostgreSQL to AWS for %(n)d client.",
            "Copied PostgreSQL to AWS for %(n)d clients.",
            clients,
        )
        return text % {"n": clients}

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
        return texts

    def label_button(self, clients: int) -> str:
        text = ngettext("Copy %(n)d client to AWS", "Copy %(n)d clients to AWS", clients)
        return text % {"n": clients}


class BulkCopyToPostgresView(ResolveEachView):
    """Copies AWS's documents into the clients' rows."""

    kind = Resolution.Kind.TO_POSTGRES
    heading = gettext_lazy("Copy AWS to PostgreSQL")

    def make_operation(self, plan: ResolutionPlan) -> Callable[..., Resolution]:
        return partial(resolutions.copy_to_postgres, reason=get_typed_reason(self.request))

    def describe_done(self, clients: int) -> str:
        text = ngettext(
            "Copied AWS to PostgreSQL for %(n)d client.",
            "Copied AWS to PostgreSQL for %(n)d clients.",
            clients,
        )
        return text % {"n": clients}

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
        return texts

    def label_button(self, clients: int) -> str:
        text = ngettext(
            "Copy %(n)d client to PostgreSQL", "Copy %(n)d clients to PostgreSQL", clients
        )
        return text % {"n": clients}


class AcknowledgeMismatchesView(ResolveEachView):
    """Acknowledges what the newest comparison of each client found, until a day."""

    kind = Resolution.Kind.ACKNOWLEDGE
    heading = gettext_lazy("Acknowledge mismatches")

    def carry_out(self, plan: ResolutionPlan) -> HttpResponse:
        if not get_typed_reason(self.request) or self.read_last_day() < timezone.localdate():
            text = _("Nothing was acknowledged: give a reason and a day, today or later.")
            messages.error(self.request, text)
            return self.show_plan(plan)
        return super().carry_out(plan)

    def make_operation(self, plan: ResolutionPlan) -> Callable[..., Resolution]:
        shown = {client.client_id: client.comparison_id for client in plan.resolvable_clients}

        def acknowledge(*, client_id: int, by: User) -> Resolution:
            return resolutions.acknowledge(
                client_id=client_id,
                until=self.read_last_day(),
                reason=get_typed_reason(self.request),
                by=by,
                shown=shown[client_id],
            )

        return acknowledge

    def report_result(self, result: BulkResolution, slugs: dict[int, str]) -> None:
        super().report_result(result, slugs)
        store_resolutions_undo(self.request, [row.pk for row in result.done.values()])

    def describe_done(self, clients: int) -> str:
        text = ngettext(
            "Acknowledged the mismatches of %(n)d client.",
            "Acknowledged the mismatches of %(n)d clients.",
            clients,
        )
        return text % {"n": clients}

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
