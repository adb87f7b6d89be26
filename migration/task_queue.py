"""Knows django-q: its queue in PostgreSQL or Redis, whose tasks it takes, and each task's context."""

from __future__ import annotations

import fcntl
import inspect
import io
import logging
import pickle
import sys
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty
from types import TracebackType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import DateTimeField, F, Func, IntegerField, Q
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule, Task
from django_q.queues import Queue
from django_q.signing import BadSignature, SignedPackage
from picklefield import PickledObjectField

from migration import tasks
from migration.core.correlation import (
    correlating,
    current_correlation,
    describe_error,
    read_or_make_correlation,
)
from migration.core.fields import ClampedDateTimeField
from migration.core.heartbeat import task_taker
from migration.core.notices import TASKS_DROPPED, Condition
from migration.core.workers import QUEUE_ERRORS, connect_to_redis
from nova_credentials.shown_names import escape_invisible

if settings.NOVA_REDIS_URL:
    from django_q.brokers.redis_broker import Redis as Broker
else:
    from django_q.brokers.orm import ORM as Broker  # noqa: N811  # a class

# The entry of a task's package; django-q hands on what it doesn't know.
ENTRY = "correlation"
# Of a task's name: somebody who may write into the queue chooses it.
LONGEST_NAME = 200
REFUSE = f"{tasks.__name__}.{tasks.refuse.__name__}"
# The classes in our packages besides numbers and texts: they say when it was queued.
PLAIN = {("datetime", "datetime"), ("datetime", "timedelta"), ("datetime", "timezone")}
# The entries that a refused package keeps. Others could name a hook or a chain, or ask to be run at once.
KEPT = ("id", "name", "group", "started")
LONGEST_TEXT = 10_000  # of an argument or a result
# A host that may take no tasks looks so often whether it may again.
IDLE_SECONDS = 0.5
LONGEST_PACKAGE = 10_000
# So long what a host can't read waits for another one that can.
RETURNED_FOR = timedelta(minutes=5)
LOOK_AT_RETURNED_SECONDS = 5.0
MOST_LOOKED_AT = 1000
# Rows of the queue that others made can have any length, and times that Python has not.
BEARABLE = Q(
    LessThanOrEqual(
        Func(F("payload"), function="octet_length", output_field=IntegerField()), LONGEST_PACKAGE
    ),
    lock__gt=datetime(2000, 1, 1, tzinfo=UTC),
)

logger = logging.getLogger(__name__)


class KillSafeQueue(Queue):
    """django-q's queue between one host's processes, not its broker; a killed worker leaves it usable.

    multiprocessing's own queue has a waiting worker hold its lock, and a killed process never gives that back: the
    host's other workers would live, and do nothing.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = LockAcrossForks()
        # The turn comes first: between processes nothing is left for multiprocessing's lock to do.
        self._rlock = threading.Lock()

    def get(self) -> Any:
        """Wait for something, and take it. The lock is held only while it is taken."""
        while True:
            self._poll(None)
            # Another may have been quicker.
            with self._turn, suppress(Empty):
                return super().get(timeout=0)


class LockAcrossForks:
    """A lock that the process that made it or one of its children holds; the kernel frees it if that one ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the processes live

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)


class TaskContext:
    """The one task that this worker process does now. The methods are called by django-q's signals.

    The task has the name of the request that queued it, and a failed one a result that holds no value.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._name = self._failure = ""

    def begin_task(self, task: dict[str, object], **_: object) -> None:
        """Have what is logged bear the request's name; a task of the schedule has a name of its own."""
        self._name, self._failure = escape_invisible(str(task.get("name"))[:LONGEST_NAME]), ""
        self._stack.enter_context(
            correlating(read_or_make_correlation(task.get(ENTRY) or task.get("id")))
        )

    def report(self) -> None:
        """Log the exception that is being handled, and keep a text of it without values.

        django-q calls this where a task failed. `replace_failed_result_and_end` stores that text as the task's result,
        in place of the whole text, which django-q would store.
        """
        error = sys.exception()
        if error is not None:
            self._failure = f"{describe_error(error)} [{current_correlation()}]"
            logger.error("Task %s failed", self._name, exc_info=error)

    def replace_failed_result_and_end(self, task: dict[str, object], **_: object) -> None:
        """Replace the result of a task that failed, before it is stored and logged."""
        if "result" in task and not task.get("success"):
            task["result"] = self._failure or "The task failed"
        self._stack.close()


def attach_correlation(task: dict[str, object], **_: object) -> None:
    """Put the correlation id of the request or task into a task that it queues."""
    if name := current_correlation():
        task[ENTRY] = name


task_context = TaskContext()


class KnownTasksQueue(Broker):
    """django-q's queue, which puts a failing task in place of one that is no function of `migration.tasks`.

    django-q imports and calls any function that a package or a schedule names, even `os.system`, and a hook after it.
    A package that this host can't read is returned once, for another host that may have its key, and then dropped: the
    schedule queues anew what there is to do.
    """

    # On the monotonic clock, when this process last looked at what was returned; how much it could not read since then.
    _looked_at, _unread = -LOOK_AT_RETURNED_SECONDS, 0

    @property
    def _returned(self) -> str:
        return f"{self.list_key}:returned"

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        if settings.NOVA_REDIS_URL:
            return connect_to_redis(settings.NOVA_REDIS_URL)
        return Broker.get_connection(list_key).filter(BEARABLE)

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Store nothing: `Worker` tells who lives. While Redis is away each host would log an error twice a second."""

    def queue_size(self) -> int:
        """Count the tasks that wait and that this host can read; in Redis, where only the site writes, all."""
        if settings.NOVA_REDIS_URL:
            return int(super().queue_size())
        waiting = self.get_connection().filter(key=self.list_key, lock__lte=timezone.now())
        payloads = waiting.values_list("payload", flat=True)[:MOST_LOOKED_AT]
        return sum(find_key(payload) is not None for payload in payloads)

    def dequeue(self) -> list[tuple[object, object]]:
        if not task_taker.takes_tasks():
            time.sleep(IDLE_SECONDS)
            return []
        if time.monotonic() - self._looked_at >= LOOK_AT_RETURNED_SECONDS:
            self._look_at_returned()
        taken = []
        for name, payload in super().dequeue() or ():
            if key := find_key(payload):
                taken.append((name, _replace_foreign_package(payload, key)))
            else:
                self._return(name, payload)
        return taken

    def _return(self, name: object, payload: Any) -> None:
        """Leave a package to other hosts."""
        self._unread += 1
        if settings.NOVA_REDIS_URL:
            self.connection.rpush(self._returned, b"%d %b" % (time.time(), payload))
        else:
            mine = self.get_connection().filter(pk=name)
            mine.update(key=self._returned, lock=timezone.now())

    def _look_at_returned(self) -> None:
        """Take back what this host can read of what was returned, and drop what no host could read in time."""
        in_redis = settings.NOVA_REDIS_URL
        dropped = self._sort_returned_in_redis() if in_redis else self._sort_returned()
        if self._unread:
            logger.warning("Tasks that this host can't read, left to others: %s", self._unread)
        if dropped:
            logger.error("Tasks that no host could read, dropped: %s", dropped)
            Condition.objects.note(TASKS_DROPPED, TASKS_DROPPED)
        self._looked_at, self._unread = time.monotonic(), 0

    def _sort_returned(self) -> int:
        """Return how many were dropped."""
        now = timezone.now()
        ours = OrmQ.objects.using(Conf.ORM).filter(key__in=(self.list_key, self._returned))
        dropped: int = ours.exclude(BEARABLE).delete()[0]
        returned = self.get_connection().filter(key=self._returned)
        oldest = returned.order_by("lock").values_list("pk", "payload")[:MOST_LOOKED_AT]
        readable = [pk for pk, payload in oldest if find_key(payload)]
        returned.filter(pk__in=readable).update(key=self.list_key, lock=now)
        in_time = (now - RETURNED_FOR, now + RETURNED_FOR)
        return dropped + int(returned.exclude(lock__range=in_time).delete()[0])

    def _sort_returned_in_redis(self) -> int:
        dropped = 0
        for _number in range(min(self.connection.llen(self._returned), MOST_LOOKED_AT)):
            found = self.connection.blpop([self._returned], 1)
            if not found:
                break  # another host was quicker
            at, _, payload = found[1].partition(b" ")
            if find_key(payload):
                self.connection.rpush(self.list_key, payload)
            elif at.isdigit() and time.time() - int(at) < RETURNED_FOR.total_seconds():
                self.connection.rpush(self._returned, found[1])
            else:
                dropped += 1
        return dropped


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


def keep_rows_harmless() -> None:
    """Have django-q load text in place of pickles, and times that Python has, whatever its rows hold."""
    for model in (Task, Schedule):  # all of django-q's other models of tasks share Task's fields
        for field in model._meta.fields:
            if isinstance(field, PickledObjectField):
                field.__class__ = PlainTextField
            elif type(field) is DateTimeField:
                field.__class__ = ClampedDateTimeField


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


def find_key(payload: Any) -> str | None:
    """Return the key of this host that signed the package, its own or a former one; None for any other's."""
    if len(payload) <= LONGEST_PACKAGE:
        for key in (Conf.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            with suppress(BadSignature, UnicodeDecodeError):
                core_signing.TimestampSigner(key=key, salt=Conf.PREFIX).unsign(payload)
                return str(key)
    return None


def _replace_foreign_package(payload: object, key: str) -> object:
    """Return the package, or a failing one in its place where it names another function.

    It is decoded here first, with the key that signed it. What django-q decodes then was made of plain values.
    """
    task = core_signing.loads(payload, key=key, salt=Conf.PREFIX, serializer=_PlainSerializer)
    if is_task_name(task.get("func")):
        # django-q knows the newest key only.
        return payload if key == Conf.SECRET_KEY else SignedPackage.dumps(task)
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
