"""Examines the site: AWS writes, clocks, copies, keys, notices, the queue, who reads, secrets, workers, the audit.

A check that finds nothing wrong says so too. Those that read are made in transactions of their own (`examination`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count, Max, Min, Q
from django.utils import timezone
from psycopg import sql

from credentials.models import Client
from credentials.site_schema import SCHEMA
from migration.campaigns.models import Campaign
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_store import secret_names, secrets_manager
from migration.core.aws_writes import (
    FACTS_AGREE,
    describe_who_stopped_writes,
    learn_facts,
    write_guard,
)
from migration.core.clients import ClientMigration
from migration.core.keys import VERSIONS_UNPROVED, count_versions_of_lost_key
from migration.core.notices import SCHEDULE_CHANGED, TASKS_DROPPED, Condition
from migration.core.secrets import Secret
from migration.core.shared_facts import explain_differences
from migration.core.text import shorten_list
from migration.core.workers import Worker, connect_to_redis, list_redis_errors
from migration.core.write_state import read_aws_write_state
from migration.doctor.findings import (
    CheckName,
    DoctorOptions,
    Finding,
    FindingState,
    read_briefly,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.moves.gates import IS_NO_COPY, WRITES_NOT_STOPPED
from migration.nova.models import SEEN_WITHIN, OtherStatement, ReaderProcess
from migration.nova.readers import StatementReport, UnseenReason, read_other_statements
from migration.people.second_factors import list_unreadable_users
from migration.secrets.models import SearchedClient
from migration.secrets.settings import find_settings_drift
from migration.site.notices import (
    AUDIT_NOT_SEALED,
    READERS_ARE_GONE,
    READERS_FAIL,
    SECRETS_NOT_AS_SET,
    WORKERS_ARE_GONE,
    list_recipient_reports,
)
from nova_credentials.aws.clock import read_aws_clock
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import list_pending
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_invisible, escape_name

if TYPE_CHECKING:  # an extra
    from redis import Redis

# In one message no more than this many secrets are named.
MOST_NAMES = 5

# Whether this host may write to AWS: the database is no duplicate, hosts agree, nobody stopped the writes

CORRECT_THE_SETTINGS = Sentence(
    "correct_the_settings",
    "Correct this host's settings and restart it. Only if all hosts are to have what it has:"
    " python manage.py claim_database --facts --reason TEXT (docs/keys.md, docs/aws-writes.md).",
)
SEE_AWS_WRITES = Sentence(
    "see_aws_writes",
    "The page AWS writes shows what this database is, and lets writes go on (docs/aws-writes.md). Never claim staging.",
)


def examine_aws_writes(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the database and what hosts share are as noted, and that nobody stopped AWS writes; reads anew."""
    state = read_aws_write_state(connection)
    for problem, fine, remedy in (
        (write_guard().explain_refused_database(state), IS_NO_COPY(), SEE_AWS_WRITES()),
        (explain_differences(state.facts), FACTS_AGREE(), CORRECT_THE_SETTINGS()),
        (describe_who_stopped_writes(state), WRITES_NOT_STOPPED(), SEE_AWS_WRITES()),
    ):
        if problem:
            yield report_failure(CheckName.AWS_WRITES, problem, remedy)
        else:
            yield report_ok(CheckName.AWS_WRITES, fine)


def examine_aws_writes_and_account(asked: DoctorOptions) -> Iterator[Finding]:
    """Check the same once AWS has told which account this process reaches, if it does."""
    with suppress(SecretsManagerError):
        learn_facts()
    yield from examine_aws_writes(asked)


# The clocks of PostgreSQL and AWS beside this host's: leases, streaks and signatures depend on them

# AWS tells whole seconds, and a call takes some time; a signature is refused from five minutes on.
TOLERATED_DIFFERENCE = timedelta(seconds=5)

CLOCK_POSTGRES = Sentence("clock_postgres", "PostgreSQL's clock")
CLOCK_AWS = Sentence("clock_aws", "AWS's clock")
CLOCK_NOT_ASKED = Sentence("clock_not_asked", "AWS's clock: no answer (%(code)s).")
REACH_AWS = Sentence(
    "reach_aws",
    "Look at this host's network, its proxy and its AWS settings, then check again.",
)


def examine_clocks(_asked: DoctorOptions) -> Iterator[Finding]:
    """Compare both stores' clocks with this host's."""
    yield _compare_clocks(CLOCK_POSTGRES(), ask_postgres)
    yield from _compare_workers()
    name = _choose_secret()
    try:
        yield _compare_clocks(CLOCK_AWS(), lambda: ask_aws(name))
    except SecretsManagerError as error:
        yield report_unlooked(CheckName.CLOCKS, CLOCK_NOT_ASKED(code=error.code), REACH_AWS())


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
        yield report_failure(CheckName.CLOCKS, message, SET_THE_CLOCKS())


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
        return report_ok(CheckName.CLOCKS, CLOCK_AGREES(whose=whose))
    seconds = round(off.total_seconds())
    differs = CLOCK_IS_BEHIND if behind > ahead else CLOCK_IS_AHEAD
    return report_failure(CheckName.CLOCKS, differs(whose=whose, n=seconds), SET_THE_CLOCKS())


# What the newest search for copies of each client found elsewhere in NOVA's database

COPIES_NOT_LOOKED_FOR = Sentence(
    "copies_not_looked_for",
    "Nobody has looked where else the database holds secret values.",
)
LOOK_FOR_COPIES = Sentence(
    "look_for_copies",
    "Search for them on the page Copies, or run: python manage.py find_copies --all.",
)
COPIES_WERE_FOUND = Sentence(
    "copies_were_found",
    "Secret values of %(n)s clients stand elsewhere in the database too (searched %(ago)s ago or later).",
    one="Secret values of %(n)s client stand elsewhere in the database too (searched %(ago)s ago).",
)
LIST_THE_COPIES = Sentence(
    "list_the_copies",
    "python manage.py find_copies --all lists table, column and rows, never a value. A purge leaves them there.",
)
COPIES_SOUGHT_IN_PART = Sentence(
    "copies_sought_in_part",
    "For %(n)s clients the database was not searched whole.",
    one="For %(n)s client the database was not searched whole.",
)
NO_COPIES = Sentence(
    "no_copies",
    "No copies of the secret values of %(n)s clients were found (searched %(ago)s ago or later).",
    one="No copies of the secret values of %(n)s client were found (searched %(ago)s ago).",
)


def examine_copy_searches(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the newest search of each client: copies that were found, and what was left unlooked at."""
    clients = Client.objects.count()
    newest = SearchedClient.objects.newest_of_each_client().values("pk")
    searched = SearchedClient.objects.filter(pk__in=newest, client__in=Client.objects.all())
    numbers = searched.aggregate(
        all=Count("pk"),
        with_copies=Count("pk", filter=Q(rows_found__gt=0)),
        in_part=Count("pk", filter=Q(not_looked_at__gt=0)),
        oldest=Min("searched_at"),
    )
    if not numbers["all"]:
        yield report_unlooked(CheckName.COPIES, COPIES_NOT_LOOKED_FOR(), LOOK_FOR_COPIES())
        return
    if with_copies := numbers["with_copies"]:
        yield report_failure(
            CheckName.COPIES,
            COPIES_WERE_FOUND(n=with_copies, ago=numbers["oldest"]),
            LIST_THE_COPIES(),
        )
    if left := clients - numbers["all"] + numbers["in_part"]:
        message = COPIES_SOUGHT_IN_PART(n=left)
        yield report_unlooked(CheckName.COPIES, message, LOOK_FOR_COPIES())
    if not (with_copies or left):
        yield report_ok(CheckName.COPIES, NO_COPIES(n=numbers["all"], ago=numbers["oldest"]))


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
    " reset_second_factor (docs/keys.md).",
)
BRING_VERSION_KEY_BACK = Sentence(
    "bring_version_key_back",
    "Restore the table migration_versionkey from a backup. Without one, compare each client and copy one way"
    " (docs/keys.md).",
)


def examine_keys(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that every second factor can be decrypted, and that the key of the first release's versions is there."""
    found = []
    if users := list_unreadable_users():
        told = FACTORS_UNREADABLE(n=len(users))
        found.append(report_failure(CheckName.KEYS, told, BRING_SECRET_KEY_BACK()))
    if unproved := count_versions_of_lost_key():
        told = VERSIONS_UNPROVED(n=unproved)
        found.append(report_failure(CheckName.KEYS, told, BRING_VERSION_KEY_BACK()))
    yield from found or [report_ok(CheckName.KEYS, KEYS_READ_ALL())]


# Whether notices get to whom they are set to reach; hosts are named, and no address of a webhook

# A worker takes what waits within a minute.
WAITS_TOO_LONG = timedelta(minutes=10)

NOTICES_REACH = Sentence(
    "notices_reach",
    "Notices are set to reach %(n)s recipients, and none of them fails.",
    one="Notices are set to reach one recipient, and it does not fail.",
)
NOTICES_REACH_NOBODY = Sentence(
    "notices_reach_nobody",
    "Notices are set to reach nobody (NOVA_NOTIFY_URLS, NOVA_NOTIFY_EMAILS).",
)
SET_WHOM_NOTICES_REACH = Sentence(
    "set_whom_notices_reach",
    "Set one of them, and start the site and its workers anew: otherwise nobody hears when a campaign stops, when both"
    " stores differ, or when AWS does not answer. docs/notices.md has more.",
)
NOTICES_FAIL = Sentence(
    "notices_fail", "The newest notice to %(host)s (%(way)s) failed: %(problem)s."
)
NOTICES_WAIT = Sentence(
    "notices_wait",
    "%(n)s notices to %(host)s (%(way)s) have been waiting, the oldest for %(ago)s.",
    one="A notice to %(host)s (%(way)s) has been waiting for %(ago)s.",
)
SEE_THE_NOTICES = Sentence(
    "see_the_notices",
    "The page “Notices” has a test. docs/notices.md says what each problem means; a worker has to run.",
)


def examine_notice_deliveries(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that notices reach everybody, as their newest attempts went. Sends none."""
    reports, failures = list_recipient_reports(), 0
    for each in reports:
        names = {"host": each.recipient.host, "way": each.recipient.way.value}
        since = each.untried_since
        if each.problem:
            message = NOTICES_FAIL(problem=each.problem, **names)
        elif since and timezone.now() - since > WAITS_TOO_LONG:
            message = NOTICES_WAIT(n=each.untried, ago=since, **names)
        else:
            continue
        failures += 1
        yield report_failure(CheckName.NOTICES, message, SEE_THE_NOTICES())
    if not reports and _is_at_work():
        told = NOTICES_REACH_NOBODY(), SET_WHOM_NOTICES_REACH()
        yield report_failure(CheckName.NOTICES, *told)
    elif not reports:
        yield report_ok(CheckName.NOTICES, NOTICES_REACH_NOBODY())
    elif not failures:
        yield report_ok(CheckName.NOTICES, NOTICES_REACH(n=len(reports)))


def _is_at_work() -> bool:
    """Say whether somebody should be told: NOVA reads a client from AWS, or a campaign moves clients by itself."""
    reads_aws = [phase.value for phase in Phase if phase.reads_aws]
    clients = ClientMigration.objects.exclude_deleted_clients().filter(phase__in=reads_aws)
    return clients.exists() or Campaign.objects.not_over().exists()


# The workers' queue: whether Redis, where it is in there, takes tasks and keeps them

# A task that waits longer in PostgreSQL was not meant for a worker that takes from Redis.
LEFT_AFTER = timedelta(minutes=5)
# A page that starts a run waits so long for two commands.
SLOW_SECONDS = 1.0
# The first word of an answer of Redis that has no class of its own, such as MISCONF.
REDIS_ERROR_WORD = re.compile(r"[A-Z]{3,20}(?= )")

QUEUE_IS_IN_POSTGRES = Sentence("queue_is_in_postgres", "The workers' queue is in PostgreSQL.")
NOT_ASKED_YET = Sentence(
    "not_asked_yet",
    "Asked only by “Check everything now”, which operators can press, and by python manage.py check_nova.",
)


def examine_queue_without_redis(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that no tasks are where nobody takes them, and say where the queue is. Asks no Redis."""
    if settings.NOVA_REDIS_URL:
        yield report_unlooked(CheckName.QUEUE, NOT_ASKED_YET())
    else:
        yield report_ok(CheckName.QUEUE, QUEUE_IS_IN_POSTGRES())
    yield from _find_left_tasks()
    yield from _find_noted_problems()


def examine_queue(asked: DoctorOptions) -> Iterator[Finding]:
    """Have Redis take a task and give it back, as the queue does; ask what it does when it is full."""
    if not settings.NOVA_REDIS_URL:
        yield from examine_queue_without_redis(asked)
        return
    with closing(connect_to_redis(settings.NOVA_REDIS_URL)) as client:
        parts = client.connection_pool.connection_kwargs
        where = parts.get("path") or f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}"
        place = f"{where}/{parts.get('db') or 0}"
        try:
            yield from _try_queue(client, place)
        except list_redis_errors() as error:
            yield report_failure(CheckName.QUEUE, *_explain_error(error, place))
    yield from _find_left_tasks()
    yield from _find_noted_problems()


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
    "Set maxmemory-policy noeviction, or take a Redis that is no cache. docs/scaling.md has more.",
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
LOOK_FOR_SLOWNESS = Sentence(
    "look_for_slowness", "Look at the network in between, and at Redis' SLOWLOG."
)


def _try_queue(client: Redis, place: str) -> Iterator[Finding]:
    queue = f"django_q:{settings.Q_CLUSTER['name']}"
    began = time.monotonic()
    # Not into the queue itself, where a worker would take it.
    client.rpush(f"{queue}:check", "check")
    client.blpop([f"{queue}:check"], 1)
    seconds = time.monotonic() - began
    waiting = client.llen(f"{queue}:q")
    if seconds > SLOW_SECONDS:
        slow = REDIS_IS_SLOW(place=place, seconds=round(seconds, 1))
        yield report_failure(CheckName.QUEUE, slow, LOOK_FOR_SLOWNESS())
    policy = _read_policy(client)
    if policy is None:
        unknown = REDIS_POLICY_UNKNOWN(place=place)
        yield report_unlooked(CheckName.QUEUE, unknown, ASK_FOR_POLICY())
    elif policy.startswith("allkeys"):  # others throw away only what has a time to live
        evicts = REDIS_EVICTS(place=place, policy=policy)
        yield report_failure(CheckName.QUEUE, evicts, KEEP_KEYS_IN_REDIS())
    elif seconds <= SLOW_SECONDS:
        yield report_ok(CheckName.QUEUE, REDIS_TAKES_TASKS(place=place, n=waiting))


def _read_policy(client: Redis) -> str | None:
    """Return Redis' `maxmemory-policy`; None where it isn't told. INFO is allowed more often than CONFIG."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # an extra

    try:
        policy: str | None = client.info("memory").get("maxmemory_policy")
    except ResponseError:
        return None
    return policy


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
    "Look at Redis' own log, and whether it has a database of the number at the end of NOVA_REDIS_URL.",
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


TASKS_LEFT_IN_POSTGRES = Sentence(
    "tasks_left_in_postgres",
    "%(n)s tasks are in PostgreSQL's queue, from which no worker with NOVA_REDIS_URL takes any.",
    one="A task is in PostgreSQL's queue, from which no worker with NOVA_REDIS_URL takes any.",
)
SET_THE_SAME_QUEUE = Sentence(
    "set_the_same_queue",
    "Give the site and all hosts the same NOVA_REDIS_URL. Runs and searches whose tasks these were are queued again"
    " within two minutes, so the tasks can be removed:",
)


def _find_left_tasks() -> Iterator[Finding]:
    if not settings.NOVA_REDIS_URL:
        return
    tasks = apps.get_model("django_q", "OrmQ")
    with read_briefly():
        left = tasks.objects.filter(lock__lt=timezone.now() - LEFT_AFTER).count()
    if left:
        yield report_failure(
            CheckName.QUEUE,
            TASKS_LEFT_IN_POSTGRES(n=left),
            SET_THE_SAME_QUEUE(),
            statements=(f"DELETE FROM {SCHEMA}.{tasks._meta.db_table};",),  # noqa: S608  # constants
        )


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
TASKS_WERE_DROPPED = Sentence(
    "tasks_were_dropped",
    "Tasks in the queue that no host could read were dropped, last %(ago)s ago. The schedule queues again what there is"
    " to do.",
)
GIVE_HOSTS_THE_SAME_KEYS = Sentence(
    "give_hosts_the_same_keys",
    "Give site and workers the same SECRET_KEY, and the former one as SECRET_KEY_FALLBACKS (docs/keys.md). If no key"
    " was changed, look for who else writes into the queue.",
)


def _find_noted_problems() -> Iterator[Finding]:
    """Tell what the workers put back or dropped within a day."""
    with read_briefly():
        changed = Condition.objects.noted_lately(SCHEDULE_CHANGED)
        dropped = Condition.objects.noted_lately(TASKS_DROPPED)
    if changed:
        names = tuple(escape_invisible(row.subject) for row in changed)
        message = SCHEDULE_WAS_CHANGED(names=names, ago=changed[0].seen_at)
        yield report_failure(CheckName.QUEUE, message, FIND_WHO_CHANGED_IT())
    if dropped:
        message = TASKS_WERE_DROPPED(ago=dropped[0].seen_at)
        yield report_failure(CheckName.QUEUE, message, GIVE_HOSTS_THE_SAME_KEYS())


# Whether NOVA reads through the package

READER_READ = Sentence("reader_read", "NOVA's reader last read a client %(ago)s ago.")
READER_NEVER_READ = Sentence(
    "reader_never_read", "No process of NOVA has read through the package yet."
)
LET_NOVA_READ = Sentence("let_nova_read", "Let NOVA read through the package: docs/reader.md.")
SEE_THE_READERS = Sentence(
    "see_the_readers",
    "The page “NOVA's processes” shows them with the class of the error. docs/reader.md has the IAM policy that NOVA"
    " needs.",
)


def examine_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that processes of NOVA read through the package, and that AWS fails none of them now."""
    readers = ReaderProcess.objects.summarize()
    if readers.last_read_at is None:
        yield report_unlooked(CheckName.READERS, READER_NEVER_READ(), LET_NOVA_READ())
    elif not readers.seen:
        gone = READERS_ARE_GONE(ago=readers.last_read_at)
        yield report_failure(CheckName.READERS, gone, LET_NOVA_READ())
    else:
        yield report_ok(CheckName.READERS, READER_READ(ago=readers.last_read_at))
    if readers.failing:
        fail = READERS_FAIL(n=readers.failing)
        yield report_failure(CheckName.READERS, fail, SEE_THE_READERS())


# Whether somebody still reads the credential tables past the package: NOVA's old helper, most likely

# One program can make thousands of statements; nobody reads so many lines.
MOST_STATEMENTS = 20

MORE_OTHER_READS = Sentence(
    "more_other_reads",
    "And %(n)s more statements read credential tables past the package.",
    one="And one more statement reads a credential table past the package.",
)
REPLACE_THE_HELPER = Sentence(
    "replace_the_helper",
    "Most likely NOVA's old helper: after a purge it gets a pointer in place of the password. Find the program on the"
    " page “NOVA's processes”, and let it read through the package (docs/reader.md).",
)
OTHERS_HAVE_STOPPED = Sentence(
    "others_have_stopped",
    "%(n)s statements have read credential tables past the package, none of them in the last hour.",
    one="One statement has read credential tables past the package, but not in the last hour.",
)
NO_OTHER_READS = Sentence(
    "no_other_reads",
    "pg_stat_statements shows no read of the credential tables past the package and this site.",
)


def examine_other_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name each statement of others that reads a credential table, and say what can't be known of them.

    One that was not called for an hour, as far as the workers know, is no failure: PostgreSQL counts it for ever.
    """
    seen = read_other_statements()
    if seen.unseen_reason:
        yield _explain_unseen(seen)
    if seen.unseen_reason not in (None, UnseenReason.NOT_ALLOWED):
        return
    judged = [_judge(row) for row in OtherStatement.objects.compare_counts(seen.statements)]
    named = [finding for finding in judged if finding]
    yield from named[:MOST_STATEMENTS]
    if len(named) > MOST_STATEMENTS:
        left = named[MOST_STATEMENTS:]
        message = MORE_OTHER_READS(n=len(left))
        is_failed = any(finding.state == FindingState.FAILED for finding in left)
        report = report_failure if is_failed else report_unlooked
        yield report(CheckName.OTHER_READERS, message, REPLACE_THE_HELPER())
    if named:
        return
    if judged:
        yield report_ok(CheckName.OTHER_READERS, OTHERS_HAVE_STOPPED(n=len(judged)))
    elif not seen.unseen_reason:
        yield report_ok(CheckName.OTHER_READERS, NO_OTHER_READS())


OTHER_READS = Sentence(
    "other_reads",
    "The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, %(n)s times in all.",
    one="The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, once in all.",
)
OTHER_HAS_READ = Sentence(
    "other_has_read",
    "The role %(role)s has read %(tables)s past the package, %(n)s times in all. When it did last is known an hour"
    " after it was first noticed.",
    one="The role %(role)s has read %(tables)s past the package, once in all. When it did is known an hour after it"
    " was first noticed.",
)
WAIT_AN_HOUR = Sentence(
    "wait_an_hour", "Check again in an hour, with workers running: they look every five minutes."
)


def _judge(row: OtherStatement) -> Finding | None:
    """Report one statement; None for one that was not called in the last hour."""
    now, role = timezone.now(), escape_name(row.role)
    if row.called_at and now - row.called_at < SEEN_WITHIN:
        message = OTHER_READS(role=role, tables=row.tables, n=row.calls, ago=row.called_at)
        return report_failure(CheckName.OTHER_READERS, message, REPLACE_THE_HELPER())
    if now - row.first_noticed_at < SEEN_WITHIN:
        message = OTHER_HAS_READ(role=role, tables=row.tables, n=row.calls)
        return report_unlooked(CheckName.OTHER_READERS, message, WAIT_AN_HOUR())
    return None


OTHER_READS_NOT_COUNTED = Sentence(
    "other_reads_not_counted",
    "PostgreSQL keeps no statistics of statements here, so nobody can say whether NOVA's old helper still reads.",
)
INSTALL_STATISTICS = Sentence(
    "install_statistics",
    "Put pg_stat_statements into shared_preload_libraries, start PostgreSQL anew and run, as a superuser:",
)
CREATE_STATISTICS = Sentence(
    "create_statistics",
    "PostgreSQL counts statements already. Run in this database, as a superuser:",
)
OTHER_READS_NOT_READABLE = Sentence(
    "other_reads_not_readable",
    "pg_stat_statements is installed, but this site can't read it: its role lacks the right, or the library is not in"
    " shared_preload_libraries.",
)
OTHER_READS_HIDDEN = Sentence(
    "other_reads_hidden", "PostgreSQL hides the statements of other roles from this site."
)
GRANT_STATISTICS = Sentence("grant_statistics", "Run, as somebody who may:")


def _explain_unseen(report: StatementReport) -> Finding:
    check = CheckName.OTHER_READERS
    match report.unseen_reason:
        case UnseenReason.NOT_INSTALLED | UnseenReason.NOT_CREATED as reason:
            is_loaded = reason == UnseenReason.NOT_CREATED
            remedy = CREATE_STATISTICS if is_loaded else INSTALL_STATISTICS
            return report_unlooked(
                check,
                OTHER_READS_NOT_COUNTED(),
                remedy(),
                statements=("CREATE EXTENSION pg_stat_statements;",),
            )
        case UnseenReason.NOT_ALLOWED:
            role = sql.Identifier(report.own_role).as_string(None)
            return report_unlooked(
                check,
                OTHER_READS_HIDDEN(),
                GRANT_STATISTICS(),
                statements=(f"GRANT pg_read_all_stats TO {role};",),
            )
    return report_unlooked(check, OTHER_READS_NOT_READABLE())


# Whether secrets have the tags, description, KMS key and replicas of the settings, as last described

SECRETS_AS_SET = Sentence(
    "secrets_as_set",
    "%(n)s secrets have the tags, description, KMS key and replicas of the settings.",
    one="%(n)s secret has the tags, description, KMS key and replicas of the settings.",
)
APPLY_THE_SETTINGS = Sentence(
    "apply_the_settings",
    "See “Key and regions of the secrets”, or apply_secret_settings --all --check.",
)
SECRETS_OF_DELETED_CLIENTS = Sentence(
    "secrets_of_deleted_clients",
    "AWS still has %(n)s secrets of clients that NOVA deleted: %(names)s.",
    one="AWS still has %(n)s secret of a client that NOVA deleted: %(names)s.",
    glue=", ",
)
DELETE_THEM = Sentence(
    "delete_them",
    "Who may purge clients schedules their deletion on the page “Key and regions of the secrets”.",
)
KEYS_UNTOLD = Sentence(
    "keys_untold",
    "Of the secrets of %(n)s clients it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
    one="Of the secrets of %(n)s client it can't be told whether they have the KMS key of the settings: AWS and the"
    " settings name it in two ways.",
)
APPLY_ONCE = Sentence(
    "apply_once",
    "A run sets the key as the settings name it, once: then it is known. Or name the key by its ARN.",
)
SECRETS_NOT_DESCRIBED = Sentence(
    "secrets_not_described",
    "%(n)s secrets were not looked at yet.",
    one="%(n)s secret was not looked at yet.",
)
WORKERS_DESCRIBE = Sentence("workers_describe", "Workers look at each once a day, if AWS answers.")


def examine_secret_settings(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the clients whose secrets differ, and the secrets that no worker has described yet."""
    check, found = CheckName.SECRET_SETTINGS, find_settings_drift()
    differing = sum(client.differs for client in found.clients)
    untold = len(found.clients) - differing
    if differing:
        yield report_failure(check, SECRETS_NOT_AS_SET(n=differing), APPLY_THE_SETTINGS())
    if untold:
        yield report_unlooked(check, KEYS_UNTOLD(n=untold), APPLY_ONCE())
    if found.overdue:
        yield report_unlooked(check, SECRETS_NOT_DESCRIBED(n=found.overdue), WORKERS_DESCRIBE())
    deleted = Secret.objects.of_deleted_clients().order_by("name").values_list("name", flat=True)
    if number := deleted.count():
        names = (*deleted[:MOST_NAMES], *["…"] * (number > MOST_NAMES))
        yield report_failure(
            check, SECRETS_OF_DELETED_CLIENTS(n=number, names=names), DELETE_THEM()
        )
    if not (found.clients or found.overdue or number):
        yield report_ok(check, SECRETS_AS_SET(n=found.looked_at))


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
    "%(n)s secrets have a version that waits to be current (AWSPENDING): %(names)s. A rotation is under way, or was"
    " interrupted.",
    one="A secret has a version that waits to be current (AWSPENDING): %(names)s. A rotation is under way, or was"
    " interrupted.",
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


def examine_pending_versions(_asked: DoctorOptions) -> Iterator[Finding]:
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
        yield report_unlooked(CheckName.STAGES, STAGES_NOT_ASKED(code=error.code), REACH_AWS())
        return
    if found:
        pending = VERSIONS_PENDING(n=len(found), names=shorten_list(found, MOST_NAMES))
        yield report_failure(CheckName.STAGES, pending, TAKE_PENDING_OFF())
    else:
        yield report_ok(CheckName.STAGES, NO_VERSION_PENDING(n=looked_at))
    if page:
        yield report_unlooked(CheckName.STAGES, STAGES_IN_PART(n=looked_at))


# Whether this site's worker processes are alive, and seal the audit

# The schedule has tasks for every minute.
IDLE_AFTER = timedelta(minutes=10)

AUDIT_IS_SEALED = Sentence(
    "audit_is_sealed", "The audit's newest entries have their places in its chain."
)
SEAL_THE_AUDIT = Sentence(
    "seal_the_audit",
    "Run verify_audit: it seals what waits. See that workers run; if they do, ask who holds locks in the database, and"
    " why: SELECT * FROM pg_stat_activity.",
)


def examine_sealing(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the audit's newest entries were put into its chain: until then their removal is not noticed."""
    if since := find_unsealed_since():
        message = AUDIT_NOT_SEALED(ago=since)
        yield report_failure(CheckName.AUDIT, message, SEAL_THE_AUDIT())
    else:
        yield report_ok(CheckName.AUDIT, AUDIT_IS_SEALED())


WORKERS_ARE_ALIVE = Sentence(
    "workers_are_alive",
    "%(n)s worker processes are alive: %(names)s.",
    glue=", ",
    one="%(n)s worker process is alive: %(names)s.",
)
WORKERS_DO_NOTHING = Sentence(
    "workers_do_nothing", "The workers are alive, and have ended no task for %(ago)s."
)
START_WORKERS_ANEW = Sentence(
    "start_workers_anew",
    "Look whether all of them are on long searches or runs, and at the task queue. Otherwise start them anew: what they"
    " had begun is done again.",
)
NO_WORKER_EVER = Sentence("no_worker_ever", "No worker was ever seen.")
START_A_WORKER = Sentence(
    "start_a_worker",
    "Start one: python manage.py qcluster. Without it nothing is pushed or compared.",
)


def examine_workers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that worker processes are alive and do something, and that each is of the schema's release."""
    found = list(Worker.objects.alive().order_by("name"))
    yield from _examine_releases(found)
    names = tuple(
        f"{worker.name} ({worker.release or '?'})"
        for worker in found
        if worker.idle_because is None
    )
    if names:
        alive = Worker.objects.alive().taking_tasks()
        yield report_ok(CheckName.WORKERS, WORKERS_ARE_ALIVE(n=len(names), names=names))
        began = alive.aggregate(at=Min("started_at"))["at"]
        ended = apps.get_model("django_q", "Task").objects.aggregate(at=Max("stopped"))["at"]
        last = max(began, ended) if ended else began
        if timezone.now() - last > IDLE_AFTER:
            idle = WORKERS_DO_NOTHING(ago=last)
            yield report_failure(CheckName.WORKERS, idle, START_WORKERS_ANEW())
        return
    last = Worker.objects.last_seen_at()
    message = WORKERS_ARE_GONE(ago=last) if last else NO_WORKER_EVER()
    yield report_failure(CheckName.WORKERS, message, START_A_WORKER())


WORKERS_TAKE_NO_TASKS = Sentence(
    "workers_take_no_tasks",
    "%(n)s worker processes are alive and take no tasks (%(names)s). %(why)s",
    glue=", ",
    one="%(n)s worker process is alive and takes no tasks (%(names)s). %(why)s",
)
CORRECT_OR_UPGRADE = Sentence(
    "correct_or_upgrade",
    "Give that host the settings of the others, or the release of the database's schema, and restart its workers.",
)
WORKERS_ARE_OLD = Sentence(
    "workers_are_old",
    "%(n)s worker processes run a release of before 0.2.0, and work on beside a schema that they don't know:"
    " %(names)s.",
    glue=", ",
    one="%(n)s worker process runs a release of before 0.2.0, and works on beside a schema that it doesn't know:"
    " %(names)s.",
)
STOP_OLD_WORKERS = Sentence(
    "stop_old_workers",
    "Stop them, and start those of the release that ran migrate (docs/upgrading.md).",
)


def _examine_releases(alive: list[Worker]) -> Iterator[Finding]:
    """Report the workers that take no tasks, by reason, and those of a release that doesn't ask whether it may."""
    idle = [(worker.name, worker.idle_because) for worker in alive if worker.idle_because]
    for why in dict.fromkeys(str(why) for _name, why in idle):
        names = tuple(name for name, each in idle if str(each) == why)
        message = next(each for _name, each in idle if str(each) == why)
        told = WORKERS_TAKE_NO_TASKS(n=len(names), names=names, why=message)
        yield report_failure(CheckName.WORKERS, told, CORRECT_OR_UPGRADE())
    if before := tuple(worker.name for worker in alive if not worker.release):
        told = WORKERS_ARE_OLD(n=len(before), names=before)
        yield report_failure(CheckName.WORKERS, told, STOP_OLD_WORKERS())
