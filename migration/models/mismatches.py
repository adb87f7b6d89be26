"""Owns open mismatches: the fields that differ now. Never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import connection, models
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.clients import ClientMigration
from migration.models.resolutions import Resolution

if TYPE_CHECKING:
    from collections.abc import Collection


def client_has_newest_status(status: str) -> models.Q:
    """Return the condition that the client's newest comparison has this status."""
    compared = ClientMigration.objects.filter(comparison_status=status)
    return models.Q(client__in=compared.values("pk"))


class OpenMismatchQuerySet(models.QuerySet["OpenMismatch"]):
    def open_and_close(self, comparison_ids: Collection[int]) -> None:
        """Open the mismatches that these comparisons found, or count them again, and close those not found again.

        A comparison that is not its client's newest, or that could not check, changes nothing.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH compared AS (
                    SELECT c.* FROM migration_comparison c JOIN migration_clientmigration m ON m.comparison_id = c.id
                    WHERE c.id = ANY(%s) AND c.status <> 'unchecked'
                ), seen AS (
                    SELECT DISTINCT ON (c.client_id, path) c.client_id, c.slug, c.id AS comparison_id, c.compared_at,
                        coalesce(field->>'path', '') AS path,
                        coalesce(
                            field->>'kind', CASE c.status WHEN 'missing_in_postgres' THEN 'extra' ELSE 'missing' END
                        ) AS kind,
                        coalesce(field->>'hint', '') AS hint
                    FROM compared c LEFT JOIN jsonb_array_elements(c.mismatches) AS field ON true
                    WHERE c.status <> 'match'
                    ORDER BY c.client_id, path
                ), closed AS (
                    DELETE FROM migration_openmismatch AS gone USING compared
                    WHERE gone.client_id = compared.client_id AND NOT EXISTS (
                        SELECT FROM seen WHERE seen.client_id = gone.client_id AND seen.path = gone.path
                    )
                )
                INSERT INTO migration_openmismatch AS kept
                    (client_id, slug, path, kind, hint, comparison_id, first_seen_at, last_seen_at, times)
                SELECT client_id, slug, path, kind, hint, comparison_id, compared_at, compared_at, 1 FROM seen
                ON CONFLICT (client_id, path) DO UPDATE
                SET slug = excluded.slug, kind = excluded.kind, hint = excluded.hint,
                    comparison_id = excluded.comparison_id, last_seen_at = excluded.last_seen_at,
                    times = kept.times + 1
                """,
                [list(comparison_ids)],
            )

    def exclude_deleted_clients(self) -> Self:
        """Leave out the mismatches of clients that NOVA has deleted."""
        return self.filter(models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))))

    def with_acknowledged_and_unchecked(self) -> Self:
        """Annotate `acknowledged`, and `newest_comparison_is_unchecked`: it could not check."""
        acknowledged = Resolution.objects.acknowledging_open_mismatches().values("client_id")
        return self.annotate(
            acknowledged=models.Q(client__in=acknowledged),
            newest_comparison_is_unchecked=client_has_newest_status("unchecked"),
        )

    def forget_gone_clients(self) -> None:
        """Delete the mismatches of clients that NOVA has deleted."""
        gone = ~models.Exists(Client.objects.filter(pk=models.OuterRef("client_id")))
        self.filter(gone).delete()


class OpenMismatch(models.Model):
    """One field of one client that differs, from the first comparison that found it to one that does not."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="open_mismatches"
    )
    slug = models.CharField(max_length=100)
    # Empty where the whole client is missing in a store.
    path = models.TextField(_("field"))
    kind = models.CharField(_("difference"), max_length=16)
    hint = models.CharField(_("hint"), max_length=32, blank=True)
    # The newest comparison that found it, which `Comparison.objects.forget_old` keeps.
    comparison = models.ForeignKey("Comparison", models.DO_NOTHING, related_name="+")
    first_seen_at = models.DateTimeField(_("first seen"), db_index=True)
    last_seen_at = models.DateTimeField(_("last seen"))
    times = models.PositiveIntegerField(_("times"))

    objects = OpenMismatchQuerySet.as_manager()

    class Meta:
        # Its pages and permissions are the comparisons'.
        default_permissions = ()
        ordering: ClassVar = ["slug", "client_id", "path"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client", "path"], name="one_open_mismatch_a_field")
        ]
        indexes: ClassVar = [
            models.Index(fields=["slug", "client", "path"], name="open_mismatch_order"),
            models.Index(fields=["kind"], name="open_mismatch_kind"),
            models.Index(fields=["path"], name="open_mismatch_path"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.path or 'everything'}"
