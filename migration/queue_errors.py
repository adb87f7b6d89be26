"""Names the errors by which a queue beside the database can't be reached. Its client is there only where it is used."""

from __future__ import annotations

from django.conf import settings


def list_queue_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Redis' client; none where the queue is in PostgreSQL: without that the whole site fails."""
    if not settings.NOVA_REDIS_URL:
        return ()
    from redis.exceptions import RedisError  # noqa: PLC0415

    return (RedisError,)


QUEUE_ERRORS = list_queue_errors()
