"""The filter of the client list to which the numbers of campaigns lead. Its address is made by their pages alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from migration.admin.base import read_number
from migration.admin.counted_filters import ClientListFilter
from migration.models.permissions import VIEW_CAMPAIGNS
from migration.reports.campaign_lists import find_counted_clients

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

    from credentials.models import Client
    from migration.admin.counted_filters import Options
    from migration.reports.campaign_lists import ClientIds


class CampaignFilter(ClientListFilter):
    """Filters by what a page of a campaign counts, for those who may see campaigns.

    A value that means nothing shows nobody: a wave is rolled back by an action for all that the list shows.
    """

    title = _("campaign")
    parameter_name = "campaign"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        """Return the value that the address has: the filter has no choices of its own."""
        value = self.value()
        if not value:
            return []
        found = self.read_counted(request, value)
        return [(value, found[0] if found else _("Not known"))]

    def find_condition(self, value: str) -> Q | None:
        if not value:
            return None
        found = self.read_counted(self.request, value)
        return Q(pk__in=found[1] if found else [])

    def read_counted(self, request: HttpRequest, value: str) -> tuple[str, ClientIds] | None:
        """Return the words of the value and the ids of its clients; None where it means nothing to the user."""
        word, _dash, number = value.partition("-")
        pk = read_number(number)
        if pk is None or not request.user.has_perm(VIEW_CAMPAIGNS):
            return None
        return find_counted_clients(word, pk)
