"""Owns the heartbeats of the worker processes of all hosts."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

FORGOTTEN_AFTER = timedelta(days=1)


def _read_clocks() -> dict[str, Any]:
    """Return the time, by PostgreSQL's clock as hosts' clocks differ, and how far this host's is ahead of it."""
    ahead = models.Value(timezone.now(), models.DateTimeField()) - Now()
    return {"seen_at": Now(), "clock_ahead": ahead}


class WorkerQuerySet(models.QuerySet["Worker"]):
    def record_start(self, name: str) -> str:
        """Note that this worker has begun, and return its name: with a number behind it if another one lives by it.

        Containers that were given one name have the same process ids too.
        """
        for number in count(1):
            own = name if number == 1 else f"{name}.{number}"
            _, is_new = self.get_or_create(name=own, defaults=_read_clocks())
            if is_new or not self.alive().filter(name=own).exists():
                self.filter(name=own).update(started_at=Now(), **_read_clocks())
                return own
        raise AssertionError  # it counts for ever

    def record_heartbeat(self, name: str) -> None:
        """Note that this worker is alive."""
        self.update_or_create(name=name, defaults=_read_clocks())

    def alive(self) -> Self:
        """Select the workers that were alive a moment ago."""
        return self.filter(seen_at__gt=Now() - Worker.GONE_AFTER)

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
    # How far its host's clock was ahead of PostgreSQL's when it was last seen.
    clock_ahead = models.DurationField(null=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-seen_at"]

    def __str__(self) -> str:
        return self.name
