"""Starts a campaign: the choice of groups, the form, what it would take."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Self, TypedDict
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES, RADIO_CLASSES, SELECT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration.campaigns.explain import show_time
from migration.campaigns.members import list_clients_in_campaigns
from migration.campaigns.models import GOALS, Campaign, Wave
from migration.campaigns.pages import MOVE_PERMISSION, get_campaign_url, get_stop_notice_context
from migration.campaigns.steps import (
    HALF_THE_HOURS,
    NO_GROUPS,
    CampaignStartRefusedError,
    require_sense,
    start_campaign,
    start_campaign_with,
)
from migration.core.audit import MOST_CHARACTERS, ReasonError
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
    read_raw_form_text,
)
from migration.moves.approvals import ApprovalStepRefused
from migration.moves.evidence import describe_duration
from migration.moves.gates import needs_approval
from migration.moves.models import Blocker, Standing, find_standing, with_blocker
from migration.moves.readiness import select_unpushable
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise, StrPromise

# The clients of a campaign that begins without a group: those that can go, and of the others why not

# How many clients are named of each reason.
NAMED = 5
# Of clients whose first push would be refused; the client's page says what of its rows is wrong.
UNFIT = _("No secret can be made of its rows")


@dataclass(frozen=True)
class UnchosenClients:
    """Clients of one phase that stay out, as something keeps them that needs somebody."""

    phase: Phase
    reason: StrOrPromise
    clients: tuple[tuple[int, str], ...]  # id and slug
    list_query: str  # of the client list, which shows them; "" where no filter shows just them

    @property
    def phase_label(self) -> str:
        return str(PhaseChoices(self.phase).label)

    @property
    def number(self) -> int:
        return len(self.clients)

    @property
    def named(self) -> tuple[tuple[int, str], ...]:
        return self.clients[:NAMED]

    @property
    def not_named(self) -> int:
        return self.number - len(self.named)


@dataclass(frozen=True)
class ChosenClients:
    """The clients that the campaign takes, and how many stay out."""

    ids: tuple[int, ...]
    by_phase: Counter[Phase]
    left: tuple[UnchosenClients, ...]
    in_campaigns: int
    at_goal: int

    @property
    def number(self) -> int:
        return len(self.ids)


def choose_clients(goal: Phase, *, only: Collection[int] | None = None) -> ChosenClients:
    """Choose from all clients, or from these: who stands before the goal and is ready, or waits for what passes."""
    before = [old for old, _new in Campaign(goal=goal).steps]
    clients = all_clients() if only is None else all_clients().filter(pk__in=only)
    rows = with_blocker(clients).order_by("slug", "pk")
    busy, unfit = list_clients_in_campaigns(), set(select_unpushable().values_list("pk", flat=True))
    ids: list[int] = []
    by_phase: Counter[Phase] = Counter()
    kept: dict[tuple[Phase, Blocker | None], list[tuple[int, str]]] = {}
    at_goal = in_campaigns = 0
    for pk, slug, phase, code in rows.values_list("pk", "slug", "phase", "blocker"):
        blocker = Blocker(code)
        if phase not in before:
            at_goal += 1
        elif pk in busy:
            in_campaigns += 1
        elif find_standing(phase, blocker) == Standing.BLOCKED:
            kept.setdefault((Phase(phase), blocker), []).append((pk, slug))
        elif pk in unfit:
            kept.setdefault((Phase(phase), None), []).append((pk, slug))
        else:
            ids.append(pk)
            by_phase[Phase(phase)] += 1
    left = []
    for (phase, reason), found in kept.items():
        # The list knows neither a selection, nor who is in some campaign, nor who is unfit.
        label, query = UNFIT, ""
        if reason is not None:
            label = reason.label
            if only is None and not busy:
                query = urlencode({"phase": phase.value, "next": reason.value})
        left.append(UnchosenClients(phase, label, tuple(found), query))
    left.sort(key=lambda each: -each.number)
    return ChosenClients(tuple(ids), by_phase, tuple(left), in_campaigns, at_goal)


# The clients of groups that a campaign could not move as things stand


def count_by_group_and_blocker(
    groups: Sequence[ClientGroup], before: Iterable[Phase]
) -> list[tuple[ClientGroup, Blocker, int, str]]:
    """Count, by group and blocker, clients in the phases `before` that need somebody, in one query.

    Each number has the query of the client list that shows these clients.
    """
    member, ids = "group_members__group", [group.pk for group in groups]
    clients = with_blocker(all_clients().in_phases(*before).filter(**{f"{member}__in": ids}))
    rows = clients.order_by().values_list(member, "blocker").annotate(number=Count("pk"))
    numbers = {(pk, Blocker(code)): number for pk, code, number in rows}
    need_somebody = [
        blocker
        for blocker in Blocker
        if blocker not in (Blocker.READY, Blocker.LAST) and not blocker.passes_by_itself
    ]
    return [
        (group, blocker, numbers[group.pk, blocker], f"group={group.pk}&next={blocker.value}")
        for group in groups
        for blocker in need_somebody
        if (group.pk, blocker) in numbers
    ]


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
            raise ValidationError(_("Type a number and its unit, as 30 min or 24 h; 0 for none."))
        number, unit = found.groups()
        return Decimal(number.replace(",", ".")) * SECONDS[unit[0].lower()]


def suggest_soak_time() -> str:
    """Return the time that the gate to AWS wants at least, or a day where it wants none, as the field takes it."""
    hours = Decimal(str(settings.NOVA_DUAL_READ_HOURS)) or Decimal(USUAL_HOURS)
    if hours == round(hours, 1) and hours >= 1:
        return f"{hours.normalize():f} h"
    return f"{ceil(hours * 60)} min"


# The form: the settings of a campaign, and the groups with the place that was typed beside each

# Fields of these names hold the place of a group, whose id follows.
PLACE = "place_"
# A campaign without groups suggests as many waves, where it has so many clients.
SUGGESTED_WAVES, MANY_CLIENTS = 4, 50


class CampaignSettings(TypedDict):
    """What `start_campaign` takes beside the groups and the user."""

    goal: Phase
    wave_size: int
    soak_minutes: int
    most_mismatches: int
    most_failed_reads: int
    most_refused: int
    begins_at: time | None
    ends_at: time | None
    rolls_back: bool
    reason: str


class Source(models.TextChoices):
    """Whom a campaign takes: of the first two a group is made on the way."""

    ALL = "all", _("All clients that can go")
    SELECTED = "selected", _("The clients that you selected in their list")
    GROUPS = "groups", _("Client groups, in their order")


def limit_field(label: StrPromise) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, initial=1)


class CampaignForm(forms.Form):
    """Holds the settings of a campaign; its groups (`read_places_by_group_id`), or clients, are read beside it."""

    source = forms.ChoiceField(label=_("Which clients"), choices=Source, required=False)
    group_name = forms.CharField(
        label=_("Name of the group that is made of them"),
        max_length=NAME_LENGTH,
        required=False,
    )
    goal = forms.ChoiceField(
        label=_("Goal"),
        choices=[(goal.value, PhaseChoices(goal).label) for goal in GOALS],
        initial=Phase.AWS.value,
    )
    wave_size = forms.IntegerField(
        label=_("Most clients in a wave"),
        help_text=_(
            "A group of more clients is taken in several waves: with 500 here, one group of 2,000 goes in four even"
            " waves. Empty: each group is one wave."
        ),
        min_value=1,
        required=False,
    )
    soak_time = SoakTimeField(
        label=_("Soak time"),
        help_text=_(
            "So long each step of a wave soaks before the next one begins: a number and its unit, as 30 min or 24 h,"
            " or 0 for none. It is rounded up to whole minutes."
        ),
        max_length=40,
    )
    most_mismatches = limit_field(_("Stops at so many clients that differ"))
    most_failed_reads = limit_field(_("Stops at so many reads by NOVA that fail at AWS"))
    most_refused = limit_field(_("Stops at so many clients that are refused"))
    begins_at = forms.TimeField(
        label=_("Steps begin from"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
    )
    ends_at = forms.TimeField(
        label=_("Steps begin until"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
    )
    rolls_back = forms.BooleanField(
        label=_("Roll the wave back when the campaign stops by itself"),
        help_text=_(
            "Only clients that are read from AWS, each where AWS can be read and holds what PostgreSQL holds."
        ),
        required=False,
    )
    reason = forms.CharField(
        label=_("Reason or ticket"), max_length=MOST_CHARACTERS, required=False
    )

    def __init__(
        self,
        data: Mapping[str, object] | None = None,
        *,
        source: Source = Source.GROUPS,
        clients: int = 0,
    ) -> None:
        """Make the form; without data it suggests settings for so many clients of this source."""
        parts = source != Source.GROUPS and clients > MANY_CLIENTS
        initial = {
            "source": source.value,
            "soak_time": suggest_soak_time(),
            "wave_size": ceil(clients / SUGGESTED_WAVES) if parts else None,
        }
        super().__init__(data, initial=initial)
        for name, field in self.fields.items():
            classes = {"goal": SELECT_CLASSES, "rolls_back": CHECKBOX_CLASSES}
            field.widget.attrs["class"] = " ".join(classes.get(name, BASE_INPUT_CLASSES))
        for name in ("group_name", "soak_time", "reason"):
            self.fields[name].widget.attrs["autocomplete"] = "off"
        hours = gettext(
            "Empty: at any hour. The hours are those of %(zone)s; they may span midnight."
        )
        self.fields["ends_at"].help_text = hours % {"zone": timezone.get_default_timezone_name()}

    def clean(self) -> None:
        super().clean()
        found = self.cleaned_data
        readable = not {"begins_at", "ends_at"} & set(self.errors)
        if readable and (found.get("begins_at") is None) != (found.get("ends_at") is None):
            self.add_error("ends_at", localize(HALF_THE_HOURS()))
        if self.awaits_approval and not found.get("reason") and "reason" not in self.errors:
            self.add_error("reason", gettext("Nothing was started: give a reason or a ticket."))

    @property
    def chosen_source(self) -> Source:
        """Return whom the campaign takes; groups, where the form doesn't say."""
        return Source(self.cleaned_data.get("source") or Source.GROUPS)

    @property
    def new_group_name(self) -> str:
        """Return the name of the group that is made on the way, as typed or as suggested."""
        typed: str = self.cleaned_data.get("group_name", "")
        now = timezone.localtime(timezone=timezone.get_default_timezone())
        return typed or gettext("Clients of %(when)s") % {"when": f"{now:%Y-%m-%d %H:%M}"}

    @property
    def settings_fields(self) -> list[forms.BoundField]:
        """Return the fields of its settings, without those of its clients."""
        return [field for field in self if field.name not in ("source", "group_name")]

    def add_group_name_error(self) -> None:
        """Add an error where no new group can have this name."""
        try:
            name = parse_group_name(self.new_group_name)
        except ClientGroupError as refusal:
            self.add_error("group_name", localize(refusal.message))
            return
        if taken := ClientGroup.objects.find_by_name(name):
            self.add_error("group_name", localize(GROUP_NAME_TAKEN(name=taken.name)))

    @property
    def awaits_approval(self) -> bool:
        """Say whether somebody else has to approve the campaign."""
        return needs_approval(Move.CUTOVER) and self.cleaned_data.get("goal") == Phase.AWS

    def read_settings(self) -> CampaignSettings:
        """Return what was typed as `start_campaign` takes it."""
        found = self.cleaned_data
        return {
            "goal": Phase(found["goal"]),
            "wave_size": found["wave_size"] or 0,
            "soak_minutes": ceil(found["soak_time"] / 60),
            "most_mismatches": found["most_mismatches"],
            "most_failed_reads": found["most_failed_reads"],
            "most_refused": found["most_refused"],
            "begins_at": found["begins_at"],
            "ends_at": found["ends_at"],
            "rolls_back": found["rolls_back"],
            "reason": found["reason"],
        }

    def read_group_order(self, typed: Mapping[int, str]) -> list[ClientGroup]:
        """Return the groups in the order of their places; what is no order becomes an error of the form."""
        places: dict[int, int] = {}
        for pk, text in typed.items():
            place = read_number(text) or 0
            if place in places.values():
                error = gettext("Two groups have the place %(place)s.") % {"place": text}
                self.add_error(None, error)
            elif not place:
                error = gettext("“%(text)s” is no place: type 1, 2, 3 …") % {"text": text}
                self.add_error(None, error)
            else:
                places[pk] = place
        groups = ClientGroup.objects.with_counts().in_bulk(list(places))
        if len(groups) < len(places):
            self.add_error(None, gettext("A group was deleted while the form was open."))
        if not typed:
            self.add_error(None, localize(NO_GROUPS()))
        return [groups[pk] for pk in sorted(groups, key=lambda pk: places[pk])]


def read_places_by_group_id(data: Mapping[str, str]) -> dict[int, str]:
    """Return what was typed beside each group, by the group's id; without the empty ones."""
    given = {
        name.removeprefix(PLACE): text.strip()
        for name, text in data.items()
        if name.startswith(PLACE)
    }
    numbers = {read_number(name): text for name, text in given.items() if text}
    return {pk: text for pk, text in numbers.items() if pk is not None}


# The pages: the form, and what the campaign would do before it is started

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
    return all(map(request.user.has_perm, ("migration.add_campaign", MOVE_PERMISSION)))


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
        return gettext("Start a campaign")

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
            text = gettext(
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
                "source",
                gettext("You typed places of groups: choose the groups here, or no places."),
            )
        if form.chosen_source == Source.SELECTED and not ids:
            form.add_error("source", gettext("No client is selected: select some in their list."))
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
            text = gettext(
                "Nothing was started: other clients can go now. Look at the numbers again."
            )
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
            text = gettext("%(campaign)s is requested: somebody else has to approve it.")
        elif campaign.hours_allow_step(now):
            text = gettext("%(campaign)s is started: its first wave begins within a minute.")
        else:
            text = gettext("%(campaign)s is started: its first wave begins about %(when)s.")
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
        blocked: Collection[tuple[ClientGroup, Blocker, int, str]] = (),
        chosen: ChosenClients | None = None,
    ) -> HttpResponse:
        """Show how many clients of each group stand where, and a button that starts the campaign.

        `shown` is a digest of them, which the button sends along.
        """
        campaign = Campaign(**form.read_settings())
        sent = {name: self.request.POST.get(name, "") for name in form.fields}
        sent |= {f"{PLACE}{pk}": text for pk, text in places.items()}
        if chosen:
            sent["group_name"] = form.new_group_name
        sent["shown"] = shown
        if form.chosen_source == Source.SELECTED:
            sent["clients"] = " ".join(map(str, self.read_ids()))
        is_rounded = form.cleaned_data["soak_time"] != campaign.soak_minutes * 60
        soaks = sum(row.waves * row.most_moves_per_client for row in numbers)
        self.template_name = "admin/migration/campaign_check.html"
        return self.render_to_response(
            self.get_context_data(
                settings=campaign,
                typed_soak=sent["soak_time"].strip() if is_rounded else "",
                blocked=blocked,
                chosen=chosen,
                rows=numbers,
                before_goal=sum(row.before_goal for row in numbers),
                at_goal=sum(row.at_goal for row in numbers),
                waves=sum(row.waves for row in numbers),
                steps=max(row.most_moves_per_client for row in numbers),
                lasts=localize(describe_duration(soaks * campaign.soak)) if campaign.soak else "",
                sent=[(name, value) for name, value in sent.items() if value],
                waits=form.awaits_approval,
                wants_reads=settings.NOVA_MIN_READS if campaign.goal == Phase.AWS else 0,
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
