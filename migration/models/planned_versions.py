"""Owns the ids of the versions that this database is about to write to AWS, noted before the first attempt.

A version that proves to be ours, and that neither a `Secret` nor a row here names, was written after this database's
state: the tables were restored from an older backup.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from django.db.backends.base.base import BaseDatabaseWrapper

# A push that was killed is done again within minutes, and its version is a `Secret`'s then.
KEPT_FOR = timedelta(days=30)


class PlannedVersionQuerySet(models.QuerySet["PlannedVersion"]):
    def record(self, connection: BaseDatabaseWrapper, version_ids: Collection[str]) -> None:
        """Note the ids over `connection`, not over a save's own: its transaction isn't committed yet."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_plannedversion (version_id) SELECT unnest(%s::text[])
                ON CONFLICT (version_id) DO UPDATE SET planned_at = now()
                """,
                [sorted(version_ids)],
            )

    def find_known(
        self, connection: BaseDatabaseWrapper, version_ids: Iterable[str]
    ) -> tuple[set[str], datetime | None]:
        """Return those of the ids that were recorded, and since when every id is (None: no claim yet)."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT array(SELECT version_id FROM migration_plannedversion WHERE version_id = ANY(%s)),
                    (SELECT min(claimed_at) FROM migration_databaseclaim)
                """,
                [sorted(version_ids)],
            )
            noted, since = cursor.fetchone()
        return set(noted), since

    def forget_old(self) -> None:
        """Delete the ids that were noted before KEPT_FOR."""
        self.filter(planned_at__lt=timezone.now() - KEPT_FOR).delete()


class PlannedVersion(models.Model):
    """The id of a version that a push or save was about to write; whether AWS has it is not known."""

    version_id = models.CharField(max_length=64, primary_key=True)
    planned_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = PlannedVersionQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.version_id
