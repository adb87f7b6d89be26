"""What is known of a client, in words and numbers: for the commands and the pages. Reads the database alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.utils import timezone

from migration.models import WRITES_BOTH, Comparison, PhaseChange, ReadCount, RunItem
from migration.operations.aws_store import secret_names
from migration.reports.run_progress import measure_progress, runs_for_progress
from nova_credentials.phases import Phase
from nova_credentials.tables import is_push_pending

if TYPE_CHECKING:
    from migration.models import ClientsByPhase

# So long is a cutover watched on the client's page.
WATCHED_FOR = timedelta(minutes=10)


def client_statuses(chosen: ClientsByPhase) -> list[dict[str, Any]]:
    """One JSON-ready object a client, in the order of the slugs; a few queries, whatever their number."""
    found = list(chosen.with_phase().with_revision().order_by("slug"))
    ids = [client.pk for client in found]
    in_run = _runs_of(ids)
    newest = {row.client_id: row for row in Comparison.objects.newest().filter(client_id__in=ids)}
    return [_status(client, newest.get(client.pk), in_run.get(client.pk)) for client in found]


def _runs_of(client_ids: list[int]) -> dict[int, dict[str, Any]]:
    """The newest run that is not over of each client, and what it waits for."""
    items = RunItem.objects.open().filter(client_id__in=client_ids, run__finished_at=None)
    run_of = dict(items.order_by("run_id").values_list("client_id", "run_id"))
    states = {
        run.pk: {
            "run": run.pk,
            "state": run.state,
            "reason": str(measure_progress(run).reason or ""),
        }
        for run in runs_for_progress().filter(pk__in=set(run_of.values()))
    }
    return {pk: states[run_id] for pk, run_id in run_of.items()}


def push_pending(client: Any) -> bool:
    """Whether it writes both stores and its newest rows are not in AWS yet; annotated rows only."""
    pushed = client.pushed_revision
    behind = is_push_pending(revision=client.revision, pushed_revision=pushed)
    return Phase(client.phase) in WRITES_BOTH and behind


def _status(
    client: Any, comparison: Comparison | None, run: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "slug": client.slug,
        "name": client.name,
        "phase": client.phase,
        "secrets": list(secret_names(client.slug).values()),
        "push_pending": push_pending(client),
        "revision": client.revision,
        "pushed_revision": client.pushed_revision,
        "comparison": comparison
        and {
            "status": comparison.status,
            "compared_at": comparison.compared_at.isoformat(),
            "mismatches": [
                {"path": row.path, "kind": row.kind, "hint": row.hint}
                for row in comparison.fields_that_differ()
            ],
        },
        "run": run,
    }


@dataclass(frozen=True)
class Watch:
    """What happened to a client in the minutes since its cutover."""

    client_id: int
    since: datetime
    until: datetime
    reads: int
    aws_failures: int
    last_read_at: datetime | None
    comparisons: int
    mismatches: int

    @property
    def seconds_left(self) -> float:
        return (self.until - timezone.now()).total_seconds()


def watch_of(client_id: int, phase: Phase) -> Watch | None:
    """None where it was not cut over within the last minutes."""
    if phase != Phase.AWS:
        return None
    cutover = PhaseChange.objects.filter(client_id=client_id).order_by("-pk").first()
    lately = timezone.now() - WATCHED_FOR
    if not cutover or cutover.old != Phase.DUAL_READ or cutover.changed_at < lately:
        return None
    seen = ReadCount.objects.filter(pk=client_id).first() or ReadCount()
    compared = Comparison.objects.filter(
        client_id=client_id, compared_at__gt=cutover.changed_at
    ).aggregate(all=Count("pk"), differ=Count("pk", filter=Q(status__in=Comparison.DIFFERS)))
    since = {
        name: number - cutover.reads_before.get(name, 0)
        for name, number in seen.get_counts().items()
    }
    return Watch(
        client_id=client_id,
        since=cutover.changed_at,
        until=cutover.changed_at + WATCHED_FOR,
        last_read_at=seen.last_read_at,
        comparisons=compared["all"],
        mismatches=compared["differ"],
        **since,
    )
