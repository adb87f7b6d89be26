"""Reads the numbers by which the site is watched, in a fixed number of queries. No client's name is among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Min, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from credentials.models import ClientWrite
from credentials.triggers import writes_are_counted
from migration.clients.counts import ClientCounts, NewestComparisonCounts, add_up_counts
from migration.clients.models import read_or_count_clients
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import all_clients
from migration.core.comparisons import OpenMismatch
from migration.core.problems import FindingState, Look, list_results
from migration.core.rates import KeptCounts
from migration.core.workers import Worker
from migration.nova.models import ReaderSummary
from migration.nova.readers import is_any_client_read_from_aws, summarize_readers
from migration.runs.models import Run
from migration.site.background import BackgroundFacts, read_background_facts

# Of clients that a run did not come to yet.
OPEN = "open"


@dataclass(frozen=True)
class UnfinishedRuns:
    """The runs that are not finished; times in seconds."""

    by_state: dict[tuple[str, ...], int]  # kind and state -> runs
    # Kind and outcome (or OPEN) -> clients of those that run or are paused.
    clients: dict[tuple[str, ...], int]
    # Since a worker last worked on the running one that was left alone for longest.
    idle_seconds: float


@dataclass(frozen=True)
class SiteNumbers:
    """Everything that is watched; times in seconds."""

    clients: ClientCounts
    comparisons: NewestComparisonCounts
    open_mismatches: int
    oldest_push_seconds: float  # 0: no push is pending
    failures: dict[str, int]  # act -> clients
    runs: UnfinishedRuns
    readers: ReaderSummary
    reads: dict[str, int]  # result -> reads
    workers: int
    work: BackgroundFacts
    aws_calls: dict[tuple[str, ...], int]  # operation and outcome -> calls
    http: dict[str, int]  # as `nova_admin.traffic` counts
    may_write_to_aws: bool
    writes_are_counted: bool
    to_rotate: int
    problems: dict[
        str, int
    ]  # code -> how much is wrong; without those that nobody could look for yet


def load_site_numbers() -> SiteNumbers:
    """Load them as they are now; of very many clients the workers' newest counts are taken (`SiteCounts`)."""
    look = Look()
    counts = look.read(read_or_count_clients)
    clients, comparisons = add_up_counts(counts)
    look.give(is_any_client_read_from_aws, clients.reads_aws)
    aws_calls, http = KeptCounts.objects.read_counts(KeptCounts.AWS_CALLS, KeptCounts.HTTP)
    return SiteNumbers(
        clients=clients,
        comparisons=comparisons,
        open_mismatches=OpenMismatch.objects.count(),
        oldest_push_seconds=_measure_oldest_push(),
        failures={str(act): number for act, number in counts.failures.by_act.items()},
        runs=_count_runs(),
        readers=look.read(summarize_readers),
        reads=_count_reads(),
        workers=Worker.objects.alive().taking_tasks().count(),
        work=look.read(read_background_facts),
        aws_calls={
            (operation, outcome): number
            for name, number in aws_calls.items()
            for operation, _space, outcome in [name.partition(" ")]
        },
        http=http,
        may_write_to_aws=find_write_refusal() is None,
        writes_are_counted=writes_are_counted(),
        to_rotate=counts.to_rotate,
        problems={
            each.problem.code: each.count
            for each in list_results(look)
            if each.state != FindingState.NOT_LOOKED_AT
        },
    )


def _measure_oldest_push() -> float:
    """Return for how long the oldest write that can be pushed waits. A client that was never written waits for none."""
    writes = ClientWrite.objects.filter(client_id=OuterRef("pk")).order_by("written_at")
    first = Subquery(writes.values("written_at")[:1])
    pending = (
        all_clients().push_due().annotate(waits=Coalesce("client_revision__pending_since", first))
    )
    return _seconds_since(pending.aggregate(oldest=Min("waits"))["oldest"])


def _count_runs() -> UnfinishedRuns:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT kind, state, count(*), min(worked_at) FILTER (WHERE state = %s)
            FROM migration_run WHERE finished_at IS NULL AND state <> ALL(%s) GROUP BY kind, state
            """,
            [Run.State.RUNNING, list(Run.NOT_STARTED)],
        )
        runs = cursor.fetchall()
        cursor.execute(
            """
            SELECT run.kind, coalesce(nullif(outcome, ''), %s), count(*)
            FROM migration_run AS run JOIN migration_runitem AS item ON item.run_id = run.id
            WHERE run.finished_at IS NULL AND run.state = ANY(%s) GROUP BY 1, 2
            """,
            [OPEN, [Run.State.RUNNING, Run.State.PAUSED]],
        )
        items = cursor.fetchall()
    idle = [_seconds_since(worked_at) for *_, worked_at in runs if worked_at]
    return UnfinishedRuns(
        by_state={(kind, state): number for kind, state, number, _worked_at in runs},
        clients={(kind, outcome): number for kind, outcome, number in items},
        idle_seconds=max(idle, default=0.0),
    )


def _count_reads() -> dict[str, int]:
    """Return the reads by NOVA's reader that were compared or failed, and all others, which one store answered."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(matches), 0)::bigint, coalesce(sum(mismatches), 0)::bigint,
                coalesce(sum(aws_failures), 0)::bigint,
                coalesce(sum(greatest(0, reads - matches - mismatches - aws_failures)), 0)::bigint
            FROM migration_readcount
            """
        )
        row = cursor.fetchone()
    return dict(zip(("match", "mismatch", "aws_failure", "not_compared"), row, strict=True))


def _seconds_since(moment: datetime | None) -> float:
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0
