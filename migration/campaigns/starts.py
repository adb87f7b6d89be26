"""Starts a campaign: the form, and the plan of what it would do with whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES, RADIO_CLASSES, SELECT_CLASSES

from credentials.localization import localize, show_moment
from credentials.models import Client, name_rows
from migration.campaigns.explain import describe_time_of_reads, measure_pace_of_reads
from migration.campaigns.members import list_clients_in_campaigns
from migration.campaigns.models import GOALS, GROUP_OF_FIRST_WAVE, Campaign, Wave, WaveClient
from migration.campaigns.pages import MOVE_PERMISSION, get_campaign_url, get_stop_notice_context
from migration.campaigns.steps import (
    GROUP_TWICE,
    HALF_THE_HOURS,
    NO_GROUPS,
    SOAKS_TOO_SHORT,
    CampaignStartRefusedError,
    OtherClientsShownError,
    awaits_approval,
    digest_groups,
    require_sense,
    start_campaign,
    start_campaign_with,
)
from migration.core.audit import ReasonError
from migration.core.clients import ClientPhaseQuerySet, PhaseChoices, all_clients, digest_clients
from migration.core.groups import (
    GROUP_NAME_TAKEN,
    NAME_LENGTH,
    ClientGroup,
    ClientGroupError,
    GroupMember,
    parse_group_name,
)
from migration.core.pages import (
    GROUP_PERMISSION,
    NEW_GROUP_PERMISSION,
    AdminView,
    BulkAction,
    get_signed_in_user,
    read_number,
)
from migration.moves.acts import MOVE_ACTS
from migration.moves.approvals import ApprovalStepRefused
from migration.moves.readiness import Standing, find_standing, with_blocker
from migration.moves.rules import BLOCKERS
from migration.pushes.pushable import select_unpushable
from migration.runs.act_pages import CLIENTS_SHOWN, LABELS, TABS
from migration.runs.acts import ReasonForm
from migration.runs.failures import select_failed_pushes
from migration.runs.plans import PlanClass
from nova_credentials.messages import Sentence, describe_duration
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise, StrPromise

# The plan: whom the campaign takes, and of the others why not

# Of clients whose first push would be refused; the client's page says what of its rows is wrong.
UNFIT = _("No secret can be made of its rows")
IN_CAMPAIGN = _("In a campaign that is not over")
# As the page of an act has them.
SHOWN_VERDICTS = (PlanClass.WILL, PlanClass.REFUSED, PlanClass.NOTHING)


@dataclass
class PlannedGroup:
    """A group, as it is or as it will be made: its clients by phase, and of these whom the campaign takes."""

    name: str
    campaign: Campaign
    by_phase: Counter[str] = field(default_factory=Counter)
    taken_by_phase: Counter[str] = field(default_factory=Counter)
    # Of one that will be made
    ids: list[int] = field(default_factory=list, repr=False)

    @property
    def clients(self) -> int:
        return self.by_phase.total()

    @property
    def taken(self) -> int:
        return self.taken_by_phase.total()

    @property
    def waves(self) -> int:
        size = self.campaign.wave_size
        return max(1, ceil(self.taken / size)) if size else 1

    @property
    def steps(self) -> int:
        """Return the most moves that a client of it makes up to the goal."""
        steps = self.campaign.steps
        return max(
            (len(steps) - n for n, (old, _) in enumerate(steps) if self.taken_by_phase[old]),
            default=0,
        )


@dataclass
class CampaignPlan:
    """What a campaign would do, as an act's plan says it; `shown` tells whether it is still so."""

    campaign: Campaign
    rows: list[PlannedGroup]
    # Who would be done, refused or left where they are: id and slug, by the reason and the client list's query of it.
    found: dict[PlanClass, dict[tuple[str, str], list[tuple[int, str]]]] = field(repr=False)
    # Of a campaign that has groups these, else the clients that it takes.
    shown: str = field(default="", repr=False)
    takes_groups: bool = False

    @property
    def blocked(self) -> int:
        """Return how many clients of its groups it takes although something keeps them: each is refused in its turn."""
        taken = self.taken - len(self.ids)
        return taken if self.takes_groups else 0

    @property
    def phases(self) -> list[Phase]:
        """Return the phases in which some of the clients stand."""
        return [phase for phase in Phase if any(row.by_phase[phase] for row in self.rows)]

    @property
    def numbered_rows(self) -> list[tuple[PlannedGroup, list[int]]]:
        """Return each group with how many clients it has in these phases."""
        return [(row, [row.by_phase[phase] for phase in self.phases]) for row in self.rows]

    @property
    def ids(self) -> list[int]:
        """Return the ids of those to whom it would be done."""
        return [pk for clients in self.found[PlanClass.WILL].values() for pk, _slug in clients]

    @property
    def taken(self) -> int:
        return sum(row.taken for row in self.rows)

    @property
    def waves(self) -> int:
        return sum(row.waves for row in self.rows)

    @property
    def steps(self) -> int:
        return max(row.steps for row in self.rows)

    @property
    def lasts(self) -> timedelta:
        """Return how long its waves soak one after the other, at most."""
        return self.soaks * self.campaign.soak

    @property
    def soaks(self) -> int:
        """Return after how many steps its waves soak, at most."""
        return sum(row.waves * row.steps for row in self.rows)

    def describe_verdicts(self) -> list[dict[str, Any]]:
        """Return the clients by verdict, as `admin/migration/act_groups.html` shows them: CLIENTS_SHOWN of each."""
        shown = {
            verdict: [
                (*client, label) for (label, _query), each in kinds.items() for client in each
            ]
            for verdict, kinds in self.found.items()
        }
        ids = [pk for each in shown.values() for pk, _slug, _label in each[:CLIENTS_SHOWN]]
        refused = [pk for pk, _slug, _label in shown[PlanClass.REFUSED][:CLIENTS_SHOWN]]
        failed = select_failed_pushes().filter(client__in=refused).order_by()
        told = [(pk, why) for pk, why in failed.values_list("client_id", "message") if why]
        named = name_rows([why for _pk, why in told])
        reasons = dict(zip([pk for pk, _why in told], named, strict=True))
        names = dict(all_clients().with_ids(ids).order_by().values_list("pk", "name"))
        url = reverse("admin:credentials_client_changelist")
        link = '<a class="text-link underline" href="{}?{}">{}</a>'
        first = PlanClass.REFUSED if shown[PlanClass.REFUSED] else PlanClass.WILL
        return [
            {
                "verdict": verdict.value,
                "label": gettext("Blocked now")
                if self.takes_groups and verdict == PlanClass.REFUSED
                else TABS[verdict][0],
                "number": len(shown[verdict]),
                "kind": LABELS[verdict],
                "icon": TABS[verdict][1],
                "kinds": [
                    (format_html(link, url, query, label) if query else label, len(clients))
                    for (label, query), clients in kinds.items()
                ],
                "clients": [
                    (
                        {
                            "client_id": pk,
                            "slug": slug,
                            "kind": label,
                            "message": reasons.get(pk),
                        },
                        names.get(pk, slug),
                    )
                    for pk, slug, label in shown[verdict][:CLIENTS_SHOWN]
                ],
                "more": len(shown[verdict]) - CLIENTS_SHOWN,
                "is_open": verdict == first,
            }
            for verdict, kinds in self.found.items()
            if kinds or verdict == PlanClass.WILL
        ]


def plan_campaign(
    campaign: Campaign,
    groups: Sequence[ClientGroup] = (),
    *,
    names: Sequence[str] = ("",),
    first: int = 0,
    only: Collection[int] | None = None,
) -> CampaignPlan:
    """Say what the campaign would do with the groups, or with new ones, called so, of all clients or of `only` these.

    New groups hold those that are ready, or wait for what passes by itself: of two, the first holds the `first` of
    them. One that is there is taken as it is: who needs somebody first is refused when the turn comes.
    """
    members: dict[int, int] = {}
    # First: who comes into a group while the plan is made is not as it was shown.
    shown = digest_groups(groups)
    if groups:
        # A client in several of them goes with the first.
        place = {group.pk: number for number, group in enumerate(groups)}
        rows_of_groups = GroupMember.objects.filter(group__in=groups)
        for pk, group_id in rows_of_groups.values_list("client_id", "group_id"):
            members[pk] = min(place[group_id], members.get(pk, len(groups)))
        only = members
    clients = all_clients() if only is None else all_clients().with_ids(only)
    rows = [PlannedGroup(each, campaign) for each in map(str, groups or names)]
    plan = CampaignPlan(
        campaign, rows, {verdict: {} for verdict in SHOWN_VERDICTS}, takes_groups=bool(groups)
    )
    before = [old.value for old, _new in campaign.steps]
    # A wave takes its group's members but for those that another campaign's wave has by then: who only waits for
    # another's goes with the one that begins first.
    taken = WaveClient.objects.in_open_campaigns().values_list("client_id", flat=True)
    busy = set(taken) if groups else list_clients_in_campaigns()
    unfit = set(select_unpushable().values_list("pk", flat=True))
    # The client list knows neither a selection, nor who is in some campaign.
    has_list = busy.isdisjoint(members) if groups else only is None and not busy
    found = with_blocker(clients).order_by("slug", "pk")
    for pk, slug, phase, code in found.values_list("pk", "slug", "phase", "blocker"):
        blocker = BLOCKERS[code]
        row = rows[members[pk]] if groups else rows[-1] if rows[0].taken >= first else rows[0]
        verdict, label, query = PlanClass.REFUSED, str(PhaseChoices(phase).label), ""
        is_busy = pk in busy
        if phase not in before:
            verdict = PlanClass.NOTHING
        elif is_busy:
            label = f"{label}: {IN_CAMPAIGN}"
        elif find_standing(phase, blocker) == Standing.BLOCKED:
            label = f"{label}: {blocker.label}"
            if has_list:
                filters = {"group": groups[members[pk]].pk} if groups else {}
                query = urlencode({**filters, "phase": phase, "next": blocker.code})
        elif pk in unfit:
            label = f"{label}: {UNFIT}"
        else:
            verdict = PlanClass.WILL
        if len(groups) > 1 and verdict == PlanClass.REFUSED:
            label = f"{row.name}: {label}"
        plan.found[verdict].setdefault((label, query), []).append((pk, slug))
        stays = bool(groups) and verdict == PlanClass.REFUSED and not is_busy
        if verdict == PlanClass.WILL or stays:
            row.taken_by_phase[phase] += 1
        if verdict == PlanClass.WILL or groups:
            row.by_phase[phase] += 1
            row.ids.append(pk)
    if not groups:
        plan.rows = [row for row in rows if row.ids] or rows[:1]
    plan.shown = shown if groups else digest_clients(plan.ids)
    return plan


# The field for a soak time as people say it: "72 s", "30 min", "24 h"

# Of each unit, by its first letter; its names are those of English and Spanish.
SECONDS = {"s": 1, "m": 60, "h": 3600}
NUMBER_AND_UNIT = re.compile(
    r"([0-9]{1,9}(?:[.,][0-9]{1,4})?)\s*"
    r"(s|secs?|seconds?|segs?|segundos?|m|mins?|minutes?|minutos?|h|hours?|horas?)\.?",
    re.IGNORECASE,
)
USUAL_HOURS = 24


class SoakTimeField(forms.CharField):
    """Takes a number and its unit, which 0 needn't have; gives exactly so many seconds."""

    def clean(self, value: object) -> Decimal:
        text = super().clean(value)
        found = NUMBER_AND_UNIT.fullmatch("0 s" if text == "0" else text)
        if found is None:
            raise ValidationError(_("Enter a number and a unit, such as 30 min or 24 h."))
        number, unit = found.groups()
        return Decimal(number.replace(",", ".")) * SECONDS[unit[0].lower()]


def suggest_soak_time() -> str:
    """Return the time that the gate to AWS wants at least, or a day where it wants none, as the field takes it."""
    hours = Decimal(str(settings.NOVA_DUAL_READ_HOURS)) or Decimal(USUAL_HOURS)
    if hours == round(hours, 1) and hours >= 1:
        return f"{hours.normalize():f} h"
    return f"{ceil(hours * 60)} min"


def describe_soak_time() -> str:
    """Say what the field takes, and how much of it a cutover wants."""
    text = gettext("How long to wait after each step, such as 30 min or 24 h.")
    if not settings.NOVA_DUAL_READ_HOURS:
        return f"{text} {gettext('0 for none.')}"
    wanted = describe_duration(timedelta(hours=float(settings.NOVA_DUAL_READ_HOURS)))
    least = gettext("A cutover needs at least %(time)s.") % {"time": localize(wanted)}
    return f"{text} {least}"


# The form

# Fields of these names hold the place of a group, whose id follows.
PLACE = "place_"
# A campaign without groups suggests as many waves, where it has so many clients.
SUGGESTED_WAVES, MANY_CLIENTS = 4, 50
# Of the form, and of `Campaign`.
LIMITS = ("most_mismatches", "most_failed_reads", "most_refused")
SETTINGS = (
    "goal",
    "wave_size",
    "soak_minutes",
    *LIMITS,
    "begins_at",
    "ends_at",
    "rolls_back",
    "reason",
)


class Source(models.TextChoices):
    """Whom a campaign takes: of the first two a group is made on the way."""

    ALL = "all", _("All clients that can move")
    SELECTED = "selected", _("The selected clients")
    GROUPS = "groups", _("Client groups, in their order")


class PlacesWidget(forms.Widget):
    """Reads what was typed beside each group, by the id that stands in the field's name; without the empty ones."""

    def value_from_datadict(
        self, data: Mapping[str, Any], files: object, name: str
    ) -> dict[str, str]:
        given = {
            key.removeprefix(PLACE): text for key, text in data.items() if key.startswith(PLACE)
        }
        return {pk: text.strip() for pk, text in given.items() if text.strip() and read_number(pk)}


class GroupOrderField(forms.Field):
    """Takes a place for each group that is to be taken; gives the groups in their order."""

    widget = PlacesWidget

    def clean(self, value: dict[str, str]) -> list[ClientGroup]:
        places: dict[int, int] = {}
        errors = list[str]()
        for pk, text in value.items():
            place = read_number(text) or 0
            if place in places.values():
                errors.append(gettext("Two groups have the place %(place)s.") % {"place": text})
            elif not place:
                errors.append(gettext("“%(text)s” is no place: type 1, 2, 3 …") % {"text": text})
            else:
                places[int(pk)] = place
        groups = ClientGroup.objects.in_bulk(list(places))
        if len(groups) < len(places):
            errors.append(gettext("A group was deleted while the form was open."))
        if errors:
            raise ValidationError(errors)
        return sorted(groups.values(), key=lambda group: places[group.pk])


class ClientIdsField(forms.CharField):
    """Takes the clients that were selected in their list, in one field: a form has at most a thousand."""

    widget = forms.HiddenInput

    def clean(self, value: object) -> list[int]:
        numbers = map(read_number, super().clean(value).split())
        return list(dict.fromkeys(pk for pk in numbers if pk is not None))


def limit_field(label: StrPromise) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, initial=1)


def hour_field(label: StrPromise) -> forms.TimeField:
    widget = forms.TimeInput(format="%H:%M", attrs={"type": "time"})
    return forms.TimeField(label=label, required=False, widget=widget)


# Of a refusal, by its key: the field that it is about.
FIELDS_OF_REFUSALS = {
    NO_GROUPS.key: "groups",
    GROUP_TWICE.key: "groups",
    SOAKS_TOO_SHORT.key: "soak_time",
    HALF_THE_HOURS.key: "ends_at",
}


class CampaignForm(ReasonForm):
    """Holds whom a campaign takes, its settings, and what was shown of its clients."""

    # Of a valid form: not stored.
    campaign: Campaign

    source = forms.ChoiceField(label=_("Which clients"), choices=Source, required=False)
    group_name = forms.CharField(
        label=_("Name of their new group"),
        help_text=_("Empty: named by date and time."),
        max_length=NAME_LENGTH,
        required=False,
    )
    groups = GroupOrderField(label=_("Groups, in their order"), required=False)
    clients = ClientIdsField(required=False)
    # `CampaignPlan.shown` of the page from which it is started.
    shown = forms.CharField(required=False, widget=forms.HiddenInput)
    first_wave = forms.IntegerField(
        label=_("Clients in the first wave"),
        help_text=_("Start small: these go first, as a group of their own. Empty: no first wave."),
        min_value=1,
        required=False,
    )
    goal = forms.TypedChoiceField(
        label=_("Goal"),
        choices=[(goal.value, PhaseChoices(goal).label) for goal in GOALS],
        coerce=Phase,
        initial=Phase.AWS.value,
    )
    wave_size = forms.IntegerField(
        label=_("Clients per wave (max.)"),
        help_text=_("Empty: each group is one wave."),
        min_value=1,
        required=False,
    )
    soak_time = SoakTimeField(
        label=_("Watch time"),
        max_length=40,
    )
    most_mismatches = limit_field(_("Mismatched clients"))
    most_failed_reads = limit_field(_("Failed reads at AWS"))
    most_refused = limit_field(_("Refused clients"))
    begins_at = hour_field(_("Start steps from"))
    ends_at = hour_field(_("Start steps until"))
    rolls_back = forms.BooleanField(
        label=_("Roll the wave back when the campaign stops"),
        help_text=_("Only clients that NOVA reads from AWS and whose stores match."),
        required=False,
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        source: Source = Source.GROUPS,
        client_ids: Collection[int] = (),
        number: int = 0,
    ) -> None:
        """Make the form; without data it suggests settings for so many clients, whichever way they are chosen."""
        initial = {
            "source": source.value,
            "clients": " ".join(map(str, client_ids)),
            "soak_time": suggest_soak_time(),
            "wave_size": ceil(number / SUGGESTED_WAVES) if number > MANY_CLIENTS else None,
        }
        super().__init__(data, initial=initial)
        # As they stand in the form: why comes last.
        self.order_fields([name for name in self.fields if name != "reason"])
        classes = {"goal": SELECT_CLASSES, "rolls_back": CHECKBOX_CLASSES}
        for name, each in self.fields.items():
            each.widget.attrs["class"] = " ".join(classes.get(name, BASE_INPUT_CLASSES))
        for name in ("group_name", "first_wave", "soak_time"):
            self.fields[name].widget.attrs["autocomplete"] = "off"
        self.fields["soak_time"].help_text = describe_soak_time()
        if not any(act.needs_approval for act in MOVE_ACTS.values()):
            self.fields["reason"].label = gettext("Reason or ticket (optional)")
        hours = gettext("Empty: any time. In %(zone)s; may span midnight.")
        self.fields["ends_at"].help_text = hours % {"zone": timezone.get_default_timezone_name()}

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        found = self.cleaned_data
        found["soak_minutes"] = ceil(found["soak_time"] / 60)
        found["wave_size"] = found["wave_size"] or 0
        self.campaign = Campaign(**self.settings)
        try:
            require_sense(self.campaign, found["groups"] if self.takes_groups else None)
        except CampaignStartRefusedError as refusal:
            self.add_error(FIELDS_OF_REFUSALS.get(refusal.message.key), localize(refusal.message))
        if awaits_approval(self.campaign) and not found["reason"]:
            self.add_error("reason", gettext("Nothing was started: give a reason or a ticket."))
        if self.takes_groups:
            return
        try:
            for name in map(parse_group_name, self.new_group_names):
                if taken := ClientGroup.objects.find_by_name(name):
                    self.add_error("group_name", localize(GROUP_NAME_TAKEN(name=taken.name)))
        except ClientGroupError as refusal:
            self.add_error("group_name", localize(refusal.message))
        if found["source"] == Source.SELECTED and not found["clients"]:
            text = gettext("No client is selected: select some in their list.")
            self.add_error("source", text)

    @property
    def takes_groups(self) -> bool:
        """Say whether it takes groups that are there, as it does where it doesn't say."""
        return (self.cleaned_data.get("source") or Source.GROUPS) == Source.GROUPS

    @property
    def new_group_name(self) -> str:
        """Return the name of the group that is made on the way, as typed or as suggested."""
        typed: str = self.cleaned_data.get("group_name", "")
        now = timezone.localtime(timezone=timezone.get_default_timezone())
        return typed or gettext("Clients of %(when)s") % {
            "when": date_format(now, "DATETIME_FORMAT")
        }

    @property
    def new_group_names(self) -> list[str]:
        """Return the names of the groups that are made on the way: the first wave has one of its own."""
        name = self.new_group_name
        if not self.cleaned_data.get("first_wave"):
            return [name]
        return [localize(GROUP_OF_FIRST_WAVE(name=name)), name]

    @property
    def sections(self) -> list[tuple[str, list[forms.BoundField], str]]:
        """Return the fields of its settings in their parts: title, fields, and what else there is to say."""
        parts = [
            (gettext("Waves"), ("goal", "wave_size", "soak_time", "begins_at", "ends_at"), ""),
            (
                gettext("Stop at"),
                (*LIMITS, "rolls_back"),
                gettext("The campaign stops when a wave reaches one of these numbers."),
            ),
            (gettext("Reason"), ("reason",), ""),
        ]
        return [(title, [self[name] for name in names], note) for title, names, note in parts]

    @property
    def settings(self) -> dict[str, Any]:
        """Return what was typed as `start_campaign` takes it."""
        return {name: self.cleaned_data[name] for name in SETTINGS}

    @cached_property
    def plan(self) -> CampaignPlan:
        """Return what it would do, of a valid form."""
        found = self.cleaned_data
        if self.takes_groups:
            return plan_campaign(self.campaign, found["groups"])
        only = found["clients"] if found["source"] == Source.SELECTED else None
        first, names = found["first_wave"] or 0, self.new_group_names
        return plan_campaign(self.campaign, names=names, first=first, only=only)

    def start(self, by: User) -> Campaign:
        """Start it in the user's name with those that were shown.

        Raises what `start_campaign` does, `OtherClientsShownError` and `ClientGroupError`.
        """
        shown = self.cleaned_data["shown"]
        if self.takes_groups:
            groups = self.cleaned_data["groups"]
            return start_campaign(groups=groups, shown=shown, by=by, **self.settings)
        if not self.plan.ids or self.plan.shown != shown:
            raise OtherClientsShownError(OTHERS_CAN_GO())
        groups = {row.name: all_clients().with_ids(row.ids) for row in self.plan.rows}
        return start_campaign_with(groups=groups, by=by, **self.settings)


OTHERS_CAN_GO = Sentence(
    "others_can_go", "Nothing was started: other clients can go now. Look at the numbers again."
)


# The pages: the form, and what the campaign would do before it is started

# Django takes a form of at most a thousand fields.
GROUPS_SHOWN = 500


def may_start_campaign(request: HttpRequest) -> bool:
    """Say whether the user may start campaigns, and make their moves."""
    return all(map(request.user.has_perm, ("migration.add_campaign", MOVE_PERMISSION)))


def list_campaign_buttons(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the button above the lists of campaigns and of groups that starts one, where the user may."""
    if not may_start_campaign(request):
        return []
    return [(gettext("Start a campaign"), reverse("admin:migration_campaign_start"))]


def may_make_group(request: HttpRequest) -> bool:
    """Say whether the user may make a group of clients: a campaign without groups makes one on the way."""
    return all(map(request.user.has_perm, (NEW_GROUP_PERMISSION, GROUP_PERMISSION)))


class StartCampaignView(AdminView):
    """The form of a new campaign. What it would do is shown first, and then it is started.

    It takes groups, or the clients that can go: of all, or of those that were selected in their list.
    """

    template_name = "admin/migration/campaign_start.html"
    selected: ClientPhaseQuerySet | None = None

    @property
    def title(self) -> str:
        return gettext("Start a campaign")

    def has_permission(self) -> bool:
        return may_start_campaign(self.request)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show_first_form([])

    def show_first_form(self, ids: list[int]) -> HttpResponse:
        """Show the form as nobody has filled it in: for selected clients, or all that can move."""
        source = Source.SELECTED if ids else Source.ALL
        if not may_make_group(self.request):
            source = Source.GROUPS
        number = len(plan_campaign(Campaign(goal=GOALS[-1]), only=ids or None).ids)
        form = CampaignForm(source=source, client_ids=ids, number=number)
        return self.show_form(form, None if ids else number)

    def post(self, request: HttpRequest) -> HttpResponse:
        if self.selected is not None:
            return self.show_first_form(list(self.selected.values_list("pk", flat=True)))
        form, step = CampaignForm(request.POST), request.POST.get("step")
        is_valid = form.is_valid()
        if not form.takes_groups and not may_make_group(request):
            raise PermissionDenied
        if not is_valid or step == "change":
            return self.show_form(form)
        if step != "start":
            return self.show_plan(form)
        try:
            campaign = form.start(get_signed_in_user(request))
        except OtherClientsShownError as refusal:
            messages.warning(request, localize(refusal.message))
            return self.show_plan(form)
        except (
            CampaignStartRefusedError,
            ClientGroupError,
            ApprovalStepRefused,
            ReasonError,
        ) as refusal:
            form.add_error(None, localize(refusal.message))
            return self.show_form(form)
        now = timezone.now()
        if campaign.state == Campaign.State.REQUESTED:
            text = gettext("%(campaign)s is requested. Someone else has to approve it.")
        elif campaign.hours_allow_step(now):
            text = gettext("%(campaign)s has started. The first wave begins within a minute.")
        else:
            text = gettext("%(campaign)s has started. The first wave begins at about %(when)s.")
        when = show_moment(campaign.find_opening(now))
        messages.success(request, text % {"campaign": campaign, "when": when})
        return HttpResponseRedirect(get_campaign_url(campaign.pk))

    def show_form(self, form: CampaignForm, number: int | None = None) -> HttpResponse:
        """Show the form, and bring its first wrong field into view; `number`: of all that can move, if known."""
        if number is None:
            number = len(plan_campaign(Campaign(goal=GOALS[-1])).ids)
        if wrong := next((name for name in form.fields if name in form.errors), None):
            form.fields[wrong].widget.attrs["autofocus"] = True
        groups = list(ClientGroup.objects.with_counts().order_by("key")[: GROUPS_SHOWN + 1])
        taken = Wave.objects.filter(campaign__state__in=Campaign.NOT_OVER, group__in=groups)
        taken_by = {wave.group_id: wave.campaign for wave in taken.select_related("campaign")}
        places = form["groups"].value() or {}
        return self.render_to_response(
            self.get_context_data(
                form=form,
                is_own_page=True,
                sections=form.sections,
                source=form["source"].value() or Source.GROUPS.value,
                may_make_group=may_make_group(self.request),
                selected=len(str(form["clients"].value() or "").split()),
                number=number,
                rows=[
                    {
                        "group": group,
                        "numbers": [getattr(group, f"in_{phase}") for phase in Phase],
                        "field": f"{PLACE}{group.pk}",
                        "typed": places.get(str(group.pk), ""),
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

    def show_plan(self, form: CampaignForm) -> HttpResponse:
        """Show what it would do with whom, and a button that starts it with just these."""
        plan, campaign = form.plan, form.plan.campaign
        is_rounded = form.cleaned_data["soak_time"] != campaign.soak_minutes * 60
        sent = {
            name: text
            for name, text in self.request.POST.items()
            if name in form.fields or name.startswith(PLACE)
        }
        sent |= {"shown": plan.shown}
        if not form.takes_groups:
            sent["group_name"] = form.new_group_name
        self.template_name = "admin/migration/campaign_check.html"
        return self.render_to_response(
            self.get_context_data(
                plan=plan,
                groups=plan.describe_verdicts(),
                takes_groups=form.takes_groups,
                settings=campaign,
                typed_soak=form["soak_time"].value().strip() if is_rounded else "",
                lasts=localize(describe_duration(plan.lasts)) if campaign.soak else "",
                sent=[(name, text) for name, text in sent.items() if text],
                waits=awaits_approval(campaign),
                **self.describe_reads(campaign),
                time_zone=timezone.get_default_timezone_name(),
                may_view_clients=self.request.user.has_perm("credentials.view_client"),
                **get_stop_notice_context(self.request),
            )
        )

    def describe_reads(self, campaign: Campaign) -> dict[str, object]:
        """Return how many reads by NOVA a cutover wants, and about how long these take; nothing where it wants none."""
        wanted = settings.NOVA_MIN_READS if campaign.goal == Phase.AWS else 0
        if not wanted:
            return {}
        pace = measure_pace_of_reads(all_clients().in_phases(Phase.DUAL_READ))
        takes = localize(describe_time_of_reads(wanted, pace)) if pace else ""
        return {"wants_reads": wanted, "reads_take": takes}


def list_campaign_actions(request: HttpRequest) -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the action of the client list that begins a campaign, where the user may, as Django has it."""
    if not (may_start_campaign(request) and may_make_group(request)):
        return {}
    return {
        "start_campaign": (
            open_start,
            "start_campaign",
            gettext("Take further in waves (campaign)…"),
        )
    }


def open_start(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseBase:
    """Show the form of a campaign that takes the selected clients."""
    of_campaigns = model_admin.admin_site.get_model_admin(Campaign)
    return StartCampaignView.as_view(model_admin=of_campaigns, selected=chosen)(request)
