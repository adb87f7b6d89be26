"""Campaigns: their list, and the addresses of their pages and buttons."""

from __future__ import annotations

from typing import ClassVar, Protocol

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from credentials.localization import intcomma, localize_html
from migration.campaigns.explain import explain_waits_briefly
from migration.campaigns.members import CampaignProgress, measure_campaigns
from migration.campaigns.models import (
    WAITS_FOR_APPROVAL,
    Campaign,
    Wave,
    leave_out_first_wave,
)
from migration.campaigns.pages import (
    ApproveCampaignView,
    CampaignView,
    CancelCampaignView,
    GoOnWithoutView,
    LiveCampaignView,
    SteerCampaignView,
    make_campaign_badge,
)
from migration.campaigns.starts import StartCampaignView, list_campaign_buttons
from migration.core.pages import ReadOnlyAdmin
from migration.templatetags.migration_pages import badge, time_ago
from nova_credentials.messages import Message
from nova_credentials.shown_names import escape_name


class CountedCampaign(Protocol):
    """A campaign as the list gets it."""

    state: str
    progress: CampaignProgress | None
    waits_for: Message | None
    stopped_because: Message | None
    waves_done: int
    waves_all: int
    first_parts: list[Wave]


# A row of the list names so many groups.
GROUPS_NAMED = 3


class CampaignAdmin(ReadOnlyAdmin):
    list_display = (
        "campaign_name",
        "goal_badge",
        "state_badge",
        "how_far",
        "why_it_waits",
        "by_name",
        "created_when",
    )
    list_filter: ClassVar = ["state"]
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
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
        buttons = {"list_buttons": list_campaign_buttons(request)}
        return super().changelist_view(request, (extra_context or {}) | buttons)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each campaign of the page that is not over how far it is, and what it waits for."""
        changelist = super().get_changelist_instance(request)
        found = {each.campaign_id: each for each in measure_campaigns(Campaign.objects.not_over())}
        waits = explain_waits_briefly(changelist.result_list)
        for campaign in changelist.result_list:
            campaign.progress = found.get(campaign.pk)
            campaign.waits_for = waits.get(campaign.pk)
        return changelist

    @display(description=_("campaign"), ordering="pk")
    def campaign_name(self, campaign: CountedCampaign) -> SafeString:
        return format_html("{} <small>{}</small>", str(campaign), self.name_groups(campaign))

    @display(description=_("goal"), ordering="goal")
    def goal_badge(self, campaign: Campaign) -> str:
        return badge(campaign.goal)

    def name_groups(self, campaign: CountedCampaign) -> str:
        groups = leave_out_first_wave([wave.group_name for wave in campaign.first_parts])
        names = [escape_name(name) for name in groups]
        named = ", ".join(names[:GROUPS_NAMED])
        more = len(names) - GROUPS_NAMED
        return (
            gettext("%(names)s and %(n)d more") % {"names": named, "n": more} if more > 0 else named
        )

    @display(description=_("state"), ordering="state")
    def state_badge(self, campaign: Campaign) -> str:
        return make_campaign_badge(campaign)

    @display(description=_("progress"))
    def how_far(self, campaign: CountedCampaign) -> str:
        """Show how many clients are at the goal; of one that is over, in how many waves it was."""
        if campaign.progress:
            clients = campaign.progress.clients
            text = ngettext("%(done)s of %(n)s client", "%(done)s of %(n)s clients", clients)
            return text % {"done": intcomma(campaign.progress.done), "n": intcomma(clients)}
        done, total = campaign.waves_done, campaign.waves_all
        if campaign.state == Campaign.State.CANCELLED:
            # The waves that will never be made are not counted.
            return ngettext("%(n)d wave", "%(n)d waves", done) % {"n": done}
        text = ngettext("%(done)d of %(n)d wave", "%(done)d of %(n)d waves", total)
        return text % {"done": done, "n": total}

    @display(description=_("why it waits"))
    def why_it_waits(self, campaign: CountedCampaign) -> SafeString | str:
        if campaign.state == Campaign.State.REQUESTED:
            return localize_html(WAITS_FOR_APPROVAL())
        is_stopped = campaign.state == Campaign.State.STOPPED
        return localize_html(campaign.stopped_because if is_stopped else campaign.waits_for)

    @display(description=_("created"), ordering="created_at")
    def created_when(self, campaign: Campaign) -> SafeString | str:
        return time_ago(campaign.created_at)
