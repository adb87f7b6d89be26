"""Owns the number of comparisons by day and result, kept when the comparisons are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import connection, models

if TYPE_CHECKING:
    from collections.abc import Collection


class DailyComparisonsQuerySet(models.QuerySet["DailyComparisons"]):
    def count_up(self, comparison_ids: Collection[int]) -> None:
        """Add these comparisons to the numbers of their days."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_dailycomparisons AS kept (day, status, number)
                SELECT (compared_at AT TIME ZONE %s)::date AS day, status, count(*)
                FROM migration_comparison WHERE id = ANY(%s)
                GROUP BY 1, 2 ORDER BY 1, 2
                ON CONFLICT (day, status) DO UPDATE SET number = kept.number + excluded.number
                """,
                [settings.TIME_ZONE, list(comparison_ids)],
            )


class DailyComparisons(models.Model):
    """The number of comparisons of one day with one result. It stays when the comparisons are deleted."""

    day = models.DateField()
    status = models.CharField(max_length=20)
    number = models.BigIntegerField()

    objects = DailyComparisonsQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "status"], name="one_count_a_day_and_status")
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.number} × {self.status}"
