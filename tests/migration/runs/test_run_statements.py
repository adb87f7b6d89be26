"""How few statements a batch of a run needs, and that what is stored already is not stored again."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.core.clients import all_clients
from migration.models import ClientMigration, PhaseChange
from migration.pushes import pushes
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client

pytestmark = pytest.mark.usefixtures("stores")


def start(kind: Run.Kind = Run.Kind.MIGRATE) -> Run:
    return Run.start(kind=kind, chosen=all_clients())


def count_statements(run: Run) -> int:
    """Those of a batch, without what begins and ends transactions."""
    with CaptureQueriesContext(connection) as queries:
        assert engine.process_batch_if_running(run.pk, 0)
    return len([q for q in queries if q["sql"].split()[0] not in ("BEGIN", "COMMIT")])


@pytest.mark.parametrize(
    ("kind", "most"), [(Run.Kind.MIGRATE, 21), (Run.Kind.PUSH, 21), (Run.Kind.COMPARE, 14)]
)
def test_a_batch_of_unchanged_clients_needs_few_statements_however_many_they_are(kind, most):
    for slug in ("idom", "acme", "other"):
        make_full_client(slug)
    engine.finish_inline(start())

    assert count_statements(start(kind)) <= most


def test_a_batch_of_a_first_push_needs_few_statements():
    make_full_client("idom")
    make_full_client("acme")

    assert count_statements(start()) <= 28


def test_a_run_that_is_not_running_begins_no_batch():
    make_full_client("idom")
    run = start()
    run.pause(by=None)
    worked_at = run.worked_at

    assert not engine.process_batch_if_running(run.pk, 0)

    run.refresh_from_db()
    assert (run.worked_at, run.items.get().outcome) == (worked_at, "")


def test_a_batch_notes_when_it_begins_and_ends():
    make_full_client("idom")
    run = start()
    started = run.worked_at
    begun = Run.objects.record_work_if_running(run.pk)
    assert begun.worked_at > started

    assert engine.process_batch_if_running(run.pk, 0)

    run.refresh_from_db()
    assert run.worked_at >= run.items.get().finished_at > begun.worked_at


def test_a_client_that_somebody_moved_back_during_its_push_is_not_moved_on_again(monkeypatch):
    pk = make_full_client("idom")
    engine.finish_inline(start())
    push = pushes.push

    def push_and_move_back(**options):
        results = push(**options)
        ClientMigration.objects.change_phase([pk], Phase.DUAL_WRITE, Phase.POSTGRES)
        return results

    monkeypatch.setattr(pushes, "push", push_and_move_back)

    engine.finish_inline(start())

    assert ClientMigration.objects.get(pk=pk).phase == Phase.POSTGRES
    assert list(PhaseChange.objects.values_list("new", flat=True).order_by("pk")) == [
        Phase.DUAL_WRITE,
        Phase.POSTGRES,
    ]


def test_what_was_refused_is_stored_once_and_cleared_by_the_next_push():
    pk = make_client("idom")
    make_database(pk)
    second = make_database(pk)  # both are primary
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    engine.finish_inline(start(Run.Kind.PUSH))
    assert ClientMigration.objects.get(pk=pk).refused_revision == 3

    again = start(Run.Kind.PUSH)
    with CaptureQueriesContext(connection) as queries:
        engine.process_batch_if_running(again.pk, 0)
    assert not [q for q in queries if "refused_revision)" in q["sql"]]

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_database_credentials WHERE id = %s", [second])
    engine.finish_inline(start(Run.Kind.PUSH))
    assert ClientMigration.objects.get(pk=pk).refused_revision is None
