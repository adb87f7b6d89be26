"""Examines the workers' queue: whether Redis, where it is in there, takes tasks and keeps them."""

from __future__ import annotations

import re
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.utils import timezone

from credentials.shown_names import escape_invisible
from credentials.site_schema import SCHEMA
from migration.models.conditions import SCHEDULE_CHANGED, TASKS_DROPPED, Condition
from migration.operations.doctor import queue_sentences, sentences
from migration.operations.doctor.brief_reads import read_briefly
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.redis_queue import connect_to_redis, list_redis_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from migration.operations.doctor.findings import DoctorOptions, Finding
    from nova_credentials.messages import Message

# A task that waits longer in PostgreSQL was not meant for a worker that takes from Redis.
LEFT_AFTER = timedelta(minutes=5)
# A page that starts a run waits so long for two commands.
SLOW_SECONDS = 1.0
# The first word of an answer of Redis that has no class of its own, such as MISCONF.
CODE = re.compile(r"[A-Z]{3,20}(?= )")


def examine_queue_without_redis(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that no tasks are where nobody takes them, and say where the queue is. Asks no Redis."""
    if settings.NOVA_REDIS_URL:
        yield report_unlooked(CheckName.QUEUE, sentences.NOT_ASKED_YET())
    else:
        yield report_ok(CheckName.QUEUE, queue_sentences.QUEUE_IS_IN_POSTGRES())
    yield from _find_left_tasks()
    yield from _find_noted_problems()


def examine_queue(asked: DoctorOptions) -> Iterator[Finding]:
    """Have Redis take a task and give it back, as the queue does; ask what it does when it is full."""
    if not settings.NOVA_REDIS_URL:
        yield from examine_queue_without_redis(asked)
        return
    with closing(connect_to_redis(settings.NOVA_REDIS_URL)) as client:
        place = _describe_place(client)
        try:
            yield from _try_queue(client, place)
        except list_redis_errors() as error:
            yield report_failure(CheckName.QUEUE, *_explain_error(error, place))
    yield from _find_left_tasks()
    yield from _find_noted_problems()


def _try_queue(client: Redis, place: str) -> Iterator[Finding]:
    queue = f"django_q:{settings.Q_CLUSTER['name']}"
    began = time.monotonic()
    # Not into the queue itself, where a worker would take it.
    client.rpush(f"{queue}:check", "check")
    client.blpop([f"{queue}:check"], 1)
    seconds = time.monotonic() - began
    waiting = client.llen(f"{queue}:q")
    if seconds > SLOW_SECONDS:
        slow = queue_sentences.REDIS_IS_SLOW(place=place, seconds=round(seconds, 1))
        yield report_failure(CheckName.QUEUE, slow, queue_sentences.LOOK_FOR_SLOWNESS())
    policy = _read_policy(client)
    if policy is None:
        unknown = queue_sentences.REDIS_POLICY_UNKNOWN(place=place)
        yield report_unlooked(CheckName.QUEUE, unknown, queue_sentences.ASK_FOR_POLICY())
    elif policy.startswith("allkeys"):  # others throw away only what has a time to live
        evicts = queue_sentences.REDIS_EVICTS(place=place, policy=policy)
        yield report_failure(CheckName.QUEUE, evicts, queue_sentences.KEEP_KEYS_IN_REDIS())
    elif seconds <= SLOW_SECONDS:
        yield report_ok(CheckName.QUEUE, queue_sentences.REDIS_TAKES_TASKS(place=place, n=waiting))


def _read_policy(client: Redis) -> str | None:
    """Return Redis' `maxmemory-policy`; None where it isn't told. INFO is allowed more often than CONFIG."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # an extra

    try:
        policy: str | None = client.info("memory").get("maxmemory_policy")
    except ResponseError:
        return None
    return policy


def _describe_place(client: Redis) -> str:
    parts = client.connection_pool.connection_kwargs
    where = parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}"
    return f"{where}/{parts.get('db') or 0}"


def _explain_error(error: Exception, place: str) -> tuple[Message, Message]:
    """Say what is wrong and what to do. The text of the error is not repeated."""
    from redis import exceptions  # noqa: PLC0415  # an extra

    code = getattr(error, "status_code", None) or type(error).__name__
    match error:
        case (
            exceptions.AuthenticationError()
            | exceptions.AuthorizationError()
            | exceptions.AuthenticationWrongNumberOfArgsError()
        ):
            return queue_sentences.REDIS_REFUSES_LOGIN(place=place), queue_sentences.REACH_REDIS()
        case exceptions.NoPermissionError():
            return queue_sentences.REDIS_LACKS_RIGHTS(place=place), queue_sentences.GRANT_IN_REDIS()
        case exceptions.ReadOnlyError():
            return queue_sentences.REDIS_TAKES_NO_WRITES(
                place=place
            ), queue_sentences.NAME_THE_PRIMARY()
        case exceptions.OutOfMemoryError():
            return queue_sentences.REDIS_IS_FULL(place=place), queue_sentences.MAKE_ROOM_IN_REDIS()
        case exceptions.ResponseError():
            word = CODE.match(str(error))
            refusal = queue_sentences.REDIS_REFUSES_TASKS(
                place=place, code=word[0] if word else code
            )
            return refusal, queue_sentences.SEE_REDIS_LOG()
    return queue_sentences.REDIS_IS_AWAY(place=place, code=code), queue_sentences.REACH_REDIS()


def _find_left_tasks() -> Iterator[Finding]:
    if not settings.NOVA_REDIS_URL:
        return
    tasks = apps.get_model("django_q", "OrmQ")
    with read_briefly():
        left = tasks.objects.filter(lock__lt=timezone.now() - LEFT_AFTER).count()
    if left:
        yield report_failure(
            CheckName.QUEUE,
            queue_sentences.TASKS_LEFT_IN_POSTGRES(n=left),
            queue_sentences.SET_THE_SAME_QUEUE(),
            statements=(f"DELETE FROM {SCHEMA}.{tasks._meta.db_table};",),  # noqa: S608  # constants
        )


def _find_noted_problems() -> Iterator[Finding]:
    """Tell what the workers put back or dropped within a day."""
    with read_briefly():
        changed = Condition.objects.noted_lately(SCHEDULE_CHANGED)
        dropped = Condition.objects.noted_lately(TASKS_DROPPED)
    if changed:
        names = tuple(escape_invisible(row.subject) for row in changed)
        message = queue_sentences.SCHEDULE_WAS_CHANGED(names=names, ago=changed[0].seen_at)
        yield report_failure(CheckName.QUEUE, message, queue_sentences.FIND_WHO_CHANGED_IT())
    if dropped:
        message = queue_sentences.TASKS_WERE_DROPPED(ago=dropped[0].seen_at)
        yield report_failure(CheckName.QUEUE, message, queue_sentences.GIVE_HOSTS_THE_SAME_KEYS())
