"""Campaigns: their list, and the addresses of their pages and buttons."""

from __future__ import annotations

from typing import ClassVar, Protocol

from django.contrib import admin
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from credentials.localization import localize_html
from migration.campaigns.models import WAITS_FOR_APPROVAL, Campaign, Wave
from migration.campaigns.pages import (
    ApproveCampaignView,
    CampaignView,
    CancelCampaignView,
    GoOnWithoutView,
    LiveCampaignView,
    SteerCampaignView,
    make_campaign_badge,
)
from migration.campaigns.starts import StartCampaignView, may_start_campaign
from migration.core.pages import ReadOnlyAdmin
from migration.templatetags.migration_pages import badge, time_ago
from nova_credentials.shown_names import escape_name


class CountedCampaign(Protocol):
    """A campaign as the list gets it."""

    state: str
    wave_size: int
    is_over: bool
    waves_done: int
    waves_all: int
    first_parts: list[Wave]


# A row of the list names so many groups.
GROUPS_NAMED = 3


class CampaignAdmin(ReadOnlyAdmin):
    list_display = (
        "campaign_name",
        "goal_badge",
        "groups_named",
        "state_badge",
        "waves_done_of_all",
        "why_it_waits",
        "by_name",
        "created_when",
    )
    list_filter: ClassVar = ["state"]
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    list_before_template = "admin/migration/campaign_buttons.html"
    nothing_yet = _("No campaigns yet. A campaign moves groups of clients to AWS in waves.")
    object_view = CampaignView
    own_views: ClassVar = [
        ("start/", "start", StartCampaignView),
        ("<int:pk>/live/", "live", LiveCampaignView),
        ("<int:pk>/steer/", "steer", SteerCampaignView),
        ("<int:pk>/go-on-without/", "go_on_without", GoOnWithoutView),
        ("<int:pk>/cancel/", "cancel", CancelCampaignView),
        ("<int:pk>/approve/", "approve", ApproveCampaignView),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Campaign]:
        # A group that is taken in several waves is named once.
        first_parts = Prefetch("waves", Wave.objects.filter(part=1), to_attr="first_parts")
        done = Count("waves", filter=Q(waves__finished_at__isnull=False))
        counted = Campaign.objects.annotate(waves_all=Count("waves"), waves_done=done)
        return counted.prefetch_related(first_parts).order_by("-pk")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        may_start = {"may_start_campaign": may_start_campaign(request)}
        return super().changelist_view(request, (extra_context or {}) | may_start)

    @display(description=_("campaign"), ordering="pk")
    def campaign_name(self, campaign: Campaign) -> str:
        return str(campaign)

    @display(description=_("goal"), ordering="goal")
    def goal_badge(self, campaign: Campaign) -> str:
        return badge(campaign.goal)

    @display(description=_("client groups"))
    def groups_named(self, campaign: CountedCampaign) -> str:
        names = [escape_name(wave.group_name) for wave in campaign.first_parts]
        named = ", ".join(names[:GROUPS_NAMED])
        more = len(names) - GROUPS_NAMED
        return (
            gettext("%(names)s and %(n)d more") % {"names": named, "n": more} if more > 0 else named
        )

    @display(description=_("state"), ordering="state")
    def state_badge(self, campaign: Campaign) -> str:
        return make_campaign_badge(campaign)

    @display(description=_("waves done"))
    def waves_done_of_all(self, campaign: CountedCampaign) -> str:
        is_cancelled = campaign.state == Campaign.State.CANCELLED
        if is_cancelled or (campaign.wave_size and not campaign.is_over):
            # Each wave is only made once the one before is done. How many there will be is on the page of one not over.
            return str(campaign.waves_done)
        numbers = {"done": campaign.waves_done, "total": campaign.waves_all}
        return gettext("%(done)d of %(total)d") % numbers

    @display(description=_("why it stopped"))
    def why_it_waits(self, campaign: Campaign) -> SafeString | str:
        if campaign.state == Campaign.State.REQUESTED:
            return localize_html(WAITS_FOR_APPROVAL())
        is_stopped = campaign.state == Campaign.State.STOPPED
        return localize_html(campaign.stopped_because) if is_stopped else ""

    @display(description=_("created"), ordering="created_at")
    def created_when(self, campaign: Campaign) -> SafeString | str:
        return time_ago(campaign.created_at)
