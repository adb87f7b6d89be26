"""Owns what all filters of the client list have in common: their conditions, and the number behind each choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Q
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client

    Options = list[tuple[str, StrOrPromise]]


class ClientListFilter(admin.SimpleListFilter):
    """A filter with a list of values. A subclass says in `find_condition` which clients each value is for."""

    options: ClassVar[Options]
    # Value -> how many clients it would show; None where `count_choices` has not counted.
    counts: Mapping[str, int] | None = None

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        return self.options

    def find_condition(self, value: str) -> Q | None:
        """Return the condition of the clients that this value shows; None where the filter has no such value."""
        raise NotImplementedError

    def count_in_own_query(self, clients: QuerySet[Client]) -> Mapping[str, int] | None:
        """Count these clients by value, in a query of the filter's own; None where its conditions go into a shared one.

        A filter has its own where one condition takes longer to put into SQL than such a query takes.
        """
        return None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> QuerySet[Client]:
        condition = self.find_condition(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield Django's choices, each with its number of clients; None where it was not counted."""
        everybody, *others = super().choices(changelist)
        yield {**everybody, "display": _("Any")}
        for (value, _label), choice in zip(self.lookup_choices, others, strict=True):
            yield {**choice, "count": None if self.counts is None else self.counts.get(value, 0)}


def count_choices(changelist: ChangeList) -> None:
    """Give each filter of the list the number of clients behind each of its choices, as the other filters stand.

    One query counts for the filters that are not used, one for each that is, and for some there is one of their own.
    """
    idle = []
    for spec in list(changelist.filter_specs):
        if isinstance(spec, ClientListFilter):
            if spec.value() is None:
                idle.append(spec)
            else:
                _count_for([spec], _select_without(spec, changelist))
    _count_for(idle, changelist.queryset)


def _select_without(spec: ClientListFilter, changelist: ChangeList) -> QuerySet[Client]:
    """Select what the list shows with all filters but this one."""
    names = ("filter_specs", "has_filters", "has_active_filters")
    kept = {name: getattr(changelist, name) for name in names}
    found = changelist.get_queryset(spec.request, exclude_parameters=spec.expected_parameters())
    # It has made all filters anew.
    vars(changelist).update(kept)
    return found


def _count_for(filters: Sequence[ClientListFilter], clients: QuerySet[Client]) -> None:
    together = []
    for spec in filters:
        own = spec.count_in_own_query(clients.order_by()) if spec.lookup_choices else {}
        if own is None:
            together.append(spec)
        else:
            spec.counts = own
    pairs = [(spec, value) for spec in together for value, _label in spec.lookup_choices]
    conditions = {
        f"number_{n}": Count("pk", filter=spec.find_condition(value))
        for n, (spec, value) in enumerate(pairs)
    }
    counted = clients.order_by().aggregate(**conditions) if conditions else {}
    for spec in together:
        of_spec = [n for n, (owner, _value) in enumerate(pairs) if owner is spec]
        spec.counts = {pairs[n][1]: counted[f"number_{n}"] for n in of_spec}
