"""The mismatch report's numbers and its rows, narrowed by what stands in the address."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Max, Q
from django.utils import timezone

from migration.models import ClientMigration, Comparison, OpenMismatch, Resolution, newest_status_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from migration.models import ClientMigrationQuerySet, OpenMismatchQuerySet

Status = Comparison.Status
# What is listed by client, since no field differs.
BY_CLIENT = (Status.MATCH, Status.UNCHECKED)
AGES = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
FILTERS = ("status", "kind", "field", "age", "owner", "state", "q")


# How the address names the mismatch of a whole secret, whose path is empty.
WHOLE = "*"


def numbers() -> dict[str, Any]:
    """Each client's newest comparison, by its result."""
    compared = ClientMigration.objects.of_present_clients().exclude(comparison=None)
    counted = compared.values("comparison_status").annotate(n=Count("pk"), last=Max("compared_at"))
    rows = {row["comparison_status"]: row for row in counted}
    counts = {status: rows[status]["n"] if status in rows else 0 for status in Status}
    return {
        "numbers": [(status, str(status.label), counts[status]) for status in Status],
        "compared": sum(counts.values()),
        "matched": counts[Status.MATCH],
        "differing": sum(counts[status] for status in Comparison.DIFFERS),
        "unchecked_count": counts[Status.UNCHECKED],
        "last_compared_at": max((row["last"] for row in rows.values()), default=None),
    }


def fields() -> list[tuple[str, str, int]]:
    """How many clients' field differs in which way."""
    found = OpenMismatch.objects.of_present_clients().order_by().values_list("kind", "path")
    return list(found.annotate(n=Count("pk")))


def narrowed(filters: dict[str, str], *, user: Any) -> OpenMismatchQuerySet:
    """The fields that differ and that these filters let through; one that means nothing lets nothing through."""
    found = OpenMismatch.objects.of_present_clients().with_state()
    for name, value in filters.items():
        condition = CONDITIONS[name](value, user)
        if condition is None:
            return found.none()
        found = found.filter(condition)
    return found


def _age(value: str, _user: Any) -> Q | None:
    return Q(first_seen_at__lt=timezone.now() - AGES[value]) if value in AGES else None


def _owner(value: str, user: Any) -> Q | None:
    if value in ("me", "none"):
        return Q(owner=user if value == "me" else None)
    return Q(owner=int(value)) if value.isdecimal() and len(value) < 10 else None


def _state(value: str, _user: Any) -> Q | None:
    return {"open": Q(acknowledged=False), "acknowledged": Q(acknowledged=True)}.get(value)


def _status(value: str, _user: Any) -> Q | None:
    return newest_status_is(value) if value in Status else None


CONDITIONS: dict[str, Callable[[str, Any], Q | None]] = {
    "status": _status,
    "kind": lambda value, _user: Q(kind=value),
    "field": lambda value, _user: Q(path="" if value == WHOLE else value),
    "age": _age,
    "owner": _owner,
    "state": _state,
    "q": lambda value, _user: Q(slug__startswith=value),
}


def rows_of(
    filters: dict[str, str], *, user: Any
) -> OpenMismatchQuerySet | ClientMigrationQuerySet:
    """A row a field that differs, or a row a client where none does."""
    by_client = filters.get("status") in BY_CLIENT
    return compared_clients(filters) if by_client else narrowed(filters, user=user)


def compared_clients(filters: dict[str, str]) -> ClientMigrationQuerySet:
    """The clients whose newest comparison has the one result that is asked for, with what NOVA's reader counted."""
    found = ClientMigration.objects.of_present_clients().filter(comparison_status=filters["status"])
    if "q" in filters:
        found = found.filter(client__slug__startswith=filters["q"])
    if filters.get("state") == "open":
        found = found.exclude(pk__in=Resolution.objects.of_newest_comparison().values("client_id"))
    return found.annotate(
        slug=F("client__slug"),
        reads_matched=F("client__read_count__matches"),
        last_read_at=F("client__read_count__last_read_at"),
    ).order_by("slug")
