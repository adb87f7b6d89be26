"""The schedule is what the code says: a row that others changed is put back, told, and never done as it says."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from migration import tasks
from migration.core.notices import SCHEDULE_CHANGED
from migration.core.problems import Look
from migration.doctor import site as queue
from migration.models import Condition

SWEEP = "Compare both stores"
DEEP = "(" * 50_000


class Clock:
    """PostgreSQL's, which stands still unless it is put forward."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def let_pass(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tasks, "_read_clock", lambda: clock.now)
    return clock


@pytest.fixture
def timetable(db, clock) -> tasks.Timetable:
    """That of a process which has looked once; nothing is due."""
    # Those of the database that is copied for each test come due at some time of the run.
    Schedule.objects.all().delete()
    tasks.ensure_schedules()
    timetable = tasks.Timetable()
    timetable.queue_due_tasks()
    OrmQ.objects.all().delete()
    return timetable


def read_rows() -> list[tuple[object, ...]]:
    columns = ("name", "func", "hook", "args", "kwargs", "schedule_type", "minutes", "repeats")
    more = ("next_run", "cron", "cluster", "intended_date_kwarg")
    return list(Schedule.objects.order_by("name").values_list(*columns, *more))


def list_queued() -> list[str]:
    held = [SignedPackage.loads(queued.payload) for queued in OrmQ.objects.all()]
    assert all(not task["args"] and not task["kwargs"] for task in held)
    return sorted(task["func"] for task in held)


def list_codes() -> list[str]:
    return [
        code
        for finding in queue.find_changed_schedule(Look())
        if not finding.ok
        for code in finding.message.codes
    ]


def test_a_schedule_that_nobody_changed_is_queued_when_it_is_due_and_told_of_nobody(
    timetable, clock
):
    timetable.queue_due_tasks()
    assert list_queued() == []
    clock.let_pass(1)

    timetable.queue_due_tasks()

    every_minute = [f for f, every in tasks.list_schedules().values() if every <= tasks.MINUTE]
    assert list_queued() == sorted(f"migration.tasks.{f.__name__}" for f in every_minute)
    assert list_codes() == []


# One of each row.
CHANGES = [
    {"func": "os.system"},
    {"func": "os.system", "args": "'true'"},
    {"func": "migration.tasks.search_copies", "args": "7"},
    {"args": "7"},
    {"args": DEEP},
    {"args": "x" * 1_000_000},
    {"kwargs": "{'q_options': {'sync': True, 'hook': 'os.system'}}"},
    {"kwargs": f"x={DEEP}"},
    {"hook": "os.system"},
    {"cluster": "elsewhere"},
    {"repeats": 0},
    {"repeats": 1},
    {"schedule_type": Schedule.ONCE},
    {"schedule_type": Schedule.CRON, "cron": "* * * * *"},
    {"minutes": 7},
    {"intended_date_kwarg": "x"},
    {"next_run": datetime.now(UTC) + timedelta(days=3652)},
    {"next_run": None},
    {"next_run": datetime(1, 1, 1, tzinfo=UTC)},
    {"name": "Else"},
]


@pytest.mark.parametrize("is_due", [False, True])
def test_changed_rows_are_put_back_and_told_and_no_other_task_is_queued(
    timetable, clock, caplog, is_due
):
    tasks_by_name = tasks.list_schedules()
    assert all(every <= 60 * tasks.MINUTE for _, every in tasks_by_name.values())
    clock.let_pass(60 * is_due)
    before = read_rows()
    for name, changes in zip(tasks_by_name, CHANGES, strict=True):
        Schedule.objects.filter(name=name).update(**changes)

    timetable.queue_due_tasks()

    every_one = sorted(f"migration.tasks.{task.__name__}" for task, _ in tasks_by_name.values())
    assert list_queued() == (every_one if is_due else [])
    assert is_due or read_rows() == before
    assert list_codes() == ["schedule_was_changed"]
    told = set(Condition.objects.values_list("event", "subject"))
    assert told == {(SCHEDULE_CHANGED, name) for name in (*tasks_by_name, tasks.OTHERS)}
    logged = [r.getMessage() for r in caplog.records if "and put back" in r.getMessage()]
    assert len(logged) == len(told)
    assert "os.system" not in caplog.text
    OrmQ.objects.all().delete()
    before = read_rows()
    timetable.queue_due_tasks()
    assert (read_rows(), list_queued()) == (before, [])


def test_a_time_that_python_has_not_stops_nothing(timetable):
    for time in ("infinity", "-infinity", "0044-03-15 BC"):
        Condition.objects.all().delete()
        before = read_rows()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE nova_admin.django_q_schedule SET next_run = %s", [time])

        timetable.queue_due_tasks()

        assert (read_rows(), list_queued()) == (before, []), time
        assert list_codes() == ["schedule_was_changed"], time


def test_rows_that_are_deleted_doubled_or_added_are_put_back(timetable):
    before = read_rows()
    Schedule.objects.filter(name__startswith="Send").delete()
    Schedule.objects.create(name=SWEEP, func="os.system", next_run="2020-01-01T00:00Z")
    Schedule.objects.create(name=None, func="os.system", next_run="2020-01-01T00:00Z")

    timetable.queue_due_tasks()

    assert (read_rows(), list_queued()) == (before, [])
    assert list_codes() == ["schedule_was_changed"]


def test_a_task_that_is_made_due_again_and_again_comes_once(timetable, clock):
    """A sweep of a quarter of an hour would be one of half a minute, which AWS charges for."""
    for _ in range(2):
        Schedule.objects.update(next_run=clock.now - timedelta(seconds=1))
        timetable.queue_due_tasks()

    assert list_queued() == []
    assert list_codes() == ["schedule_was_changed"]


def test_hosts_share_the_schedule_and_suspect_nobody(timetable, clock):
    others = [tasks.Timetable() for _ in range(2)]
    for each in others:
        each.queue_due_tasks()
    assert list_queued() == []

    for _ in range(10):
        clock.let_pass(1)
        for each in (timetable, *others):
            each.queue_due_tasks()

    assert list_queued().count("migration.tasks.note_other_statements") == 2
    assert list_queued().count("migration.tasks.seal_audit") == 10
    assert list_codes() == []


def test_another_setting_counts_from_the_next_start_and_is_no_finding(timetable, clock, settings):
    settings.NOVA_SWEEP_MINUTES = 2

    tasks.Timetable().queue_due_tasks()

    sweep = Schedule.objects.get(name=SWEEP)
    assert sweep.minutes == 2
    assert sweep.next_run <= clock.now + timedelta(minutes=2)
    assert list_codes() == []


def test_a_schedule_of_a_process_that_begins_is_not_believed_either(timetable):
    Schedule.objects.update(next_run=timezone.now() + timedelta(days=3652))

    tasks.Timetable().queue_due_tasks()

    assert len(list_queued()) == len(tasks.list_schedules())
    assert list_codes() == []  # it may be the first with other settings


def test_a_lock_on_the_schedule_does_not_hold_the_workers_guard(
    transactional_db, timetable, clock, monkeypatch
):
    other = connection.copy()
    clock.let_pass(1)
    monkeypatch.setattr(tasks, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "BEGIN; SET LOCAL lock_timeout = '5s'; LOCK TABLE nova_admin.django_q_schedule"
            )
        timetable.queue_due_tasks()
    finally:
        other.close()
    assert list_queued() == []

    timetable.queue_due_tasks()

    assert list_queued() != []
