"""Counts clients by phase, by the result of their newest comparison, and by pending push."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from migration.models import Comparison, PhaseChoices, Resolution, all_clients
from nova_credentials.phases import Phase

# The workers push every minute, so a client that waits for longer is stuck.
PUSH_IS_LATE_AFTER = timedelta(minutes=2)

# The numbers of one phase and status.
_Row = dict[str, Any]


@dataclass(frozen=True)
class PhaseCount:
    """The number of clients in one phase."""

    phase: str
    label: str
    description: str
    clients: int
    percent: float
    # Clients in this phase or a later one.
    reached: int
    percent_reached: float

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows them."""
        return f"phase={self.phase}"


@dataclass(frozen=True)
class ClientCounts:
    """The number of clients, by phase and by pending push."""

    phases: list[PhaseCount]
    total: int
    inactive: int
    push_pending: int
    push_late: int
    push_refused: int


@dataclass(frozen=True)
class ComparisonCounts:
    """The number of clients by the result of their newest comparison."""

    by_status: dict[str, int]
    acknowledged: dict[str, int]
    last: datetime | None

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    @property
    def matched(self) -> int:
        return self.by_status[Comparison.Status.MATCH]

    @property
    def differing(self) -> int:
        return sum(self.by_status[status] for status in Comparison.DIFFERS)

    @property
    def unchecked(self) -> int:
        return self.by_status[Comparison.Status.UNCHECKED]


def count_clients() -> tuple[ClientCounts, ComparisonCounts]:
    """Count clients and their newest comparisons, in two queries."""
    rows = _count_by_phase_and_status()
    return _make_client_counts(rows, _count_pushes()), _make_comparison_counts(rows)


def _count_by_phase_and_status() -> list[_Row]:
    """Count the clients of each phase and status."""
    acknowledged = Q(pk__in=Resolution.objects.of_newest_comparison().values("client_id"))
    counted = (
        all_clients()
        .with_phase()
        .annotate(status=F("client_migration__comparison_status"))
        .order_by()
        .values("phase", "status")
        .annotate(
            n=Count("pk"),
            active=Count("pk", filter=Q(is_active=True)),
            acknowledged=Count("pk", filter=acknowledged),
            last=Max("client_migration__compared_at"),
        )
    )
    return list(counted)


def _count_pushes() -> dict[str, int]:
    """Count the clients whose push is pending, refused or late."""
    refused = Q(client_migration__refused_revision=F("revision"))
    pending = all_clients().push_pending()
    late = Q(pk__in=all_clients().push_late(late_push_threshold()).order_by().values("pk"))
    return pending.aggregate(
        push_pending=Count("pk", filter=~refused),
        push_refused=Count("pk", filter=refused),
        push_late=Count("pk", filter=late),
    )


def late_push_threshold() -> datetime:
    """Return the time before which a pending write is late."""
    return timezone.now() - PUSH_IS_LATE_AFTER


def _make_client_counts(rows: list[_Row], pushes: dict[str, int]) -> ClientCounts:
    numbers = {phase: sum(row["n"] for row in rows if row["phase"] == phase) for phase in Phase}
    total = sum(numbers.values())
    order = list(Phase)
    reached = {
        phase: sum(numbers[later] for later in order[position:])
        for position, phase in enumerate(order)
    }
    return ClientCounts(
        phases=[
            PhaseCount(
                phase=phase,
                label=str(PhaseChoices(phase).label),
                description=describe_phase(phase),
                clients=numbers[phase],
                percent=100 * numbers[phase] / total if total else 0,
                reached=reached[phase],
                percent_reached=100 * reached[phase] / total if total else 0,
            )
            for phase in order
        ],
        total=total,
        inactive=total - sum(row["active"] for row in rows),
        **pushes,
    )


def describe_phase(phase: Phase) -> str:
    """Say which stores NOVA reads and writes in this phase, in the page's language."""
    return {
        Phase.POSTGRES: _("NOVA reads and writes PostgreSQL."),
        Phase.DUAL_WRITE: _("NOVA reads PostgreSQL; writes go to both."),
        Phase.DUAL_READ: _("NOVA reads both and compares; writes go to both."),
        Phase.AWS: _("NOVA reads AWS; writes go to both."),
        Phase.PURGED: _("Only AWS holds the secret values."),
    }[phase]


def _make_comparison_counts(rows: list[_Row]) -> ComparisonCounts:
    def add_up(status: str, column: str) -> int:
        return sum(row[column] for row in rows if row["status"] == status)

    return ComparisonCounts(
        by_status={status: add_up(status, "n") for status in Comparison.Status},
        acknowledged={status: add_up(status, "acknowledged") for status in Comparison.Status},
        last=max((row["last"] for row in rows if row["last"]), default=None),
    )
