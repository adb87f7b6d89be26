"""Owns the heartbeats of the worker processes of all hosts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

FORGOTTEN_AFTER = timedelta(days=1)


class WorkerQuerySet(models.QuerySet["Worker"]):
    def record_heartbeat(self, name: str) -> None:
        """Note that this worker is alive."""
        self.update_or_create(name=name, defaults={"seen_at": timezone.now()})

    def alive(self) -> Self:
        """Select the workers that were alive a moment ago."""
        return self.filter(seen_at__gt=timezone.now() - Worker.GONE_AFTER)

    def last_seen_at(self) -> datetime | None:
        """Return when any worker was last alive; None where there never was one."""
        last: datetime | None = self.aggregate(last=models.Max("seen_at"))["last"]
        return last

    def forget_old(self) -> None:
        """Delete the workers that were last alive before FORGOTTEN_AFTER."""
        self.filter(seen_at__lt=timezone.now() - FORGOTTEN_AFTER).delete()


class Worker(models.Model):
    """One worker process, by host and process id."""

    # Pages call a worker gone when it was last alive before this.
    GONE_AFTER = timedelta(seconds=30)

    name = models.CharField(max_length=300, primary_key=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-seen_at"]

    def __str__(self) -> str:
        return self.name
