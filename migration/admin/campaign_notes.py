"""Says on pages of clients and groups which campaigns that are not over take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.admin.base import NOTES_OF_CLIENTS
from migration.models.campaign_clients import (
    NewMemberVerdict,
    count_in_campaigns,
    list_newest_waves_of_groups,
)
from migration.models.campaigns import Campaign
from migration.models.permissions import VIEW_CAMPAIGNS

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.safestring import SafeString


def describe_campaigns_of_clients(
    request: HttpRequest,
    client_ids: Collection[int] | QuerySet[Any, int],
    *,
    number: int | None = None,
) -> list[SafeString]:
    """Return a sentence for each campaign that is not over and has some of the clients. Takes one query.

    It links to the campaign where the user may view campaigns. `number`: of the ids, needed where they are a query.
    """
    asked = len(client_ids) if number is None else number
    may_view = request.user.has_perm(VIEW_CAMPAIGNS)
    notes = []
    for campaign, found, moves_clients in count_in_campaigns(client_ids):
        text = ngettext(
            "{n} of these clients is in {campaign}, {what}.",
            "{n} of these clients are in {campaign}, {what}.",
            found,
        )
        if asked == 1:
            text = _("This client is in {campaign}, {what}.")
        shown = _link(campaign) if may_view else str(campaign)
        what = _describe_movement(campaign, moves_clients=moves_clients)
        notes.append(format_html(text, n=intcomma(found), campaign=shown, what=what))
    return notes


NOTES_OF_CLIENTS.append(describe_campaigns_of_clients)


def _describe_movement(campaign: Campaign, *, moves_clients: bool) -> str:
    if campaign.state == Campaign.State.RUNNING:
        return _("which moves its clients by itself, each when its wave begins")
    if moves_clients:
        return _("which is stopped; what it has in work still moves clients")
    return _("which moves nobody now (%(state)s)") % {"state": campaign.get_state_display().lower()}


def describe_new_member_verdicts(
    request: HttpRequest, group_ids: Collection[int]
) -> list[SafeString]:
    """Return a sentence for each group in a campaign: whether it takes clients that are put in now."""
    may_view = request.user.has_perm(VIEW_CAMPAIGNS)
    texts = {
        NewMemberVerdict.LATER: _(
            "{campaign} takes the clients of {group} when their wave begins, also those that you put into it now."
        ),
        NewMemberVerdict.NOT_APPROVED: _(
            "{campaign} takes {group}, but leaves out who comes into it now: it was requested without them."
        ),
        NewMemberVerdict.TOO_LATE: _(
            "{campaign} has begun its wave of {group}, and leaves out who comes into it now."
        ),
    }
    return [
        format_html(
            texts[takes],
            campaign=_link(wave.campaign) if may_view else wave.campaign,
            group=wave.group,
        )
        for wave, takes in list_newest_waves_of_groups(group_ids)
    ]


def _link(campaign: Campaign) -> SafeString:
    url = reverse("admin:migration_campaign_change", args=[campaign.pk])
    return format_html('<a class="text-link underline" href="{}">{}</a>', url, campaign)
