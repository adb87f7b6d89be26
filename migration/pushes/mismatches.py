"""Collects the report of mismatches: its numbers, its filters and one page of its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser, User
from django.core.paginator import Page, Paginator
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.models import name_rows
from migration.core.clients import ClientMigration, ClientMigrationQuerySet, ReadCount
from migration.core.comparisons import (
    Comparison,
    OpenMismatch,
    OpenMismatchQuerySet,
    Resolution,
    count_clients_to_resolve,
)
from migration.core.groups import ClientOwner, list_possible_owners
from migration.core.pages import list_chips
from migration.pushes.comparisons import SCHEDULED_FOR_DELETION
from migration.runs.failures import select_failed_push_client_ids
from migration.templatetags.client_lists import Chip
from migration.templatetags.migration_pages import difference_label
from nova_credentials.comparison import UNKNOWN_NAME, MismatchKind
from nova_credentials.phases import Phase

_Viewer = User | AnonymousUser
# Of a filter's value: the rows to select; None where the value has no meaning.
Condition = Callable[[str, _Viewer], Q | None]
# Kind of difference, path, number of clients.
FieldCount = tuple[str, str, int]
# Value and label.
Choices = list[tuple[str, str]]
# A filter's name and label; value, label and whether it is chosen of each of its values.
Offered = tuple[str, str, list[tuple[str, str, bool]]]

CLIENTS_A_PAGE = 50
FIELDS_SHOWN = 20
UNCHECKED_SHOWN = 10
# These statuses are listed by client, as no field differs.
BY_CLIENT = (Comparison.Status.MATCH, Comparison.Status.UNCHECKED)
AGES = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
FILTERS = ("status", "kind", "field", "age", "owner", "state", "push", "q")
# The names that filters had in the addresses of an earlier release, which people have kept.
FORMER_NAMES = {"owner": "assigned"}
# Of a secret that is not there for readers, and not gone either: as a result of a comparison, and as a difference.
TO_BE_DELETED = "scheduled_for_deletion"
# Its comparison says so. Looked up only where nothing is there for readers: a join of all takes most of the time.
IS_TO_BE_DELETED = Exists(
    Comparison.objects.annotate(about=KeyTextTransform("key", "message")).filter(
        pk=OuterRef("comparison_id"), about=SCHEDULED_FOR_DELETION.key
    )
)
# The result of a client's newest comparison, and how a field differs, as the report has them.
RESULT = Case(
    When(
        Q(comparison_status=Comparison.Status.MISSING_IN_AWS) & IS_TO_BE_DELETED,
        then=Value(TO_BE_DELETED),
    ),
    default=F("comparison_status"),
)
DIFFERENCE = Case(When(Q(path="") & IS_TO_BE_DELETED, then=Value(TO_BE_DELETED)), default=F("kind"))
# The value of `field` in the address for a mismatch of the whole secret, whose path is empty.
WHOLE = "*"


def get_client_numbers_context() -> dict[str, Any]:
    """Count the clients by the result of their newest comparison."""
    compared = ClientMigration.objects.exclude_deleted_clients().exclude(comparison=None)
    by_result = compared.annotate(result=RESULT).values("result")
    counted = by_result.annotate(n=Count("pk"), last=Max("compared_at"))
    rows = {row["result"]: row for row in counted}
    results = dict(_list_results())
    counts = {result: rows[result]["n"] if result in rows else 0 for result in results}
    return {
        "numbers": [(result, label, counts[result]) for result, label in results.items()],
        "compared": sum(counts.values()),
        "matched": counts[Comparison.Status.MATCH],
        "differing": sum(counts[each] for each in (*Comparison.DIFFERS, TO_BE_DELETED)),
        "unchecked_count": counts[Comparison.Status.UNCHECKED],
        "last_compared_at": max((row["last"] for row in rows.values()), default=None),
    }


def _list_results() -> Choices:
    """Return value and label of each result of a comparison, in the order of the report.

    All that differ are the mismatches of the menu and the dashboard: none of them alone is called so.
    """
    labels = {Comparison.Status.MISMATCH: _("Values differ")}
    found = [(each.value, labels.get(each, str(each.label))) for each in Comparison.Status]
    place = [value for value, _label in found].index(Comparison.Status.MISSING_IN_AWS) + 1
    return [*found[:place], (TO_BE_DELETED, _("Scheduled for deletion")), *found[place:]]


def filter_mismatches(filters: dict[str, str], *, viewer: _Viewer) -> OpenMismatchQuerySet:
    """Select the open mismatches that match every filter; a filter without a meaning matches none."""
    found = OpenMismatch.objects.exclude_deleted_clients().with_acknowledged_and_unchecked()
    found = found.annotate(difference=DIFFERENCE)
    for name, value in filters.items():
        condition = CONDITIONS[name](value, viewer)
        if condition is None:
            return found.none()
        found = found.filter(condition)
    return found


def _is_older_than(value: str, _user: _Viewer) -> Q | None:
    return Q(first_seen_at__lt=timezone.now() - AGES[value]) if value in AGES else None


def _is_owned_by(value: str, user: _Viewer) -> Q | None:
    """Select by who looks after the client. Addresses of earlier releases call oneself "me"."""
    owners = ClientOwner.objects.filter(client_id=OuterRef("client_id"))
    if value == "none":
        return ~Q(Exists(owners))
    if value in ("mine", "me"):
        return Q(Exists(owners.filter(owner=user.pk)))
    return (
        Q(Exists(owners.filter(owner=int(value))))
        if value.isdecimal() and len(value) < 10
        else None
    )


def _is_in_state(value: str, _user: _Viewer) -> Q | None:
    return {"open": Q(acknowledged=False), "acknowledged": Q(acknowledged=True)}.get(value)


def _has_status(value: str, _user: _Viewer) -> Q | None:
    compared = ClientMigration.objects.exclude(comparison=None)
    if value in (Comparison.Status.MISSING_IN_AWS, TO_BE_DELETED):
        clients = compared.annotate(result=RESULT).filter(result=value)
    else:
        clients = compared.filter(comparison_status=value)
    return Q(client__in=clients.values("pk")) if value in dict(_list_results()) else None


def _was_pushed(value: str, _user: _Viewer) -> Q | None:
    """Leave out the clients whose newest push failed: they are on the page of failures."""
    return ~Q(client_id__in=select_failed_push_client_ids()) if value == "well" else None


CONDITIONS: dict[str, Condition] = {
    "status": _has_status,
    "kind": lambda value, _user: Q(difference=value),
    "field": lambda value, _user: Q(path="" if value == WHOLE else value),
    "age": _is_older_than,
    "owner": _is_owned_by,
    "state": _is_in_state,
    "push": _was_pushed,
    "q": lambda value, _user: Q(slug__startswith=value) | Q(client__name__icontains=value),
}


def select_report_rows(
    filters: dict[str, str], *, user: _Viewer
) -> OpenMismatchQuerySet | ClientMigrationQuerySet:
    """Select the open mismatches, or the clients where the filters ask for a status without differences."""
    by_client = filters.get("status") in BY_CLIENT
    return (
        select_clients_with_status(filters)
        if by_client
        else filter_mismatches(filters, viewer=user)
    )


@dataclass(frozen=True)
class MismatchBlock:
    """One client of the report with its differing fields, as the filters let them through."""

    client_id: int
    slug: str
    name: str
    phase: str
    owner: str  # who looks after the client; "" where nobody does
    fields: list[OpenMismatch]

    @property
    def acknowledged(self) -> bool:
        return all(field.acknowledged for field in self.fields)  # type: ignore[attr-defined]  # annotated

    @property
    def newest_comparison_is_unchecked(self) -> bool:
        """Say whether the client's newest comparison could not check."""
        return any(field.newest_comparison_is_unchecked for field in self.fields)  # type: ignore[attr-defined]  # annotated

    @property
    def oldest(self) -> OpenMismatch:
        return min(self.fields, key=lambda field: field.first_seen_at)

    @property
    def newest(self) -> OpenMismatch:
        return max(self.fields, key=lambda field: field.last_seen_at)


def load_blocks(
    rows: OpenMismatchQuerySet, clients: Iterable[tuple[str, int]]
) -> list[MismatchBlock]:
    """Return a block of each of these clients: its phase, owner and mismatches among `rows`. Takes two queries."""
    ids = [pk for _slug, pk in clients]
    found: dict[int, list[OpenMismatch]] = {pk: [] for pk in ids}
    owner = F("client__client_owner__owner__username")
    named = rows.filter(client_id__in=ids).annotate(owner=owner, client_name=F("client__name"))
    for row in named:
        found[row.client_id].append(row)
    phases = dict(ClientMigration.objects.filter(pk__in=ids).values_list("pk", "phase"))
    return [
        MismatchBlock(
            client_id=pk,
            slug=fields[0].slug,
            name=fields[0].client_name,  # type: ignore[attr-defined]  # annotated
            phase=phases.get(pk, Phase.POSTGRES.value),
            owner=fields[0].owner or "",  # type: ignore[attr-defined]  # annotated
            fields=fields,
        )
        for pk, fields in found.items()
        if fields
    ]


def select_clients_with_status(filters: dict[str, str]) -> ClientMigrationQuerySet:
    """Select the clients whose newest comparison has the filtered status, with the counts of NOVA's reader."""
    found = ClientMigration.objects.exclude_deleted_clients().filter(
        comparison_status=filters["status"]
    )
    if "q" in filters:
        found = found.filter(
            Q(client__slug__startswith=filters["q"]) | Q(client__name__icontains=filters["q"])
        )
    if filters.get("state") == "open":
        found = found.exclude(
            pk__in=Resolution.objects.acknowledging_newest_comparison().values("client_id")
        )
    if filters.get("push") == "well":
        found = found.exclude(pk__in=select_failed_push_client_ids())
    return found.annotate(
        slug=F("client__slug"),
        name=F("client__name"),
        reads_matched=F("client__read_count__matches"),
        last_read_at=F("client__read_count__last_read_at"),
    ).order_by("slug")


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
        in_order = mismatches.order_by("slug", "client_id")
        slugs_and_ids = in_order.values_list("slug", "client_id").distinct()
        page = _get_page(slugs_and_ids, query, number=found["clients"])
        page.object_list = load_blocks(mismatches, page.object_list)
    present = OpenMismatch.objects.exclude_deleted_clients().order_by()
    named = present.annotate(difference=DIFFERENCE)
    counted = named.values_list("difference", "path").annotate(n=Count("pk"))
    differing: list[FieldCount] = list(counted)
    people = list(list_possible_owners())
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
        "sections": [] if by_client else _list_sections(choices, filters, differing),
        "to_resolve": count_clients_to_resolve(),
        "unchecked": _list_unchecked(),
        "reads": ReadCount.objects.aggregate(matches=Sum("matches"), last=Max("last_read_at")),
    }


def _list_unchecked() -> list[ClientMigration]:
    """Return the first clients that could not be checked, each with its comparison, which names logins as pages do."""
    unchecked = select_clients_with_status({"status": Comparison.Status.UNCHECKED})
    rows = list(unchecked.select_related("comparison")[:UNCHECKED_SHOWN])
    compared = [row.comparison for row in rows if row.comparison and row.comparison.message]
    named = name_rows([each.message for each in compared])
    for each, message in zip(compared, named, strict=True):
        each.message = message
    return rows


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
            (kind, _label_difference(kind), number) for kind, number in _sort_by_number(kinds)
        ],
        "by_field": [
            (*_label_path(where), number) for where, number in _sort_by_number(paths)[:FIELDS_SHOWN]
        ],
    }


def _list_sections(
    choices: list[Offered], filters: dict[str, str], differing: list[FieldCount]
) -> list[tuple[str, list[tuple[str, str, bool, int | None]]]]:
    """Return the filters as links: label; and text, address, whether it is chosen, and its number of all."""
    numbers = dict[tuple[str, str], int]()
    for kind, path, number in [] if filters else differing:
        for key in (("kind", kind), ("field", _label_path(path)[0])):
            numbers[key] = numbers.get(key, 0) + number
    return [
        (
            label,
            [
                (text, "?" + urlencode(filters | {name: value}), chosen, numbers.get((name, value)))
                for value, text, chosen in values
            ],
        )
        for name, label, values in choices
        if values
    ]


def _sort_by_number(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _label_difference(value: str) -> str:
    if value == TO_BE_DELETED:
        return _("scheduled for deletion in AWS")
    return difference_label(value)


def _label_path(path: str) -> tuple[str, str]:
    """Return how the address names the field, and its label."""
    if UNKNOWN_NAME in path:
        return path, _("unknown field (%(code)s)") % {"code": path}
    return path or WHOLE, path or _("the whole secret")


def _list_chips(filters: dict[str, str], choices: list[Offered]) -> list[Chip]:
    titles = {name: title for name, title, _values in choices}
    titles |= {"status": _("Result"), "push": _("Newest push"), "q": _("Client")}
    words = {
        (name, value): text for name, _title, values in choices for value, text, _chosen in values
    }
    words |= {("status", result): text for result, text in _list_results()}
    words |= {("push", "well"): _("did not fail")}
    return list_chips(filters, titles, words)


def _list_filters(
    differing: list[FieldCount], people: list[User], filters: dict[str, str]
) -> list[Offered]:
    """Return the filters with a list of values."""
    paths = sorted({where for _kind, where, _number in differing})
    # Also the one that is chosen, where nothing differs so any more.
    present = {kind for kind, _where, _number in differing} | {filters.get("kind", "")}
    kinds = [kind for kind in (*MismatchKind, TO_BE_DELETED) if kind in present]
    usernames = [(str(user.pk), user.get_username()) for user in people]
    ages = [
        ("hour", _("more than an hour ago")),
        ("day", _("more than a day ago")),
        ("week", _("more than a week ago")),
        ("month", _("more than a month ago")),
    ]
    offered: list[tuple[str, str, Choices]] = [
        ("kind", _("Difference"), [(kind, _label_difference(kind)) for kind in kinds]),
        ("field", _("Field"), [_label_path(path) for path in paths]),
        ("age", _("First seen"), ages),
        ("owner", _("Owner"), [("mine", _("Mine")), ("none", _("Nobody")), *usernames]),
        ("state", _("State"), [("open", _("open")), ("acknowledged", _("acknowledged"))]),
    ]
    return [
        (name, label, [(value, text, filters.get(name) == value) for value, text in values])
        for name, label, values in offered
    ]
