"""Pause, resume, stop and retry a run."""

import pytest
from django_q.models import OrmQ

from migration import tasks
from migration.core.clients import all_clients
from migration.pushes import pushes
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run, StaleRunError
from migration.runs.progress import measure_progress, select_runs_for_progress
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.messages import Message
from tests.migration.runs.steering.runs import left, start

pytestmark = pytest.mark.usefixtures("stores")


def during_first_batch(monkeypatch, act) -> list:
    """Does `act` while the first batch is being pushed."""
    push, done = pushes.push, []

    def pushing(**how):
        if not done:
            done.append(act())
        return push(**how)

    monkeypatch.setattr(pushes, "push", pushing)
    return done


def test_a_pause_takes_effect_after_the_batch_and_resuming_does_the_rest(monkeypatch, somebody):
    run = start()
    during_first_batch(monkeypatch, lambda: Run.objects.get(pk=run.pk).pause(by=somebody))

    assert engine.work_on_run(run_id=run.pk) is False
    assert left(run) == 4

    run.refresh_from_db()
    assert (run.state, run.steered_by) == (Run.State.PAUSED, somebody)
    engine.work_on_run(run_id=run.pk)
    assert left(run) == 4
    OrmQ.objects.all().delete()
    run.resume(by=somebody)
    assert tasks.enqueue(run)
    assert OrmQ.objects.count() == 2  # one for each batch that is left
    engine.work_on_run(run_id=run.pk)
    run.refresh_from_db()
    assert (run.state, left(run)) == (Run.State.FINISHED, 0)
    assert run.count_outcomes_and_matches()["created"] == 6


def test_a_stopped_run_ends_after_the_batch_in_work_and_skips_the_rest(monkeypatch, somebody):
    run = start()

    def stop():
        mine = Run.objects.get(pk=run.pk)
        mine.stop(by=somebody)
        # Its batch has a lock: what is in work is not skipped.
        engine.skip_free_items_of_stopped_run(mine)
        return left(run)

    done = during_first_batch(monkeypatch, stop)
    engine.work_on_run(run_id=run.pk)

    run.refresh_from_db()
    assert done == [2]
    counts = run.count_outcomes_and_matches()
    assert (counts["created"], counts["not_begun"], counts["skipped"]) == (2, 4, 0)
    assert run.state == Run.State.STOPPED
    assert run.finished_at is not None
    assert all_clients().in_phases("postgres").count() == 4


def test_only_one_of_two_who_steer_at_once_does(somebody):
    run = start()
    first, second = Run.objects.get(pk=run.pk), Run.objects.get(pk=run.pk)
    first.pause(by=somebody)

    with pytest.raises(StaleRunError):
        second.pause(by=somebody)
    with pytest.raises(StaleRunError):
        second.reopen_failed(by=somebody)


def test_what_is_retried_begins_anew_and_counts_for_nothing_meanwhile():
    run = start(1)
    run.items.update(
        outcome="failed",
        error_class="unavailable",
        message=Message.from_text_without_key("Why."),
        comparison_status="mismatch",
    )
    run.finish_if_done()

    run.reopen_failed(by=None)

    item = run.items.get()
    assert [item.outcome, item.error_class, item.comparison_status] == [""] * 3
    assert item.message is None
    assert run.count_outcomes_and_matches()["mismatched"] == 0


def test_a_run_that_is_stopping_is_not_taken_up_by_a_retry():
    run = start(2)
    run.items.filter(slug="client-0").update(outcome="failed")
    run.stop(by=None)

    with pytest.raises(StaleRunError):
        run.reopen_failed(by=None)

    engine.skip_free_items_of_stopped_run(run)
    run.reopen_failed(by=None)
    # A worker that had a batch when it was stopped comes now.
    engine.skip_free_items_of_stopped_run(run)
    assert left(run) == 1


def test_a_retry_of_what_did_not_fail_leaves_the_run_as_it_is():
    run = start(2)
    engine.work_on_run(run_id=run.pk)

    with pytest.raises(StaleRunError):
        run.reopen_failed(by=None, item_id=run.items.first().pk)

    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


@pytest.mark.parametrize("order", ["pause", "resume", "stop"])
def test_a_finished_run_takes_no_orders(order, somebody):
    run = start(1)
    engine.work_on_run(run_id=run.pk)

    with pytest.raises(StaleRunError):
        getattr(run, order)(by=somebody)
    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


def test_failed_items_are_retried_alone(monkeypatch, stores, somebody):
    run = start(6, tries=1)
    stores.conditions.set(
        Conditions(faults=(FaultRule(fault=Fault.DENIED, calls=2, operations=("CreateSecret",)),))
    )
    engine.work_on_run(run_id=run.pk)
    stores.conditions.clear()
    assert run.count_outcomes_and_matches()["failed"] == 2
    one = run.items.filter(outcome=Outcome.FAILED).first()

    run.reopen_failed(by=somebody, item_id=one.pk)
    assert left(run) == 1
    # It is as if it had never been tried: nothing waits for a moment to come.
    assert measure_progress(select_runs_for_progress().get(pk=run.pk)).delay_reason is None
    assert not run.items.open().exclude(error_class="", message=None).exists()
    engine.work_on_run(run_id=run.pk)
    assert run.count_outcomes_and_matches()["failed"] == 1
    run.refresh_from_db()
    run.reopen_failed(by=somebody)
    engine.work_on_run(run_id=run.pk)

    run.refresh_from_db()
    assert (run.count_outcomes_and_matches()["created"], run.state) == (6, Run.State.FINISHED)
