"""Owns the limits of the times that NOVA's role writes: PostgreSQL stores some that Python can't read."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import models

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def limit_times(table: str, *columns: str) -> models.CheckConstraint:
    """Return the constraint that keeps `infinity` and far years out of the columns; NULL is no time."""
    condition = models.Q(*((f"{column}__range", (EARLIEST, LATEST)) for column in columns))
    return models.CheckConstraint(condition=condition, name=f"{table}_times_can_be_read")
