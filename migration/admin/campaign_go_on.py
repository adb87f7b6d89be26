"""The page on which a stopped campaign goes on without the clients that hold it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import get_signed_in_user, get_typed_reason
from migration.admin.campaign_views import (
    MOVE_PERMISSION,
    STEER_PERMISSION,
    CampaignButtonView,
    get_campaign_url,
    read_seen_change_time,
)
from migration.models.campaigns import CampaignNotChangedError
from migration.models.clients import digest_clients
from migration.models.left_clients import (
    find_stuck_slugs,
    go_on_without,
    select_items_unmoved_by_steps,
)
from migration.models.reasons import ReasonError
from migration.reports.campaign_left import NAMED_IN_ALL, find_frequent_reason
from migration.reports.campaign_now import list_blocked_now

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class GoOnWithoutView(CampaignButtonView):
    """Has the campaign go on without the clients that hold it up, which it names first.

    Their digest is sent along, so that nobody leaves out others than were shown.
    """

    template_name = "admin/migration/campaign_go_on.html"

    @property
    def title(self) -> str:
        return _("Go on with %(campaign)s without the clients that hold it up") % {
            "campaign": self.campaign
        }

    def has_permission(self) -> bool:
        return all(map(self.request.user.has_perm, (STEER_PERMISSION, MOVE_PERMISSION)))

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        refused = select_items_unmoved_by_steps(self.campaign).order_by("client_id", "-pk")
        newest = list(refused.distinct("client_id")[: NAMED_IN_ALL + 1])
        number_refused = refused.order_by().values("client_id").distinct().count()
        stuck = find_stuck_slugs(self.campaign)
        return self.render_to_response(
            self.get_context_data(
                original=self.campaign,
                is_stopped=self.campaign.state == self.campaign.State.STOPPED,
                number=len(stuck),
                digest=digest_clients(stuck),
                items=newest[:NAMED_IN_ALL],
                not_named=max(0, number_refused - NAMED_IN_ALL),
                kept_now=[each for each in list_blocked_now(self.campaign) if not each.passes_soon],
                frequent_reason=find_frequent_reason(self.campaign),
                may_view_clients=request.user.has_perm("credentials.view_client"),
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
        )

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        here = HttpResponseRedirect(request.path)
        reason, digest = get_typed_reason(request), request.POST.get("clients", "")
        if not digest:
            raise BadRequest
        if not reason:
            messages.error(request, _("Nothing was done: give a reason or a ticket."))
            return here
        try:
            number = go_on_without(
                self.campaign,
                by=get_signed_in_user(request),
                find=find_stuck_slugs,
                seen=read_seen_change_time(request),
                digest=digest,
                reason=reason,
            )
        except (CampaignNotChangedError, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        text = ngettext(
            "The campaign goes on without the client that held it up: it was left out.",
            "The campaign goes on without the clients that held it up: %(n)d were left out.",
            number,
        )
        messages.success(request, text % {"n": number})
        return HttpResponseRedirect(get_campaign_url(pk))
