"""The pages that start a campaign: the form, and what it would do before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import AdminView, get_signed_in_user
from migration.admin.campaign_forms import PLACE, CampaignForm, read_places
from migration.admin.campaign_views import MOVE_PERMISSION, get_campaign_url
from migration.models import GOALS, Campaign, ClientGroup, PhaseChoices, ReasonError, Wave
from migration.operations.approvals import NotApproved
from migration.operations.campaigns import CampaignRefusedError, require_sense, start_campaign
from migration.reports.campaign_preview import list_blocked
from migration.reports.campaign_waits import show_time
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

    from migration.admin.campaign_forms import CampaignSettings

START_PERMISSION = "migration.add_campaign"
# Django takes a form of at most a thousand fields.
GROUPS_SHOWN = 500


@dataclass(frozen=True)
class GroupNumbers:
    """A group with its clients by phase, and how many of them a campaign to `goal` finds there or further."""

    group: ClientGroup
    goal: Phase
    wave_size: int = 0

    @property
    def clients(self) -> int:
        return sum(self.by_phase)

    @property
    def by_phase(self) -> list[int]:
        return [getattr(self.group, f"in_{phase}") for phase in Phase]

    @property
    def at_goal(self) -> int:
        """Return the number of clients that stand at the goal or further: the campaign leaves them there."""
        order = list(Phase)
        return sum(self.by_phase[order.index(self.goal) :])

    @property
    def before_goal(self) -> int:
        return self.clients - self.at_goal

    @property
    def waves(self) -> int:
        return max(1, ceil(self.before_goal / self.wave_size)) if self.wave_size else 1


def may_start_campaign(request: HttpRequest) -> bool:
    """Say whether the user may start campaigns, and make their moves."""
    return all(map(request.user.has_perm, (START_PERMISSION, MOVE_PERMISSION)))


class StartCampaignView(AdminView):
    """The form of a new campaign. What it would do is shown first, and then it is started."""

    template_name = "admin/migration/campaign_start.html"

    @property
    def title(self) -> str:
        return _("Start a campaign")

    def has_permission(self) -> bool:
        return may_start_campaign(self.request)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_form(CampaignForm(), {})

    def post(self, request: HttpRequest) -> HttpResponse:
        form, places = CampaignForm(request.POST), read_places(request.POST)
        form.is_valid()
        groups = form.read_groups(places)
        step = request.POST.get("step", "")
        if not form.errors:
            self.require_sense(form, groups)
        if form.errors or step == "change":
            return self.show_form(form, places)
        if step == "start":
            return self.start(form, places, groups)
        return self.show_numbers(form, places, groups)

    def require_sense(self, form: CampaignForm, groups: list[ClientGroup]) -> None:
        """Add an error to the form where the start would be refused whatever the clients are."""
        try:
            require_sense(Campaign(**form.read_settings()), groups)
        except CampaignRefusedError as refusal:
            form.add_error(None, localize(refusal.message))

    def start(
        self, form: CampaignForm, places: Mapping[int, str], groups: list[ClientGroup]
    ) -> HttpResponse:
        """Start the campaign and lead to its page; where it is refused, show the form as it was typed."""
        by = get_signed_in_user(self.request)
        try:
            campaign = start_campaign(groups=groups, by=by, **form.read_settings())
        except (CampaignRefusedError, NotApproved, ReasonError) as refusal:
            form.add_error(None, localize(refusal.message))
            return self.show_form(form, places)
        now = timezone.now()
        if campaign.state == Campaign.State.REQUESTED:
            text = _("%(campaign)s is requested: somebody else has to approve it.")
        elif campaign.may_begin_step(now):
            text = _("%(campaign)s is started: its first wave begins within a minute.")
        else:
            text = _("%(campaign)s is started: its first wave begins about %(when)s.")
        when = show_time(campaign.find_opening(now))
        messages.success(self.request, text % {"campaign": campaign, "when": when})
        return HttpResponseRedirect(get_campaign_url(campaign.pk))

    def show_form(self, form: CampaignForm, places: Mapping[int, str]) -> HttpResponse:
        counted = ClientGroup.objects.with_counts().order_by("key")
        groups = list(counted[: GROUPS_SHOWN + 1])
        taken = Wave.objects.filter(campaign__state__in=Campaign.NOT_OVER, group__in=groups)
        taken_by = {wave.group_id: wave.campaign for wave in taken.select_related("campaign")}
        return self.render_to_response(
            self.get_context_data(
                form=form,
                rows=[
                    {
                        "numbers": GroupNumbers(group, GOALS[-1]),
                        "field": f"{PLACE}{group.pk}",
                        "typed": places.get(group.pk, ""),
                        "taken_by": taken_by.get(group.pk),
                    }
                    for group in groups[:GROUPS_SHOWN]
                ],
                has_more=len(groups) > GROUPS_SHOWN,
                most=GROUPS_SHOWN,
                phases=PhaseChoices.labels,
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
        )

    def show_numbers(
        self, form: CampaignForm, places: Mapping[int, str], groups: list[ClientGroup]
    ) -> HttpResponse:
        """Show how many clients of each group stand where, and a button that starts the campaign."""
        typed: CampaignSettings = form.read_settings()
        goal, size = typed["goal"], typed["wave_size"]
        numbers = [GroupNumbers(group, goal, size) for group in groups]
        sent = {name: self.request.POST.get(name, "") for name in form.fields}
        sent |= {f"{PLACE}{pk}": text for pk, text in places.items()}
        self.template_name = "admin/migration/campaign_check.html"
        return self.render_to_response(
            self.get_context_data(
                settings=Campaign(**typed),
                typed_soak=sent["soak_time"].strip() if form.rounds_soak_time else "",
                blocked=list_blocked(groups, [old for old, _new in Campaign(goal=goal).steps]),
                rows=numbers,
                before_goal=sum(row.before_goal for row in numbers),
                at_goal=sum(row.at_goal for row in numbers),
                waves=sum(row.waves for row in numbers),
                sent=[(name, value) for name, value in sent.items() if value],
                waits=form.waits,
                time_zone=timezone.get_default_timezone_name(),
                phases=PhaseChoices.labels,
            )
        )
