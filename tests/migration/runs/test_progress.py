"""How far a run is, and in words what it waits for."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from migration.core.sentences import NO_WORKER
from migration.models import Rate, RunItem, Worker
from migration.runs import engine
from migration.runs.engine import skip_free_items_of_stopped_run
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.runs.progress import (
    BATCHES_TAKE_LONG,
    RUN_PAUSED,
    RUN_STOPPING,
    THROTTLED,
    WORKER_GONE,
    WORKERS_ARE_BUSY,
    measure_progress,
    select_runs_for_progress,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import Message

pytestmark = pytest.mark.django_db


def make_run(number: int, **fields) -> Run:
    run = Run.objects.create(kind=Run.Kind.MIGRATE, **fields)
    run.add_items((n, f"n{n}") for n in range(1, number + 1))
    return run


def close(run: Run, number: int, **fields) -> None:
    chosen = list(run.items.open().values_list("pk", flat=True)[:number])
    given = {"outcome": Outcome.CREATED, "finished_at": timezone.now()} | fields
    RunItem.objects.filter(pk__in=chosen).update(**given)


def codes(run: Run) -> list[str]:
    """What it waits for."""
    reason = now_of(run).delay_reason
    return reason.codes if reason else []


def now_of(run: Run):
    return measure_progress(select_runs_for_progress().get(pk=run.pk))


def ago(**time) -> object:
    return timezone.now() - timedelta(**time)


@pytest.fixture
def worker() -> Worker:
    return Worker.objects.create(name="host:1")


@pytest.mark.parametrize(
    ("done", "age", "ended_after", "left"),
    [(2, 10, None, 10), (4, 10, 10, None), (0, 10, None, None)],
)
def test_the_time_that_is_left_follows_from_the_rate(done, age, ended_after, left):
    run = make_run(4, created_at=ago(seconds=age))
    close(run, done)
    if ended_after:
        Run.objects.filter(pk=run.pk).update(finished_at=timezone.now())

    found = now_of(run).seconds_left

    assert found is None if left is None else found == pytest.approx(left, rel=0.2)


def test_the_rate_is_that_of_the_last_half_minute_so_that_a_pause_does_not_count():
    run = make_run(100, created_at=ago(hours=1))
    close(run, 30)
    close(run, 10, finished_at=ago(minutes=50))

    assert now_of(run).per_second == pytest.approx(1)


def test_what_a_request_waited_for_its_approval_is_no_time_that_it_took():
    run = make_run(10, created_at=ago(hours=3), state=Run.State.REQUESTED)
    run.approve(by=User.objects.create_user("ana"))
    close(run, 10)
    Run.objects.filter(pk=run.pk).update(began_at=ago(seconds=20), finished_at=timezone.now())

    assert now_of(run).elapsed_seconds == pytest.approx(20, rel=0.2)
    assert now_of(run).per_second == pytest.approx(0.5, rel=0.2)


def test_a_run_begins_with_its_first_approval_or_when_it_was_created():
    ana = User.objects.create_user("ana")
    run = make_run(1, created_at=ago(hours=3), state=Run.State.REQUESTED)
    run.approve(by=ana)
    run.refresh_from_db()
    first = run.began_at
    assert timezone.now() - first < timedelta(minutes=1)

    close(run, 1, outcome=Outcome.FAILED, error_class="data")
    run.finish_if_done()
    run.refresh_from_db()
    run.reopen_failed(by=ana)
    run.approve(by=ana)
    run.refresh_from_db()

    assert run.began_at == first
    assert make_run(1).began_at is None


def test_one_that_was_approved_as_it_was_created_began_then_whoever_approves_its_next_tries():
    """Before, a run of a campaign of which one client was tried again had taken a second, with 992 clients a second."""
    ana, bob = (User.objects.create_user(name) for name in ("ana", "bob"))
    run = make_run(
        1000,
        created_at=ago(hours=3),
        by=bob,
        by_name="bob",
        approved_by=ana,
        approved_by_name="ana",
    )
    close(run, 999)
    close(run, 1, outcome=Outcome.FAILED, error_class="data")
    run.finish_if_done()
    run.refresh_from_db()

    run.reopen_failed(by=bob)
    run.approve(by=ana)
    close(run, 1)
    run.finish_if_done()

    assert now_of(run).elapsed_seconds == pytest.approx(3 * 3600, rel=0.01)


def test_the_page_says_of_a_request_that_was_withdrawn_no_time_that_it_took(admin_client):
    done = make_run(1, created_at=ago(minutes=5))
    withdrawn = make_run(1, created_at=ago(hours=3), state=Run.State.REQUESTED)
    close(done, 1)
    done.finish_if_done()
    withdrawn.stop_unapproved(by=User.objects.create_user("ana"))
    skip_free_items_of_stopped_run(withdrawn)

    texts = [
        admin_client.get(reverse("admin:migration_run_change", args=[run.pk])).content.decode()
        for run in (done, withdrawn)
    ]

    assert ["It took" in text for text in texts] == [True, False]


def test_no_time_is_foretold_below_one_percent():
    run = make_run(201, created_at=ago(seconds=9))
    close(run, 2)
    assert now_of(run).seconds_left is None

    close(run, 1)

    assert now_of(run).seconds_left is not None


def test_a_run_at_work_waits_for_nothing(worker):
    assert codes(make_run(1)) == []


def test_without_a_worker_it_says_how_to_start_one():
    run = make_run(1, worked_at=ago(seconds=40))
    assert "manage.py qcluster" in str(now_of(run).delay_reason)

    Worker.objects.create(name="host:1", seen_at=ago(seconds=31))

    assert codes(run) == [NO_WORKER.key]


def test_a_run_whose_worker_is_gone_says_that_it_is_taken_up_again(worker):
    assert codes(make_run(1, worked_at=ago(seconds=61))) == [WORKER_GONE.key]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_waits_as_the_workers_are_on_others_promises_no_minute(worker):
    run = make_run(1, worked_at=ago(seconds=61))
    with engine.try_lock_batch(run.pk + 1, 0):
        assert codes(run) == [WORKERS_ARE_BUSY.key]


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_takes_long_is_not_taken_for_a_worker_that_is_gone():
    run = make_run(1, worked_at=ago(minutes=2))
    with engine.try_lock_batch(run.pk, 0):
        assert codes(run) == [BATCHES_TAKE_LONG.key]
        Worker.objects.create(name="host:1")
        assert codes(run) == [BATCHES_TAKE_LONG.key]

    assert codes(run) == [WORKER_GONE.key]


def test_a_stopping_run_says_when_nobody_is_there_to_end_it():
    run = make_run(1, state="stopped", worked_at=ago(minutes=2))

    assert codes(run) == [RUN_STOPPING.key, NO_WORKER.key]


def test_a_run_that_tries_again_says_how_many_when_and_why(worker):
    run = make_run(3)
    soon = timezone.now() + timedelta(seconds=9)
    close(
        run, 2, outcome="", finished_at=None, error_class="permission",
        message=SecretsManagerError.from_code("ExpiredTokenException", "CreateSecret", "x").message,
        attempts=3, next_try_at=soon,
    )  # fmt: skip

    reason = now_of(run).delay_reason

    assert str(reason).startswith("Retrying 2 clients in ")
    assert "ExpiredTokenException" in str(reason)


def test_the_reason_is_that_of_the_client_that_is_tried_next(worker):
    run = make_run(2)
    for seconds, word in ((30, "data"), (9, "permission")):
        close(
            run, 1, outcome="", finished_at=None, error_class=word,
            message=Message.from_text_without_key(f"Why {word}."),
            next_try_at=timezone.now() + timedelta(seconds=seconds),
        )  # fmt: skip
        run.items.filter(error_class=word).update(outcome="-")
    run.items.update(outcome="")

    assert str(now_of(run).delay_reason).endswith("Why permission.")


def test_a_throttled_run_names_the_throttling_for_a_while(worker):
    run = make_run(1)
    rate = Rate.objects.create(kind=Rate.Kind.CREATE, throttled_at=ago(seconds=5))
    assert codes(run) == [THROTTLED.key]

    Rate.objects.filter(pk=rate.pk).update(throttled_at=ago(seconds=40))

    assert codes(run) == []


@pytest.mark.parametrize(
    ("outcome", "number", "rates", "code"),
    [
        ("created", 9, {"create": 1}, "rate_reached_create"),
        ("updated", 9, {"write": 1}, "rate_reached_write"),
        ("compared", 9, {"read": 0.05}, "rate_reached_read"),
        ("created", 9, {}, None),  # the rate of the settings
        ("created", 5, {"create": 1}, None),
        ("unchanged", 9, {"create": 1, "write": 1}, None),
    ],
)
def test_a_run_that_makes_all_calls_that_the_rate_allows_says_so(
    worker, outcome, number, rates, code
):
    for kind, rate in rates.items():
        Rate.objects.update_or_create(kind=kind, defaults={"per_second": rate})
    run = make_run(20, created_at=ago(seconds=10))
    close(run, number, outcome=outcome)

    assert codes(run) == ([code] if code else [])


def test_a_run_that_has_just_begun_says_nothing_of_its_rate(worker):
    Rate.objects.create(kind=Rate.Kind.CREATE, per_second=1)
    run = make_run(20, created_at=ago(seconds=2))
    close(run, 9)

    assert codes(run) == []


@pytest.mark.parametrize(
    ("state", "sentence"),
    [("paused", RUN_PAUSED), ("stopped", RUN_STOPPING)],
)
def test_a_run_that_was_steered_says_so(state, sentence):
    assert codes(make_run(1, state=state, worked_at=ago(hours=1)))[0] == sentence.key


def test_failures_are_counted_by_class_the_most_first():
    run = make_run(6)
    close(run, 1, outcome="failed", error_class="data")
    close(run, 2, outcome="failed", error_class="permission")

    assert list(now_of(run).failed_by_class.items()) == [("permission", 2), ("data", 1)]


# The session, the user, the run with its counts, the rows of a tab.
def test_a_live_fragment_takes_four_queries_whatever_the_size(client):
    client.force_login(User.objects.create_superuser("root"))
    for number in (1, 400):
        run = make_run(number)
        close(run, number // 2)
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("admin:migration_run_live", args=[run.pk]))
        assert len(captured) == 4


def test_a_requested_run_that_a_client_has_left_has_no_rate_and_no_end():
    run = make_run(2, state=Run.State.REQUESTED, began_at=ago(seconds=10))
    close(run, 1, outcome=Outcome.SKIPPED)

    now = now_of(run)

    assert (now.done, now.per_second, now.seconds_left) == (1, None, None)
