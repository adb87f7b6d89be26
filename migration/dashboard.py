"""The numbers of the first page and of runs, in a fixed number of queries, whatever the number of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, Count, F, Max, Q, When
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.models import Comparison, Outcome, PhaseChoices, Run, RunItem, clients
from migration.phases import Phase
from migration.progress import Progress, progress, runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

NEWEST = 8

Status = Comparison.Status


@dataclass(frozen=True)
class PhaseCount:
    phase: str
    label: str
    effect: str
    clients: int
    percent: float

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
    push_refused: int


@dataclass(frozen=True)
class Comparisons:
    """Each client's newest comparison."""

    by_status: dict[str, int]
    acknowledged: dict[str, int]
    last: datetime | None
    newest: list[Comparison]

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


@dataclass(frozen=True)
class Attention:
    """Something for a person to do: how many, what, and the list of them."""

    count: int
    sentence: str
    url: str
    permission: str


@dataclass(frozen=True)
class Summary:
    clients: Clients
    comparisons: Comparisons
    run: Progress | None
    attention: list[Attention]


def summary() -> Summary:
    """All of it: seven queries."""
    of_clients, of_comparisons = _clients(), _comparisons()
    run = _running_or_latest()
    return Summary(
        clients=of_clients,
        comparisons=of_comparisons,
        run=progress(run) if run else None,
        attention=list(_attention(of_clients, of_comparisons)),
    )


def _running_or_latest() -> Run | None:
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    return runs().order_by(running_first, "-pk").first()


def _clients() -> Clients:
    pending = (
        clients()
        .push_pending()
        .aggregate(
            all=Count("pk"),
            refused=Count("pk", filter=Q(client_migration__refused_revision=F("revision"))),
        )
    )
    rows = clients().with_phase().order_by().values("phase")
    counted = rows.annotate(n=Count("pk"), active=Count("pk", filter=Q(is_active=True)))
    by_phase = {row["phase"]: row for row in counted}
    total = sum(row["n"] for row in by_phase.values())
    numbers = {phase: by_phase[phase]["n"] if phase in by_phase else 0 for phase in Phase}
    return Clients(
        phases=[
            PhaseCount(
                phase=phase,
                label=str(PhaseChoices(phase).label),
                effect=_effect(phase),
                clients=number,
                percent=100 * number / total if total else 0,
            )
            for phase, number in numbers.items()
        ],
        total=total,
        inactive=total - sum(row["active"] for row in by_phase.values()),
        push_pending=pending["all"] - pending["refused"],
        push_refused=pending["refused"],
    )


def _effect(phase: Phase) -> str:
    return {
        Phase.POSTGRES: _("NOVA reads and writes PostgreSQL."),
        Phase.DUAL_WRITE: _("NOVA reads PostgreSQL; writes go to both."),
        Phase.DUAL_READ: _("NOVA reads both and compares; writes go to both."),
        Phase.AWS: _("NOVA reads AWS; PostgreSQL is kept warm."),
        Phase.PURGED: _("AWS alone holds the values."),
    }[phase]


def _comparisons() -> Comparisons:
    newest = Comparison.objects.newest()
    counted = (
        newest.with_acknowledged()
        .order_by()
        .values("status")
        .annotate(
            n=Count("pk"),
            acknowledged=Count("pk", filter=Q(acknowledged=True)),
            last=Max("compared_at"),
        )
    )
    rows = {row["status"]: row for row in counted}
    return Comparisons(
        by_status={status: rows[status]["n"] if status in rows else 0 for status in Status},
        acknowledged={status: row["acknowledged"] for status, row in rows.items()},
        last=max((row["last"] for row in rows.values()), default=None),
        newest=list(newest[:NEWEST]),
    )


def _attention(of_clients: Clients, of_comparisons: Comparisons) -> Iterator[Attention]:
    """What there is any of, the most pressing first."""
    for status in (*Comparison.DIFFERS, Status.UNCHECKED):
        taken_note_of = of_comparisons.acknowledged.get(status, 0)
        if number := of_comparisons.by_status[status] - taken_note_of:
            yield Attention(
                number,
                _in_doubt(status, number),
                f"{reverse('admin:migration_comparison_report')}?status={status}&open=yes",
                "migration.view_comparison",
            )
    migration = Run.objects.filter(kind=Run.Kind.MIGRATE).order_by("-pk").values("pk")[:1]
    failed = RunItem.objects.filter(run__in=migration, outcome=Outcome.FAILED)
    for run_id, number in failed.order_by().values_list("run").annotate(n=Count("pk")):
        yield Attention(
            number,
            ngettext(
                "client failed in the latest migration",
                "clients failed in the latest migration",
                number,
            ),
            f"{reverse('admin:migration_run_change', args=[run_id])}?items=failed",
            "migration.view_run",
        )
    if number := of_clients.push_refused:
        yield Attention(
            number,
            ngettext(
                "client can't be pushed until something is changed",
                "clients can't be pushed until something is changed",
                number,
            ),
            f"{reverse('admin:credentials_client_changelist')}?push=refused",
            "credentials.view_client",
        )
    if number := of_clients.push_pending:
        yield Attention(
            number,
            ngettext(
                "client waits to be pushed to AWS", "clients wait to be pushed to AWS", number
            ),
            f"{reverse('admin:credentials_client_changelist')}?push=pending",
            "credentials.view_client",
        )


def _in_doubt(status: str, number: int) -> str:
    return {
        Status.MISMATCH: ngettext(
            "client differs between PostgreSQL and AWS",
            "clients differ between PostgreSQL and AWS",
            number,
        ),
        Status.MISSING_IN_AWS: ngettext(
            "client is missing in AWS", "clients are missing in AWS", number
        ),
        Status.MISSING_IN_POSTGRES: ngettext(
            "client is missing in PostgreSQL", "clients are missing in PostgreSQL", number
        ),
        Status.UNCHECKED: ngettext(
            "client could not be checked", "clients could not be checked", number
        ),
    }[Status(status)]
