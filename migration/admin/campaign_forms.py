"""The form that starts a campaign: its settings, and the groups with the place that was typed beside each."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from django import forms
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES, SELECT_CLASSES

from credentials.localization import localize
from migration import campaign_sentences, group_sentences
from migration.admin.base import read_number
from migration.admin.soak_times import SoakTimeField, suggest_soak_time
from migration.models.campaigns import GOALS
from migration.models.client_groups import (
    NAME_LENGTH,
    ClientGroup,
    ClientGroupError,
    parse_group_name,
)
from migration.models.phases import PhaseChoices
from migration.models.reasons import MOST_CHARACTERS
from migration.operations.gates import needs_approval
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import time
    from typing import TypedDict

    from django_stubs_ext import StrPromise

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


# Fields of these names hold the place of a group, whose id follows.
PLACE = "place_"
# A campaign without groups suggests as many waves, where it has so many clients.
SUGGESTED_WAVES, MANY_CLIENTS = 4, 50
# The page shows these apart from the settings.
APART = ("source", "group_name")


class Source(models.TextChoices):
    """Whom a campaign takes: of the first two a group is made on the way."""

    ALL = "all", gettext_lazy("All clients that can go")
    SELECTED = "selected", gettext_lazy("The clients that you selected in their list")
    GROUPS = "groups", gettext_lazy("Client groups, in their order")


def limit_field(label: StrPromise) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, initial=1)


class CampaignForm(forms.Form):
    """Holds the settings of a campaign; its groups (`read_places_by_group_id`), or clients, are read beside it."""

    source = forms.ChoiceField(label=gettext_lazy("Which clients"), choices=Source, required=False)
    group_name = forms.CharField(
        label=gettext_lazy("Name of the group that is made of them"),
        max_length=NAME_LENGTH,
        required=False,
    )
    goal = forms.ChoiceField(
        label=gettext_lazy("Goal"),
        choices=[(goal.value, PhaseChoices(goal).label) for goal in GOALS],
        initial=Phase.AWS.value,
    )
    wave_size = forms.IntegerField(
        label=gettext_lazy("Most clients in a wave"),
        help_text=gettext_lazy(
            "A group of more clients is taken in several waves: with 500 here, one group of 2,000 goes in four even"
            " waves. Empty: each group is one wave."
        ),
        min_value=1,
        required=False,
    )
    soak_time = SoakTimeField(
        label=gettext_lazy("Soak time"),
        help_text=gettext_lazy(
            "So long each step of a wave soaks before the next one begins: a number and its unit, as 30 min or 24 h,"
            " or 0 for none. It is rounded up to whole minutes."
        ),
        max_length=40,
    )
    most_mismatches = limit_field(gettext_lazy("Stops at so many clients that differ"))
    most_failed_reads = limit_field(gettext_lazy("Stops at so many reads by NOVA that fail at AWS"))
    most_refused = limit_field(gettext_lazy("Stops at so many clients that are refused"))
    begins_at = forms.TimeField(
        label=gettext_lazy("Steps begin from"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
    )
    ends_at = forms.TimeField(
        label=gettext_lazy("Steps begin until"),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
    )
    rolls_back = forms.BooleanField(
        label=gettext_lazy("Roll the wave back when the campaign stops by itself"),
        help_text=gettext_lazy(
            "Only clients that are read from AWS, each where AWS can be read and holds what PostgreSQL holds."
        ),
        required=False,
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason or ticket"), max_length=MOST_CHARACTERS, required=False
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
        hours = _("Empty: at any hour. The hours are those of %(zone)s; they may span midnight.")
        self.fields["ends_at"].help_text = hours % {"zone": timezone.get_default_timezone_name()}

    def clean(self) -> None:
        super().clean()
        found = self.cleaned_data
        readable = not {"begins_at", "ends_at"} & set(self.errors)
        if readable and (found.get("begins_at") is None) != (found.get("ends_at") is None):
            self.add_error("ends_at", localize(campaign_sentences.HALF_THE_HOURS()))
        if self.awaits_approval and not found.get("reason") and "reason" not in self.errors:
            self.add_error("reason", _("Nothing was started: give a reason or a ticket."))

    @property
    def chosen_source(self) -> Source:
        """Return whom the campaign takes; groups, where the form doesn't say."""
        return Source(self.cleaned_data.get("source") or Source.GROUPS)

    @property
    def new_group_name(self) -> str:
        """Return the name of the group that is made on the way, as typed or as suggested."""
        typed: str = self.cleaned_data.get("group_name", "")
        now = timezone.localtime(timezone=timezone.get_default_timezone())
        return typed or _("Clients of %(when)s") % {"when": f"{now:%Y-%m-%d %H:%M}"}

    @property
    def settings_fields(self) -> list[forms.BoundField]:
        """Return the fields of its settings."""
        return [field for field in self if field.name not in APART]

    def add_group_name_error(self) -> None:
        """Add an error where no new group can have this name."""
        try:
            name = parse_group_name(self.new_group_name)
        except ClientGroupError as refusal:
            self.add_error("group_name", localize(refusal.message))
            return
        if taken := ClientGroup.objects.find_by_name(name):
            self.add_error(
                "group_name", localize(group_sentences.GROUP_NAME_TAKEN(name=taken.name))
            )

    @property
    def awaits_approval(self) -> bool:
        """Say whether somebody else has to approve the campaign."""
        return needs_approval(Move.CUTOVER) and self.cleaned_data.get("goal") == Phase.AWS

    @property
    def rounds_soak_time(self) -> bool:
        """Say whether the campaign soaks longer than was typed."""
        found: bool = self.cleaned_data["soak_time"].is_rounded
        return found

    def read_settings(self) -> CampaignSettings:
        """Return what was typed as `start_campaign` takes it."""
        found = self.cleaned_data
        return {
            "goal": Phase(found["goal"]),
            "wave_size": found["wave_size"] or 0,
            "soak_minutes": found["soak_time"].minutes,
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
                error = _("Two groups have the place %(place)s.") % {"place": text}
                self.add_error(None, error)
            elif not place:
                error = _("“%(text)s” is no place: type 1, 2, 3 …") % {"text": text}
                self.add_error(None, error)
            else:
                places[pk] = place
        groups = ClientGroup.objects.with_counts().in_bulk(list(places))
        if len(groups) < len(places):
            self.add_error(None, _("A group was deleted while the form was open."))
        if not typed:
            self.add_error(None, localize(campaign_sentences.NO_GROUPS()))
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
