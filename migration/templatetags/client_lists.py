"""Describes a list: its filters, for the chips above it and the choices beside its search, and its pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.utils.translation import gettext as _

register = template.Library()


@dataclass(frozen=True)
class ShownFilter:
    """One filter: its choices, of which the first takes it away."""

    title: str
    choices: list[Mapping[str, Any]]
    # Values that stand above the list already, and are chosen there.
    chip_labels: Collection[str] = ()

    @property
    def shows_nobody(self) -> bool:
        """Say whether the rows behind each choice were counted, and are none; one in use is shown anyway."""
        counted = [choice.get("count") for choice in self.choices[1:]]
        return not self.chosen and all(number == 0 for number in counted)

    @property
    def remove_url(self) -> str:
        return str(self.choices[0]["query_string"])

    @property
    def chosen(self) -> list[Mapping[str, Any]]:
        return [choice for choice in self.choices[1:] if choice["selected"]]


@dataclass(frozen=True)
class Chip:
    """A filter or search in use, and the address without it."""

    title: str
    value: str
    remove_url: str


@dataclass(frozen=True)
class ShownFilters:
    """All filters of a list, and its search."""

    all: list[ShownFilter]
    search: Chip | None

    @property
    def number(self) -> int:
        """Return how many filters of the panel are used."""
        return sum(bool(each.chosen) for each in self.of_panel)

    @property
    def of_panel(self) -> list[ShownFilter]:
        return [each for each in self.all if not each.chip_labels and not each.shows_nobody]

    @property
    def chips(self) -> list[Chip]:
        used = [
            Chip(each.title, str(choice["display"]), each.remove_url)
            for each in self.all
            for choice in each.chosen
            if choice["display"] not in each.chip_labels
        ]
        return [self.search, *used] if self.search else used


@register.simple_tag
def describe_filters(cl: ChangeList) -> ShownFilters:
    """Return the list's filters and its search."""
    found = [
        ShownFilter(str(spec.title), list(spec.choices(cl)), _list_chip_labels(spec))
        for spec in cl.filter_specs
    ]
    remove_url = cl.get_query_string({SEARCH_VAR: None})
    search = Chip(_("search"), cl.query, remove_url) if cl.query else None
    return ShownFilters([each for each in found if each.choices], search)


def _list_chip_labels(spec: Any) -> list[Any]:
    values = getattr(spec, "chip_values", ())
    return [label for value, label in spec.lookup_choices if value in values] if values else []


@register.simple_tag
def link_page(cl: ChangeList, number: int) -> str:
    """Return the address of a page of the list."""
    return cl.get_query_string({PAGE_VAR: number})
