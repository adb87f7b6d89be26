"""Owns the background tasks and their schedules; with `task_queue` the only module that knows django-q.

Tasks take ids and can run twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from math import ceil

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import Schedule
from django_q.tasks import async_task

from credentials import triggers
from credentials.models import ClientRevision, CountingGap, ProofOutcome
from migration.campaigns import steps
from migration.campaigns.models import Campaign
from migration.clients import offboarding
from migration.clients.models import renew_client_counts
from migration.core import leases
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    WRITES_BOTH,
    ClientPhaseQuerySet,
    all_clients,
    store_lost_secret_slugs,
)
from migration.core.comparisons import Comparison
from migration.core.notices import SCHEDULE_CHANGED, Condition, Notice
from migration.core.problems import PROBLEMS, Look, ProblemRecord, look_at_problems, look_for
from migration.core.secrets import PlannedVersion
from migration.core.workers import QUEUE_ERRORS, Worker
from migration.logins import models as rotation_schedules
from migration.logins import rotations
from migration.logins.models import LoginTest, RotationSchedule
from migration.nova import readers
from migration.nova.models import ReaderProcess
from migration.people import lockouts
from migration.pushes import known_values
from migration.runs import acts, engine
from migration.runs.items import RunItem
from migration.runs.models import Run, StaleRunError
from migration.secrets import copies, layouts
from migration.secrets import settings as secret_settings
from migration.secrets.models import CopySearch
from migration.site import audit, notices
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_invisible

GIVE_UP_ON_A_RUN_AFTER = timedelta(minutes=10)
# At most this many workers work on one run, so that others are left for other runs.
WORKERS_A_RUN = 4
# After that a task goes to the end of the queue.
WORK_SECONDS = 60.0
# What is one task however long it takes, a plan or a search for copies, is ended after so long; `find_copies` has no
# such limit.
LONG_TASK_SECONDS = 12 * 60 * 60
MANY_TASKS = 100
MINUTE = timedelta(minutes=1)
EPOCH = datetime.min.replace(tzinfo=UTC)
# The columns of all rows of the schedule, besides those about function and time.
SCHEDULED_AS: dict[str, object] = {
    "schedule_type": Schedule.MINUTES,
    "repeats": -1,
    "cron": None,
    "hook": None,
    "cluster": None,
    "intended_date_kwarg": None,
}
OTHERS = "others"
SCHEDULE_ERRORS: tuple[type[Exception], ...] = (*QUEUE_ERRORS, DatabaseError)
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"

logger = logging.getLogger(__name__)


def enqueue(run: Run) -> bool:
    """Queue a stored run for the workers; False where the queue can't be reached: `resume_stalled_runs` does it later.

    Call it once the run is committed, as a worker reads it at once.
    """
    if run.state == Run.State.PLANNING:
        return _enqueue_work(run.pk, timeout=LONG_TASK_SECONDS)
    tasks = min(run.count_open_batches(), WORKERS_A_RUN)
    return all(_enqueue_work(run.pk) for _number in range(tasks))


def _enqueue_work(run_id: int, **options: object) -> bool:
    """Queue one task for the run; False where the queue can't be reached."""
    what_waits = f"Run {run_id} waits"
    return _queue_task(work_on_run, run_id, name="run", what_waits=what_waits, **options)


def _queue_task(
    task: Callable[[int], None], pk: int, *, name: str, what_waits: str, **options: object
) -> bool:
    """Queue the task; return False, and say in the log what waits, where the queue can't be reached."""
    try:
        async_task(_name(task), pk, task_name=f"{name} {pk}", **options)
    except QUEUE_ERRORS as error:
        reason = type(error).__name__
        logger.warning("%s: the task queue can't be reached (%s)", what_waits, reason)
        return False
    return True


def work_on_run(run_id: int) -> None:
    """Plan a run that is to be planned, or work on one for WORK_SECONDS and queue it again if there is more to do.

    The plan of an act that this release doesn't have is left to a worker that has it.
    """
    run = Run.objects.get(pk=run_id)
    if run.state == Run.State.PLANNING:
        if run.act in acts.ACTS:
            with suppress(StaleRunError):  # discarded meanwhile, or planned by another worker
                acts.make_plan(run)
        return
    if engine.work_on_run(run_id=run_id, seconds=WORK_SECONDS):
        _enqueue_work(run_id)
    # Neither the next step of a campaign nor its stop rule need wait for the minute's task.
    for campaign in Campaign.objects.filter(waves__runs=run_id):
        take_campaign_further(campaign)


def take_campaigns_further() -> None:
    """Do what is next in each campaign: begin waves and steps, stop by the rule, roll back. Scheduled every minute."""
    for campaign in Campaign.objects.running_or_rolling_back():
        try:
            take_campaign_further(campaign)
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # One campaign must not keep the others from being stopped. An error's text can hold a value.
            logger.error("%s was not taken further: %s", campaign, type(error).__name__)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()


def take_campaign_further(campaign: Campaign) -> None:
    """Do what is next in the campaign, and queue the run that it starts. Call it once the campaign is committed."""
    if run := steps.advance_campaign(campaign.pk):
        enqueue(run)


def enqueue_search(search: CopySearch) -> bool:
    """Queue a stored search for copies; False where the queue can't be reached.

    Call it once the search is committed.
    """
    # It is one task however long it takes. A worker that gets it a second time leaves it to the first.
    return _queue_task(
        search_copies, search.pk, name="search", what_waits="No search", timeout=LONG_TASK_SECONDS
    )


def search_copies(search_id: int) -> None:
    """Search NOVA's database for copies of clients' secret values."""
    copies.carry_out_search(search_id=search_id)
    # Nobody should read for minutes that nothing was searched yet.
    ProblemRecord.objects.store(look_for(PROBLEMS["copies_found"], Look()))


def resume_dead_searches() -> None:
    """Begin killed searches for copies again while they may be, or mark them as interrupted. Scheduled every minute."""
    if get_broker().queue_size() >= MANY_TASKS:
        return  # those that wait may be in the queue still
    for search in copies.settle_dead_searches().to_begin_again:
        enqueue_search(search)


def refuse(function: str) -> None:
    """Fail in place of a function that is not a task of this module (see `task_queue`)."""
    raise PermissionError(f"no task of this site: {function}")


def resume_stalled_runs() -> None:
    """Queue runs again whose workers were killed, or that were never queued. Scheduled every half minute."""
    leases.end_hung_sessions()
    # In a long queue the tasks of these runs may still be waiting; more would pile up every minute.
    busy = get_broker().queue_size() >= MANY_TASKS
    for run in Run.objects.stalled():
        if engine.held_batches(run.pk) or (
            run.state == Run.State.RUNNING and engine.is_held_by_writes(run)
        ):
            continue
        if run.state == Run.State.STOPPED:
            engine.skip_free_items_of_stopped_run(run)
        elif not run.finish_if_done() and not busy:  # its worker may have been killed before it did
            Run.objects.record_worked_at(run.pk)
            enqueue(run)


def go_on_with_rotations() -> None:
    """Finish or undo the rotations whose process was killed or hindered. Scheduled every minute."""
    rotations.go_on_with_rotations(seconds=WORK_SECONDS)


def go_on_with_offboardings() -> None:
    """Finish the offboardings whose process was killed or hindered. Scheduled every minute."""
    offboarding.go_on_with_offboardings(seconds=WORK_SECONDS)


def start_due_rotations() -> None:
    """Rotate the database passwords whose day has come, each client once a day. Scheduled every hour."""
    day = datetime.combine(rotation_schedules.today(), time_of_day.min, tzinfo=UTC)
    tried = RunItem.objects.filter(run__kind=Run.Kind.ROTATE, run__created_at__gte=day)
    due = all_clients().filter(pk__in=RotationSchedule.objects.list_due_clients())
    _start_unless_running(Run.Kind.ROTATE, due.exclude(pk__in=tried.order_by().values("client_id")))


def resume_held_runs() -> None:
    """Enqueue the runs that waited as this site might not write to AWS; called once it may again."""
    for run in Run.objects.running_with_writes():
        Run.objects.record_worked_at(run.pk)
        enqueue(run)


def push_pending() -> None:
    """Push every client whose newest rows are not in AWS and were not refused. Scheduled every minute."""
    ClientRevision.objects.fold_writes()
    written = all_clients().in_phases(*WRITES_BOTH, Phase.PURGED).filter_push_pending()
    store_lost_secret_slugs(written.values_list("pk", flat=True))
    _start_unless_running(Run.Kind.PUSH, all_clients().push_due())


def keep_counting() -> None:
    """Install the triggers again where writes to NOVA's tables aren't counted. Scheduled every minute."""
    mended = CountingGap.objects.exclude(ended_at=None).count()
    for refusal in triggers.ensure_writes_are_counted():
        logger.warning("Writes to NOVA's tables are not counted: %s", escape_invisible(refusal.why))
    if CountingGap.objects.exclude(ended_at=None).count() > mended:
        # Once they are back, nothing else tells of it.
        logger.warning(
            "Writes to NOVA's tables were not counted for a time: a trigger was missing, changed or switched off;"
            " it is back, and the next push looks at every client"
        )


def prove_counting() -> None:
    """Prove on each of NOVA's tables that an update is counted, and roll it back. Scheduled every hour."""
    for table, outcome in triggers.prove_counting().items():
        if outcome == ProofOutcome.FAILED:
            logger.warning("An update of %s, tried and undone, was not counted", table)


def note_other_statements() -> None:
    """Note how often others' statements read credentials, by pg_stat_statements. Scheduled every five minutes."""
    readers.note_other_statements()


def seal_audit() -> None:
    """Put new entries of the audit into its chain, and log its head. Scheduled every minute."""
    audit.seal_and_log()


def publish_audit_head() -> None:
    """Log the head of the audit's chain and send it to the webhook. Scheduled every hour."""
    audit.publish_head()


def send_notices() -> None:
    """Look for problems of the site, and send what is to be told. Scheduled every minute."""
    notices.look_and_send(by_worker=True, seconds=WORK_SECONDS)


def look_for_slow_problems() -> None:
    """Look for the problems that AWS or Redis are asked for, or that take long, as often as each says.

    Scheduled every minute. It tells what it finds; `send_notices` sends it.
    """
    look_at_problems(only=lambda each: not notices.is_quick(each))


def look_at_clients() -> None:
    """Look for what is to be told of clients: mismatches, rotations, copies. Scheduled every ten minutes."""
    notices.look_at_clients()


def remove_other_secrets() -> None:
    """Move renamed clients' secrets, and take away those that nobody can need. Scheduled every ten minutes."""
    layouts.follow_new_slugs(seconds=WORK_SECONDS)
    layouts.remove_other_secrets()


def describe_secrets() -> None:
    """Look at tags, keys and replicas of secrets, each once a day. Scheduled every ten minutes."""
    secret_settings.store_due_secret_states(seconds=WORK_SECONDS)
    secret_settings.compare_looks_with_settings()


def count_clients() -> None:
    """Count all clients for the dashboard where there are very many. Scheduled every minute."""
    renew_client_counts()


def note_values() -> None:
    """Note since when the values of written credentials exist, and that they stand in clear. Scheduled every minute."""
    known_values.note_written_rows()


def sweep() -> None:
    """Start a run that compares clients whose writes go to both stores. Scheduled every `NOVA_SWEEP_MINUTES`."""
    _forget_old_rows()
    in_both = all_clients().in_phases(*WRITES_BOTH)
    if not triggers.writes_are_counted():
        # NOVA may have written rows uncounted; a push finds out.
        _start_unless_running(Run.Kind.PUSH, in_both)
    _start_unless_running(Run.Kind.COMPARE, in_both)


def _forget_old_rows() -> None:
    """Delete what was kept long enough, of every table that keeps some for a time."""
    Comparison.objects.forget_old()
    Run.objects.forget_sweeps()
    Run.objects.forget_plans()
    Worker.objects.forget_old()
    ReaderProcess.objects.forget_old()
    PlannedVersion.objects.forget_old()
    LoginTest.objects.forget_old()
    Notice.objects.forget_old()
    lockouts.forget_old_attempts_and_sessions()


def _start_unless_running(kind: Run.Kind, chosen: ClientPhaseQuerySet) -> None:
    """Start a run of the schedule, unless its last one of this kind is still running."""
    # A run that is stuck is not waited for: doing it twice is harmless. Runs that people started don't count either
    # (they have more tries): they may cover other clients.
    unfinished = Run.objects.filter(
        kind=kind,
        tries=1,
        state=Run.State.RUNNING,
        created_at__gt=timezone.now() - GIVE_UP_ON_A_RUN_AFTER,
    )
    if kind not in Run.READS_ONLY and find_write_refusal():
        return  # the pushes stay pending
    if chosen.exists() and not unfinished.exists():
        # A single try: the next run of the schedule is the retry, and one failing client must not delay it.
        enqueue(Run.start(kind=kind, chosen=chosen, by_schedule=True))


def list_schedules() -> dict[str, tuple[Callable[[], None], timedelta]]:
    """Return what is scheduled, by name: the task, and how long it is from one to the next."""
    return {
        "Push pending clients": (push_pending, MINUTE),
        # Twice as often, as a run's page promises that it goes on within the minute.
        "Take up runs that stand still": (resume_stalled_runs, MINUTE / 2),
        "Take campaigns further": (take_campaigns_further, MINUTE),
        "Go on with rotations": (go_on_with_rotations, MINUTE),
        "Go on with offboardings": (go_on_with_offboardings, MINUTE),
        "Rotate what is due": (start_due_rotations, 60 * MINUTE),
        "Take up searches for copies that stand still": (resume_dead_searches, MINUTE),
        "Keep counting NOVA's writes": (keep_counting, MINUTE),
        "Prove that NOVA's writes are counted": (prove_counting, 60 * MINUTE),
        "Look for reads of NOVA's old helper": (note_other_statements, 5 * MINUTE),
        "Seal the audit": (seal_audit, MINUTE),
        "Count very many clients": (count_clients, MINUTE),
        "Remove secrets that changes of layout left": (remove_other_secrets, 10 * MINUTE),
        "Look at secrets' keys and replicas": (describe_secrets, 10 * MINUTE),
        "Note the values of written credentials": (note_values, MINUTE),
        "Publish the audit's head": (publish_audit_head, 60 * MINUTE),
        "Send notices": (send_notices, MINUTE),
        "Look for what takes long": (look_for_slow_problems, MINUTE),
        "Look for what is to be told of clients": (look_at_clients, 10 * MINUTE),
        "Compare both stores": (sweep, settings.NOVA_SWEEP_MINUTES * MINUTE),
    }


def ensure_schedules(**_: object) -> None:
    """Store the schedule's rows, after every `migrate`."""
    with transaction.atomic():
        Timetable().restore_rows(_read_clock())


class Timetable:
    """Queues what the code schedules, in place of django-q's scheduler. Each process has one.

    Whoever owns NOVA's tables can have the site write any row. So a row of the schedule only says when its task comes
    next: at most one interval ahead, and never earlier than it said before. What differs is put back and told.
    """

    def __init__(self) -> None:
        self._next_runs: dict[str, datetime] = {}

    def queue_due_tasks(self, broker: object = None) -> None:
        """Queue the tasks that are due, and store when each comes next."""
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(LOCK_TIMEOUT)
                now = _read_clock()
                rows, changed = self.restore_rows(now)
                for name, (function, every) in list_schedules().items():
                    row = rows[name]
                    if row.next_run > now:
                        continue
                    row.next_run += ((now - row.next_run) // every + 1) * every
                    options = {"group": name, "broker": broker}
                    row.task = async_task(_name(function), q_options=options)
                    row.save(update_fields=["next_run", "task"])
                for name in changed:
                    Condition.objects.note(SCHEDULE_CHANGED, name)
        except SCHEDULE_ERRORS as error:
            # The guard of the workers calls this, and goes on; half a minute later it does so again.
            logger.warning("The schedule was not looked at: %s", type(error).__name__)
            return
        self._next_runs = {name: row.next_run for name, row in rows.items()}
        for name, columns in changed.items():
            logger.error("The schedule was changed by others, and put back: %s (%s)", name, columns)

    def restore_rows(self, now: datetime) -> tuple[dict[str, Schedule], dict[str, str]]:
        """Lock the rows and put them back; return them by name, and names of changed ones with their columns."""
        schedules = list_schedules()
        # Arguments can be of any length: only whether there are some is read.
        arguments = Q(args__isnull=False) | Q(kwargs__isnull=False)
        found = (
            Schedule.objects.filter(name__in=schedules)
            .select_for_update()
            .order_by("-pk")
            .annotate(arguments=ExpressionWrapper(arguments, BooleanField()))
            .defer("args", "kwargs")
        )
        rows, changed = {row.name: row for row in found}, {}
        for name, (function, every) in schedules.items():
            last = self._next_runs.get(name)
            row = rows.setdefault(name, Schedule(name=name, next_run=None))
            wanted = SCHEDULED_AS | {"func": _name(function), "minutes": ceil(every / MINUTE)}
            if row.next_run is None or not (last or EPOCH) <= row.next_run <= now + every + MINUTE:
                wanted["next_run"] = min(last or now, now + every)
            differing = [
                column for column, value in wanted.items() if getattr(row, column) != value
            ]
            if getattr(row, "arguments", False):
                differing.append("arguments")
            if not differing:
                continue
            for column, value in wanted.items():
                setattr(row, column, value)
            row.args = row.kwargs = None
            row.save()
            # A process that has just begun may be the first one with another setting.
            if last or not {"minutes", "next_run"}.issuperset(differing):
                changed[name] = ", ".join(differing)
        deleted, _ = Schedule.objects.exclude(pk__in=[row.pk for row in rows.values()]).delete()
        if deleted:
            changed[OTHERS] = f"{deleted} deleted"
        return rows, changed


def _read_clock() -> datetime:
    """Return the time by PostgreSQL's clock, as hosts' clocks differ."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _name(function: Callable[..., None]) -> str:
    return f"{__name__}.{function.__name__}"
