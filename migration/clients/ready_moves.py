"""The page that moves clients which are ready for their next phase: from the dashboard's "1,970 ready: move them"."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.campaigns.members import list_clients_in_campaigns
from migration.core.clients import MOVE_PERMISSIONS, ClientPhaseQuerySet, PhaseChoices, all_clients
from migration.core.pages import RUN_PERMISSION, AdminView, read_number, read_raw_form_text
from migration.moves.bulk_pages import move_clients, open_bulk_cutover
from migration.moves.models import KEPT_BY_NOTHING, Blocker, select_with_blocker
from migration.pushes.plan_pages import NEED_NO_PLAN, plan_or_start_run
from nova_credentials.phases import Move, Phase
from nova_credentials.shown_names import escape_name

# Into which phase clients move from which, all that are ready at once. A purge is none: it wants each slug typed.
READY_MOVES = {
    Phase.DUAL_WRITE: Phase.POSTGRES,
    Phase.DUAL_READ: Phase.DUAL_WRITE,
    Phase.AWS: Phase.DUAL_READ,
}
OTHERS_NAMED = 10
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
    """Says how many clients are ready for the phase, and moves those of them that still are.

    They are named in one field: a form has at most a thousand of them. Who became ready since is not
    moved. Those of a campaign that is not over are left to it.
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
        ids = self.list_ready_outside_campaigns()
        old, number = READY_MOVES[self.new_phase], len(ids)
        return self.render_to_response(
            self.get_context_data(
                number=number,
                ids=" ".join(map(str, ids)),
                taken=select_ready(old).count() - number,
                old=old,
                new=self.new_phase,
                has_plan=self.new_phase == Phase.DUAL_WRITE and number > NEED_NO_PLAN,
                list_url=self.list_url,
            )
        )

    def post(self, request: HttpRequest, new: str) -> HttpResponseBase:
        # By their ids: what is selected stays what it is while it is used.
        numbers = map(read_number, read_raw_form_text(request, "clients").split())
        shown = {pk for pk in numbers if pk is not None}
        ids = [pk for pk in self.list_ready_outside_campaigns() if pk in shown]
        self.name_others(shown - set(ids))
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

    def name_others(self, client_ids: Collection[int]) -> None:
        """Say which clients of the page are not ready any more: they are left out."""
        if not client_ids:
            return
        slugs = all_clients().with_ids(client_ids).order_by("slug").values_list("slug", flat=True)
        named = ", ".join(map(escape_name, slugs[:OTHERS_NAMED]))
        text = ngettext(
            "%(n)s client that the page showed is not ready any more, and was left out: %(slugs)s",
            "%(n)s clients that the page showed are not ready any more, and were left out: %(slugs)s",
            len(client_ids),
        )
        more = ", …" if len(client_ids) > OTHERS_NAMED else ""
        messages.warning(
            self.request, text % {"n": intcomma(len(client_ids)), "slugs": f"{named}{more}"}
        )

    @property
    def list_url(self) -> str:
        page = reverse("admin:credentials_client_changelist")
        return f"{page}?phase={READY_MOVES[self.new_phase]}&next={KEPT_BY_NOTHING}"
