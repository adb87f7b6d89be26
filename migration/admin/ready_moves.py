"""The page that moves clients which are ready for their next phase: from the dashboard's "1,970 ready: move them"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from migration.admin.base import RUN_PERMISSION, AdminView
from migration.admin.bulk_moves import move_clients, open_bulk_cutover
from migration.admin.run_plans import FEW_CLIENTS, plan_or_start_run
from migration.models import (
    MOVE_PERMISSIONS,
    Blocker,
    PhaseChoices,
    all_clients,
    list_clients_in_campaigns,
    select_with_blocker,
)
from migration.reports.client_counts import KEPT_BY_NOTHING
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from migration.models import ClientPhaseQuerySet


# Into which phase clients move from which, all that are ready at once. A purge is none: it wants each slug typed.
READY_MOVES = {
    Phase.DUAL_WRITE: Phase.POSTGRES,
    Phase.DUAL_READ: Phase.DUAL_WRITE,
    Phase.AWS: Phase.DUAL_READ,
}
READY_PERMISSIONS = {
    Phase.DUAL_WRITE: RUN_PERMISSION,
    Phase.DUAL_READ: MOVE_PERMISSIONS[Move.FORWARD],
    Phase.AWS: MOVE_PERMISSIONS[Move.CUTOVER],
}


def select_ready_outside_campaigns(old: Phase) -> ClientPhaseQuerySet:
    """Select the clients of the phase that are ready for the next one, and that no campaign is to take there."""
    return select_ready(old).exclude(pk__in=list_clients_in_campaigns(beyond=old))


def select_ready(old: Phase) -> ClientPhaseQuerySet:
    """Select the clients of the phase that nothing of their own keeps from the next one."""
    return select_with_blocker(all_clients().in_phases(old), Blocker.READY)


class MoveReadyView(AdminView):
    """Says how many clients are ready for the phase, and moves exactly those that are when the button is pressed.

    Those of a campaign that is not over are left to it.
    Into dual write through a plan where they are many, into AWS through the page with the checks.
    """

    template_name = "admin/migration/move_ready.html"

    @property
    def title(self) -> str:
        return _("Move to %(phase)s what is ready") % {"phase": PhaseChoices(self.new_phase).label}

    @cached_property
    def new_phase(self) -> Phase:
        phase = self.kwargs["new"]
        if phase not in READY_MOVES:
            raise Http404
        return Phase(phase)

    def has_permission(self) -> bool:
        return self.request.user.has_perm(READY_PERMISSIONS[self.new_phase])

    def list_ready_outside_campaigns(self) -> list[int]:
        """Return the ids of the clients that are ready now, and in no campaign."""
        return list(
            select_ready_outside_campaigns(READY_MOVES[self.new_phase]).values_list("pk", flat=True)
        )

    def get(self, request: HttpRequest, new: str) -> HttpResponse:
        old, number = READY_MOVES[self.new_phase], len(self.list_ready_outside_campaigns())
        return self.render_to_response(
            self.get_context_data(
                number=number,
                taken=select_ready(old).count() - number,
                old=old,
                new=self.new_phase,
                has_plan=self.new_phase == Phase.DUAL_WRITE and number > FEW_CLIENTS,
                list_url=self.list_url,
            )
        )

    def post(self, request: HttpRequest, new: str) -> HttpResponseBase:
        # By their ids: what is selected stays what it is while it is used.
        ids = self.list_ready_outside_campaigns()
        ready = all_clients().with_ids(ids)
        if not ids:
            messages.warning(request, _("No client is ready for this move now."))
            return HttpResponseRedirect(self.list_url)
        if self.new_phase == Phase.DUAL_WRITE:
            return plan_or_start_run(request, ready)
        if self.new_phase == Phase.AWS:
            return open_bulk_cutover(self.model_admin, request, ready)
        moved = move_clients(self.model_admin, request, ready, phase=self.new_phase)
        return moved or HttpResponseRedirect(self.list_url)

    @property
    def list_url(self) -> str:
        page = reverse("admin:credentials_client_changelist")
        return f"{page}?phase={READY_MOVES[self.new_phase]}&next={KEPT_BY_NOTHING}"
