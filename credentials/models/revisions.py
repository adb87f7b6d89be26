"""How often each client's rows were written, and up to which write AWS has them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection, models
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
