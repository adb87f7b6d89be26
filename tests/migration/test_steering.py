"""Runs that are paused, resumed, stopped, retried and taken up again; by whom, and against whom."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connection
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from migration import tasks
from migration.models import MANY_TRIES, Outcome, Rate, Run, StaleRunError, Worker, clients
from migration.models import runs as run_models
from migration.operations import aws_store, runs
from migration.reports.run_progress import measure_progress, runs_for_progress
from nova_admin.embedded.conditions import Terms
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.messages import Message
from tests.factories import VIEW, make_full_client, make_user

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(Run, "BATCH", 2)
    monkeypatch.setattr(runs, "BATCHES_AT_ONCE", 1)
    monkeypatch.setattr(runs, "NAP_SECONDS", 0.01)
    monkeypatch.setattr(run_models, "FIRST_WAIT", timedelta(milliseconds=20))


def start(number: int = 6, **options) -> Run:
    for n in range(number):
        make_full_client(f"client-{n}")
    return tasks.start_run(kind=Run.Kind.MIGRATE, chosen=clients(), **options)


def during_first_batch(monkeypatch, act) -> list:
    """Does `act` while the first batch is being pushed."""
    push, done = runs.push, []

    def pushing(**how):
        if not done:
            done.append(act())
        return push(**how)

    monkeypatch.setattr(runs, "push", pushing)
    return done


def left(run: Run) -> int:
    return run.items.open().count()


def long_ago(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(worked_at=timezone.now() - timedelta(minutes=2))


@pytest.fixture
def somebody(db) -> User:
    return make_user("somebody")


def test_a_pause_takes_effect_after_the_batch_and_resuming_does_the_rest(monkeypatch, somebody):
    run = start()
    during_first_batch(monkeypatch, lambda: Run.objects.get(pk=run.pk).pause(by=somebody))

    assert runs.work(run_id=run.pk) is False
    assert left(run) == 4

    run.refresh_from_db()
    assert (run.state, run.steered_by) == (Run.State.PAUSED, somebody)
    runs.work(run_id=run.pk)
    assert left(run) == 4
    OrmQ.objects.all().delete()
    tasks.resume(run, by=somebody)
    assert OrmQ.objects.count() == 4
    runs.work(run_id=run.pk)
    run.refresh_from_db()
    assert (run.state, left(run)) == (Run.State.FINISHED, 0)
    assert run.counts()["created"] == 6


def test_a_stopped_run_ends_after_the_batch_in_work_and_skips_the_rest(monkeypatch, somebody):
    run = start()

    def stop():
        mine = Run.objects.get(pk=run.pk)
        mine.stop(by=somebody)
        # Its batch has a lock: what is in work is not skipped.
        runs.close_stopped(mine)
        return left(run)

    done = during_first_batch(monkeypatch, stop)
    runs.work(run_id=run.pk)

    run.refresh_from_db()
    assert done == [2]
    assert (run.counts()["created"], run.counts()["skipped"]) == (2, 4)
    assert run.state == Run.State.STOPPED
    assert run.finished_at is not None
    assert clients().in_phases("postgres").count() == 4


def test_only_one_of_two_who_steer_at_once_does(somebody):
    run = start()
    first, second = Run.objects.get(pk=run.pk), Run.objects.get(pk=run.pk)
    first.pause(by=somebody)

    with pytest.raises(StaleRunError):
        second.pause(by=somebody)
    with pytest.raises(StaleRunError):
        second.retry_failed(by=somebody)


def test_what_is_retried_begins_anew_and_counts_for_nothing_meanwhile():
    run = start(1)
    run.items.update(
        outcome="failed",
        error_class="unavailable",
        message=Message.of_text("Why."),
        comparison_status="mismatch",
    )
    run.finish_if_done()

    tasks.retry_failed(run, by=None)

    item = run.items.get()
    assert [item.outcome, item.error_class, item.comparison_status] == [""] * 3
    assert item.message is None
    assert run.counts()["mismatched"] == 0


def test_a_run_that_is_stopping_is_not_taken_up_by_a_retry():
    run = start(2)
    run.items.filter(slug="client-0").update(outcome="failed")
    run.stop(by=None)

    with pytest.raises(StaleRunError):
        tasks.retry_failed(run, by=None)

    runs.close_stopped(run)
    tasks.retry_failed(run, by=None)
    # A worker that had a batch when it was stopped comes now.
    runs.close_stopped(run)
    assert left(run) == 1


def test_a_retry_of_what_did_not_fail_leaves_the_run_as_it_is():
    run = start(2)
    runs.work(run_id=run.pk)

    with pytest.raises(StaleRunError):
        tasks.retry_failed(run, by=None, item_id=run.items.first().pk)

    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


@pytest.mark.parametrize("order", ["pause", "resume", "stop"])
def test_a_finished_run_takes_no_orders(order, somebody):
    run = start(1)
    runs.work(run_id=run.pk)

    with pytest.raises(StaleRunError):
        getattr(run, order)(by=somebody)
    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


def test_failed_items_are_retried_alone(monkeypatch, stores, somebody):
    run = start(6, tries=1)
    stores.conditions.set(
        Terms(faults=(FaultRule(fault=Fault.DENIED, calls=2, operations=("CreateSecret",)),))
    )
    runs.work(run_id=run.pk)
    stores.conditions.clear()
    assert run.counts()["failed"] == 2
    one = run.items.filter(outcome=Outcome.FAILED).first()

    tasks.retry_failed(run, by=somebody, item_id=one.pk)
    assert left(run) == 1
    # It is as if it had never been tried: nothing waits for a moment to come.
    assert measure_progress(runs_for_progress().get(pk=run.pk)).reason is None
    assert not run.items.open().exclude(error_class="", message=None).exists()
    runs.work(run_id=run.pk)
    assert run.counts()["failed"] == 1
    run.refresh_from_db()
    tasks.retry_failed(run, by=somebody)
    runs.work(run_id=run.pk)

    run.refresh_from_db()
    assert (run.counts()["created"], run.state) == (6, Run.State.FINISHED)


def test_what_passes_by_itself_is_tried_again_until_it_has_passed(stores):
    run = start(6)
    stores.conditions.set(Terms(faults=(FaultRule(fault=Fault.EXPIRED, calls=9),)))

    runs.work(run_id=run.pk)

    assert run.counts()["created"] == 6
    assert run.items.filter(attempts__gt=0).exists()


def test_what_never_passes_fails_in_the_end(stores):
    run = start(2, tries=3)
    stores.conditions.set(Terms(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))

    runs.work(run_id=run.pk)

    assert set(run.items.values_list("outcome", "attempts")) == {("failed", 2)}
    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


def test_it_is_tried_as_often_as_it_says_however_often_that_is(stores, monkeypatch):
    monkeypatch.setattr(run_models, "LONGEST_WAIT", timedelta(milliseconds=20))
    run = start(1)
    run.items.update(attempts=MANY_TRIES - 2)
    stores.conditions.set(Terms(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))

    runs.work(run_id=run.pk)

    assert run.items.get().attempts == MANY_TRIES - 1
    assert run.counts()["failed"] == 1


def test_bad_data_is_not_tried_again():
    make_full_client("b d")
    run = tasks.start_run(kind=Run.Kind.MIGRATE, chosen=clients())

    runs.work(run_id=run.pk)

    assert run.items.get().attempts == 0
    assert run.counts()["failed"] == 1


def test_a_run_whose_worker_was_killed_is_handed_over_again():
    run = start()
    OrmQ.objects.all().delete()
    tasks.take_up()
    assert not OrmQ.objects.exists()  # it was handed over just now
    long_ago(run)

    tasks.take_up()

    assert OrmQ.objects.count() == 4
    OrmQ.objects.all().delete()
    tasks.take_up()
    assert not OrmQ.objects.exists()  # once is enough


def test_workers_that_are_busy_for_hours_are_not_handed_one_run_again_and_again(monkeypatch):
    monkeypatch.setattr(tasks, "MANY_TASKS", 9)
    run = start()
    for _minute in range(10):
        long_ago(run)
        tasks.take_up()

    assert OrmQ.objects.count() == 3 + 8


def test_a_run_that_a_worker_has_is_left_to_it():
    run = start()
    OrmQ.objects.all().delete()
    long_ago(run)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with runs._lock(run.pk, 1):
            inside.set()
            leave.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    try:
        assert runs.held_batches(run.pk) == {1}
        assert runs.held_batches(run.pk + 1) == set()
        tasks.take_up()
        assert not OrmQ.objects.exists()
    finally:
        leave.set()
        other.join()
    assert runs.held_batches(run.pk) == set()


def test_a_run_that_was_stopped_while_its_worker_was_killed_comes_to_its_end(somebody):
    run = start()
    run.stop(by=somebody)
    long_ago(run)

    tasks.take_up()

    run.refresh_from_db()
    assert run.finished_at is not None
    assert run.counts()["skipped"] == 6


def test_paused_runs_are_not_taken_up(somebody):
    run = start()
    run.pause(by=somebody)
    OrmQ.objects.all().delete()
    long_ago(run)

    tasks.take_up()

    assert not OrmQ.objects.exists()


def test_a_task_that_has_no_time_left_comes_again(monkeypatch):
    run = start()
    OrmQ.objects.all().delete()
    monkeypatch.setattr(tasks, "WORK_SECONDS", 1e-9)

    tasks.work_on(run.pk)

    assert OrmQ.objects.count() == 1
    assert left(run) == 6


def test_a_worker_that_finds_only_batches_of_others_does_not_come_back():
    run = start(2)
    OrmQ.objects.all().delete()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with runs._lock(run.pk, 0):
            inside.set()
            leave.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    try:
        tasks.work_on(run.pk)
    finally:
        leave.set()
        other.join()

    assert left(run) == 2
    assert not OrmQ.objects.exists()


def test_clients_whose_turn_did_not_come_are_taken_again_and_none_fails(monkeypatch):
    run = start(4, tries=1)
    monkeypatch.setattr(runs, "BATCH_SECONDS", 1e-9)
    monkeypatch.setattr(runs, "NAP_SECONDS", 0)
    assert runs.work(run_id=run.pk, seconds=0.3) is True
    assert set(run.items.values_list("outcome", "attempts")) == {("", 0)}

    monkeypatch.undo()
    runs.work(run_id=run.pk)

    assert run.counts()["created"] == 4


def test_two_runs_over_the_same_clients_write_each_once(stores):
    first, second = start(6), tasks.start_run(kind=Run.Kind.MIGRATE, chosen=clients())
    threads = [
        threading.Thread(target=lambda run=run: (runs.work(run_id=run.pk), connection.close()))
        for run in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    counts = [run.counts() for run in (first, second)]
    assert [c["failed"] + c["skipped"] for c in counts] == [0, 0]
    assert [c["matched"] for c in counts] == [6, 6]
    assert sum(c["created"] for c in counts) == 6
    calls = stores.conditions.report()["calls"]
    assert calls["CreateSecret"]["calls"] == 6
    assert "PutSecretValue" not in calls


def test_the_schedules_own_runs_try_once_for_the_schedule_tries_again(stores):
    make_full_client("idom")
    runs.finish_inline(runs.start(kind=Run.Kind.MIGRATE, chosen=clients()))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.client_database_credentials SET db_port = 5433")
    tasks.push_pending()

    assert Run.objects.get(kind=Run.Kind.PUSH).tries == 1


def test_the_schedule_waits_for_its_own_run_and_for_no_other(stores):
    make_full_client("idom")
    runs.finish_inline(runs.start(kind=Run.Kind.MIGRATE, chosen=clients()))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.client_database_credentials SET db_port = 5433")
    tasks.start_run(kind=Run.Kind.PUSH, chosen=clients())  # tries again for an hour

    for _minute in range(3):
        tasks.push_pending()

    assert Run.objects.filter(kind=Run.Kind.PUSH, tries=1).count() == 1


def test_threads_that_begin_together_share_one_client_of_aws():
    aws_store._make_manager.cache_clear()
    barrier = threading.Barrier(3)

    def get(_number):
        barrier.wait(10)
        return aws_store.secrets_manager()

    with ThreadPoolExecutor(3) as threads:
        assert len(set(threads.map(get, range(3)))) == 1


def test_a_worker_that_beats_is_seen_and_the_old_are_forgotten():
    Worker.objects.seen("host:1")
    Worker.objects.seen("host:1")
    assert Worker.objects.count() == 1
    assert timezone.now() - Worker.objects.last_seen_at() < timedelta(seconds=30)
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))

    Worker.objects.forget_old()

    assert Worker.objects.last_seen_at() is None


def test_the_heart_beats_on_after_the_database_was_away(monkeypatch):
    beats = iter([OperationalError(), InterfaceError(), SystemExit()])
    monkeypatch.setattr(tasks, "BEAT_SECONDS", 0)
    monkeypatch.setattr(type(Worker.objects), "seen", lambda *_: raise_(next(beats)))

    with pytest.raises(SystemExit):
        tasks._beat()


def raise_(error: BaseException) -> None:
    raise error


# --- On the page


@pytest.fixture
def operator(client) -> User:
    user = make_user("operator", *VIEW, "migration.add_run")
    client.force_login(user)
    return user


def steer(client, run: Run, order: str, **data):
    url = reverse("admin:migration_run_steer", args=[run.pk])
    return client.post(url, {"order": order} | data, follow=True)


def buttons(response) -> set[str]:
    page = response.content.decode()
    return {order for order in ("pause", "resume", "stop", "retry") if f'value="{order}"' in page}


def test_the_page_offers_what_the_state_allows(client, operator):
    run = start(2)
    page = reverse("admin:migration_run_change", args=[run.pk])

    assert buttons(client.get(page)) == {"pause", "stop"}
    assert buttons(steer(client, run, "pause")) == {"resume", "stop"}
    assert buttons(steer(client, run, "resume")) == {"pause", "stop"}
    assert buttons(steer(client, run, "stop")) == set()
    run.refresh_from_db()
    assert (run.state, run.steered_by) == (Run.State.STOPPED, operator)


def test_an_order_that_comes_too_late_says_so(client, operator):
    run = start(1)
    runs.work(run_id=run.pk)

    response = steer(client, run, "pause")

    assert "Nothing was changed" in response.content.decode()


def test_the_page_after_a_retry_tells_of_a_run_at_work(client, operator, stores):
    Worker.objects.seen("host:1")
    run = start(2, tries=1)
    stores.conditions.set(Terms(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))
    runs.work(run_id=run.pk)

    response = steer(client, run, "retry")

    assert buttons(response) == {"pause", "stop"}
    assert "AccessDenied" not in response.content.decode()


def test_an_order_that_there_is_not_is_a_bad_request(client, operator):
    assert steer(client, start(1), "delete").status_code == 400


@pytest.mark.parametrize("name", ["steer", "rate"])
def test_who_may_only_view_steers_nothing_and_is_offered_nothing(client, name):
    client.force_login(make_user("viewer", *VIEW))
    run = start(1)
    url = reverse(f"admin:migration_run_{name}", args=[run.pk])

    assert client.post(url, {"order": "stop", "writes": "1"}).status_code == 403
    assert client.get(url).status_code in (403, 405)
    assert buttons(client.get(reverse("admin:migration_run_change", args=[run.pk]))) == set()
    run.refresh_from_db()
    assert (run.state, Rate.objects.exclude(per_second=None).exists()) == (Run.State.RUNNING, False)


def test_the_rate_is_changed_on_the_page_and_given_back(client, operator, settings):
    run = start(1)
    url = reverse("admin:migration_run_rate", args=[run.pk])

    client.post(url, {"writes": "12.5", "reads": ""})
    assert dict(Rate.objects.values_list("kind", "per_second")) == {
        "create": 12.5, "write": 12.5, "read": None,
    }  # fmt: skip
    client.post(url, {"writes": "", "reads": ""})
    assert set(Rate.objects.values_list("per_second", flat=True)) == {None}


@pytest.mark.parametrize("writes", ["0", "-1", "1001", "nan", "inf", "fast"])
def test_a_rate_that_is_none_is_refused(client, operator, writes):
    run = start(1)

    client.post(reverse("admin:migration_run_rate", args=[run.pk]), {"writes": writes, "reads": ""})

    assert not Rate.objects.exclude(per_second=None).exists()


def test_the_live_part_asks_for_itself_until_the_run_is_over(client, operator):
    run = start(1)
    url = reverse("admin:migration_run_live", args=[run.pk])
    response = client.get(url)
    assert f'hx-get="{url}"' in response.content.decode()
    assert "HX-Refresh" not in response.headers
    runs.work(run_id=run.pk)

    response = client.get(url)

    assert "hx-get" not in response.content.decode()
    assert response.headers["HX-Refresh"] == "true"


def test_the_items_come_as_csv_and_no_cell_is_a_formula(client, operator):
    make_full_client("=1+1")
    run = start(2)
    runs.work(run_id=run.pk)

    response = client.get(reverse("admin:migration_run_items", args=[run.pk]))
    lines = b"".join(response.streaming_content).decode().splitlines()

    assert lines[0] == "slug,outcome,error_class,message,comparison_status,attempts,finished_at"
    assert len(lines) == 4
    assert lines[1].startswith("'=1+1,created,,")
    assert lines[2].startswith("client-0,created,,")
