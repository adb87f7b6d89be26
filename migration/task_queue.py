"""Holds the workers to the functions of `migration.tasks`: whatever else is queued or scheduled fails and never runs.

django-q imports and calls what a package or a schedule names, `os.system` too, and lets it name a hook to call after.
"""

from __future__ import annotations

import inspect
import io
import pickle
import uuid
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone
from django_q import core_signing
from django_q.conf import Conf
from django_q.signing import BadSignature, SignedPackage

from migration import tasks

if settings.NOVA_REDIS_URL:
    from django_q.brokers.redis_broker import Redis as Broker
else:
    from django_q.brokers.orm import ORM as Broker  # noqa: N811  # a class

REFUSE = f"{tasks.__name__}.{tasks.refuse.__name__}"
# What a package of ours holds beside numbers and texts: when it was queued.
PLAIN = {("datetime", "datetime"), ("datetime", "timedelta"), ("datetime", "timezone")}
# Kept of a package that is refused; among the rest are a hook, a chain and the wish to be run at once.
KEPT = ("id", "name", "group", "started")
LONGEST_NAME = 200
# Seconds to connect to Redis and to wait for its answer, so that a page doesn't hang; workers ask for a task for 1 s.
REDIS_TIMEOUTS = {"socket_connect_timeout": 2.0, "socket_timeout": 5.0}


class TaskQueue(Broker):
    """django-q's queue, in which a package that names another function is one that fails."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        if settings.NOVA_REDIS_URL:
            return connect_to_redis(settings.NOVA_REDIS_URL)
        return Broker.get_connection(list_key)

    def dequeue(self) -> list[tuple[Any, Any]]:
        return [(key, _held(payload)) for key, payload in super().dequeue() or ()]


def connect_to_redis(url: str) -> redis.Redis:
    """Make a client that gives up after REDIS_TIMEOUTS, unless the URL's own parameters say otherwise."""
    return redis.from_url(url, **REDIS_TIMEOUTS)


def hold_to_tasks(task: dict[str, Any], **_: object) -> None:
    """Before a package is queued, by a schedule for one: makes it one that fails where its function is none of ours."""
    if is_task(task.get("func")):
        return
    kept = {name: task[name] for name in KEPT if name in task}
    name = str(task.get("func"))[:LONGEST_NAME]
    task.clear()
    task.update(kept, func=REFUSE, args=(name,), kwargs={}, ack_failure=True)


def is_task(function: object) -> bool:
    """Whether that is the name of a public function which `migration.tasks` itself defines. Imports nothing."""
    module, _, name = function.rpartition(".") if isinstance(function, str) else ("", "", "")
    found = vars(tasks).get(name) if module == tasks.__name__ else None
    return (
        inspect.isfunction(found)
        and found.__module__ == tasks.__name__
        and not name.startswith("_")
    )


def _held(payload: Any) -> Any:
    """The package as it came, or one that fails in its place."""
    try:
        task = core_signing.loads(
            payload, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=_PlainSerializer
        )
    except BadSignature:
        return payload  # django-q looks at the signature before anything else, and drops it
    if is_task(task.get("func")):
        return payload
    hold_to_tasks(task)
    return SignedPackage.dumps(task)


class _PlainSerializer:
    """Reads a package and imports or calls nothing that it names; where it names something, that is its `func`."""

    @staticmethod
    def loads(data: bytes) -> dict[str, Any]:
        unpickler = _PlainUnpickler(io.BytesIO(data))
        try:
            task = {"func": "", **unpickler.load()}
        except Exception:  # noqa: BLE001  # it calls what is not there: whatever that raises
            task = {
                "id": uuid.uuid4().hex,
                "name": "unreadable package",
                "started": timezone.now(),
            }
        return task | {"func": unpickler.named} if unpickler.named else task


class _PlainUnpickler(pickle.Unpickler):
    named = ""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return super().find_class(module, name)
        # With a colon, so that it is never a task: ours are queued by a text, and what else the package names would
        # be imported and called when django-q reads it.
        self.named = self.named or f"{module}:{name}"
        return self.named
