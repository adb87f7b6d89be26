"""Adds up what was counted of all clients: by phase, next step, blocker and newest comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.clients.models import SiteCounts
from migration.core.clients import PhaseChoices
from migration.core.comparisons import Comparison
from migration.moves.readiness import KEPT_BY_NOTHING, Standing, find_standing
from migration.moves.rules import BLOCKERS, READY, Blocker
from nova_credentials.messages import Message
from nova_credentials.phases import Phase

# In the address of the client list, before a reason: of the clients that NOVA reads from AWS and that lack something
# for their purge alone.
IN_AWS_ALREADY = "aws_"

# The numbers of one phase, status and blocker.
_Row = dict[str, Any]


@dataclass(frozen=True)
class PhaseCount:
    """The number of clients in one phase."""

    phase: str
    label: str
    clients: int
    # Of its clients, as far as the database can tell; and what the next phase is called, "" behind the last.
    ready: int = 0
    next_phase: str = ""
    next_label: str = ""

    @property
    def description(self) -> str:
        return describe_phase(Phase(self.phase))

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows the clients in this phase."""
        return f"phase={self.phase}"

    @property
    def ready_query(self) -> str:
        """Return the query of the client list that shows those that are ready for the next phase.

        Nothing of the client's own keeps them, whatever holds for all clients at once.
        """
        return f"{self.list_query}&next={KEPT_BY_NOTHING}"


@dataclass(frozen=True)
class BlockerCount:
    """The number of clients with this standing and this blocker; no client is counted twice."""

    blocker: Blocker
    standing: Standing
    clients: int

    @property
    def amount_required_by_gate(self) -> str:
        """Return how much is wanted of what these clients have too little of; "" where it is no amount."""
        new = Phase.PURGED if self.standing == Standing.IN_AWS else Phase.AWS
        wanted = self.blocker.wanted(new) if self.blocker.wanted else None
        return localize(wanted) if isinstance(wanted, Message) else str(wanted or "")

    @property
    def list_query(self) -> str:
        prefix = IN_AWS_ALREADY if self.standing == Standing.IN_AWS else ""
        return f"next={prefix}{self.blocker.code}"


@dataclass(frozen=True)
class ClientCounts:
    """The number of clients, by phase and by pending push."""

    phases: list[PhaseCount]
    total: int
    inactive: int
    push_pending: int
    push_late: int
    push_refused: int
    blockers: list[BlockerCount]

    @property
    def reads_aws(self) -> bool:
        """Say whether NOVA reads any of them from AWS."""
        return any(row.clients for row in self.phases if Phase(row.phase).reads_aws)

    @property
    def cut_over(self) -> int:
        """Return how many NOVA reads from AWS."""
        return sum(row.clients for row in self.phases if row.phase in (Phase.AWS, Phase.PURGED))

    @property
    def percent_cut_over(self) -> int:
        """Return the share that NOVA reads from AWS, rounded down: 100 only where it is all."""
        return 100 * self.cut_over // self.total if self.total else 0


@dataclass(frozen=True)
class NewestComparisonCounts:
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


def add_up_counts(counts: SiteCounts) -> tuple[ClientCounts, NewestComparisonCounts]:
    """Add up what was counted, by phase and by comparison, with the words of the page's language."""
    rows = counts.rows
    return _make_client_counts(rows, counts.pushes), _make_comparison_counts(rows)


def _make_client_counts(rows: list[_Row], pushes: dict[str, int]) -> ClientCounts:
    numbers = {phase: sum(row["n"] for row in rows if row["phase"] == phase) for phase in Phase}
    total = sum(numbers.values())
    order = list(Phase)
    ready = {
        phase: sum(r["n"] for r in rows if r["phase"] == phase and r["blocker"] == READY.code)
        for phase in Phase
    }
    next_phases = dict(pairwise(order))
    return ClientCounts(
        phases=[
            PhaseCount(
                phase=phase,
                label=str(PhaseChoices(phase).label),
                clients=numbers[phase],
                ready=ready[phase],
                next_phase=next_phases.get(phase, ""),
                next_label=str(PhaseChoices(next_phases[phase]).label)
                if phase in next_phases
                else "",
            )
            for phase in order
        ],
        blockers=list(_list_blockers(rows)),
        total=total,
        inactive=total - sum(row["active"] for row in rows),
        **pushes,
    )


def _list_blockers(rows: list[_Row]) -> Iterator[BlockerCount]:
    """Yield what keeps clients from their next phase, in the order in which lists tell it."""
    numbers: Counter[tuple[Blocker, Standing]] = Counter()
    for row in rows:
        blocker = BLOCKERS[row["blocker"]]
        numbers[blocker, find_standing(row["phase"], blocker)] += row["n"]
    for blocker in BLOCKERS.values():
        for standing in (Standing.BLOCKED, Standing.WAITS, Standing.IN_AWS):
            if number := numbers[blocker, standing]:
                yield BlockerCount(blocker, standing, number)


def describe_phase(phase: Phase) -> str:
    """Say which stores NOVA reads and writes in this phase, in the page's language."""
    return {
        Phase.POSTGRES: _("NOVA reads and writes PostgreSQL."),
        Phase.DUAL_WRITE: _("NOVA reads PostgreSQL; writes go to both."),
        Phase.DUAL_READ: _("NOVA reads both and compares; writes go to both."),
        Phase.AWS: _("NOVA reads AWS; writes go to both."),
        Phase.PURGED: _("Only AWS holds the secret values."),
    }[phase]


def _make_comparison_counts(rows: list[_Row]) -> NewestComparisonCounts:
    def add_up(status: str, column: str) -> int:
        return sum(row[column] for row in rows if row["status"] == status)

    return NewestComparisonCounts(
        by_status={status: add_up(status, "n") for status in Comparison.Status},
        acknowledged={status: add_up(status, "acknowledged") for status in Comparison.Status},
        last=max((row["last"] for row in rows if row["last"]), default=None),
    )
