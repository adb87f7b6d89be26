"""Comparisons of both stores: fingerprints only, never a value."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import sentences
from migration.models.clients import PhaseChange
from migration.models.fields import MessageField
from migration.models.mismatches import DailyComparisons, OpenMismatch
from nova_credentials.comparison import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nova_credentials.messages import Message


COMPARISONS_ARE_KEPT = timedelta(days=30)


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    @transaction.atomic
    def record(
        self, comparisons: Iterable[Comparison], *, read_back: bool = False
    ) -> list[Comparison]:
        """Stores them and makes each its client's newest, unless a newer one is there; what is open and the day follow.

        A match makes the client's clean streak longer, but not where it only is a push that was `read_back`.
        """
        rows = list(comparisons)
        ids = self._insert_rows(rows)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept
                    (client_id, phase, comparison_id, comparison_status, compared_at, clean_streak)
                SELECT client_id, 'postgres', id, status, compared_at, CASE WHEN status = 'match' THEN %s ELSE 0 END
                FROM migration_comparison WHERE id = ANY(%s)
                ORDER BY client_id
                ON CONFLICT (client_id) DO UPDATE
                SET comparison_id = excluded.comparison_id, comparison_status = excluded.comparison_status,
                    compared_at = excluded.compared_at,
                    clean_streak = CASE excluded.comparison_status
                                        WHEN 'match' THEN kept.clean_streak + excluded.clean_streak ELSE 0 END
                WHERE kept.comparison_id IS NULL OR kept.comparison_id < excluded.comparison_id
                """,
                [0 if read_back else 1, ids],
            )
        OpenMismatch.objects.keep_up(ids)
        # Last: every batch of the day waits for this row.
        DailyComparisons.objects.count_up(ids)
        return rows

    def _insert_rows(self, rows: list[Comparison]) -> list[int]:
        """Store the rows in one statement, give each its id, and return the ids."""
        # bulk_create would prepare each value by itself, which takes longer than PostgreSQL.
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_comparison (
                    client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at
                )
                SELECT client_id, slug, run_id, status, error_class, message::jsonb, mismatches::jsonb, revision,
                    compared_at
                FROM unnest(
                    %s::int[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
                    %s::bigint[], %s::timestamptz[]
                ) WITH ORDINALITY AS new (
                    client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at, position
                )
                ORDER BY position
                RETURNING id
                """,
                [
                    [row.client_id for row in rows],
                    [row.slug for row in rows],
                    [row.run_id for row in rows],
                    [row.status for row in rows],
                    [row.error_class for row in rows],
                    [row.message and json.dumps(row.message.to_json()) for row in rows],
                    [json.dumps(row.mismatches) for row in rows],
                    [row.revision for row in rows],
                    [row.compared_at for row in rows],
                ],
            )
            # The ids follow the order of the rows; what RETURNING gives need not.
            ids = sorted(pk for (pk,) in cursor.fetchall())
        for row, pk in zip(rows, ids, strict=True):
            row.pk, row._state.adding = pk, False  # noqa: SLF001  # as bulk_create leaves them
        return ids

    def newest(self) -> Self:
        """Each client's newest one, of the clients that are still there."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))),
            newest_of__isnull=False,
        )

    def in_doubt(self) -> Self:
        """Everything that is not a match; "could not check" is none."""
        return self.exclude(status=Comparison.Status.MATCH)

    def forget_old(self) -> None:
        """Deletes what is older than a month and nobody's newest, and that neither a move nor a mismatch stands on."""
        OpenMismatch.objects.forget_gone()
        before = timezone.now() - COMPARISONS_ARE_KEPT
        stood_on = PhaseChange.objects.filter(comparison_id=models.OuterRef("pk"))
        shows = OpenMismatch.objects.filter(comparison_id=models.OuterRef("pk"))
        old = self.filter(
            ~models.Exists(stood_on), ~models.Exists(shows), newest_of=None, compared_at__lt=before
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
        return f"{self.slug}: {self.get_status_display()}"

    @property
    def result(self) -> Message:
        """The status as part of a sentence."""
        return sentences.STATUSES[self.status]()

    def as_acknowledged(self) -> list[dict[str, str]]:
        """What somebody takes note of: with the status, as a missing secret has no field that differs."""
        return [{"status": self.status}, *self.mismatches]

    def fields_that_differ(self) -> list[Mismatch]:
        return [Mismatch.from_json(row) for row in self.mismatches]
