"""Remembers when the counting of writes was proved, and when writes may have gone uncounted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from django.db import models, transaction
from django.utils import timezone


class ProofOutcome(StrEnum):
    """The result of an update that was tried, and rolled back, to see whether it is counted."""

    HOLDS = "holds"
    FAILED = "failed"
    EMPTY = "empty"  # the table has no row to try it on
    BUSY = "busy"  # every row, or the table, is locked: try again later; never stored


class CountingProofQuerySet(models.QuerySet["CountingProof"]):
    """Stores the newest proof of each table, and lists the tables where it failed."""

    def record_outcomes(self, outcomes: dict[str, ProofOutcome]) -> None:
        """Store the outcome for each table; one that was busy keeps its last outcome."""
        now = timezone.now()
        for table, outcome in outcomes.items():
            if outcome == ProofOutcome.BUSY:
                continue
            held = {"held_at": now} if outcome == ProofOutcome.HOLDS else {}
            self.update_or_create(
                table=table, defaults={"outcome": outcome.value, "tried_at": now, **held}
            )

    def list_failed_tables(self) -> list[str]:
        """Return the names of the tables on which the newest try was not counted."""
        failed = self.filter(outcome=ProofOutcome.FAILED.value).order_by("table")
        return list(failed.values_list("table", flat=True))


class CountingProof(models.Model):
    """The newest proof, on one table, that an update is counted, or that it isn't."""

    table = models.CharField(max_length=100, primary_key=True)
    outcome = models.CharField(max_length=10)  # a `ProofOutcome`
    tried_at = models.DateTimeField()
    held_at = models.DateTimeField(null=True)

    objects = CountingProofQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.table}: {self.outcome}"


class CountingTriggers(models.Model):
    """The triggers as they were when every client was last counted, in one row.

    A script that switches them off, writes, and switches them on again in one transaction leaves no other trace.
    `nova_credentials.tables` names this table and its column in SQL.
    """

    identities = models.TextField()

    def __str__(self) -> str:
        return self.identities


class CountingGapQuerySet(models.QuerySet["CountingGap"]):
    """Gaps in the counting; at most one of them is open."""

    def open(self) -> Self:
        return self.filter(ended_at=None)

    def open_at_or_after(self, moment: datetime | None) -> Self:
        """Keep the gaps that were open at that moment or later; all of them for None."""
        if moment is None:
            return self
        return self.filter(models.Q(ended_at=None) | models.Q(ended_at__gte=moment))

    @transaction.atomic
    def begin(self) -> None:
        """Open a gap unless one is open. Waits for a transaction that is ending one, and opens another then."""
        if not list(self.open().select_for_update()):
            held = CountingProof.objects.aggregate(at=models.Min("held_at"))
            self.create(proved_at=held["at"])

    def end_unless_proof_failed(self) -> None:
        """End the open gap, unless a proof failed meanwhile; within the caller's transaction."""
        held = [gap.pk for gap in self.open().select_for_update()]
        if not CountingProof.objects.list_failed_tables():
            self.filter(pk__in=held).update(ended_at=timezone.now())


class CountingGap(models.Model):
    """A time in which writes to NOVA's tables may have gone uncounted; open while `ended_at` is NULL.

    `nova_credentials.tables` names this table and `ended_at` in SQL.
    """

    # When counting was last proved before the gap: writes may have gone uncounted from then on.
    proved_at = models.DateTimeField(null=True)
    found_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    objects = CountingGapQuerySet.as_manager()

    def __str__(self) -> str:
        return f"gap found at {self.found_at}"
