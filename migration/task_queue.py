"""Limits the workers to the functions of `migration.tasks`: any other task fails and never runs.

django-q imports and calls any function that a package or a schedule names, even `os.system`, and a hook after it.
"""

from __future__ import annotations

import inspect
import io
import pickle
import time
import uuid
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.utils import timezone
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Task
from django_q.signing import BadSignature, SignedPackage
from picklefield import PickledObjectField

from migration import tasks
from migration.heartbeat import task_taker
from migration.redis_queue import QUEUE_ERRORS, connect_to_redis

if settings.NOVA_REDIS_URL:
    from django_q.brokers.redis_broker import Redis as Broker
else:
    from django_q.brokers.orm import ORM as Broker  # noqa: N811  # a class

REFUSE = f"{tasks.__name__}.{tasks.refuse.__name__}"
# The classes in our packages besides numbers and texts: they say when it was queued.
PLAIN = {("datetime", "datetime"), ("datetime", "timedelta"), ("datetime", "timezone")}
# The entries that a refused package keeps. Others could name a hook or a chain, or ask to be run at once.
KEPT = ("id", "name", "group", "started")
LONGEST_NAME = 200
LONGEST_TEXT = 10_000
# A host that may take no tasks looks so often whether it may again.
IDLE_SECONDS = 0.5


class KnownTasksQueue(Broker):
    """django-q's queue, which replaces packages that name other functions by failing ones."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> object:
        if settings.NOVA_REDIS_URL:
            return connect_to_redis(settings.NOVA_REDIS_URL)
        return Broker.get_connection(list_key)

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Store nothing: `Worker` tells who lives. While Redis is away each host would log an error twice a second."""

    def dequeue(self) -> list[tuple[object, object]]:
        if not task_taker.takes_tasks():
            time.sleep(IDLE_SECONDS)
            return []
        return [
            (key, _replace_foreign_package(payload)) for key, payload in super().dequeue() or ()
        ]


def count_queued_tasks() -> int | None:
    """Count the tasks that wait for a worker; None where the queue can't be reached."""
    try:
        return int(get_broker().queue_size())
    except QUEUE_ERRORS:
        return None


def replace_foreign_task(task: dict[str, object], **_: object) -> None:
    """Turn a task into a failing one if its function is none of `migration.tasks`; called before it is queued."""
    if is_task_name(task.get("func")):
        return
    kept = {name: task[name] for name in KEPT if name in task}
    name = str(task.get("func"))[:LONGEST_NAME]
    task.clear()
    task.update(kept, func=REFUSE, args=(name,), kwargs={}, ack_failure=True)


class PlainTextField(PickledObjectField):
    """Stores and loads text where django-q has unsigned pickles, which whoever can write the row would have us run."""

    def to_python(self, value: Any) -> Any:
        return value

    def get_db_prep_value(self, value: Any, *_args: object, **_kwargs: object) -> Any:
        return value if value is None or isinstance(value, str) else repr(value)

    def select_format(self, _compiler: object, sql: str, params: Any) -> tuple[str, Any]:
        # django-q loads a thousand rows after each task; ours have a few characters.
        return f"pg_catalog.left({sql}, {LONGEST_TEXT})", params

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return (
            name,
            "picklefield.fields.PickledObjectField",
            args,
            kwargs,
        )  # the column stays as it is


def keep_pickles_out_of_tasks() -> None:
    """Have django-q's tasks (all its models of them share these fields) load and store plain text."""
    for field in Task._meta.fields:
        if isinstance(field, PickledObjectField):
            field.__class__ = PlainTextField


def remove_queue_pages() -> None:
    """Take away django-q's pages, which let people run any function with any arguments, and show tracebacks."""
    # Imported so that it has registered them by now, whatever the order of the apps.
    from django_q import admin as _pages  # noqa: F401, PLC0415  # workers need no pages

    queue = apps.get_app_config("django_q").get_models()
    admin.site.unregister([model for model in queue if admin.site.is_registered(model)])


def is_task_name(function: object) -> bool:
    """Say whether this is the name of a public function that `migration.tasks` itself defines. Imports nothing."""
    module, _, name = function.rpartition(".") if isinstance(function, str) else ("", "", "")
    found = vars(tasks).get(name) if module == tasks.__name__ else None
    return (
        inspect.isfunction(found)
        and found.__module__ == tasks.__name__
        and not name.startswith("_")
    )


def _replace_foreign_package(payload: object) -> object:
    """Return the package, or a failing one in its place where it names another function."""
    try:
        task = core_signing.loads(
            payload, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=_PlainSerializer
        )
    except BadSignature:
        return payload  # django-q drops it too, as it checks the signature first
    if is_task_name(task.get("func")):
        return payload
    replace_foreign_task(task)
    return SignedPackage.dumps(task)


class _PlainSerializer:
    """Reads a package without importing or calling anything that it names; the first such name becomes its `func`."""

    @staticmethod
    def loads(data: bytes) -> dict[str, object]:
        unpickler = _PlainUnpickler(io.BytesIO(data))
        try:
            task = {"func": "", **unpickler.load()}
        except Exception:  # noqa: BLE001  # a crafted package can raise anything
            task = {
                "id": uuid.uuid4().hex,
                "name": "unreadable package",
                "started": timezone.now(),
            }
        return task | {"func": unpickler.first_name} if unpickler.first_name else task


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles plain values and keeps the name of the first other class or function in `first_name`."""

    first_name = ""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in PLAIN:
            return super().find_class(module, name)
        # The colon keeps it from being the name of a task. Our packages name their function in a text; a class or
        # function in the pickle itself would be imported when django-q reads it.
        self.first_name = self.first_name or f"{module}:{name}"
        return self.first_name
