"""Collects the mismatch report's page: its numbers, its filters and one page of its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Count, Max, Sum
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES, SELECT_CLASSES

from migration.admin.filter_chips import list_chips
from migration.models.client_owners import list_possible_owners
from migration.models.comparisons import Comparison
from migration.models.reads import ReadCount
from migration.reports.mismatches import (
    BY_CLIENT,
    FILTERS,
    WHOLE,
    count_clients_by_kind_and_path,
    filter_mismatches,
    get_client_numbers_context,
    load_blocks,
    select_clients_with_status,
    select_report_rows,
    select_slugs_and_ids,
)
from migration.templatetags.migration_pages import difference_label
from nova_credentials.comparison import UNKNOWN_NAME, MismatchKind

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet
    from django.http import QueryDict

    from migration.admin.filter_chips import Chip

    # How many clients' field differs in which way: kind, path, number.
    FieldCount = tuple[str, str, int]
    # The values of a filter, each with its label.
    Choices = list[tuple[str, str]]
    # A filter with a list of values: name, title, and for each value its label and whether it is chosen.
    Offered = tuple[str, str, list[tuple[str, str, bool]]]

CLIENTS_A_PAGE = 50
FIELDS_SHOWN = 20
UNCHECKED_SHOWN = 10
# The names that filters had in the addresses of an earlier release, which people have kept.
FORMER_NAMES = {"owner": "assigned"}


def get_report_context(query: QueryDict, *, user: User) -> dict[str, object]:
    """Return the report's numbers and one page of its clients: nine queries, whatever the number of clients."""
    filters = read_filters(query)
    by_client = filters.get("status") in BY_CLIENT
    rows = select_report_rows(filters, user=user)
    found = rows.aggregate(rows=Count("pk"), clients=Count("client_id", distinct=True))
    page: Page[Any]
    if by_client:
        clients = select_clients_with_status(filters).select_related("client", "comparison")
        page = _get_page(clients, query, number=found["clients"])
    else:
        mismatches = filter_mismatches(filters, viewer=user)
        page = _get_page(select_slugs_and_ids(mismatches), query, number=found["clients"])
        page.object_list = load_blocks(mismatches, page.object_list)
    differing = count_clients_by_kind_and_path()
    people = list(list_possible_owners())
    unchecked = select_clients_with_status({"status": Comparison.Status.UNCHECKED})
    choices = _list_filters(differing, people, filters)
    return {
        **get_client_numbers_context(),
        **_count_differences(differing),
        "filters": filters,
        "in_use": {"chips": _list_chips(filters, choices)},
        "by_client": by_client,
        "page": page,
        "found": found,
        "query": urlencode(filters) + "&" if filters else "",
        "choices": choices,
        "unchecked": unchecked.select_related("comparison")[:UNCHECKED_SHOWN],
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "select_classes": " ".join(SELECT_CLASSES),
        "checkbox_classes": " ".join(CHECKBOX_CLASSES),
        "headings": (_("Client"), _("Result"), _("NOVA's reads"), _("Message"), _("Compared")),
        "reads": ReadCount.objects.aggregate(matches=Sum("matches"), last=Max("last_read_at")),
    }


def _get_page(rows: QuerySet[Any], query: QueryDict, *, number: int) -> Page[Any]:
    """Return the page that the address asks for, of so many rows, which are counted already."""
    paginator = Paginator(rows, CLIENTS_A_PAGE)
    paginator.count = number
    return paginator.get_page(query.get("page"))


def read_filters(query: QueryDict) -> dict[str, str]:
    """Return the report's filters that the address sets; one of an earlier release may have a former name."""
    found = {key: query.get(key) or query.get(FORMER_NAMES.get(key, "")) for key in FILTERS}
    return {key: value for key, value in found.items() if value}


def _count_differences(differing: list[FieldCount]) -> dict[str, object]:
    """Return how often each kind of difference and each field was found, the most frequent first."""
    kinds, paths = dict[str, int](), dict[str, int]()
    for kind, where, number in differing:
        kinds[kind] = kinds.get(kind, 0) + number
        paths[where] = paths.get(where, 0) + number
    return {
        "by_kind": [
            (kind, difference_label(kind), number) for kind, number in _sort_by_number(kinds)
        ],
        "by_field": [
            (*_label_path(where), number) for where, number in _sort_by_number(paths)[:FIELDS_SHOWN]
        ],
    }


def _sort_by_number(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _label_path(path: str) -> tuple[str, str]:
    """Return how the address names the field, and its label."""
    if UNKNOWN_NAME in path:
        return path, _("field with an unknown name (%(code)s)") % {"code": path}
    return path or WHOLE, path or _("the whole secret")


def _list_chips(filters: dict[str, str], choices: list[Offered]) -> list[Chip]:
    titles = {name: title for name, title, _values in choices}
    titles |= {"status": _("Result"), "push": _("Newest push"), "q": _("Client")}
    words = {
        (name, value): text for name, _title, values in choices for value, text, _chosen in values
    }
    words |= {("status", status): str(text) for status, text in Comparison.Status.choices}
    words |= {("push", "well"): _("did not fail")}
    return list_chips(filters, titles, words)


def _list_filters(
    differing: list[FieldCount], people: list[User], filters: dict[str, str]
) -> list[Offered]:
    """Return the filters with a list of values."""
    paths = sorted({where for _kind, where, _number in differing})
    usernames = [(str(user.pk), user.get_username()) for user in people]
    offered: list[tuple[str, str, Choices]] = [
        ("kind", _("Difference"), [(kind, difference_label(kind)) for kind in MismatchKind]),
        ("field", _("Field"), [_label_path(path) for path in paths]),
        ("age", _("First seen"), _list_ages()),
        ("owner", _("Owner"), [("mine", _("Mine")), ("none", _("Nobody")), *usernames]),
        ("state", _("State"), [("open", _("open")), ("acknowledged", _("acknowledged"))]),
    ]
    return [
        (name, label, [(value, text, filters.get(name) == value) for value, text in values])
        for name, label, values in offered
    ]


def _list_ages() -> Choices:
    return [
        ("hour", _("more than an hour ago")),
        ("day", _("more than a day ago")),
        ("week", _("more than a week ago")),
        ("month", _("more than a month ago")),
    ]
