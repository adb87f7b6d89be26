"""Describes clients in words and numbers, for commands and pages. Reads the database alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Case, When

from migration.core.aws_store import client_secret_names
from migration.core.clients import (
    WRITES_BOTH,
    ClientMigration,
    ClientPhaseQuerySet,
    ReadCount,
    ReadsSince,
    all_clients,
)
from migration.core.comparisons import Comparison
from migration.runs.items import RunItem
from migration.runs.models import Run
from migration.runs.progress import measure_progress, select_runs_for_progress
from nova_credentials.phases import Phase
from nova_credentials.tables import is_push_pending

JsonObject = dict[str, Any]
# How many clients are described at once.
CLIENTS_AT_ONCE = 500


def iterate_client_statuses(chosen: ClientPhaseQuerySet) -> Iterator[JsonObject]:
    """Describe each client as a JSON object, sorted by slug, with some of them in memory at a time."""
    ids = list(chosen.order_by("slug").values_list("pk", flat=True))
    runs: dict[int, JsonObject] = {}
    for start in range(0, len(ids), CLIENTS_AT_ONCE):
        yield from _describe_clients(ids[start : start + CLIENTS_AT_ONCE], runs)


def _describe_clients(ids: list[int], runs: dict[int, JsonObject]) -> Iterator[JsonObject]:
    """Describe these in a fixed number of queries. `runs` are those that were described, to which it adds."""
    found = all_clients().filter(pk__in=ids).with_phase().with_layout().with_revision()
    # Each client's newest unfinished run, and the reason why that waits
    items = RunItem.objects.open_of(ids).filter(run__finished_at=None)
    # One that only waits for an approval hides none that is at work.
    waits = Case(When(run__state=Run.State.REQUESTED, then=0), default=1)
    run_of = dict(items.order_by(waits, "run_id").values_list("client_id", "run_id"))
    for run in select_runs_for_progress().filter(pk__in=set(run_of.values()) - runs.keys()):
        reason = str(measure_progress(run).delay_reason or "")
        runs[run.pk] = {"run": run.pk, "state": run.state, "reason": reason}
    newest = {row.client_id: row for row in Comparison.objects.newest().filter(client_id__in=ids)}
    phases, counts = ClientMigration.objects.in_bulk(ids), ReadCount.objects.in_bulk(ids)
    for client in found.order_by("slug"):
        in_run = runs[run_of[client.pk]] if client.pk in run_of else None
        described = _describe_client(client, newest.get(client.pk), in_run)
        yield described | _describe_reads(phases.get(client.pk), counts.get(client.pk))


def _describe_client(
    client: Any, comparison: Comparison | None, run: JsonObject | None
) -> JsonObject:
    return {
        "slug": client.slug,
        "name": client.name,
        "phase": client.phase,
        "secrets": list(client_secret_names(client).values()),
        "push_pending": has_push_pending(client),
        "revision": client.revision,
        "pushed_revision": client.pushed_revision,
        "comparison": comparison
        and {
            "status": comparison.status,
            "compared_at": comparison.compared_at.isoformat(),
            "mismatches": [
                {"path": row.path, "kind": row.kind, "hint": row.hint}
                for row in comparison.read_mismatches()
            ],
        },
        "run": run,
    }


def _describe_reads(
    client_migration: ClientMigration | None, counts: ReadCount | None
) -> JsonObject:
    """Return since when the client is in its phase, and what NOVA's reader did since then."""
    since = client_migration.phase_changed_at if client_migration else None
    before = client_migration.reads_at_entry if client_migration else {}
    reads = counts.count_since(before) if counts else ReadsSince()
    last = counts.last_read_at if counts else None
    in_phase = last and (since is None or last >= since)
    return {
        "phase_since": since and since.isoformat(),
        "reads": {
            "matches": reads.matches,
            "mismatches": reads.mismatches,
            "failures": reads.aws_failures,
            "congested": reads.congested_reads,
            "stale": reads.stale_reads,
            "last_at": last.isoformat() if last and in_phase else None,
        },
    }


def has_push_pending(client: Any) -> bool:
    """Say whether the client, annotated with phase and revisions, writes both stores and AWS lacks its newest rows."""
    pushed = client.pushed_revision
    behind = is_push_pending(revision=client.revision, pushed_revision=pushed)
    return Phase(client.phase) in WRITES_BOTH and behind
