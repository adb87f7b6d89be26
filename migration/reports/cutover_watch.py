"""Watches a client's reads and comparisons in the minutes after its cutover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from migration.models.clients import ClientMigration
from migration.models.comparisons import Comparison
from migration.models.moves import PhaseChange
from migration.models.reads import ReadCount
from nova_credentials.phases import Phase

# A client's page watches its cutover for this time.
WATCHED_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class CutoverWatch:
    """A client's reads and comparisons since its cutover a few minutes ago."""

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


def measure_cutover(client_id: int) -> CutoverWatch | None:
    """Return reads and comparisons since the cutover; None if older than WATCHED_FOR or not in AWS now."""
    lately = timezone.now() - WATCHED_FOR
    later = Comparison.objects.filter(client_id=client_id, compared_at__gt=OuterRef("changed_at"))
    numbers = later.order_by().values("client_id").annotate(number=Count("pk")).values("number")
    in_aws = Exists(ClientMigration.objects.filter(pk=client_id, phase=Phase.AWS))
    cutover = (
        PhaseChange.objects.filter(in_aws, client_id=client_id, changed_at__gte=lately)
        .annotate(
            compared=Coalesce(Subquery(numbers), 0),
            differ=Coalesce(Subquery(numbers.filter(status__in=Comparison.DIFFERS)), 0),
        )
        .order_by("-pk")
        .first()
    )
    if not cutover or cutover.old != Phase.DUAL_READ:
        return None
    seen = ReadCount.objects.filter(pk=client_id).first() or ReadCount()
    since = seen.count_since(cutover.reads_before)
    return CutoverWatch(
        client_id=client_id,
        since=cutover.changed_at,
        until=cutover.changed_at + WATCHED_FOR,
        last_read_at=seen.last_read_at,
        comparisons=cutover.compared,  # type: ignore[attr-defined]  # annotated
        mismatches=cutover.differ,  # type: ignore[attr-defined]
        reads=since.reads,
        aws_failures=since.aws_failures,
    )
