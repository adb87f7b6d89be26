"""Owns what is known of the workers of all hosts: which are alive, of which release; and the way to their queue."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from migration.core.fields import MessageField
from migration.core.releases import known_migrations
from nova_credentials import VERSION
from nova_credentials.messages import Message

if TYPE_CHECKING:  # an extra
    from redis import Redis

# Seconds to connect to Redis and to wait for its answer, so that a page doesn't hang; workers ask for a task for 1 s.
REDIS_TIMEOUTS = {"socket_connect_timeout": 2.0, "socket_timeout": 5.0}


def connect_to_redis(url: str) -> Redis:
    """Make a client of the workers' queue, where that is in Redis.

    It gives up after REDIS_TIMEOUTS, unless the URL's own parameters say otherwise.
    """
    from redis import from_url  # noqa: PLC0415  # an extra, which only this needs

    return from_url(url, **REDIS_TIMEOUTS)


def list_redis_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Redis' client; none where the queue is in PostgreSQL: without that the whole site fails."""
    if not settings.NOVA_REDIS_URL:
        return ()
    from redis.exceptions import RedisError  # noqa: PLC0415

    return (RedisError,)


QUEUE_ERRORS = list_redis_errors()

FORGOTTEN_AFTER = timedelta(days=1)


def _describe_process() -> dict[str, Any]:
    """Return release and time: by PostgreSQL's clock, as hosts' clocks differ, and how far this host's is ahead."""
    ahead = models.Value(timezone.now(), models.DateTimeField()) - Now()
    return {
        "seen_at": Now(),
        "clock_ahead": ahead,
        "release": VERSION,
        "schema": max(name for app, name in known_migrations() if app == "migration"),
    }


class WorkerQuerySet(models.QuerySet["Worker"]):
    def record_start(self, name: str) -> str:
        """Note that this worker has begun, and return its name: with a number behind it if another one lives by it.

        Containers that were given one name have the same process ids too.
        """
        for number in count(1):
            own = name if number == 1 else f"{name}.{number}"
            _, is_new = self.get_or_create(name=own, defaults=_describe_process())
            if is_new or not self.alive().filter(name=own).exists():
                self.filter(name=own).update(started_at=Now(), **_describe_process())
                return own
        raise AssertionError  # it counts for ever

    def record_heartbeat(self, name: str, *, idle_because: Message | None = None) -> None:
        """Note that this worker is alive, and why it takes no tasks if so."""
        self.update_or_create(
            name=name, defaults={**_describe_process(), "idle_because": idle_because}
        )

    def alive(self) -> Self:
        """Select the workers that were alive a moment ago."""
        return self.filter(seen_at__gt=Now() - Worker.GONE_AFTER)

    def taking_tasks(self) -> Self:
        """Select the workers that take tasks when they are alive."""
        return self.filter(idle_because__isnull=True)

    def last_seen_at(self) -> datetime | None:
        """Return when any worker that takes tasks was last alive; None where there never was one."""
        last: datetime | None = self.taking_tasks().aggregate(last=models.Max("seen_at"))["last"]
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
    # The release that it runs, and the newest schema migration which that knows; empty: one that didn't note it yet.
    release = models.CharField(max_length=50, db_default="")
    schema = models.CharField(max_length=100, db_default="")
    # Why it takes no tasks; NULL: it takes them.
    idle_because = MessageField(null=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-seen_at"]

    def __str__(self) -> str:
        return self.name
