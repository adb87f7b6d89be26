"""Runs: batches, outcomes, phases; done twice, and by two workers at once."""

import threading

import pytest
from django.db import OperationalError, connection

from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.sentences import CLIENT_NOT_THERE
from migration.models import ClientMigration, Comparison, PhaseChange, RunItem
from migration.moves.moves import move
from migration.pushes import pushes
from migration.runs import engine
from migration.runs.engine import UNEXPECTED_ERROR
from migration.runs.items import RUN_INTERRUPTED, Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, update

pytestmark = pytest.mark.usefixtures("stores")


def migrate(**options) -> Run:
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), **options)
    engine.finish_inline(run)
    return run


def test_a_migration_pushes_compares_and_moves_on_to_dual_write():
    pk = make_full_client("idom")

    run = migrate()

    item = run.items.get()
    assert (item.outcome, item.comparison_status) == (Outcome.CREATED, Comparison.Status.MATCH)
    assert run.finished_at is not None
    assert all_clients().with_phase().get(pk=pk).phase == Phase.DUAL_WRITE
    change = PhaseChange.objects.get()
    assert (change.slug, change.old, change.new) == ("idom", Phase.POSTGRES, Phase.DUAL_WRITE)
    assert change.comparison.status == Comparison.Status.MATCH


def test_a_failed_or_skipped_client_stays_in_its_phase():
    make_full_client("b d"), make_client("empty"), make_full_client("inactive", is_active=False)

    run = migrate()

    assert run.count_outcomes_and_matches() == {
        "clients": 3, "created": 0, "updated": 0, "unchanged": 0, "restored": 0, "compared": 0,
        "skipped": 2, "failed": 1, "not_begun": 0, "matched": 0, "mismatched": 0,
    }  # fmt: skip
    assert not all_clients().in_phases(Phase.DUAL_WRITE).exists()


def test_inactive_clients_come_along_when_asked_for():
    make_full_client("inactive", is_active=False)

    assert migrate(include_inactive=True).count_outcomes_and_matches()["created"] == 1


def test_a_run_over_nothing_is_finished_at_once():
    assert migrate().finished_at is not None


def test_a_second_migration_finds_everything_done():
    make_full_client("idom")
    migrate()

    counts = migrate().count_outcomes_and_matches()

    assert (counts["unchanged"], counts["matched"]) == (1, 1)
    assert PhaseChange.objects.count() == 1


def test_batches_have_at_most_their_size(monkeypatch):
    monkeypatch.setattr(Run, "BATCH", 2)
    for n in range(5):
        make_client(f"client-{n}")

    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    assert run.count_open_batches() == 3
    assert RunItem.objects.filter(batch=0).count() == 2


def test_what_is_done_of_a_batch_is_stored_each_second(monkeypatch):
    """Pages saw no progress before the whole batch was done."""
    for n in range(4):
        make_full_client(f"client-{n}")
    run, done_before, clock = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()), [], [0.0]

    def work(run: Run, items: dict[int, RunItem]) -> list[RunItem]:
        done_before.append(run.items.exclude(outcome="").count())
        for item in items.values():
            clock[0] += 0.5
            item.outcome = Outcome.UNCHANGED
        return []

    monkeypatch.setitem(engine.WORK, Run.Kind.MIGRATE, (work, 1))
    monkeypatch.setattr(engine.time, "monotonic", lambda: clock[0])

    engine.process_batch_if_running(run.pk, 0)

    assert done_before == [0, 1, 3]


def test_the_rest_of_a_batch_that_takes_too_long_stays_open(monkeypatch):
    for n in range(3):
        make_full_client(f"client-{n}")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    def work(run: Run, items: dict[int, RunItem]) -> list[RunItem]:
        for item in items.values():
            item.outcome = Outcome.UNCHANGED
        return []

    monkeypatch.setitem(engine.WORK, Run.Kind.MIGRATE, (work, 1))
    monkeypatch.setattr(engine, "BATCH_SECONDS", 0)

    assert engine.process_batch_if_running(run.pk, 0)

    assert run.items.open().count() == 2


def test_a_batch_delivered_twice_keeps_the_first_outcomes():
    make_full_client("idom")
    run = migrate()
    finished = run.items.get().finished_at

    engine.work_on_run(run_id=run.pk)

    item = run.items.get()
    assert (item.outcome, item.finished_at) == (Outcome.CREATED, finished)


def test_a_batch_that_another_worker_has_is_left_to_it():
    make_full_client("idom")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with engine.try_lock_batch(run.pk, 0):
            inside.set()
            leave.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    try:
        engine.work_on_run(run_id=run.pk)
        assert run.items.open().count() == 1
    finally:
        leave.set()
        other.join()
    engine.work_on_run(run_id=run.pk)
    assert run.items.open().count() == 0


def test_a_client_that_nova_deleted_meanwhile_is_skipped():
    pk = make_full_client("idom")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])

    engine.finish_inline(run)

    item = run.items.get()
    assert (item.outcome, item.message) == (Outcome.SKIPPED, CLIENT_NOT_THERE())


def test_a_run_goes_on_while_aws_is_down_and_a_later_one_finishes(settings, stores):
    make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    first = migrate().items.get()
    settings.AWS_ENDPOINT_URL = stores.endpoint

    assert (first.outcome, first.error_class) == (Outcome.FAILED, "unavailable")
    assert migrate().items.get().outcome == Outcome.CREATED


def test_a_plain_sql_write_makes_a_dual_write_client_pending_until_it_is_pushed():
    pk = make_client("idom")
    row = make_database(pk)
    migrate()
    assert not all_clients().push_due().exists()

    update("client_database_credentials", row, db_password_encrypted="example-password-9")
    assert all_clients().push_due().get().pk == pk
    engine.finish_inline(Run.start(kind=Run.Kind.PUSH, chosen=all_clients().push_due()))

    assert not all_clients().push_due().exists()
    assert Run.objects.first().count_outcomes_and_matches()["updated"] == 1


def test_a_client_that_writes_both_stores_is_pushed_though_inactive_or_empty():
    pk = make_client("idom")
    make_database(pk)
    migrate()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.clients SET is_active = NULL")
        cursor.execute("DELETE FROM public.client_database_credentials")

    engine.finish_inline(Run.start(kind=Run.Kind.PUSH, chosen=all_clients().push_due()))

    assert Run.objects.first().count_outcomes_and_matches()["updated"] == 1
    assert not all_clients().push_due().exists()


def test_a_purged_client_is_never_pushed_for_its_rows_hold_pointers(stores):
    pk = make_full_client("idom")
    migrate()
    ClientMigration.objects.filter(pk=pk).update(phase=Phase.PURGED)

    assert migrate().items.get().outcome == Outcome.SKIPPED
    assert not all_clients().push_due().exists()


def test_the_statements_of_a_part_of_a_batch_do_not_grow_with_its_clients(
    monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setitem(engine.WORK, Run.Kind.MIGRATE, (pushes.push_items, 60))
    for n in range(60):
        make_full_client(f"client-{n}")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    # One is the session's own lock, taken once; a batch is chosen and leased by a statement each, and audited by two.
    with django_assert_max_num_queries(55):
        engine.finish_inline(run)

    assert run.count_outcomes_and_matches()["created"] == 60


def test_a_run_that_is_interrupted_says_so_and_is_over(monkeypatch):
    make_full_client("idom")
    monkeypatch.setattr(pushes, "push", lambda **_: raise_(KeyboardInterrupt()))
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    with pytest.raises(KeyboardInterrupt):
        engine.finish_inline(run)

    run.refresh_from_db()
    assert run.finished_at is not None
    assert run.items.get().message == RUN_INTERRUPTED()


@pytest.mark.parametrize("kind", [Run.Kind.MIGRATE, Run.Kind.COMPARE])
def test_an_error_that_nobody_foresaw_fails_its_client_alone_and_no_value_is_told(
    monkeypatch, caplog, kind
):
    make_full_client("idom"), make_full_client("other")
    password = "example-password-1"
    bad = all_clients().get(slug="idom").pk
    name = "compare" if kind == Run.Kind.COMPARE else "push"
    plain = getattr(pushes, name)

    def failing(*, client_ids, **how):
        if bad in client_ids:
            raise ValueError(password)
        return plain(client_ids=client_ids, **how)

    monkeypatch.setattr(pushes, name, failing)
    run = Run.start(kind=kind, chosen=all_clients())
    engine.finish_inline(run)

    assert run.state == Run.State.FINISHED
    assert run.count_outcomes_and_matches()["failed"] == 1
    item = run.items.get(outcome=Outcome.FAILED)
    assert (item.client_id, item.error_class) == (bad, "unavailable")
    assert item.message == UNEXPECTED_ERROR(code="ValueError")
    assert "in failing" in caplog.text
    assert password not in caplog.text + str(item.message.to_json())


def test_a_database_that_is_gone_leaves_the_batch_open(monkeypatch):
    make_full_client("idom")
    monkeypatch.setattr(pushes, "push", lambda **_: raise_(OperationalError()))
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    with pytest.raises(OperationalError):
        engine.work_on_run(run_id=run.pk)

    assert run.items.open().count() == 1


def raise_(error: BaseException) -> None:
    raise error


def test_a_push_of_pending_writes_leaves_alone_who_stepped_back_meanwhile():
    pk = make_full_client("idom")
    migrate()
    update("clients", pk, name="New")
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients())
    move(client_id=pk, new=Phase.POSTGRES)
    before = aws_store.secrets_manager().get_value("nova/clients/idom")

    engine.finish_inline(run)

    assert run.items.get().outcome == Outcome.SKIPPED
    assert aws_store.secrets_manager().get_value("nova/clients/idom") == before
