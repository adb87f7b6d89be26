"""Describes a list: its filters, its columns and rows, and its pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import template
from django.contrib.admin.utils import display_for_field, display_for_value, lookup_field
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.utils.translation import gettext as _
from unfold.templatetags.unfold_list import result_headers

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


@dataclass(frozen=True)
class ListHeader:
    """The head of a column: its words, how a click sorts by it, and how the list is sorted now."""

    name: str
    text: str
    url: str  # "": nobody can sort by it
    sorted: str  # as aria-sort has it; "": not by this column


@register.simple_tag
def list_headers(cl: ChangeList, columns: Collection[str] | None = None) -> list[ListHeader]:
    """Return the heads of these columns, or of all, in the list's order."""
    named = zip(cl.list_display, result_headers(cl), strict=True)
    return [
        ListHeader(
            name if isinstance(name, str) else name.__name__,
            str(head["text"]),
            str(head.get("url_primary", "")),
            ("ascending" if head["ascending"] else "descending") if head.get("sorted") else "",
        )
        for name, head in named
        if columns is None or name in columns
    ]


@dataclass(frozen=True)
class ListCell:
    """A cell: its column, what it shows, and the page of its row, to which the first one leads."""

    name: str
    label: str
    text: str = field(repr=False)
    url: str = ""


@register.simple_tag
def list_rows(cl: ChangeList, headers: Collection[ListHeader]) -> list[list[ListCell]]:
    """Return the cells of each row of the list's page; `headers` are those of all its columns."""
    linked = cl.list_display_links or ()
    columns = list(zip(cl.list_display, headers, strict=True))
    return [
        [
            ListCell(
                head.name,
                head.text,
                _show_value(cl, row, column),
                cl.url_for_result(row) if column in linked else "",
            )
            for column, head in columns
        ]
        for row in cl.result_list
    ]


def _show_value(cl: ChangeList, row: Any, column: Any) -> str:
    of_model, shown, value = lookup_field(column, row, cl.model_admin)
    if of_model is not None:
        return display_for_field(value, of_model, "")
    return display_for_value(value, "", boolean=getattr(shown, "boolean", False))
