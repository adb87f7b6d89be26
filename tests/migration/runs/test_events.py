"""The events of runs: their start and end, and each client that ends as failed or refused, once."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone

from migration.core.audit import RUN_EVENT, AuditEvent, AuditEventQuerySet
from migration.core.clients import all_clients
from migration.models import ClientMigration
from migration.runs import engine
from migration.runs.engine import FAILURE_EVENT
from migration.runs.models import MANY_TRIES, PlannedMoves, Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, make_user

pytestmark = pytest.mark.usefixtures("stores")


def make_broken_client(slug: str = "broken") -> int:
    pk = make_client(slug)
    make_database(pk)
    make_database(pk)  # both are primary
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    return pk


def push(**options) -> Run:
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), **options)
    engine.finish_inline(run)
    return run


def list_failures() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(code=FAILURE_EVENT).order_by("pk"))


def list_runs_events(name: str) -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(code=RUN_EVENT, correlation=name, slug="")
    return [(event.message.key, event.who) for event in events.order_by("pk")]


def test_a_client_that_fails_is_an_event_with_the_run_and_why():
    pk = make_broken_client()
    ClientMigration.objects.create(client_id=make_full_client("idom"), phase=Phase.DUAL_WRITE)

    run = push(by=make_user("maria"))

    (event,) = list_failures()
    assert (event.client_id, event.slug, event.who) == (pk, "broken", "maria")
    assert event.correlation == f"run {run.pk}"
    assert event.message.key == "failed_in_run"
    assert event.message.values["run"] == run.name_message
    assert event.message.values["why"] == run.items.get(client=pk).message


def test_a_client_that_a_gate_keeps_is_an_event():
    pk = make_full_client("idom")
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_READ)
    run = Run.start(
        kind=Run.Kind.MOVE,
        chosen=all_clients(),
        moves=PlannedMoves(Phase.DUAL_READ, Phase.AWS),
    )

    engine.finish_inline(run)

    (event,) = list_failures()
    assert (event.client_id, event.message.key) == (pk, "refused_in_run")


def test_of_two_workers_that_do_one_batch_the_first_tells_of_it():
    make_broken_client()
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), tries=MANY_TRIES)
    second = list(run.items.all())
    engine.process_batch_if_running(run.pk, 0)
    done = run.items.get()
    for item in second:
        item.outcome, item.error_class, item.message = done.outcome, "data", None

    engine._store_outcomes(run, second)

    assert len(list_failures()) == 1
    assert run.items.get().message == done.message


def test_the_outcome_is_stored_with_its_event_or_not_at_all(monkeypatch):
    make_broken_client()
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), tries=MANY_TRIES)

    def fail(self, events) -> None:
        raise DatabaseError

    monkeypatch.setattr(AuditEventQuerySet, "insert_already_signed", fail)
    with pytest.raises(DatabaseError):
        engine.process_batch_if_running(run.pk, 0)

    assert run.items.get().outcome == ""


def test_a_client_that_waits_for_another_try_has_not_failed(settings):
    make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), tries=2)

    engine.process_batch_if_running(run.pk, 0)
    assert run.items.get().next_try_at
    assert list_failures() == []

    run.items.update(next_try_at=None)
    engine.process_batch_if_running(run.pk, 0)
    assert len(list_failures()) == 1


def test_what_fails_in_each_of_the_schedules_runs_is_told_once_a_day(monkeypatch, settings):
    make_broken_client()

    push()
    push()
    assert len(list_failures()) == 1

    monkeypatch.setattr(engine, "FAILURE_IS_NEWS_AFTER", timedelta())
    push()
    assert len(list_failures()) == 2
    monkeypatch.undo()
    make_full_client("idom")
    ClientMigration.objects.update_or_create(
        client=all_clients().get(slug="idom"), defaults={"phase": Phase.DUAL_WRITE}
    )
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    push()
    assert [event.slug for event in list_failures()] == ["broken", "broken", "idom"]
    # Somebody waits for this one.
    push(by=make_user("maria"))
    assert len(list_failures()) == 5


def test_a_sweep_is_told_by_its_results_alone(settings):
    make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())

    engine.finish_inline(run)

    assert run.items.get().outcome == "failed"
    assert list_failures() == []


def test_start_and_end_are_events_but_not_of_the_schedules_runs():
    make_full_client("idom")
    scheduled = push()
    by_maria = push(by=make_user("maria"))
    stopped = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), tries=MANY_TRIES)
    stopped.stop(by=None)
    engine.skip_free_items_of_stopped_run(stopped)
    call_command("migrate_clients", "--all", "--inline", "--format", "json", verbosity=0)
    by_command = Run.objects.first()

    assert list_runs_events(f"run {scheduled.pk}") == []
    assert list_runs_events(f"run {by_maria.pk}") == [
        ("run_started", "maria"),
        ("run_ended_well", "system"),
    ]
    assert list_runs_events(f"run {stopped.pk}") == [
        ("run_started", "system"),
        ("run_steered", "system"),
        ("run_ended_by_stop", "system"),
    ]
    assert list_runs_events(f"run {by_command.pk}") == [
        ("run_started", "system"),
        ("run_ended_well", "system"),
    ]


def test_a_run_without_clients_has_begun_before_it_ends_and_one_that_goes_on_ends_again():
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), by=make_user("maria"))
    assert list_runs_events(f"run {run.pk}") == [
        ("run_started", "maria"),
        ("run_ended_well", "system"),
    ]
    make_broken_client()
    again = push(by=run.by)

    again.reopen_failed(by=None)
    engine.finish_inline(again)

    assert [key for key, _who in list_runs_events(f"run {again.pk}")] == [
        *("run_started", "run_ended"),
        *("run_steered", "run_ended"),
    ]
    assert again.finished_at <= timezone.now()
