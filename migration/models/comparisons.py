"""Owns comparisons of both stores: fingerprints only, never a value."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import sentences
from migration.models.daily_comparisons import DailyComparisons
from migration.models.fields import MessageField
from migration.models.mismatches import OpenMismatch
from migration.models.moves import PhaseChange
from nova_credentials.comparison import Mismatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nova_credentials.messages import Message


COMPARISONS_ARE_KEPT = timedelta(days=30)

# A comparison that is no mismatch and comes too soon leaves the streak as it is: neither does one begun in an earlier
# phase count, nor one soon after the last that counted, or pressing a button thrice would make a streak.
_TOO_SOON = """
(excluded.compared_at < kept.phase_changed_at
    OR excluded.compared_at < kept.streak_counted_at + %(apart)s * interval '1 second')
"""
SET_AS_NEWEST = f"""
INSERT INTO migration_clientmigration AS kept
    (client_id, phase, comparison_id, comparison_status, compared_at, clean_streak, streak_counted_at)
SELECT client_id, 'postgres', id, status, compared_at, counted, CASE counted WHEN 1 THEN compared_at END
FROM migration_comparison, LATERAL (SELECT CASE status WHEN 'match' THEN %(counts)s ELSE 0 END AS counted) AS streak
WHERE id = ANY(%(ids)s)
ORDER BY client_id
ON CONFLICT (client_id) DO UPDATE
SET comparison_id = excluded.comparison_id, comparison_status = excluded.comparison_status,
    compared_at = excluded.compared_at,
    clean_streak = CASE WHEN excluded.comparison_status NOT IN ('match', 'unchecked') THEN 0
                        WHEN {_TOO_SOON} THEN kept.clean_streak
                        WHEN excluded.comparison_status = 'match' THEN kept.clean_streak + excluded.clean_streak
                        ELSE 0 END,
    streak_counted_at = CASE WHEN excluded.comparison_status NOT IN ('match', 'unchecked') THEN NULL
                             WHEN {_TOO_SOON} THEN kept.streak_counted_at
                             WHEN excluded.comparison_status = 'match'
                             THEN coalesce(excluded.streak_counted_at, kept.streak_counted_at) END
WHERE kept.comparison_id IS NULL OR kept.comparison_id < excluded.comparison_id
"""  # noqa: S608  # its own text

DIFFERING = """
SELECT m.client_id FROM migration_clientmigration AS m JOIN migration_comparison AS c ON c.id = m.comparison_id
WHERE m.client_id = ANY(%s) AND (
    c.status = ANY(%s)
    OR (c.status = 'unchecked' AND EXISTS (
        SELECT FROM migration_openmismatch AS open WHERE open.client_id = m.client_id
    ))
)
"""


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def record(
        self, comparisons: Iterable[Comparison], *, read_back: bool = False
    ) -> list[Comparison]:
        """Store the comparisons, make each its client's newest unless a newer one exists, and update open mismatches.

        A match lengthens the client's clean streak if it was made in the present phase, half a sweep after the last
        that counted, and not by a push that `read_back` its own write. What differs ends the streak.
        """
        rows = list(comparisons)
        self.record_in_turn(rows, read_back=read_back)
        return rows

    @transaction.atomic(savepoint=False)  # nobody goes on with a transaction in which it failed
    def record_in_turn(self, *batches: list[Comparison], read_back: bool = False) -> None:
        """Store batches as `record` does, one after the other: a client may be in more than one of them."""
        filled = filter(None, batches)
        ids = [pk for batch in filled for pk in self._record_batch(batch, read_back=read_back)]
        # Last, and all at once in one order: others wait on the rows of the day until the transaction ends.
        DailyComparisons.objects.count_up(ids)

    def _record_batch(self, rows: list[Comparison], *, read_back: bool) -> list[int]:
        ids = self._insert_rows(rows)
        self._set_as_newest(ids, read_back=read_back)
        OpenMismatch.objects.open_and_close(ids)
        return ids

    def _set_as_newest(self, ids: list[int], *, read_back: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                SET_AS_NEWEST,
                {
                    "counts": 0 if read_back else 1,
                    "ids": ids,
                    "apart": settings.NOVA_SWEEP_MINUTES * 60 / 2,
                },
            )

    def _insert_rows(self, rows: list[Comparison]) -> list[int]:
        """Store the rows in one statement, give each its id, and return the ids."""
        # As one text: bulk_create would prepare each value by itself, and psycopg each value of an array.
        values = [
            {
                "client_id": row.client_id,
                "slug": row.slug,
                "run_id": row.run_id,
                "status": row.status,
                "error_class": row.error_class,
                "message": row.message and row.message.to_json(),
                "mismatches": row.mismatches,
                "revision": row.revision,
                "compared_at": row.compared_at.isoformat(),
                "position": position,
            }
            for position, row in enumerate(rows)
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_comparison (
                    client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at
                )
                SELECT client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at
                FROM jsonb_to_recordset(%s::jsonb) AS new (
                    client_id int, slug text, run_id bigint, status text, error_class text, message jsonb,
                    mismatches jsonb, revision bigint, compared_at timestamptz, position int
                )
                ORDER BY position
                RETURNING id
                """,
                [json.dumps(values)],
            )
            # The ids are given in the order of the rows, but RETURNING may list them in another.
            ids = sorted(pk for (pk,) in cursor.fetchall())
        for row, pk in zip(rows, ids, strict=True):
            row.pk, row._state.adding = pk, False  # noqa: SLF001  # as bulk_create leaves them
        return ids

    def newest(self) -> Self:
        """Select the newest comparison of each client that NOVA has not deleted."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))),
            newest_of__isnull=False,
        )

    def list_differing(self, client_ids: Collection[int]) -> set[int]:
        """Return those of the clients whose newest comparison differs, or could not check what differed before."""
        with connection.cursor() as cursor:
            cursor.execute(DIFFERING, [list(client_ids), list(Comparison.DIFFERS)])
            return {client_id for (client_id,) in cursor.fetchall()}

    def forget_old(self) -> None:
        """Delete comparisons older than COMPARISONS_ARE_KEPT that no client, move or open mismatch refers to."""
        OpenMismatch.objects.forget_gone_clients()
        before = timezone.now() - COMPARISONS_ARE_KEPT
        used_by_move = PhaseChange.objects.filter(comparison_id=models.OuterRef("pk"))
        used_by_mismatch = OpenMismatch.objects.filter(comparison_id=models.OuterRef("pk"))
        old = self.filter(
            ~models.Exists(used_by_move),
            ~models.Exists(used_by_mismatch),
            newest_of=None,
            compared_at__lt=before,
        )
        old._raw_delete(self.db)  # noqa: SLF001  # one statement, where delete() would fetch every row


class Comparison(models.Model):
    """One stored check of both stores: fingerprints only, never a value."""

    class Status(models.TextChoices):
        MATCH = "match", _("Match")
        MISMATCH = "mismatch", _("Mismatch")
        MISSING_IN_AWS = "missing_in_aws", _("Missing in AWS")
        MISSING_IN_POSTGRES = "missing_in_postgres", _("Missing in PostgreSQL")
        UNCHECKED = "unchecked", _("Could not check")

    DIFFERS = (Status.MISMATCH, Status.MISSING_IN_AWS, Status.MISSING_IN_POSTGRES)

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="comparisons"
    )
    slug = models.CharField(_("slug"), max_length=100)
    run = models.ForeignKey("Run", models.SET_NULL, null=True, related_name="comparisons")
    status = models.CharField(_("status"), max_length=20, choices=Status, db_index=True)
    error_class = models.CharField(_("error class"), max_length=16, blank=True)
    message = MessageField(_("message"), null=True)
    mismatches = models.JSONField(_("mismatches"), default=list)
    revision = models.BigIntegerField(_("revision"), default=0)
    compared_at = models.DateTimeField(_("compared"), default=timezone.now)

    objects = ComparisonQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["client", "-id"], name="comparison_of_client"),
            # For a search by the beginning of a slug, whatever the database's collation.
            models.Index(
                fields=["slug"], name="comparison_slug", opclasses=["varchar_pattern_ops"]
            ),
        ]
        verbose_name = _("comparison")
        verbose_name_plural = _("comparisons")

    def __str__(self) -> str:
        # Not the slug first: the header of a page makes the first letter a capital.
        return gettext("Comparison of %(slug)s: %(result)s") % {
            "slug": self.slug,
            "result": self.get_status_display(),
        }

    @property
    def status_message(self) -> Message:
        """Return the status as part of a sentence."""
        return sentences.STATUSES[self.status]()

    def list_acknowledgeable(self) -> list[dict[str, str]]:
        """Return what can be acknowledged: the mismatches and the status, as a missing secret has no mismatches."""
        return [{"status": self.status}, *self.mismatches]

    def read_mismatches(self) -> list[Mismatch]:
        """Return the stored mismatches."""
        return [Mismatch.from_json(row) for row in self.mismatches]
