"""Connects to Redis where the workers' queue is in it, and names its client's errors. That client is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from redis import Redis

# Seconds to connect to Redis and to wait for its answer, so that a page doesn't hang; workers ask for a task for 1 s.
REDIS_TIMEOUTS = {"socket_connect_timeout": 2.0, "socket_timeout": 5.0}


def connect_to_redis(url: str) -> Redis:
    """Make a client that gives up after REDIS_TIMEOUTS, unless the URL's own parameters say otherwise."""
    from redis import from_url  # noqa: PLC0415  # an extra, which only this needs

    return from_url(url, **REDIS_TIMEOUTS)


def list_redis_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Redis' client; none where the queue is in PostgreSQL: without that the whole site fails."""
    if not settings.NOVA_REDIS_URL:
        return ()
    from redis.exceptions import RedisError  # noqa: PLC0415

    return (RedisError,)


QUEUE_ERRORS = list_redis_errors()
