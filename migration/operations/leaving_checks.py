"""Says what keeps a client from being offboarded now. Asks the database alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from credentials.pointers import list_rows_in_clear
from migration import offboarding_sentences as told
from migration.models.layouts import OtherSecretsState
from migration.models.reads import ReadCount
from migration.models.rotations import Rotation
from migration.models.run_items import RunItem
from migration.models.runs import Run
from migration.operations.aws_writes import find_write_refusal
from migration.operations.gate_facts import GateFacts
from migration.operations.snapshots import read_client_with_rows
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.messages import Message

# A client that NOVA read since then may still be needed.
RECENT_DAYS = 7


def list_objections(snapshot: ClientSnapshot, *, acknowledged: bool = False) -> list[Message]:
    """Return why the client may not leave now. `acknowledged`: recent reads are known, and are no objection."""
    return [
        *([told.OFFBOARDING_ACTIVE()] if snapshot.active else []),
        *filter(None, [find_write_refusal()]),
        *_find_users(snapshot, acknowledged=acknowledged),
        *_find_values(snapshot),
    ]


def needs_purge(snapshot: ClientSnapshot) -> bool:
    """Say whether the rows have to be purged first: of a client without any login and secret there is nothing to."""
    if snapshot.phase == Phase.PURGED:
        return False
    return snapshot.has_credentials or snapshot.phase != Phase.POSTGRES


def _find_users(snapshot: ClientSnapshot, *, acknowledged: bool) -> Iterator[Message]:
    """Yield a message for each use: NOVA's recent reads, a run, a rotation, a change of layout."""
    if not acknowledged and (last := find_recent_counted_read(snapshot.client_id)):
        yield told.OFFBOARDING_READ(n=RECENT_DAYS, ago=last)
    if run := find_unfinished_write_run(snapshot.client_id):
        yield told.OFFBOARDING_IN_RUN(run=run.name_message)
    if Rotation.objects.find_unfinished(snapshot.client_id):
        yield told.OFFBOARDING_ROTATES()
    if snapshot.other_secrets == OtherSecretsState.BEGUN:
        yield told.OFFBOARDING_LAYOUT()


def _find_values(snapshot: ClientSnapshot) -> Iterator[Message]:
    """Yield what keeps the rows from holding pointers alone."""
    if snapshot.phase == Phase.PURGED:
        yield from _find_values_after_purge(snapshot)
    elif needs_purge(snapshot):
        yield from _find_purge_objections(snapshot)


def find_recent_counted_read(client_id: int) -> datetime | None:
    """Return when NOVA's reader last read the client in a phase that reads AWS, if within the last RECENT_DAYS."""
    since = timezone.now() - timedelta(days=RECENT_DAYS)
    read = ReadCount.objects.filter(pk=client_id, last_read_at__gt=since).first()
    return read.last_read_at if read else None


def find_unfinished_write_run(client_id: int) -> Run | None:
    """Return a run that is not finished, writes, and still has the client to do."""
    items = RunItem.objects.filter(client_id=client_id, outcome="", run__finished_at=None)
    item = items.exclude(run__kind__in=Run.READS_ONLY).select_related("run").first()
    return item.run if item else None


def _find_values_after_purge(snapshot: ClientSnapshot) -> Iterator[Message]:
    plain = list_rows_in_clear(read_client_with_rows(snapshot.client_id))
    if plain:
        yield told.OFFBOARDING_ROWS(rows=tuple(row.make_row_name_message() for row in plain))


def _find_purge_objections(snapshot: ClientSnapshot) -> Iterator[Message]:
    """Yield what a purge can't do without: an approval where one is wanted, a document, writes that are counted."""
    if settings.NOVA_REQUIRE_APPROVAL:
        yield told.OFFBOARDING_APPROVAL()
    if snapshot.problem:
        yield snapshot.problem
    facts = GateFacts([snapshot.client_id])
    if facts.counting_problem:
        yield facts.counting_problem
    yield from (each.text for each in facts.nova_tables.list_gate_verdicts() if not each.passed)
