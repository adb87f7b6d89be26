"""NOVA deletes a client while it is moved: it is gone, which is no defect of ours."""

from contextlib import contextmanager

import pytest
from django.db import connection

from credentials.models import Client
from migration.core.clients import all_clients
from migration.moves import moves
from migration.pushes import rows_from_aws
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import PlannedMoves, Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase
from tests.migration.moves.runs.moved import once, outcomes, start

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def purged() -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    return pk


@pytest.fixture
def nova_deletes(monkeypatch) -> None:
    """NOVA deletes the client right before its rows are locked."""

    @contextmanager
    def hold_rows(client_id: int):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM public.clients WHERE id = %s", [client_id])
        with rows_from_aws.hold_rows(client_id) as now:
            yield now

    monkeypatch.setattr(moves, "hold_rows", hold_rows)


def test_a_move_says_that_there_is_no_such_client(purged, nova_deletes):
    with pytest.raises(Client.DoesNotExist):
        moves.move(client_id=purged, new=Phase.AWS)


@pytest.mark.parametrize("in_run", [False, True])
def test_so_does_one_that_pushes_it(monkeypatch, in_run):
    pk = make_full_client("idom")

    def delete() -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])

    monkeypatch.setattr(moves, "push", once(delete, moves.push))
    if in_run:
        run = start(Phase.POSTGRES, Phase.DUAL_WRITE)
        engine.process_batch_if_running(run.pk, 0)
        assert outcomes(run) == {"idom": Outcome.SKIPPED}
    else:
        with pytest.raises(Client.DoesNotExist):
            moves.move(client_id=pk, new=Phase.DUAL_WRITE)


def test_a_run_skips_it(purged, nova_deletes):
    """Before, it had failed of a ValueError, after all its tries."""
    planned = PlannedMoves(Phase.PURGED, Phase.AWS)
    run = Run.start(kind=Run.Kind.MOVE, chosen=all_clients(), moves=planned)
    engine.work_on_run(run_id=run.pk)

    item = run.items.get()
    assert (item.outcome, item.error_class) == (Outcome.SKIPPED, "")
