"""The pages that start a campaign: the form, and what it would do before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Self

from django.conf import settings as site_settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES, RADIO_CLASSES

from credentials.localization import localize
from migration.admin.base import (
    GROUP_PERMISSION,
    NEW_GROUP_PERMISSION,
    AdminView,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
)
from migration.admin.campaign_forms import PLACE, CampaignForm, Source, read_places_by_group_id
from migration.admin.campaign_views import (
    MOVE_PERMISSION,
    get_campaign_url,
    get_stop_notice_context,
)
from migration.models.campaigns import GOALS, Campaign
from migration.models.client_groups import ClientGroup, ClientGroupError, GroupMember
from migration.models.clients import all_clients, digest_clients
from migration.models.phases import PhaseChoices
from migration.models.reasons import ReasonError
from migration.models.waves import Wave
from migration.operations.approvals import ApprovalStepRefused
from migration.operations.campaigns import (
    CampaignStartRefusedError,
    require_sense,
    start_campaign,
    start_campaign_with,
)
from migration.operations.evidence import describe_duration
from migration.reports.campaign_choice import choose_clients
from migration.reports.campaign_preview import count_by_group_and_blocker
from migration.reports.campaign_waits import show_time
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client
    from migration.admin.bulk_moves import BulkAction
    from migration.models.clients import ClientPhaseQuerySet
    from migration.reports.campaign_choice import ChosenClients
    from migration.reports.campaign_preview import BlockedClientCount

START_PERMISSION = "migration.add_campaign"
# Django takes a form of at most a thousand fields.
GROUPS_SHOWN = 500


@dataclass(frozen=True)
class GroupNumbers:
    """A group, as it is or as it will be made, with its clients by phase and what a campaign to `goal` makes of it."""

    name: str
    by_phase: list[int]
    goal: Phase
    wave_size: int = 0

    @classmethod
    def of_group(cls, group: ClientGroup, goal: Phase, wave_size: int = 0) -> Self:
        by_phase = [getattr(group, f"in_{phase}") for phase in Phase]
        return cls(str(group), by_phase, goal, wave_size)

    @property
    def clients(self) -> int:
        return sum(self.by_phase)

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

    @property
    def most_moves_per_client(self) -> int:
        """Return the most moves that a client of the group makes up to the goal."""
        first = next((n for n, number in enumerate(self.by_phase) if number), len(self.by_phase))
        return max(0, list(Phase).index(self.goal) - first)


def may_start_campaign(request: HttpRequest) -> bool:
    """Say whether the user may start campaigns, and make their moves."""
    return all(map(request.user.has_perm, (START_PERMISSION, MOVE_PERMISSION)))


def may_make_group(request: HttpRequest) -> bool:
    """Say whether the user may make a group of clients: a campaign without groups makes one on the way."""
    return all(map(request.user.has_perm, (NEW_GROUP_PERMISSION, GROUP_PERMISSION)))


def has_free_group() -> bool:
    """Say whether there is a group that no campaign takes, with clients that stand before the last goal."""
    taken = Wave.objects.filter(campaign__state__in=Campaign.NOT_OVER, group__isnull=False)
    before = all_clients().in_phases(*(old for old, _new in Campaign(goal=GOALS[-1]).steps))
    free = ClientGroup.objects.exclude(pk__in=taken.values("group"))
    return free.filter(members__client__in=before.values("pk")).exists()


class StartCampaignView(AdminView):
    """The form of a new campaign. What it would do is shown first, and then it is started.

    It takes groups, or the clients that can go: of all, or of those that were selected in their list. Selected ones are
    in one field: a form has at most a thousand of them.
    """

    template_name = "admin/migration/campaign_start.html"
    selected: ClientPhaseQuerySet | None = None

    @property
    def title(self) -> str:
        return _("Start a campaign")

    def has_permission(self) -> bool:
        return may_start_campaign(self.request)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_first_form([])

    def show_first_form(self, ids: list[int]) -> HttpResponse:
        """Show the form as nobody has filled it in: for selected clients, groups that are there, or all clients."""
        if not may_make_group(self.request):
            return self.show_form(CampaignForm(), {}, [])
        source = Source.SELECTED if ids else Source.GROUPS if has_free_group() else Source.ALL
        if source == Source.GROUPS:
            return self.show_form(CampaignForm(), {}, [])
        number = choose_clients(GOALS[-1], only=ids or None).number
        return self.show_form(CampaignForm(source=source, clients=number), {}, ids, number)

    def post(self, request: HttpRequest) -> HttpResponse:
        if self.selected is not None:
            return self.show_first_form(list(self.selected.values_list("pk", flat=True)))
        form, places = CampaignForm(request.POST), read_places_by_group_id(request.POST)
        form.is_valid()
        if form.chosen_source != Source.GROUPS:
            return self.show_or_start_client_campaign(form, places)
        groups = form.read_group_order(places)
        step = request.POST.get("step", "")
        if not form.errors:
            self.add_error_if_senseless(form, groups)
        if form.errors or step == "change":
            return self.show_form(form, places, self.read_ids())
        memberships = GroupMember.objects.filter(group__in=groups).values_list("pk", flat=True)
        shown = digest_clients(list(memberships))
        if step == "start" and read_raw_form_text(request, "shown") == shown:
            return self.start(form, places, partial(start_campaign, groups=groups))
        if step == "start":
            text = _(
                "Nothing was started: the groups have other clients now. Look at the numbers again."
            )
            messages.warning(request, text)
        goal, size = form.read_settings()["goal"], form.read_settings()["wave_size"]
        numbers = [GroupNumbers.of_group(group, goal, size) for group in groups]
        before = [old for old, _new in Campaign(goal=goal).steps]
        return self.show_numbers(
            form, places, numbers, shown, blocked=count_by_group_and_blocker(groups, before)
        )

    def show_or_start_client_campaign(
        self, form: CampaignForm, places: Mapping[int, str]
    ) -> HttpResponse:
        """Show or start a campaign of the clients that can go, of which a group is made."""
        if not may_make_group(self.request):
            raise PermissionDenied
        ids, step = self.read_ids(), self.request.POST.get("step", "")
        if not form.errors:
            self.add_error_if_senseless(form, None)
            form.add_group_name_error()
        if places:
            form.add_error(
                "source", _("You typed places of groups: choose the groups here, or no places.")
            )
        if form.chosen_source == Source.SELECTED and not ids:
            form.add_error("source", _("No client is selected: select some in their list."))
        if form.errors or step == "change":
            return self.show_form(form, places, ids)
        goal = form.read_settings()["goal"]
        chosen = choose_clients(goal, only=ids if form.chosen_source == Source.SELECTED else None)
        shown = digest_clients(chosen.ids)
        is_as_shown = read_raw_form_text(self.request, "shown") == shown
        if step == "start" and chosen.ids and is_as_shown:
            clients = all_clients().with_ids(chosen.ids)
            start = partial(start_campaign_with, chosen=clients, name=form.new_group_name)
            return self.start(form, places, start)
        if step == "start":
            text = _("Nothing was started: other clients can go now. Look at the numbers again.")
            messages.warning(self.request, text)
        by_phase = [chosen.by_phase[phase] for phase in Phase]
        numbers = GroupNumbers(
            form.new_group_name, by_phase, goal, form.read_settings()["wave_size"]
        )
        return self.show_numbers(form, places, [numbers], shown, chosen=chosen)

    def read_ids(self) -> list[int]:
        """Return the ids of the clients that were selected in the list, as the page itself names them."""
        numbers = map(read_number, read_raw_form_text(self.request, "clients").split())
        return list(dict.fromkeys(pk for pk in numbers if pk is not None))

    def add_error_if_senseless(self, form: CampaignForm, groups: list[ClientGroup] | None) -> None:
        """Add an error to the form where the start would be refused whatever the clients are."""
        try:
            require_sense(Campaign(**form.read_settings()), groups)
        except CampaignStartRefusedError as refusal:
            form.add_error(None, localize(refusal.message))

    def start(
        self, form: CampaignForm, places: Mapping[int, str], start: Callable[..., Campaign]
    ) -> HttpResponse:
        """Start the campaign and lead to its page; where it is refused, show the form as it was typed."""
        by = get_signed_in_user(self.request)
        try:
            campaign = start(by=by, **form.read_settings())
        except (
            CampaignStartRefusedError,
            ClientGroupError,
            ApprovalStepRefused,
            ReasonError,
        ) as refusal:
            form.add_error(None, localize(refusal.message))
            return self.show_form(form, places, self.read_ids())
        now = timezone.now()
        if campaign.state == Campaign.State.REQUESTED:
            text = _("%(campaign)s is requested: somebody else has to approve it.")
        elif campaign.hours_allow_step(now):
            text = _("%(campaign)s is started: its first wave begins within a minute.")
        else:
            text = _("%(campaign)s is started: its first wave begins about %(when)s.")
        when = show_time(campaign.find_opening(now))
        messages.success(self.request, text % {"campaign": campaign, "when": when})
        return HttpResponseRedirect(get_campaign_url(campaign.pk))

    def show_form(
        self,
        form: CampaignForm,
        places: Mapping[int, str],
        ids: list[int],
        number: int | None = None,
    ) -> HttpResponse:
        counted = ClientGroup.objects.with_counts().order_by("key")
        groups = list(counted[: GROUPS_SHOWN + 1])
        taken = Wave.objects.filter(campaign__state__in=Campaign.NOT_OVER, group__in=groups)
        taken_by = {wave.group_id: wave.campaign for wave in taken.select_related("campaign")}
        return self.render_to_response(
            self.get_context_data(
                form=form,
                source=form["source"].value() or Source.GROUPS.value,
                may_make_group=may_make_group(self.request),
                ids=" ".join(map(str, ids)),
                selected=len(ids),
                number=number,
                rows=[
                    {
                        "numbers": GroupNumbers.of_group(group, GOALS[-1]),
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
                radio_classes=" ".join(RADIO_CLASSES),
            )
        )

    def show_numbers(
        self,
        form: CampaignForm,
        places: Mapping[int, str],
        numbers: list[GroupNumbers],
        shown: str,
        *,
        blocked: Collection[BlockedClientCount] = (),
        chosen: ChosenClients | None = None,
    ) -> HttpResponse:
        """Show how many clients of each group stand where, and a button that starts the campaign.

        `shown` is a digest of them, which the button sends along.
        """
        settings = Campaign(**form.read_settings())
        sent = {name: self.request.POST.get(name, "") for name in form.fields}
        sent |= {f"{PLACE}{pk}": text for pk, text in places.items()}
        if chosen:
            sent["group_name"] = form.new_group_name
        sent["shown"] = shown
        if form.chosen_source == Source.SELECTED:
            sent["clients"] = " ".join(map(str, self.read_ids()))
        soaks = sum(row.waves * row.most_moves_per_client for row in numbers)
        self.template_name = "admin/migration/campaign_check.html"
        return self.render_to_response(
            self.get_context_data(
                settings=settings,
                typed_soak=sent["soak_time"].strip() if form.rounds_soak_time else "",
                blocked=blocked,
                chosen=chosen,
                rows=numbers,
                before_goal=sum(row.before_goal for row in numbers),
                at_goal=sum(row.at_goal for row in numbers),
                waves=sum(row.waves for row in numbers),
                steps=max(row.most_moves_per_client for row in numbers),
                lasts=localize(describe_duration(soaks * settings.soak)) if settings.soak else "",
                sent=[(name, value) for name, value in sent.items() if value],
                waits=form.awaits_approval,
                wants_reads=site_settings.NOVA_MIN_READS if settings.goal == Phase.AWS else 0,
                time_zone=timezone.get_default_timezone_name(),
                phases=PhaseChoices.labels,
                may_view_clients=self.request.user.has_perm("credentials.view_client"),
                **get_stop_notice_context(self.request),
            )
        )


def list_campaign_actions(request: HttpRequest) -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the action of the client list that begins a campaign, where the user may, as Django has it."""
    if not (may_start_campaign(request) and may_make_group(request)):
        return {}
    return {
        "start_campaign": (open_start, "start_campaign", _("Take further in waves (campaign)…"))
    }


def open_start(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseBase:
    """Show the form of a campaign that takes the selected clients."""
    of_campaigns = model_admin.admin_site.get_model_admin(Campaign)
    return StartCampaignView.as_view(model_admin=of_campaigns, selected=chosen)(request)
