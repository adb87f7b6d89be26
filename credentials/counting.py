"""What is remembered of the counting of writes: when it was proved, and when writes may have gone uncounted."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Self

from django.db import models, transaction
from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime


class ProofOutcome(StrEnum):
    """What came of an update that was tried, and rolled back, to see whether it is counted."""

    HOLDS = "holds"
    FAILED = "failed"
    EMPTY = "empty"  # no row to try it on
    BUSY = "busy"  # every row, or the table, is locked: to be tried again; never stored


class CountingProofQuerySet(models.QuerySet["CountingProof"]):
    def record(self, outcomes: dict[str, ProofOutcome]) -> None:
        """Store the outcome for each table; where it could not be tried the one before stands."""
        now = timezone.now()
        for table, outcome in outcomes.items():
            if outcome == ProofOutcome.BUSY:
                continue
            held = {"held_at": now} if outcome == ProofOutcome.HOLDS else {}
            self.update_or_create(
                table=table, defaults={"outcome": outcome.value, "tried_at": now, **held}
            )

    def failed(self) -> list[str]:
        """Return the tables on which the newest try was not counted."""
        failed = self.filter(outcome=ProofOutcome.FAILED.value).order_by("table")
        return list(failed.values_list("table", flat=True))


class CountingProof(models.Model):
    """The newest try, on one table, whether an update is counted."""

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
    def open(self) -> Self:
        return self.filter(ended_at=None)

    def since(self, moment: datetime | None) -> Self:
        """Those that were open at that moment or later; None: all."""
        if moment is None:
            return self
        return self.filter(models.Q(ended_at=None) | models.Q(ended_at__gte=moment))

    @transaction.atomic
    def begin(self) -> None:
        """Open a gap, unless one is open and stays so: one that is being ended is waited for."""
        if not list(self.open().select_for_update()):
            held = CountingProof.objects.aggregate(at=models.Min("held_at"))
            self.create(proved_at=held["at"])

    def end(self) -> None:
        """End the gaps that are open, unless a proof failed meanwhile; within the caller's transaction."""
        held = [gap.pk for gap in self.open().select_for_update()]
        if not CountingProof.objects.failed():
            self.filter(pk__in=held).update(ended_at=timezone.now())


class CountingGap(models.Model):
    """A time in which writes to NOVA's tables may have gone uncounted; open while `ended_at` is NULL.

    `nova_credentials.tables` names this table and `ended_at` in SQL.
    """

    # When counting was last proved before it: writes may have gone uncounted from then on.
    proved_at = models.DateTimeField(null=True)
    found_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    objects = CountingGapQuerySet.as_manager()

    def __str__(self) -> str:
        return f"gap found at {self.found_at}"
