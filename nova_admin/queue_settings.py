"""Knows where the workers' queue is: in PostgreSQL or, where NOVA_REDIS_URL names one, in Redis, which is an extra."""

import os
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

# All hosts take from this queue; it is also the salt of django-q's signatures.
QUEUE = "nova_admin"
NOT_A_URL = "not the URL of a Redis (redis://…, rediss://… or unix://…)"
# A worker asks for a task and waits for a second: a shorter time would end each such wait with an error.
SHORTEST_TIMEOUT = 2
TOO_SHORT = f"socket_timeout is too short: {SHORTEST_TIMEOUT} seconds or more, as workers wait for a task for a second"
NO_CLIENT = (
    "NOVA_REDIS_URL is set, and the package redis is not installed: it is an extra. Install it"
    " (python -m pip install --require-hashes -r requirements-redis.lock), or leave NOVA_REDIS_URL empty: the queue is"
    " in PostgreSQL then."
)


def parse_redis_url(value: str) -> str:
    """Return the URL, which is not asked.

    Raises ValueError for one that Redis' client does not take, ImproperlyConfigured where that is not installed.
    """
    if value.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise ValueError(NOT_A_URL)
    if find_spec("redis") is None:
        raise ImproperlyConfigured(NO_CLIENT)
    import redis  # noqa: PLC0415  # only where it is used

    try:
        made = redis.from_url(value).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):  # a port or a parameter that it doesn't know
        raise ValueError(NOT_A_URL) from None
    timeout: float | None = getattr(made, "socket_timeout", None)  # no client declares it
    if timeout is not None and timeout < SHORTEST_TIMEOUT:
        raise ValueError(TOO_SHORT)
    return value


def make_queue_settings(redis_url: str, workers: int) -> dict[str, Any]:
    """Return django-q's settings. Raises ImproperlyConfigured where somebody gave this host a queue of its own."""
    if os.environ.get("Q_CLUSTER_NAME", QUEUE) not in ("", QUEUE):
        raise ImproperlyConfigured(
            "Q_CLUSTER_NAME is set: this host would take from a queue of that name, into which nothing is put. Unset"
            " it, and name the host in NOVA_HOST_NAME."
        )
    # A task takes batches for a minute, and its last ones another (docs/scaling.md). The queue in PostgreSQL delivers a
    # task again only after `retry`, by when `timeout` has ended the first one; a batch done twice is harmless. Redis
    # delivers a task once: what its worker had when it was killed, the schedule queues again.
    return {
        "name": QUEUE,
        "broker_class": "migration.task_queue.KnownTasksQueue",
        **({"redis": redis_url} if redis_url else {"orm": "default"}),
        "workers": workers,
        # A host fetches few tasks ahead, so that each begins long before `retry`; the others are left to other hosts.
        "queue_limit": workers,
        "bulk": 1,
        "poll": 0.2,
        "timeout": 300,
        "retry": 360,
        "max_attempts": 5,
        "ack_failures": False,
        "save_limit": 1000,
        "catch_up": False,
        "label": _("Task queue"),
    }
