"""Keeps counts that are costly or of all processes: of a site with very many clients, and of calls to AWS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper


class KeptCountsQuerySet(models.QuerySet["KeptCounts"]):
    def add_aws_calls(self, connection: BaseDatabaseWrapper, counts: Mapping[str, int]) -> None:
        """Add to "<operation> <outcome>" -> calls to AWS, on a connection that is in no transaction of a caller."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_keptcounts AS kept (id, counted_at, counts)
                VALUES (%s, clock_timestamp(), %s::jsonb)
                ON CONFLICT (id) DO UPDATE SET counted_at = excluded.counted_at, counts = (
                    SELECT jsonb_object_agg(name, number) FROM (
                        SELECT name, sum(number::bigint) AS number FROM (
                            SELECT * FROM jsonb_each_text(kept.counts)
                            UNION ALL SELECT * FROM jsonb_each_text(excluded.counts)
                        ) AS both_rows (name, number) GROUP BY name
                    ) AS summed
                )
                """,
                [KeptCounts.AWS_CALLS, json.dumps(counts)],
            )

    def read_aws_calls(self) -> dict[str, int]:
        """Return "<operation> <outcome>" -> calls to AWS, of all processes since the site was first run."""
        kept = self.filter(pk=KeptCounts.AWS_CALLS).first()
        return kept.counts if kept else {}


class KeptCounts(models.Model):
    """Counts that are kept, in one row for each: all clients of a site with very many, and the calls to AWS."""

    CLIENTS: ClassVar = 1
    AWS_CALLS: ClassVar = 2

    # When the clients were counted; when calls were last added.
    counted_at = models.DateTimeField()
    counts = models.JSONField()

    objects = KeptCountsQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"counts of {self.counted_at:%Y-%m-%d %H:%M:%S}"
