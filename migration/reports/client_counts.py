"""Where the clients stand, how their newest comparisons came out, and which pushes wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from migration.models import Comparison, PhaseChoices, Resolution, select_clients
from nova_credentials.phases import Phase

# The workers push every minute: what waits for longer is stuck.
PUSH_IS_LATE_AFTER = timedelta(minutes=2)

Status = Comparison.Status


@dataclass(frozen=True)
class PhaseCount:
    phase: str
    label: str
    effect: str
    clients: int
    percent: float
    # The funnel: those that are here or further on.
    reached: int
    percent_reached: float

    @property
    def query(self) -> str:
        return f"phase={self.phase}"


@dataclass(frozen=True)
class Clients:
    """How many there are, and where they stand."""

    phases: list[PhaseCount]
    total: int
    inactive: int
    push_pending: int
    push_late: int
    push_refused: int


@dataclass(frozen=True)
class Comparisons:
    """Each client's newest comparison."""

    by_status: dict[str, int]
    acknowledged: dict[str, int]
    last: datetime | None

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    @property
    def matched(self) -> int:
        return self.by_status[Status.MATCH]

    @property
    def differing(self) -> int:
        return sum(self.by_status[status] for status in Comparison.DIFFERS)

    @property
    def unchecked(self) -> int:
        return self.by_status[Status.UNCHECKED]


def standing() -> tuple[Clients, Comparisons]:
    """Both of them: two queries."""
    rows = list(_counted())
    return _clients(rows, _pushes()), _comparisons(rows)


def _counted() -> Any:
    """The numbers of each phase and status."""
    acknowledged = Q(pk__in=Resolution.objects.of_newest_comparison().values("client_id"))
    return (
        select_clients()
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


def _pushes() -> dict[str, int]:
    """How many wait to be pushed, how many of them were refused, and how many have waited for long."""
    refused = Q(client_migration__refused_revision=F("revision"))
    pending = select_clients().push_pending()
    late = Q(pk__in=select_clients().push_late(late_before()).order_by().values("pk"))
    return pending.aggregate(
        push_pending=Count("pk", filter=~refused),
        push_refused=Count("pk", filter=refused),
        push_late=Count("pk", filter=late),
    )


def late_before() -> datetime:
    return timezone.now() - PUSH_IS_LATE_AFTER


def _clients(rows: list[dict[str, Any]], pushes: dict[str, int]) -> Clients:
    numbers = {phase: sum(row["n"] for row in rows if row["phase"] == phase) for phase in Phase}
    total = sum(numbers.values())
    order = list(Phase)
    reached = {
        phase: sum(numbers[later] for later in order[position:])
        for position, phase in enumerate(order)
    }
    return Clients(
        phases=[
            PhaseCount(
                phase=phase,
                label=str(PhaseChoices(phase).label),
                effect=effect(phase),
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


def effect(phase: Phase) -> str:
    return {
        Phase.POSTGRES: _("NOVA reads and writes PostgreSQL."),
        Phase.DUAL_WRITE: _("NOVA reads PostgreSQL; writes go to both."),
        Phase.DUAL_READ: _("NOVA reads both and compares; writes go to both."),
        Phase.AWS: _("NOVA reads AWS; writes go to both."),
        Phase.PURGED: _("Only AWS holds the secret values."),
    }[phase]


def _comparisons(rows: list[dict[str, Any]]) -> Comparisons:
    def total(status: str, what: str) -> int:
        return sum(row[what] for row in rows if row["status"] == status)

    return Comparisons(
        by_status={status: total(status, "n") for status in Status},
        acknowledged={status: total(status, "acknowledged") for status in Status},
        last=max((row["last"] for row in rows if row["last"]), default=None),
    )
