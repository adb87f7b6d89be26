"""Counts how often each client's rows were written and AWS got them, and knows when writes may have gone uncounted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Self

from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone


class ClientRevisionQuerySet(models.QuerySet["ClientRevision"]):
    def fold_writes(self) -> None:
        """Add the counted writes to their clients' revisions and delete them, so that their table stays small.

        No client's revision changes by it.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH gone AS (DELETE FROM credentials_clientwrite RETURNING id, client_id, written_at),
                numbered AS (
                    SELECT client_id, written_at, row_number() OVER (PARTITION BY client_id ORDER BY id) AS n FROM gone
                )
                INSERT INTO credentials_clientrevision AS kept (client_id, revision, pending_since)
                SELECT client_id, count(*), min(written_at) FILTER (
                    WHERE n > coalesce(before.pushed_revision, 0) - coalesce(before.revision, 0)
                )
                FROM numbered LEFT JOIN credentials_clientrevision AS before USING (client_id)
                GROUP BY client_id ORDER BY client_id
                ON CONFLICT (client_id) DO UPDATE
                SET revision = kept.revision + excluded.revision,
                    pending_since = CASE WHEN kept.revision + excluded.revision > coalesce(kept.pushed_revision, 0)
                                         THEN coalesce(kept.pending_since, excluded.pending_since) END
                """
            )

    def count_writes_in_aws(self, client_ids: Iterable[int]) -> None:
        """Count what the site wrote in AWS while NOVA reads AWS alone, where no row need have changed.

        By it a reader sees that its value is of before. Whether a push is pending stays as it is.
        """
        self.filter(client_id__in=sorted(client_ids)).update(
            revision=models.F("revision") + 1, pushed_revision=models.F("pushed_revision") + 1
        )

    def record_pushed(self, revisions: Iterable[tuple[int, int]]) -> None:
        """Record, for each (client id, revision), that AWS has the rows of that revision; a newer record stays."""
        pairs, now = sorted(revisions), timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO credentials_clientrevision AS kept (client_id, revision, pushed_revision, pushed_at)
                SELECT client_id, 0, pushed, %s FROM unnest(%s::int[], %s::bigint[]) AS new (client_id, pushed)
                ON CONFLICT (client_id) DO UPDATE
                SET pushed_revision = greatest(kept.pushed_revision, excluded.pushed_revision),
                    pushed_at = greatest(kept.pushed_at, excluded.pushed_at),
                    pending_since = CASE WHEN kept.revision > excluded.pushed_revision THEN kept.pending_since END
                """,
                [now, [client_id for client_id, _ in pairs], [revision for _, revision in pairs]],
            )


class ClientRevision(models.Model):
    """How often a client's rows were written, and up to which write AWS has them.

    `revision` counts the folded writes: the client's revision is this plus its `ClientWrite` rows.
    No constraint on `clients`: NOVA deletes clients and must not wait for, or fail on, a table of this app.
    """

    client = models.OneToOneField(
        "credentials.Client",
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="client_revision",
    )
    revision = models.BigIntegerField(default=0, db_default=0)
    pushed_revision = models.BigIntegerField(null=True)
    # When AWS was last seen to have the rows, by whichever push, save or move.
    pushed_at = models.DateTimeField(null=True)
    # The time of the first folded write that is not pushed.
    pending_since = models.DateTimeField(null=True)

    objects = ClientRevisionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"revision {self.revision} of client {self.client_id}"


class ClientWrite(models.Model):
    """One write to a client's rows, added by the trigger (`trigger_sql.py`).

    One row for each write, not a counter: a counter's row would stay locked until NOVA's transaction ends, and NOVA's
    transactions would begin to wait for each other, and for ours.
    """

    client_id = models.IntegerField(db_index=True)
    # Set by the database: the trigger does not name this column.
    written_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"write {self.pk} of client {self.client_id}"


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
