"""Says on pages that act on chosen clients which of them are in a campaign that is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.humanize.templatetags.humanize import intcomma
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.models import count_in_campaigns

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest
    from django.utils.safestring import SafeString

VIEW_CAMPAIGNS = "migration.view_campaign"


def note_campaigns(request: HttpRequest, client_ids: Collection[int]) -> list[SafeString]:
    """Return a sentence for each campaign that is not over and has some of the clients. Takes one query.

    It links to the campaign where the user may view campaigns.
    """
    may_view = request.user.has_perm(VIEW_CAMPAIGNS)
    notes = []
    for campaign, number in count_in_campaigns(client_ids):
        if len(client_ids) == 1:
            text = _("This client is in %(campaign)s, which moves its clients by itself.")
        else:
            text = ngettext(
                "%(n)s of these clients is in %(campaign)s, which moves its clients by itself.",
                "%(n)s of these clients are in %(campaign)s, which moves its clients by itself.",
                number,
            )
        url = reverse("admin:migration_campaign_change", args=[campaign.pk])
        link = '<a class="text-link underline" href="{}">{}</a>'
        shown = format_html(link, url, campaign) if may_view else str(campaign)
        notes.append(format_html(text % {"n": intcomma(number), "campaign": "{}"}, shown))
    return notes
