"""The switch that stops every AWS write: who may throw it, what waits, and how fast it takes effect."""

import multiprocessing
import threading
import time
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django_q.models import OrmQ

from migration import tasks
from migration.core.audit import ReasonError
from migration.core.aws_writes import (
    KNOWN_FOR_SECONDS,
    find_write_refusal,
    start_aws_writes,
    stop_aws_writes,
    write_guard,
)
from migration.core.clients import VIEW_CHECKS, all_clients
from migration.models import Worker, WriteStop
from migration.pushes import pushes
from migration.pushes.pushes import push
from migration.runs import engine, items
from migration.runs.models import Run
from migration.runs.progress import measure_progress, select_runs_for_progress
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user, nova_uri, start_run
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.core.aws_writes.processes import work_on
from tests.migration.moves.clients import enter_phase, write_password

pytestmark = pytest.mark.usefixtures("stores")


def start(number: int = 6, **options) -> Run:
    for n in range(number):
        make_full_client(f"client-{n}")
    return start_run(kind=Run.Kind.MIGRATE, chosen=all_clients(), **options)


def test_a_run_waits_no_push_is_begun_and_comparisons_go_on(idom, refuse):
    agreed = make_full_client("agreed")
    for pk in (idom, agreed):
        enter_phase(pk, Phase.DUAL_WRITE)
    write_password(idom, "example-new")
    run = start(2)
    refuse()

    assert engine.work_on_run(run_id=run.pk) is False
    tasks.push_pending()
    tasks.sweep()

    # No item of it cost a try.
    assert set(run.items.values_list("outcome", "attempts")) == {("", 0)}
    progress = select_runs_for_progress().get(pk=run.pk)
    assert find_write_refusal() == measure_progress(progress).delay_reason
    assert all_clients().push_due().exists()
    compared = Run.objects.exclude(pk=run.pk).get()
    assert compared.kind == Run.Kind.COMPARE
    engine.work_on_run(run_id=compared.pk)
    assert compared.count_outcomes_and_matches()["matched"] == 1


def test_a_run_that_waits_is_not_queued_again_and_goes_on_once_somebody_starts_the_writes(stop):
    run = start(3)
    stop()
    engine.work_on_run(run_id=run.pk)
    OrmQ.objects.all().delete()
    Run.objects.update(worked_at="2020-01-01T00:00:00Z")
    tasks.resume_stalled_runs()
    assert OrmQ.objects.count() == 0

    call_command("aws_writes", "start")

    assert OrmQ.objects.count() == 1
    OrmQ.objects.all().delete()
    Run.objects.update(worked_at="2020-01-01T00:00:00Z")
    tasks.resume_stalled_runs()
    assert OrmQ.objects.count() == 1
    engine.work_on_run(run_id=run.pk)
    assert run.count_outcomes_and_matches()["created"] == 3


def test_items_of_the_batch_in_work_stay_open_when_the_switch_is_thrown(monkeypatch):
    run = start(6)
    pushing = pushes.push

    def stop_then_push(**how):
        stop_aws_writes(reason="INC-42")
        return pushing(**how)

    monkeypatch.setattr(pushes, "push", stop_then_push)
    engine.work_on_run(run_id=run.pk)

    assert set(run.items.values_list("outcome", "attempts")) == {("", 0)}
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (Run.State.RUNNING, None)


def test_no_worker_writes_a_second_after_the_switch(stores, settings, monkeypatch):
    """Two processes at work, and a third that throws it: theirs is the state as they last read it."""
    settings.NOVA_AWS_WRITES_PER_SECOND = 40
    run = start(150, tries=3)
    spawn = multiprocessing.get_context("spawn")
    environment = {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.endpoint,
        "NOVA_AWS_WRITES_PER_SECOND": "40",
    }
    workers = [
        spawn.Process(target=work_on, args=(run.pk, environment), daemon=True) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    wait_for(lambda: count_writes(stores) > 20)

    stop_aws_writes(reason="INC-42")
    time.sleep(1)
    after_a_second = count_writes(stores)

    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert count_writes(stores) == after_a_second < 150
    left = run.items.open().count()
    assert left > 0
    assert run.count_outcomes_and_matches()["failed"] == 0
    assert set(run.items.values_list("attempts", flat=True)) == {0}
    start_aws_writes()
    settings.NOVA_AWS_WRITES_PER_SECOND = 2000
    engine.work_on_run(run_id=run.pk)
    assert (
        run.count_outcomes_and_matches()["created"] + run.count_outcomes_and_matches()["unchanged"]
        == 150
    )


def wait_for(condition) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_in_this_process_is_not_begun(stop):
    make_full_client("idom")
    stop()

    with pytest.raises(CommandError, match="stopped all AWS writes") as refusal:
        call_command("migrate_clients", "--all", "--inline")

    assert refusal.value.returncode == 1
    assert not Run.objects.exists()
    call_command("migrate_clients", "--all", "--dry-run")


def test_a_run_in_this_process_that_is_stopped_on_its_way_is_left_to_the_workers(
    monkeypatch, capsys
):
    make_full_client("idom")
    monkeypatch.setattr(pushes, "push", lambda **_: pytest.fail("it was stopped"))
    begin = Run.start.__func__

    def start_then_stop(cls, **how):
        run = begin(cls, **how)
        stop_aws_writes(reason="INC-42")
        return run

    monkeypatch.setattr(Run, "start", classmethod(start_then_stop))
    with pytest.raises(SystemExit) as end:
        call_command("migrate_clients", "--all", "--inline")

    assert end.value.code == 1
    assert Run.objects.get().items.open().count() == 1
    assert "Workers continue it" in capsys.readouterr().err


def test_a_reason_is_wanted_and_kept_with_the_user():
    user = make_user("ada", "migration.stop_aws_writes")
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(ReasonError):
            stop_aws_writes(reason=reason)
    with pytest.raises(CommandError) as refusal:
        call_command("aws_writes", "stop", "--reason", " ")
    assert refusal.value.returncode == 2

    call_command("aws_writes", "stop", "--reason", "INC-42", "--by", "ada")
    call_command("aws_writes", "start")

    stop = WriteStop.objects.get()
    assert (stop.by, stop.reason, stop.started_by) == (user, "INC-42", None)
    assert stop.started_at > stop.stopped_at


def test_two_who_stop_at_once_are_both_recorded_and_one_start_ends_both():
    barrier = threading.Barrier(2)

    def throw(reason: str) -> None:
        from django.db import connection

        barrier.wait()
        stop_aws_writes(reason=reason)
        connection.close()

    throwing = [threading.Thread(target=throw, args=(reason,)) for reason in ("one", "two")]
    for thread in throwing:
        thread.start()
    for thread in throwing:
        thread.join()

    assert find_write_refusal() is not None
    assert start_aws_writes() == 2
    assert find_write_refusal() is None


def test_the_state_is_not_read_again_while_it_is_known(idom, monkeypatch):
    """A push asks nothing more for each client: the state comes with the turns that it reserves."""
    from migration.core import aws_writes

    asked = []
    reading = aws_writes.read_aws_write_state

    def read(connection):
        asked.append(time.monotonic())
        return reading(connection)

    monkeypatch.setattr(aws_writes, "read_aws_write_state", read)
    for n in range(20):
        make_full_client(f"client-{n}")
    push(client_ids=[idom])  # what all hosts share is noted by then
    assert asked
    asked.clear()
    write_guard().forget_state()
    pushed = push(client_ids=list(all_clients().values_list("pk", flat=True)))

    assert len(pushed) == 21
    assert all(later - earlier > KNOWN_FOR_SECONDS for earlier, later in pairwise(asked))


def test_an_operator_throws_the_switch_on_the_page_every_page_says_why_and_starts_again(client):
    Worker.objects.record_heartbeat("host:1")
    operator = make_user("operator", *VIEW, VIEW_CHECKS, "migration.stop_aws_writes")
    client.force_login(operator)
    page = reverse("admin:migration_run_aws_writes")

    client.post(reverse("admin:migration_run_stop_writes"), {"reason": "<b>INC-42</b>"})

    home, runs = (
        client.get(reverse(f"admin:{name}")) for name in ("index", "migration_run_changelist")
    )
    first = home.context["attention"][0]
    assert (first.code, first.url) == ("writes_stopped", page)
    for shown in (home, runs):
        assert "Reason: &lt;b&gt;INC-42&lt;/b&gt;" in shown.content.decode()
    shown = client.get(page).content.decode()
    assert "operator stopped all AWS writes" in shown
    assert "&lt;b&gt;INC-42&lt;/b&gt;" in shown

    client.post(reverse("admin:migration_run_start_writes"))
    assert find_write_refusal() is None
    assert WriteStop.objects.get().started_by == operator
    assert "resumed AWS writes" in client.get(page).content.decode()


def test_a_viewer_who_guesses_the_addresses_changes_nothing(client, become_copy):
    client.force_login(make_user("viewer", *VIEW))
    become_copy()
    before = find_write_refusal()

    for name in ("stop_writes", "start_writes", "claim"):
        response = client.post(reverse(f"admin:migration_run_{name}"), {"reason": "mine"})
        assert response.status_code == 403

    assert not WriteStop.objects.exists()
    assert find_write_refusal() == before


def test_new_items_wait_no_longer_than_others(monkeypatch, stop):
    """What was refused in the middle of a batch is free again at once, not in seconds."""
    monkeypatch.setattr(items, "FIRST_WAIT", None)
    run = start(1)
    item = run.items.get()
    stop()

    again = pushes.push_items(run, {item.client_id: item})

    assert again == []
    assert (item.outcome, item.attempts) == ("", 0)
    assert item.next_try_at is not None
