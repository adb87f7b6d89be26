"""The problems of the site: workers, queue, AWS, clocks, secrets, keys, notices."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import BooleanField, ExpressionWrapper, Max, Min, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.site_schema import SCHEMA
from migration.core.aws_store import secret_names, secrets_manager
from migration.core.aws_writes import (
    FACTS_AGREE,
    describe_who_stopped_writes,
    get_aws_write_state,
    write_guard,
)
from migration.core.clients import SET_NOTICES, VIEW_CLIENTS, VIEW_RUNS
from migration.core.heartbeat import RELEASE_IS_OLDER, name_migrations
from migration.core.keys import VERSIONS_UNPROVED, count_versions_of_lost_key
from migration.core.notices import SCHEDULE_CHANGED, TASKS_DROPPED, Condition, NoticeEvent
from migration.core.problems import (
    Action,
    Area,
    Finder,
    Finding,
    Look,
    Severity,
    problem,
    read_briefly,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.core.releases import APPS, known_migrations
from migration.core.secrets import Secret
from migration.core.shared_facts import explain_differences
from migration.core.text import shorten_list
from migration.core.workers import Worker, connect_to_redis, list_redis_errors
from migration.moves.rules import IS_NO_COPY, WRITES_NOT_STOPPED
from migration.nova.readers import is_any_client_read_from_aws
from migration.people.second_factors import list_unreadable_users
from migration.secrets.settings import find_settings_drift
from migration.site.background import read_background_facts
from migration.site.notices import (
    WEBHOOK_REFUSALS,
    list_recipient_reports,
    list_recipients,
    list_shut_webhooks,
    list_unreadable_recipients,
)
from nova_credentials.aws.answers import ErrorClass
from nova_credentials.aws.clock import read_aws_clock
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import list_pending
from nova_credentials.messages import Message, Sentence
from nova_credentials.shown_names import escape_invisible

if TYPE_CHECKING:  # an extra
    from redis import Redis

# In one message no more than this many secrets are named.
MOST_NAMES = 5

# Workers: none is alive, they do nothing, are of another release, or begin no sweep

# The schedule has tasks for every minute.
IDLE_AFTER = timedelta(minutes=10)
START = "python manage.py qcluster"

WORKERS_ARE_ALIVE = Sentence(
    "workers_are_alive",
    "%(n)s workers are running: %(names)s.",
    glue=", ",
    one="%(n)s worker is running: %(names)s.",
)
WORKERS_DO_NOTHING = Sentence(
    "workers_do_nothing",
    "Nothing is pushed, compared or rotated: the workers are running, but have finished no task for %(ago)s.",
)
START_WORKERS_ANEW = Sentence(
    "start_workers_anew",
    "Look in Runs whether all of them are on long searches or runs. If not, restart them: what they had begun is done"
    " again.",
)
NO_WORKER_IS_ALIVE = Sentence("no_worker_is_alive", "No worker is taking tasks.")
WORKERS_ARE_GONE = Sentence(
    "workers_are_gone", "No worker is running. The last one was seen %(ago)s ago."
)
NO_WORKER_EVER = Sentence("no_worker_ever", "No worker has ever run.")
START_A_WORKER = Sentence("start_a_worker", "Without one nothing is pushed or compared. Start one:")
WORKER_IS_ALIVE = Sentence("worker_is_alive", "A worker was seen %(ago)s ago.")
WORKERS_TAKE_NO_TASKS = Sentence(
    "workers_take_no_tasks",
    "%(n)s workers are running but take no tasks (%(names)s). %(why)s",
    glue=", ",
    one="%(n)s worker is running but takes no tasks (%(names)s). %(why)s",
)
CORRECT_OR_UPGRADE = Sentence(
    "correct_or_upgrade",
    "Give that host the settings of the others, or the release of the database's schema, and restart its workers.",
)


def explain_refusals(workers: Iterable[Worker]) -> list[tuple[Message, int]]:
    """Say why those of the workers that take no tasks take none, and how many these are; one entry a reason."""
    refusing: dict[str, list[Worker]] = {}
    for worker in workers:
        if worker.idle_because:
            refusing.setdefault(str(worker.idle_because), []).append(worker)
    found = []
    for alike in refusing.values():
        names, why = tuple(each.name for each in alike), alike[0].idle_because
        found.append((WORKERS_TAKE_NO_TASKS(n=len(alike), names=names, why=why), len(alike)))
    return found


@problem(
    "no_worker",
    _("Workers"),
    Area.WORKERS,
    severity=Severity.CRITICAL,
    found_by=Finder.PAGE,
    unready=True,
    told_as=NoticeEvent.WORKERS_GONE,
    told_after=timedelta(minutes=5),
    over_after=timedelta(),
    page="run_changelist",
    button=_("See the runs"),
    page_permission=VIEW_RUNS,
)
def find_missing_worker(_look: Look) -> Iterator[Finding]:
    """Find that no worker takes tasks: none is alive, or why those that are refuse. Reads their table alone.

    Readiness asks it.
    """
    # By PostgreSQL's clock, as hosts' clocks differ: two would tell by turns that it is so and that it is over.
    is_alive = Q(seen_at__gt=Now() - Worker.GONE_AFTER)
    newest = Worker.objects.taking_tasks().order_by("-seen_at").values("pk")[:1]
    found = Worker.objects.filter(is_alive | Q(pk__in=newest)).order_by("name")
    workers = list(found.annotate(is_alive=ExpressionWrapper(is_alive, BooleanField())))
    taking = [each for each in workers if each.idle_because is None]
    seen = max((each.seen_at for each in taking), default=None)
    if seen and any(each.is_alive for each in taking):  # type: ignore[attr-defined]  # annotated
        yield report_ok(WORKER_IS_ALIVE(ago=seen))
        return
    alive = [each for each in workers if each.is_alive]  # type: ignore[attr-defined]  # annotated
    if refusals := explain_refusals(alive):
        for why, _number in refusals:
            yield report_failure(why, CORRECT_OR_UPGRADE())
        return
    yield report_failure(
        WORKERS_ARE_GONE(ago=seen) if seen else NO_WORKER_EVER(),
        START_A_WORKER(),
        statements=(START,),
        since=seen,
    )


@problem(
    "workers_idle",
    _("Worker tasks"),
    Area.WORKERS,
    page="run_changelist",
    button=_("See the runs"),
    page_permission=VIEW_RUNS,
)
def find_idle_workers(_look: Look) -> Iterator[Finding]:
    """Find that the workers are alive and have ended no task for long."""
    alive = Worker.objects.alive().taking_tasks()
    names = tuple(f"{worker.name} ({worker.release or '?'})" for worker in alive.order_by("name"))
    if not names:
        refusals = explain_refusals(Worker.objects.alive().order_by("name"))
        for why, _number in refusals:
            yield report_unlooked(why, CORRECT_OR_UPGRADE())
        if not refusals:
            yield report_unlooked(NO_WORKER_IS_ALIVE(), START_A_WORKER(), statements=(START,))
        return
    began = alive.aggregate(at=Min("started_at"))["at"]
    ended = apps.get_model("django_q", "Task").objects.aggregate(at=Max("stopped"))["at"]
    last = max(began, ended) if ended else began
    if timezone.now() - last > IDLE_AFTER:
        yield report_failure(WORKERS_DO_NOTHING(ago=last), START_WORKERS_ANEW(), since=last)
    else:
        yield report_ok(WORKERS_ARE_ALIVE(n=len(names), names=names))


WORKERS_ARE_OLD = Sentence(
    "workers_are_old",
    "%(n)s workers run a release before 0.2.0, which doesn't know this schema: %(names)s.",
    glue=", ",
    one="%(n)s worker runs a release before 0.2.0, which doesn't know this schema: %(names)s.",
)
STOP_OLD_WORKERS = Sentence(
    "stop_old_workers",
    "Stop them, and start those of the release that ran migrate (docs/run.md).",
)
UPGRADE_THIS_HOST = Sentence(
    "upgrade_this_host",
    "Install the release that ran migrate on this host too, and restart it (docs/run.md).",
)
RELEASES_AGREE = Sentence(
    "releases_agree", "No worker is kept from its tasks by its release or its settings."
)


@problem(
    "release_skew",
    _("Worker releases"),
    Area.WORKERS,
    # A worker that refused before a restart counts as alive for half a minute after it.
    told_after=timedelta(minutes=5),
)
def find_release_skew(_look: Look) -> Iterator[Finding]:
    """Find workers that take no tasks, by reason, those of a release that doesn't ask, and that this one is older."""
    alive = list(Worker.objects.alive().order_by("name"))
    found = [
        report_failure(why, CORRECT_OR_UPGRADE(), count=number)
        for why, number in explain_refusals(alive)
    ]
    if before := tuple(worker.name for worker in alive if not worker.release):
        message = WORKERS_ARE_OLD(n=len(before), names=before)
        found.append(report_failure(message, STOP_OLD_WORKERS(), count=len(before)))
    applied = frozenset(MigrationRecorder(connection).applied_migrations())
    if unknown := frozenset(each for each in applied if each[0] in APPS) - known_migrations():
        message = RELEASE_IS_OLDER(names=name_migrations(unknown))
        found.append(report_failure(message, UPGRADE_THIS_HOST()))
    yield from found or [report_ok(RELEASES_AGREE())]


SWEEP_BEGAN = Sentence("sweep_began", "The newest comparison of all clients began %(ago)s ago.")
NO_SWEEP_YET = Sentence(
    "no_sweep_yet", "No client has been in both stores for long enough to be compared."
)
SWEEP_IS_OVERDUE = Sentence(
    "sweep_is_overdue",
    "The newest comparison of all clients began %(ago)s ago, and one is due every %(n)s minutes.",
    one="The newest comparison of all clients began %(ago)s ago, and one is due every minute.",
)
SWEEP_NEVER_BEGAN = Sentence(
    "sweep_never_began",
    "No comparison of all clients has begun yet, and one is due every %(n)s minutes.",
    one="No comparison of all clients has begun yet, and one is due every minute.",
)
SEE_WHY_NO_SWEEP = Sentence(
    "see_why_no_sweep",
    "Check that workers are running and that no older comparison is still in progress. To start one now:",
)


@problem(
    "sweep_overdue",
    _("Scheduled comparison"),
    Area.WORKERS,
    found_by=Finder.PAGE,
    told_after=timedelta(minutes=5),
    page="run_changelist",
    button=_("See the runs"),
    page_permission=VIEW_RUNS,
)
def find_overdue_sweep(look: Look) -> Iterator[Finding]:
    """Find that the schedule compared nothing for two intervals, though clients were in both stores all the time."""
    facts = look.read(read_background_facts)
    began = facts.swept_at
    if not facts.is_sweep_overdue:
        yield report_ok(SWEEP_BEGAN(ago=began) if began else NO_SWEEP_YET())
        return
    n = settings.NOVA_SWEEP_MINUTES
    yield report_failure(
        SWEEP_IS_OVERDUE(ago=began, n=n) if began else SWEEP_NEVER_BEGAN(n=n),
        SEE_WHY_NO_SWEEP(),
        statements=("python manage.py compare_clients --all",),
    )


# The workers' queue: whether Redis, where it is in there, takes tasks and keeps them

# A task that waits longer in PostgreSQL was not meant for a worker that takes from Redis.
LEFT_AFTER = timedelta(minutes=5)
# A page that starts a run waits so long for two commands.
SLOW_SECONDS = 1.0
# The first word of an answer of Redis that has no class of its own, such as MISCONF.
REDIS_ERROR_WORD = re.compile(r"[A-Z]{3,20}(?= )")

QUEUE_IS_IN_POSTGRES = Sentence("queue_is_in_postgres", "The workers' queue is in PostgreSQL.")
REDIS_TAKES = Sentence(
    "redis_takes",
    "Redis at %(place)s takes tasks. %(n)s wait for a worker.",
    one="Redis at %(place)s takes tasks. One waits for a worker.",
)


@dataclass(frozen=True)
class QueueTrial:
    """What Redis did when it was given a task of nobody's."""

    place: str
    seconds: float = 0.0
    waiting: int = 0
    policy: str | None = None  # None: it isn't told
    # Its text may be anything that a server says.
    error: Exception | None = field(default=None, repr=False)


def try_queue() -> QueueTrial | None:
    """Have Redis take a task and give it back, as the queue does; None where the queue is in PostgreSQL."""
    if not settings.NOVA_REDIS_URL:
        return None
    queue = f"django_q:{settings.Q_CLUSTER['name']}"
    with closing(connect_to_redis(settings.NOVA_REDIS_URL)) as client:
        parts = client.connection_pool.connection_kwargs
        where = parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}"
        place = f"{where}/{parts.get('db') or 0}"
        began = time.monotonic()
        try:
            # Not into the queue itself, where a worker would take it.
            client.rpush(f"{queue}:check", "check")
            client.blpop([f"{queue}:check"], 1)
            seconds = time.monotonic() - began
            return QueueTrial(place, seconds, client.llen(f"{queue}:q"), _read_policy(client))
        except list_redis_errors() as error:
            return QueueTrial(place, error=error)


def _read_policy(client: Redis) -> str | None:
    """Return Redis' `maxmemory-policy`; None where it isn't told. INFO is allowed more often than CONFIG."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # an extra

    try:
        policy: str | None = client.info("memory").get("maxmemory_policy")
    except ResponseError:
        return None
    return policy


@problem(
    "queue_away",
    _("Task queue"),
    Area.WORKERS,
    found_by=Finder.DOCTOR,
    unready=True,
)
def find_missing_queue(look: Look) -> Iterator[Finding]:
    """Find that Redis takes no tasks, where the queue is in there."""
    tried = look.read(try_queue)
    if tried is None:
        yield report_ok(QUEUE_IS_IN_POSTGRES())
    elif tried.error:
        yield report_failure(*_explain_error(tried.error, tried.place))
    else:
        yield report_ok(REDIS_TAKES(place=tried.place, n=tried.waiting))


REDIS_IS_AWAY = Sentence("redis_is_away", "Redis at %(place)s can't be reached (%(code)s).")
REDIS_REFUSES_LOGIN = Sentence(
    "redis_refuses_login",
    "Redis at %(place)s refuses the login: NOVA_REDIS_URL has a wrong user or password, or none.",
)
REDIS_LACKS_RIGHTS = Sentence(
    "redis_lacks_rights", "The user of NOVA_REDIS_URL may not use the queue in Redis at %(place)s."
)
GRANT_IN_REDIS = Sentence(
    "grant_in_redis",
    "In Redis' ACL allow that user the commands RPUSH, BLPOP, LLEN and PING on the keys that begin with"
    " django_q:nova_admin:.",
)
REDIS_TAKES_NO_WRITES = Sentence(
    "redis_takes_no_writes",
    "Redis at %(place)s takes no writes: it is a replica.",
)
NAME_THE_PRIMARY = Sentence(
    "name_the_primary", "Name the Redis that takes writes in NOVA_REDIS_URL, on all hosts alike."
)
REDIS_IS_FULL = Sentence("redis_is_full", "Redis at %(place)s is full, so no task can be queued.")
MAKE_ROOM_IN_REDIS = Sentence(
    "make_room_in_redis", "Remove what others keep in it, or raise its maxmemory."
)
REDIS_REFUSES_TASKS = Sentence(
    "redis_refuses_tasks", "Redis at %(place)s refuses to queue a task (%(code)s)."
)
SEE_REDIS_LOG = Sentence(
    "see_redis_log",
    "Check the Redis log, and that the database number in NOVA_REDIS_URL exists.",
)
REACH_REDIS = Sentence(
    "reach_redis",
    "Start Redis, or correct NOVA_REDIS_URL on all hosts. Nothing is lost meanwhile: runs are queued again within two"
    " minutes after it is back.",
)


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
            return REDIS_REFUSES_LOGIN(place=place), REACH_REDIS()
        case exceptions.NoPermissionError():
            return REDIS_LACKS_RIGHTS(place=place), GRANT_IN_REDIS()
        case exceptions.ReadOnlyError():
            return REDIS_TAKES_NO_WRITES(place=place), NAME_THE_PRIMARY()
        case exceptions.OutOfMemoryError():
            return REDIS_IS_FULL(place=place), MAKE_ROOM_IN_REDIS()
        case exceptions.ResponseError():
            word = REDIS_ERROR_WORD.match(str(error))
            refusal = REDIS_REFUSES_TASKS(place=place, code=word[0] if word else code)
            return refusal, SEE_REDIS_LOG()
    return REDIS_IS_AWAY(place=place, code=code), REACH_REDIS()


REDIS_TAKES_TASKS = Sentence(
    "redis_takes_tasks",
    "Redis at %(place)s takes tasks and keeps them. %(n)s wait for a worker.",
    one="Redis at %(place)s takes tasks and keeps them. One waits for a worker.",
)
REDIS_EVICTS = Sentence(
    "redis_evicts",
    "Redis at %(place)s throws keys away when it is full (maxmemory-policy %(policy)s): all waiting tasks at once.",
)
KEEP_KEYS_IN_REDIS = Sentence(
    "keep_keys_in_redis",
    "Set maxmemory-policy noeviction, or take a Redis that is no cache. docs/run.md has more.",
)
REDIS_POLICY_UNKNOWN = Sentence(
    "redis_policy_unknown",
    "Redis at %(place)s does not say whether it throws keys away when it is full (maxmemory-policy).",
)
ASK_FOR_POLICY = Sentence(
    "ask_for_policy", "Ask whoever runs it: it has to be noeviction. Or allow the user INFO."
)
REDIS_IS_SLOW = Sentence(
    "redis_is_slow",
    "Redis at %(place)s took %(seconds)s s for two commands. Pages that start a run wait for it.",
)
LOOK_FOR_SLOWNESS = Sentence("look_for_slowness", "Check the network and Redis' SLOWLOG.")


@problem(
    "queue_at_risk",
    _("Tasks in Redis"),
    Area.WORKERS,
    found_by=Finder.DOCTOR,
)
def find_queue_at_risk(look: Look) -> Iterator[Finding]:
    """Find that Redis is slow, or throws tasks away when it is full."""
    tried = look.read(try_queue)
    if tried is None:
        yield report_ok(QUEUE_IS_IN_POSTGRES())
        return
    if tried.error:
        yield report_unlooked(*_explain_error(tried.error, tried.place))
        return
    place = tried.place
    if tried.seconds > SLOW_SECONDS:
        slow = REDIS_IS_SLOW(place=place, seconds=round(tried.seconds, 1))
        yield report_failure(slow, LOOK_FOR_SLOWNESS())
    if tried.policy is None:
        # Where it doesn't say so, what was told was its slowness, which may be over all the same.
        unknown = REDIS_POLICY_UNKNOWN(place=place)
        yield report_unlooked(unknown, ASK_FOR_POLICY(), is_harmless=True)
    elif tried.policy.startswith("allkeys"):  # others throw away only what has a time to live
        yield report_failure(REDIS_EVICTS(place=place, policy=tried.policy), KEEP_KEYS_IN_REDIS())
    elif tried.seconds <= SLOW_SECONDS:
        yield report_ok(REDIS_TAKES_TASKS(place=place, n=tried.waiting))


TASKS_LEFT_IN_POSTGRES = Sentence(
    "tasks_left_in_postgres",
    "%(n)s tasks are in PostgreSQL's queue, which workers with NOVA_REDIS_URL don't read.",
    one="A task is in PostgreSQL's queue, which workers with NOVA_REDIS_URL don't read.",
)
SET_THE_SAME_QUEUE = Sentence(
    "set_the_same_queue",
    "Give the site and all hosts the same NOVA_REDIS_URL. Runs and searches whose tasks these were are queued again"
    " within two minutes, so the tasks can be removed:",
)
NO_TASK_LEFT = Sentence("no_task_left", "No task is stuck.")


@problem(
    "tasks_left",
    _("Stuck tasks"),
    Area.WORKERS,
)
def find_left_tasks(_look: Look) -> Iterator[Finding]:
    """Find tasks in PostgreSQL although the queue is in Redis."""
    tasks = apps.get_model("django_q", "OrmQ")
    late = tasks.objects.filter(lock__lt=timezone.now() - LEFT_AFTER)
    left = late.count() if settings.NOVA_REDIS_URL else 0
    if not left:
        yield report_ok(NO_TASK_LEFT())
        return
    yield report_failure(
        TASKS_LEFT_IN_POSTGRES(n=left),
        SET_THE_SAME_QUEUE(),
        statements=(f"DELETE FROM {SCHEMA}.{tasks._meta.db_table};",),  # noqa: S608  # constants
        count=left,
    )


TASKS_WERE_DROPPED = Sentence(
    "tasks_were_dropped",
    "Unreadable tasks were dropped from the queue, last %(ago)s ago. The schedule queues them again.",
)
GIVE_HOSTS_THE_SAME_KEYS = Sentence(
    "give_hosts_the_same_keys",
    "Give the site and workers the same SECRET_KEY, and the old one as SECRET_KEY_FALLBACKS (docs/secrets.md). If "
    "no key changed, find out what else writes to the queue.",
)
NO_TASK_DROPPED = Sentence("no_task_dropped", "No task was dropped in the last day.")


@problem(
    "tasks_dropped",
    _("Dropped tasks"),
    Area.WORKERS,
)
def find_dropped_tasks(_look: Look) -> Iterator[Finding]:
    """Find that the workers dropped tasks within a day."""
    if dropped := Condition.objects.noted_lately(TASKS_DROPPED):
        at = dropped[0].seen_at
        yield report_failure(TASKS_WERE_DROPPED(ago=at), GIVE_HOSTS_THE_SAME_KEYS(), since=at)
    else:
        yield report_ok(NO_TASK_DROPPED())


SCHEDULE_WAS_CHANGED = Sentence(
    "schedule_was_changed",
    "The workers' schedule was changed by something other than this site, last %(ago)s ago, and put back: %(names)s.",
    glue="; ",
)
FIND_WHO_CHANGED_IT = Sentence(
    "find_who_changed_it",
    "Look for who writes the site's tables: above all a trigger or rule on NOVA's tables (see the check of objects of"
    " others). Hosts with different releases or settings do so too: give all the same, and run migrate.",
)
SCHEDULE_IS_OURS = Sentence(
    "schedule_is_ours", "The workers' schedule was not changed in the last day."
)


@problem(
    "schedule_changed",
    _("Worker schedule"),
    Area.WORKERS,
)
def find_changed_schedule(_look: Look) -> Iterator[Finding]:
    """Find that others changed the schedule within a day."""
    if changed := Condition.objects.noted_lately(SCHEDULE_CHANGED):
        names, at = tuple(escape_invisible(row.subject) for row in changed), changed[0].seen_at
        message = SCHEDULE_WAS_CHANGED(names=names, ago=at)
        yield report_failure(message, FIND_WHO_CHANGED_IT(), since=at)
    else:
        yield report_ok(SCHEDULE_IS_OURS())


# Whether this host may write to AWS: the database is no duplicate, hosts agree, nobody stopped the writes

CORRECT_THE_SETTINGS = Sentence(
    "correct_the_settings",
    "Fix this host's settings and restart it. Only if all hosts should have its settings: python manage.py "
    "claim_database --facts --reason TEXT (docs/secrets.md, docs/run.md).",
)
SEE_AWS_WRITES = Sentence(
    "see_aws_writes",
    "“AWS writes” shows what this database is, and lets writes go on (docs/run.md). Never claim staging.",
)


@problem(
    "duplicate",
    _("Duplicate database"),
    Area.AWS,
    severity=Severity.CRITICAL,
    found_by=Finder.PAGE,
    stops_writes=True,
    shuts_gates=True,
    told_as=NoticeEvent.DUPLICATE,
    page="run_aws_writes",
    button=_("See AWS writes"),
    page_permission=VIEW_RUNS,
)
def find_duplicate(_look: Look) -> Iterator[Finding]:
    """Find that this database is a duplicate, or can't be known to be none."""
    if why := write_guard().explain_refused_database(get_aws_write_state()):
        yield report_failure(why, SEE_AWS_WRITES())
    else:
        yield report_ok(IS_NO_COPY())


@problem(
    "host_differs",
    _("Shared settings"),
    Area.AWS,
    severity=Severity.CRITICAL,
    found_by=Finder.PAGE,
    unready=True,
    stops_writes=True,
    shuts_gates=True,
    of_process=True,
    told_as=None,
    page="run_aws_writes",
    button=_("See AWS writes"),
    page_permission=VIEW_RUNS,
)
def find_host_that_differs(_look: Look) -> Iterator[Finding]:
    """Find that this process differs from what all hosts share, as far as it knows."""
    if why := explain_differences(get_aws_write_state().facts):
        yield report_failure(why, CORRECT_THE_SETTINGS())
    else:
        yield report_ok(FACTS_AGREE())


@problem(
    "writes_stopped",
    _("AWS writes"),
    Area.AWS,
    found_by=Finder.PAGE,
    stops_writes=True,
    shuts_gates=True,
    stands_still=True,
    told_as=None,
    page="run_aws_writes",
    button=_("See AWS writes"),
    page_permission=VIEW_RUNS,
)
def find_stopped_writes(_look: Look) -> Iterator[Finding]:
    """Find that somebody stopped all AWS writes."""
    state = get_aws_write_state()
    if why := describe_who_stopped_writes(state):
        since = state.stop.stopped_at if state.stop else None
        yield report_failure(why, SEE_AWS_WRITES(), since=since)
    else:
        yield report_ok(WRITES_NOT_STOPPED())


# Whether AWS answers: the comparisons of late, and this host now

AWS_ANSWERS = Sentence("aws_answers", "AWS has answered the newest comparisons, if there were any.")
AWS_IS_THERE = Sentence("aws_is_there", "AWS answers %(host)s.")
AWS_IS_AWAY = Sentence("aws_is_away", "AWS gives %(host)s no usable answer (%(code)s).")
REACH_AWS = Sentence(
    "reach_aws",
    "Check this host's network, proxy and AWS settings, then check again.",
)
TRUST_AWS = Sentence(
    "trust_aws",
    "This host doesn't trust the certificate that answers for AWS. If a proxy or an endpoint has one of your own"
    " authority, set AWS_CA_BUNDLE to a file with that authority's certificate, and restart.",
)
AWS_REFUSES = Sentence("aws_refuses", "AWS refuses what %(host)s asks (%(code)s).")
CORRECT_THE_POLICY = Sentence(
    "correct_the_policy",
    "Its credentials or their policy are other ones than before, or are not there. python manage.py check_aws says what"
    " is refused, python manage.py iam_policy admin prints the policy that is needed.",
)
SEE_CHECK_AWS = Sentence(
    "see_check_aws",
    "“AWS permissions”, or python manage.py check_aws, says what AWS refuses. If AWS itself is away, wait.",
)


AWS_ANSWERS_NOT = Sentence(
    "aws_answers_not",
    "AWS has not answered in any of the newest comparisons (%(error)s): nothing can be pushed or compared.",
)


@problem(
    "aws_gone",
    _("AWS responses"),
    Area.AWS,
    severity=Severity.CRITICAL,
    found_by=Finder.PAGE,
    told_as=NoticeEvent.AWS_GONE,
    page="run_check_aws",
    button=_("See AWS permissions"),
)
def find_missing_answers(look: Look) -> Iterator[Finding]:
    """Find that AWS answered none of the newest comparisons of the last hour."""
    if error := look.read(read_background_facts).aws_error:
        yield report_failure(AWS_ANSWERS_NOT(error=error), SEE_CHECK_AWS())
    else:
        yield report_ok(AWS_ANSWERS())


@problem(
    "aws_away",
    _("Connection to AWS"),
    Area.AWS,
    found_by=Finder.DOCTOR,
    unready=True,
    page="run_check_aws",
    button=_("See AWS permissions"),
)
def find_missing_aws(_look: Look) -> Iterator[Finding]:
    """Ask AWS for a secret that nobody has: that it says so is an answer."""
    host = settings.NOVA_HOST_NAME
    try:
        secrets_manager(interactive=True).describe_secret(
            f"{settings.NOVA_SECRET_PREFIX}/is-aws-there"
        )
    except SecretsManagerError as error:
        if not error.not_found:
            yield _explain_missing_aws(host, error)
            return
    yield report_ok(AWS_IS_THERE(host=host))


def _explain_missing_aws(host: str, error: SecretsManagerError) -> Finding:
    if error.error_class == ErrorClass.PERMISSION:
        return report_failure(AWS_REFUSES(host=host, code=error.code), CORRECT_THE_POLICY())
    away = AWS_IS_AWAY(host=host, code=error.code)
    return report_failure(away, TRUST_AWS() if error.code == "SSLError" else REACH_AWS())


# The clocks of PostgreSQL and AWS beside this host's: leases, streaks and signatures depend on them

# AWS tells whole seconds, and a call takes some time; a signature is refused from five minutes on.
TOLERATED_DIFFERENCE = timedelta(seconds=5)

CLOCK_POSTGRES = Sentence("clock_postgres", "PostgreSQL's clock")
CLOCK_AWS = Sentence("clock_aws", "AWS's clock")
CLOCK_NOT_ASKED = Sentence("clock_not_asked", "AWS's clock: no answer (%(code)s).")


@problem(
    "clocks",
    _("Clocks"),
    Area.AWS,
    found_by=Finder.DOCTOR,
    every=timedelta(hours=1),
)
def find_wrong_clocks(_look: Look) -> Iterator[Finding]:
    """Compare both stores' clocks with this host's."""
    yield _compare_clocks(CLOCK_POSTGRES(), ask_postgres)
    yield from _compare_workers()
    name = _choose_secret()
    try:
        yield _compare_clocks(CLOCK_AWS(), lambda: ask_aws(name))
    except SecretsManagerError as error:
        yield report_unlooked(CLOCK_NOT_ASKED(code=error.code), REACH_AWS())


HOST_CLOCK_AHEAD = Sentence(
    "host_clock_ahead",
    "The clock of the workers' host %(host)s is %(n)s seconds ahead of PostgreSQL's.",
    one="The clock of the workers' host %(host)s is %(n)s second ahead of PostgreSQL's.",
)
HOST_CLOCK_BEHIND = Sentence(
    "host_clock_behind",
    "The clock of the workers' host %(host)s is %(n)s seconds behind PostgreSQL's.",
    one="The clock of the workers' host %(host)s is %(n)s second behind PostgreSQL's.",
)
SET_THE_CLOCKS = Sentence(
    "set_the_clocks",
    "Let the hosts take their time from NTP. AWS refuses what is signed five minutes early or late.",
)


def _compare_workers() -> Iterator[Finding]:
    """Name the hosts with workers whose clocks are off: they hold runs, streaks and times in a phase against theirs."""
    off: dict[str, timedelta] = {}
    with read_briefly():
        workers = list(Worker.objects.alive().order_by("name").values_list("name", "clock_ahead"))
    for name, ahead in workers:
        if ahead is not None and abs(ahead) > TOLERATED_DIFFERENCE:
            off.setdefault(name.partition(":")[0], ahead)
    for host, ahead in off.items():
        seconds = round(abs(ahead).total_seconds())
        differs = HOST_CLOCK_AHEAD if ahead > timedelta() else HOST_CLOCK_BEHIND
        message = differs(host=host, n=seconds)
        yield report_failure(message, SET_THE_CLOCKS())


def ask_postgres() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def ask_aws(name: str) -> datetime:
    return read_aws_clock(secrets_manager(interactive=True), name)


def _choose_secret() -> str:
    """Return the name of a secret that is known, or one as a client's, which the site's policy allows to ask for."""
    try:
        with read_briefly():
            known = Secret.objects.order_by("name").values_list("name", flat=True).first()
    except Error:
        known = None
    return known or next(iter(secret_names("check_nova").values()))


CLOCK_AGREES = Sentence("clock_agrees", "%(whose)s agrees with this host's.")
CLOCK_IS_AHEAD = Sentence(
    "clock_is_ahead",
    "%(whose)s is %(n)s seconds ahead of this host's.",
    one="%(whose)s is %(n)s second ahead of this host's.",
)
CLOCK_IS_BEHIND = Sentence(
    "clock_is_behind",
    "%(whose)s is %(n)s seconds behind this host's.",
    one="%(whose)s is %(n)s second behind this host's.",
)


def _compare_clocks(whose: Message, ask: Callable[[], datetime]) -> Finding:
    before = datetime.now(UTC)
    theirs = ask().astimezone(UTC)
    after = datetime.now(UTC)
    # Where between the two it was asked is unknown, so the smallest difference counts.
    behind, ahead = before - theirs, theirs - after
    off = max(behind, ahead, timedelta())
    if off <= TOLERATED_DIFFERENCE:
        return report_ok(CLOCK_AGREES(whose=whose))
    seconds = round(off.total_seconds())
    differs = CLOCK_IS_BEHIND if behind > ahead else CLOCK_IS_AHEAD
    return report_failure(differs(whose=whose, n=seconds), SET_THE_CLOCKS())


# Whether secrets have the tags, description, KMS key and replicas of the settings, and whose they are

APPLY_THE_SETTINGS = Sentence(
    "apply_the_settings",
    "See “Key and regions”. What would be done, on the command line:",
)
NO_SECRET_DIFFERS = Sentence(
    "no_secret_differs",
    "No secret is known to have other tags, description, KMS key or replicas than the settings say.",
)


SECRETS_NOT_AS_SET = Sentence(
    "secrets_not_as_set",
    "%(n)s clients have secrets whose tags, description, KMS key or replicas differ from the settings.",
    one="%(n)s client has secrets whose tags, description, KMS key or replicas differ from the settings.",
)


@problem(
    "secrets_differ",
    _("Key and regions"),
    Area.SECRETS,
    found_by=Finder.PAGE,
    told_as=NoticeEvent.SETTINGS_DIFFER,
    over_after=timedelta(),
    page="run_secret_settings",
    button=_("See key and regions"),
    page_permission=VIEW_RUNS,
)
def find_differing_secrets(look: Look) -> Iterator[Finding]:
    """Find the clients whose secrets differ from the settings, by the newest look at each secret."""
    clients = f"{reverse('admin:credentials_client_changelist')}?settings=differ"
    settings_page = reverse("admin:migration_run_secret_settings")
    if number := look.read(read_background_facts).differing_secrets:
        yield report_failure(
            SECRETS_NOT_AS_SET(n=number),
            APPLY_THE_SETTINGS(),
            statements=("python manage.py apply_secret_settings --all --dry-run",),
            count=number,
            url=clients,
            actions=(
                Action(gettext("See the clients"), clients, VIEW_CLIENTS),
                Action(gettext("See key and regions"), settings_page, VIEW_RUNS),
            ),
        )
    else:
        yield report_ok(NO_SECRET_DIFFERS())


KEYS_UNTOLD = Sentence(
    "keys_untold",
    "Of the secrets of %(n)s clients it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
    one="Of the secrets of %(n)s client it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
)
APPLY_ONCE = Sentence(
    "apply_once",
    "Apply key and regions once, or set NOVA_KMS_KEY_ID to the key's ARN.",
)
SECRETS_LOOKED_AT = Sentence(
    "secrets_looked_at",
    "%(n)s secrets were checked.",
    one="%(n)s secret was checked.",
)
SECRETS_NOT_DESCRIBED = Sentence(
    "secrets_not_described",
    "%(n)s secrets are not checked yet.",
    one="%(n)s secret is not checked yet.",
)
WORKERS_DESCRIBE = Sentence("workers_describe", "Workers look at each once a day, if AWS answers.")


@problem(
    "secrets_unlooked",
    _("Inspection of secrets"),
    Area.SECRETS,
    found_by=Finder.DOCTOR,
    every=timedelta(days=1),
    page="run_secret_settings",
    button=_("See key and regions"),
    page_permission=VIEW_RUNS,
)
def find_unlooked_secrets(_look: Look) -> Iterator[Finding]:
    """Report the secrets that no worker has described yet, and those of which it can't be told whether they differ."""
    with read_briefly():
        found = find_settings_drift()
    untold = sum(not client.differs for client in found.clients)
    if untold:
        yield report_unlooked(KEYS_UNTOLD(n=untold), APPLY_ONCE())
    if found.overdue:
        yield report_unlooked(SECRETS_NOT_DESCRIBED(n=found.overdue), WORKERS_DESCRIBE())
    if not untold and not found.overdue:
        yield report_ok(SECRETS_LOOKED_AT(n=found.looked_at))


SECRETS_OF_DELETED_CLIENTS = Sentence(
    "secrets_of_deleted_clients",
    "AWS still has %(n)s secrets of clients that NOVA deleted: %(names)s.",
    one="AWS still has %(n)s secret of a client that NOVA deleted: %(names)s.",
    glue=", ",
)
DELETE_THEM = Sentence(
    "delete_them",
    "Somebody who may purge clients schedules their deletion in “Key and regions”.",
)
NO_SECRET_ORPHANED = Sentence(
    "no_secret_orphaned", "AWS has no secret of a client that NOVA deleted."
)


@problem(
    "orphaned_secrets",
    _("Secrets of deleted clients"),
    Area.SECRETS,
    found_by=Finder.PAGE,
    page="run_secret_settings",
    button=_("See key and regions"),
    page_permission=VIEW_RUNS,
)
def find_orphaned_secrets(look: Look) -> Iterator[Finding]:
    """Find the secrets that AWS still has of clients which NOVA deleted."""
    number = look.read(read_background_facts).secrets_of_deleted_clients
    if not number:
        yield report_ok(NO_SECRET_ORPHANED())
        return
    deleted = Secret.objects.of_deleted_clients().order_by("name").values_list("name", flat=True)
    names = (*deleted[:MOST_NAMES], *["…"] * (number > MOST_NAMES))
    yield report_failure(
        SECRETS_OF_DELETED_CLIENTS(n=number, names=names),
        DELETE_THEM(),
        count=number,
        url=f"{reverse('admin:migration_run_secret_settings')}#deleted-clients",
    )


# Whether a secret has a version that waits to be current: an interrupted rotation may have left it

# Of 100 secrets each: the page that shows the findings waits for them.
MOST_PAGES = 30

NO_VERSION_PENDING = Sentence(
    "no_version_pending",
    "None of %(n)s secrets has a version that waits to be current (AWSPENDING).",
    one="The one secret has no version that waits to be current (AWSPENDING).",
)
VERSIONS_PENDING = Sentence(
    "versions_pending",
    "%(n)s secrets have a pending version (AWSPENDING): %(names)s. A rotation is in progress or was interrupted.",
    one="A secret has a pending version (AWSPENDING): %(names)s. A rotation is in progress or was interrupted.",
    glue=", ",
)
TAKE_PENDING_OFF = Sentence(
    "take_pending_off",
    "Let the rotation end. If none is under way, open Versions on the client's page: a version of this site loses the"
    " stage there, once the current login is proven.",
)
STAGES_NOT_ASKED = Sentence(
    "stages_not_asked", "AWS did not list the versions of the secrets (%(code)s)."
)
STAGES_IN_PART = Sentence(
    "stages_in_part", "Only the first %(n)s secrets were looked at: a client's page shows its own."
)


@problem(
    "pending_versions",
    _("Pending secret versions"),
    Area.SECRETS,
    found_by=Finder.DOCTOR,
    every=timedelta(days=1),
)
def find_pending_versions(_look: Look) -> Iterator[Finding]:
    """Check that no secret has a pending version left; asks AWS for up to MOST_PAGES pages of secrets."""
    sm, prefix = secrets_manager(interactive=True), f"{settings.NOVA_SECRET_PREFIX}/"
    found: list[str] = []
    looked_at, page = 0, ""
    try:
        for _page in range(MOST_PAGES):
            names, number, page = list_pending(sm, prefix, page)
            found, looked_at = found + names, looked_at + number
            if not page:
                break
    except SecretsManagerError as error:
        yield report_unlooked(STAGES_NOT_ASKED(code=error.code), REACH_AWS())
        return
    if found:
        pending = VERSIONS_PENDING(n=len(found), names=shorten_list(found, MOST_NAMES))
        yield report_failure(pending, TAKE_PENDING_OFF(), count=len(found))
    else:
        yield report_ok(NO_VERSION_PENDING(n=looked_at))
    if page:
        yield report_unlooked(STAGES_IN_PART(n=looked_at), is_harmless=True)


# Whether what was made with this site's keys can still be read: second factors, and the ids of versions

KEYS_READ_ALL = Sentence(
    "keys_read_all", "The keys read every second factor, and prove versions that this site wrote."
)
FACTORS_UNREADABLE = Sentence(
    "factors_unreadable",
    "The second factors of %(n)s users can't be read: they were encrypted with a SECRET_KEY that is not set here.",
    one="The second factor of %(n)s user can't be read: it was encrypted with a SECRET_KEY that is not set here.",
)
BRING_SECRET_KEY_BACK = Sentence(
    "bring_secret_key_back",
    "Put the former key into SECRET_KEY_FALLBACKS on every host. If it is lost, reset each: python manage.py"
    " reset_second_factor (docs/secrets.md).",
)
RECIPIENTS_UNREADABLE = Sentence(
    "recipients_unreadable",
    "The addresses of %(n)s recipients of notices can't be read: they were encrypted with a SECRET_KEY that is not set"
    " here.",
    one="The address of %(n)s recipient of notices can't be read: it was encrypted with a SECRET_KEY that is not set"
    " here.",
)
BRING_SECRET_KEY_BACK_FOR_RECIPIENTS = Sentence(
    "bring_secret_key_back_for_recipients",
    "Put the former key into SECRET_KEY_FALLBACKS on every host. If it is lost, remove these recipients in “Notices”"
    " and add them again.",
)
BRING_VERSION_KEY_BACK = Sentence(
    "bring_version_key_back",
    "Restore the table migration_versionkey from a backup. Without one, compare each client and copy one way"
    " (docs/secrets.md).",
)


@problem(
    "keys_lost",
    _("Encryption keys"),
    Area.AUDIT,
)
def find_lost_keys(_look: Look) -> Iterator[Finding]:
    """Check that every second factor can be decrypted, and that the key of the first release's versions is there."""
    found = []
    if users := list_unreadable_users():
        told = FACTORS_UNREADABLE(n=len(users))
        found.append(report_failure(told, BRING_SECRET_KEY_BACK()))
    if recipients := list_unreadable_recipients():
        told = RECIPIENTS_UNREADABLE(n=len(recipients))
        found.append(report_failure(told, BRING_SECRET_KEY_BACK_FOR_RECIPIENTS()))
    if unproved := count_versions_of_lost_key():
        told = VERSIONS_UNPROVED(n=unproved)
        found.append(report_failure(told, BRING_VERSION_KEY_BACK()))
    yield from found or [report_ok(KEYS_READ_ALL())]


# Whether notices get to whom they are set to reach; hosts are named, and no address of a webhook

# A worker takes what waits within a minute.
WAITS_TOO_LONG = timedelta(minutes=10)

NOTICES_REACH_NOBODY = Sentence(
    "notices_reach_nobody",
    "Notices have no recipients, so nobody is told when a campaign stops, stores differ or AWS does not answer.",
)
SET_WHOM_NOTICES_REACH = Sentence(
    "set_whom_notices_reach",
    "An Administrator has to add a recipient in “Notices”.",
)
NOBODY_NEED_BE_TOLD = Sentence(
    "nobody_need_be_told",
    "Notices have no recipients. None are needed until a campaign runs or NOVA reads a client from AWS.",
)
ADD_A_RECIPIENT = Sentence(
    "add_a_recipient",
    "An Administrator adds a recipient in “Notices” before the first campaign.",
)
NOTICES_HAVE_RECIPIENTS = Sentence(
    "notices_have_recipients",
    "Notices have %(n)s recipients.",
    one="Notices have one recipient.",
)


@problem(
    "notices_reach_nobody",
    _("Notice recipients"),
    Area.NOTICES,
    title_of_wrong=_("Nobody is notified"),
    found_by=Finder.PAGE,
    page="run_notices",
    button=_("See the notices"),
    page_permission=SET_NOTICES,
    told_as=None,
)
def find_missing_recipients(look: Look) -> Iterator[Finding]:
    """Find that notices reach nobody although NOVA reads a client from AWS, or a campaign moves clients by itself."""
    has_campaigns = bool(look.read(read_background_facts).campaigns)
    if recipients := look.read(list_recipients):
        yield report_ok(NOTICES_HAVE_RECIPIENTS(n=len(recipients)))
    elif has_campaigns or look.read(is_any_client_read_from_aws):
        yield report_failure(NOTICES_REACH_NOBODY(), SET_WHOM_NOTICES_REACH())
    else:
        yield report_ok(NOBODY_NEED_BE_TOLD(), ADD_A_RECIPIENT())


NOTICES_FAIL = Sentence(
    "notices_fail", "The newest notice to %(host)s (%(way)s) failed: %(problem)s."
)
NOTICES_WAIT = Sentence(
    "notices_wait",
    "%(n)s notices to %(host)s (%(way)s) are waiting, the oldest for %(ago)s.",
    one="A notice to %(host)s (%(way)s) has waited for %(ago)s.",
)
NO_NOTICE_FAILS = Sentence("no_notice_fails", "No notice waits or fails.")
SEE_THE_NOTICES = Sentence(
    "see_the_notices",
    "“Notices” can send a test. docs/runbooks.md says what each problem means; a worker has to run.",
)
NOTICES_REACH = Sentence(
    "notices_reach",
    "Notices have %(n)s recipients.",
    one="Notices have one recipient.",
)


@problem(
    "notices_fail",
    _("Notice delivery"),
    Area.NOTICES,
    found_by=Finder.PAGE,
    page="run_notices",
    button=_("See the notices"),
    page_permission=SET_NOTICES,
    told_as=None,
)
def find_failing_notices(look: Look) -> Iterator[Finding]:
    """Find the recipients whom the newest attempts did not reach. Sends none."""
    reports, is_well = list_recipient_reports(look.read(list_recipients)), True
    for each in reports:
        names = {"host": each.recipient.host, "way": each.recipient.way.value}
        since = each.untried_since
        if each.problem:
            message = NOTICES_FAIL(problem=each.problem, **names)
        elif since and timezone.now() - since > WAITS_TOO_LONG:
            message = NOTICES_WAIT(n=each.untried, ago=since, **names)
        else:
            continue
        is_well = False
        yield report_failure(message, SEE_THE_NOTICES())
    if is_well:
        yield report_ok(NOTICES_REACH(n=len(reports)) if reports else NO_NOTICE_FAILS())


WEBHOOK_IS_REFUSED = Sentence(
    "webhook_is_refused", "No notice gets to the webhook at %(host)s. %(why)s"
)
CORRECT_THE_WEBHOOK = Sentence(
    "correct_the_webhook",
    "Correct it in NOVA_NOTIFY_URLS and restart, or remove it in “Notices” and add another one.",
)
WEBHOOK_NOT_LOOKED_UP = Sentence(
    "webhook_not_looked_up",
    "Not known whether the webhook at %(host)s may be called: its host could not be looked up.",
)
WEBHOOKS_ARE_ALLOWED = Sentence("webhooks_are_allowed", "Every webhook may be called.")


@problem(
    "webhooks_refused",
    _("Webhooks"),
    Area.NOTICES,
    title_of_wrong=_("Webhooks can't be called"),
    found_by=Finder.DOCTOR,
    every=timedelta(hours=1),
    page="run_notices",
    button=_("See the notices"),
    page_permission=SET_NOTICES,
    told_as=None,
)
def find_refused_webhooks(look: Look) -> Iterator[Finding]:
    """Find the webhooks that this site never calls, before a notice has to get there. Calls none."""
    shut = list_shut_webhooks(look.read(list_recipients))
    for each, why in shut:
        if why in WEBHOOK_REFUSALS:
            message = WEBHOOK_IS_REFUSED(host=each.host, why=WEBHOOK_REFUSALS[why]())
            yield report_failure(message, CORRECT_THE_WEBHOOK())
        else:
            yield report_unlooked(WEBHOOK_NOT_LOOKED_UP(host=each.host))
    if not shut:
        yield report_ok(WEBHOOKS_ARE_ALLOWED())
