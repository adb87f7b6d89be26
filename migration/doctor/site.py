"""Examines the site: workers, queue, clocks, keys, notices, AWS writes, readers."""

from __future__ import annotations

import re
import time
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
from credentials.shown_names import escape_invisible, escape_name
from credentials.site_schema import SCHEMA
from migration import setting_sentences as told
from migration.campaigns.models import Campaign
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_store import secret_names, secrets_manager
from migration.core.aws_writes import describe_who_stopped_writes, learn_facts, write_guard
from migration.core.clients import ClientMigration
from migration.core.keys import count_versions_of_lost_key
from migration.core.notices import SCHEDULE_CHANGED, TASKS_DROPPED, Condition
from migration.core.secrets import Secret
from migration.core.shared_facts import explain_differences
from migration.core.workers import Worker, connect_to_redis, list_redis_errors
from migration.core.write_state import read_aws_write_state
from migration.doctor.findings import (
    CheckName,
    FindingState,
    read_briefly,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.nova.models import SEEN_WITHIN, OtherStatement, ReaderProcess
from migration.nova.readers import UnseenReason, read_other_statements
from migration.operations.doctor import process_sentences, queue_sentences, sentences
from migration.operations.doctor.process_sentences import CORRECT_THE_SETTINGS
from migration.operations.doctor.sentences import SEE_AWS_WRITES
from migration.people.second_factors import list_unreadable_users
from migration.secrets.models import SearchedClient
from migration.secrets.settings import find_settings_drift
from migration.sentences import FACTS_AGREE, IS_NO_COPY, VERSIONS_UNPROVED, WRITES_NOT_STOPPED
from migration.site.notices import list_recipient_reports
from nova_credentials.aws.clock import read_aws_clock
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import list_pending
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from migration.doctor.findings import DoctorOptions, Finding
    from migration.nova.models import OtherStatementCount
    from migration.nova.readers import StatementReport
    from nova_credentials.messages import Message


# Examines whether this host may write to AWS: the database is no duplicate, hosts agree, nobody stopped the writes.


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


# Compares the clocks of PostgreSQL and AWS with this host's: leases, streaks and signatures depend on them.


# AWS tells whole seconds, and a call takes some time; a signature is refused from five minutes on.
TOLERATED = timedelta(seconds=5)


def examine_clocks(_asked: DoctorOptions) -> Iterator[Finding]:
    """Compare both stores' clocks with this host's."""
    yield _compare_clocks(sentences.CLOCK_POSTGRES(), ask_postgres)
    yield from _compare_workers()
    name = _choose_secret()
    try:
        yield _compare_clocks(sentences.CLOCK_AWS(), lambda: ask_aws(name))
    except SecretsManagerError as error:
        yield report_unlooked(
            CheckName.CLOCKS, sentences.CLOCK_NOT_ASKED(code=error.code), sentences.REACH_AWS()
        )


def _compare_workers() -> Iterator[Finding]:
    """Name the hosts with workers whose clocks are off: they hold runs, streaks and times in a phase against theirs."""
    off: dict[str, timedelta] = {}
    with read_briefly():
        workers = list(Worker.objects.alive().order_by("name").values_list("name", "clock_ahead"))
    for name, ahead in workers:
        if ahead is not None and abs(ahead) > TOLERATED:
            off.setdefault(name.partition(":")[0], ahead)
    for host, ahead in off.items():
        seconds = round(abs(ahead).total_seconds())
        differs = sentences.HOST_CLOCK_AHEAD if ahead > timedelta() else sentences.HOST_CLOCK_BEHIND
        message = differs(host=host, n=seconds)
        yield report_failure(CheckName.CLOCKS, message, sentences.SET_THE_CLOCKS())


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


def _compare_clocks(whose: Message, ask: Callable[[], datetime]) -> Finding:
    before = datetime.now(UTC)
    theirs = ask().astimezone(UTC)
    after = datetime.now(UTC)
    # Where between the two it was asked is unknown, so the smallest difference counts.
    behind, ahead = before - theirs, theirs - after
    off = max(behind, ahead, timedelta())
    if off <= TOLERATED:
        return report_ok(CheckName.CLOCKS, sentences.CLOCK_AGREES(whose=whose))
    seconds = round(off.total_seconds())
    differs = sentences.CLOCK_IS_BEHIND if behind > ahead else sentences.CLOCK_IS_AHEAD
    return report_failure(
        CheckName.CLOCKS, differs(whose=whose, n=seconds), sentences.SET_THE_CLOCKS()
    )


# Examines what the newest search for copies of each client found elsewhere in NOVA's database.


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
        yield report_unlooked(
            CheckName.COPIES, sentences.COPIES_NOT_LOOKED_FOR(), sentences.LOOK_FOR_COPIES()
        )
        return
    if with_copies := numbers["with_copies"]:
        yield report_failure(
            CheckName.COPIES,
            sentences.COPIES_WERE_FOUND(n=with_copies, ago=numbers["oldest"]),
            sentences.LIST_THE_COPIES(),
        )
    if left := clients - numbers["all"] + numbers["in_part"]:
        message = sentences.COPIES_SOUGHT_IN_PART(n=left)
        yield report_unlooked(CheckName.COPIES, message, sentences.LOOK_FOR_COPIES())
    if not (with_copies or left):
        yield report_ok(
            CheckName.COPIES, sentences.NO_COPIES(n=numbers["all"], ago=numbers["oldest"])
        )


# Examines whether what was made with this site's keys can still be read: second factors, and the ids of versions.


def examine_keys(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that every second factor can be decrypted, and that the key of the first release's versions is there."""
    found = []
    if users := list_unreadable_users():
        told = process_sentences.FACTORS_UNREADABLE(n=len(users))
        found.append(
            report_failure(CheckName.KEYS, told, process_sentences.BRING_SECRET_KEY_BACK())
        )
    if unproved := count_versions_of_lost_key():
        told = VERSIONS_UNPROVED(n=unproved)
        found.append(
            report_failure(CheckName.KEYS, told, process_sentences.BRING_VERSION_KEY_BACK())
        )
    yield from found or [report_ok(CheckName.KEYS, process_sentences.KEYS_READ_ALL())]


# Examines whether notices get to whom they are set to reach. Names hosts, and no address of a webhook.


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


# Examines the workers' queue: whether Redis, where it is in there, takes tasks and keeps them.


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


# Examines whether NOVA reads through the package.


def examine_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that processes of NOVA read through the package, and that AWS fails none of them now."""
    readers = ReaderProcess.objects.summarize()
    if readers.last_read_at is None:
        yield report_unlooked(
            CheckName.READERS,
            process_sentences.READER_NEVER_READ(),
            process_sentences.LET_NOVA_READ(),
        )
    elif not readers.seen:
        yield report_failure(
            CheckName.READERS,
            process_sentences.READERS_ARE_GONE(ago=readers.last_read_at),
            process_sentences.LET_NOVA_READ(),
        )
    else:
        yield report_ok(CheckName.READERS, process_sentences.READER_READ(ago=readers.last_read_at))
    if readers.failing:
        yield report_failure(
            CheckName.READERS,
            process_sentences.READERS_FAIL(n=readers.failing),
            process_sentences.SEE_THE_READERS(),
        )


# Examines whether somebody still reads the credential tables past the package: NOVA's old helper, most likely.


# One program can make thousands of statements; nobody reads so many lines.
MOST_STATEMENTS = 20


def examine_other_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name each statement of others that reads a credential table, and say what can't be known of them.

    One that was not called for an hour, as far as the workers know, is no failure: PostgreSQL counts it for ever.
    """
    seen = read_other_statements()
    if seen.unseen_reason:
        yield _explain_unseen(seen)
    if seen.unseen_reason not in (None, UnseenReason.NOT_ALLOWED):
        return
    known = {(row.role, row.statement_id): row for row in OtherStatement.objects.all()}
    judged = [
        _judge(count, known.get((count.role, count.statement_id))) for count in seen.statements
    ]
    named = [finding for finding in judged if finding]
    yield from named[:MOST_STATEMENTS]
    if len(named) > MOST_STATEMENTS:
        left = named[MOST_STATEMENTS:]
        message = process_sentences.MORE_OTHER_READS(n=len(left))
        is_failed = any(finding.state == FindingState.FAILED for finding in left)
        report = report_failure if is_failed else report_unlooked
        yield report(CheckName.OTHER_READERS, message, process_sentences.REPLACE_THE_HELPER())
    if named:
        return
    if judged:
        yield report_ok(
            CheckName.OTHER_READERS, process_sentences.OTHERS_HAVE_STOPPED(n=len(judged))
        )
    elif not seen.unseen_reason:
        yield report_ok(CheckName.OTHER_READERS, process_sentences.NO_OTHER_READS())


def _judge(count: OtherStatementCount, before: OtherStatement | None) -> Finding | None:
    """Report one statement; None for one that was not called in the last hour."""
    now = timezone.now()
    role = escape_name(count.role)
    called_at = before.called_at if before else None
    if before and before.calls != count.calls:
        called_at = now
    if called_at and now - called_at < SEEN_WITHIN:
        message = process_sentences.OTHER_READS(
            role=role, tables=count.tables, n=count.calls, ago=called_at
        )
        return report_failure(
            CheckName.OTHER_READERS, message, process_sentences.REPLACE_THE_HELPER()
        )
    if before is None or now - before.first_noticed_at < SEEN_WITHIN:
        message = process_sentences.OTHER_HAS_READ(role=role, tables=count.tables, n=count.calls)
        return report_unlooked(CheckName.OTHER_READERS, message, process_sentences.WAIT_AN_HOUR())
    return None


def _explain_unseen(report: StatementReport) -> Finding:
    check = CheckName.OTHER_READERS
    match report.unseen_reason:
        case UnseenReason.NOT_INSTALLED | UnseenReason.NOT_CREATED as reason:
            is_loaded = reason == UnseenReason.NOT_CREATED
            remedy = (
                process_sentences.CREATE_STATISTICS
                if is_loaded
                else process_sentences.INSTALL_STATISTICS
            )
            return report_unlooked(
                check,
                process_sentences.OTHER_READS_NOT_COUNTED(),
                remedy(),
                statements=("CREATE EXTENSION pg_stat_statements;",),
            )
        case UnseenReason.NOT_ALLOWED:
            role = sql.Identifier(report.own_role).as_string(None)
            return report_unlooked(
                check,
                process_sentences.OTHER_READS_HIDDEN(),
                process_sentences.GRANT_STATISTICS(),
                statements=(f"GRANT pg_read_all_stats TO {role};",),
            )
    return report_unlooked(check, process_sentences.OTHER_READS_NOT_READABLE())


# Examines whether secrets have the tags, description, KMS key and replicas of the settings, as last described.

CHECK = CheckName.SECRET_SETTINGS
MOST_NAMES = 5


def examine_secret_settings(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the clients whose secrets differ, and the secrets that no worker has described yet."""
    found = find_settings_drift()
    differing = sum(client.differs for client in found.clients)
    untold = len(found.clients) - differing
    if differing:
        yield report_failure(CHECK, told.SECRETS_NOT_AS_SET(n=differing), told.APPLY_THE_SETTINGS())
    if untold:
        yield report_unlooked(CHECK, told.KEYS_UNTOLD(n=untold), told.APPLY_ONCE())
    if found.overdue:
        yield report_unlooked(
            CHECK, told.SECRETS_NOT_DESCRIBED(n=found.overdue), told.WORKERS_DESCRIBE()
        )
    deleted = Secret.objects.of_deleted_clients().order_by("name").values_list("name", flat=True)
    if number := deleted.count():
        names = (*deleted[:MOST_NAMES], *["…"] * (number > MOST_NAMES))
        yield report_failure(
            CHECK, told.SECRETS_OF_DELETED_CLIENTS(n=number, names=names), told.DELETE_THEM()
        )
    if not (found.clients or found.overdue or number):
        yield report_ok(CHECK, told.SECRETS_AS_SET(n=found.looked_at))


# Examines whether a secret has a version that waits to be current: an interrupted rotation may have left it.


# Of 100 secrets each: the page that shows the findings waits for them.
MOST_PAGES = 30
MOST_NAMES = 5


def examine_pending_versions(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that no secret has a pending version left; asks AWS for up to MOST_PAGES pages of secrets."""
    sm, prefix = secrets_manager(interactive=True), f"{settings.NOVA_SECRET_PREFIX}/"
    found: list[str] = []
    looked_at, page = 0, ""
    try:
        for _page in range(MOST_PAGES):
            pending, number, page = list_pending(sm, prefix, page)
            found, looked_at = found + pending, looked_at + number
            if not page:
                break
    except SecretsManagerError as error:
        yield report_unlooked(
            CheckName.STAGES, sentences.STAGES_NOT_ASKED(code=error.code), sentences.REACH_AWS()
        )
        return
    if found:
        names = (*found[:MOST_NAMES], *["…"] * (len(found) > MOST_NAMES))
        yield report_failure(
            CheckName.STAGES,
            sentences.VERSIONS_PENDING(n=len(found), names=names),
            sentences.TAKE_PENDING_OFF(),
        )
    else:
        yield report_ok(CheckName.STAGES, sentences.NO_VERSION_PENDING(n=looked_at))
    if page:
        yield report_unlooked(CheckName.STAGES, sentences.STAGES_IN_PART(n=looked_at))


# Examines whether this site's worker processes are alive, and seal the audit.


# The schedule has tasks for every minute.
IDLE_AFTER = timedelta(minutes=10)


def examine_sealing(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the audit's newest entries were put into its chain: until then their removal is not noticed."""
    if since := find_unsealed_since():
        message = process_sentences.AUDIT_NOT_SEALED(ago=since)
        yield report_failure(CheckName.AUDIT, message, process_sentences.SEAL_THE_AUDIT())
    else:
        yield report_ok(CheckName.AUDIT, process_sentences.AUDIT_IS_SEALED())


def examine_workers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that worker processes are alive and do something, and that each is of the schema's release."""
    found = list(Worker.objects.alive().order_by("name"))
    yield from _examine_releases(found)
    names = tuple(_name_worker(worker) for worker in found if worker.idle_because is None)
    if names:
        alive = Worker.objects.alive().taking_tasks()
        yield report_ok(
            CheckName.WORKERS, process_sentences.WORKERS_ARE_ALIVE(n=len(names), names=names)
        )
        began = alive.aggregate(at=Min("started_at"))["at"]
        ended = apps.get_model("django_q", "Task").objects.aggregate(at=Max("stopped"))["at"]
        last = max(began, ended) if ended else began
        if timezone.now() - last > IDLE_AFTER:
            idle = process_sentences.WORKERS_DO_NOTHING(ago=last)
            yield report_failure(CheckName.WORKERS, idle, process_sentences.START_WORKERS_ANEW())
        return
    last = Worker.objects.last_seen_at()
    message = (
        process_sentences.WORKERS_ARE_GONE(ago=last) if last else process_sentences.NO_WORKER_EVER()
    )
    yield report_failure(CheckName.WORKERS, message, process_sentences.START_A_WORKER())


def _examine_releases(alive: list[Worker]) -> Iterator[Finding]:
    """Report the workers that take no tasks, by reason, and those of a release that doesn't ask whether it may."""
    idle = [(worker.name, worker.idle_because) for worker in alive if worker.idle_because]
    for why in dict.fromkeys(str(why) for _name, why in idle):
        names = tuple(name for name, each in idle if str(each) == why)
        message = next(each for _name, each in idle if str(each) == why)
        told = process_sentences.WORKERS_TAKE_NO_TASKS(n=len(names), names=names, why=message)
        yield report_failure(CheckName.WORKERS, told, process_sentences.CORRECT_OR_UPGRADE())
    if before := tuple(worker.name for worker in alive if not worker.release):
        told = process_sentences.WORKERS_ARE_OLD(n=len(before), names=before)
        yield report_failure(CheckName.WORKERS, told, process_sentences.STOP_OLD_WORKERS())


def _name_worker(worker: Worker) -> str:
    return f"{worker.name} ({worker.release or '?'})"
