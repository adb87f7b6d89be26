"""Who loses a client's lease while working on it writes nothing more to AWS and changes no phase."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from migration.core import aws_store, leases
from migration.core.clients import all_clients
from migration.core.leases import LeaseLostError
from migration.models import ClientMigration, Secret
from migration.moves import moves
from migration.moves.approvals import start_move_run
from migration.moves.moves import move
from migration.pushes import pushes, resolutions
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs import engine
from migration.secrets import layouts
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_full_client
from tests.migration.core.test_leases import LOSSES
from tests.migration.moves.clients import NAME, change_in_aws, enter_phase, password, phase_of

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


@pytest.fixture
def lose_after(monkeypatch):
    """Has the session lost once the function of the module has returned."""

    def lose_after(module, name, lose):
        function = getattr(module, name)

        def call(*arguments, **named):
            found = function(*arguments, **named)
            lose()
            return found

        monkeypatch.setattr(module, name, call)

    return lose_after


@LOSSES
def test_a_push_writes_nothing_to_aws_any_more(idom, lose_after, monkeypatch, lose):
    monkeypatch.setattr(leases, "PROVEN_FOR_SECONDS", 0)
    lose_after(pushes, "prepare_writer", lose)

    with pytest.raises(LeaseLostError):
        push(client_ids=[idom])

    with pytest.raises(SecretsManagerError) as nothing:
        aws_store.secrets_manager().get_value(NAME)
    assert nothing.value.not_found


@LOSSES
def test_a_push_whose_lease_was_lost_after_its_writes_says_so(idom, lose_after, lose):
    lose_after(pushes, "_record_results", lose)

    with pytest.raises(LeaseLostError):
        push(client_ids=[idom])


@LOSSES
def test_a_move_changes_no_phase(idom, lose_after, lose):
    enter_phase(idom, Phase.DUAL_WRITE)
    compare(client_ids=[idom])
    lose_after(moves, "make_unsaved_comparison", lose)

    with pytest.raises(LeaseLostError):
        move(client_id=idom, new=Phase.DUAL_READ)

    assert phase_of(idom) == Phase.DUAL_WRITE


@LOSSES
def test_a_copy_to_postgresql_changes_no_row(idom, lose_after, lose):
    enter_phase(idom, Phase.AWS)
    before = password(idom)
    change_in_aws(aws_store.secrets_manager(), db_password="example-theirs")
    lose_after(resolutions, "back_up_rows_to_aws", lose)

    with pytest.raises(LeaseLostError):
        resolutions.copy_to_postgres(client_id=idom)

    assert password(idom) == before


@pytest.fixture
def lose_at_check(monkeypatch):
    """Takes the session's lock away in the very transaction that stores, just before it asks for the lock.

    As the check that asks is the last one before the commit, nothing else would notice.
    """

    def lose_at_check(module, number=1):
        checks = []
        check = module.refuse_lost_client_locks

        def lose_and_check():
            checks.append(connection.in_atomic_block)
            if len(checks) == number:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock_all()")
            check()

        monkeypatch.setattr(module, "refuse_lost_client_locks", lose_and_check)
        return checks

    return lose_at_check


def layout_of(pk: int) -> tuple[str, str]:
    row = ClientMigration.objects.filter(pk=pk).first() or ClientMigration()
    return row.layout, row.other_secrets


def test_a_layout_without_a_secret_is_not_changed(lose_at_check):
    pk = make_client("empty")
    before = layout_of(pk)
    checks = lose_at_check(layouts)

    with pytest.raises(LeaseLostError):
        layouts.change_layout(client_id=pk, layout=Layout.SERVICE)

    assert (layout_of(pk), checks) == (before, [True])


@pytest.mark.parametrize("number", [1, 2], ids=["prepare", "switch"])
def test_a_layout_is_neither_prepared_nor_switched(idom, lose_at_check, number):
    enter_phase(idom, Phase.DUAL_WRITE)
    before = layout_of(idom)
    checks = lose_at_check(layouts, number)

    with pytest.raises(LeaseLostError):
        layouts.change_layout(client_id=idom, layout=Layout.SERVICE)

    assert layout_of(idom)[0] == before[0]
    assert (layout_of(idom) == before) == (number == 1)  # that they are begun is stored before
    assert checks == [True] * number
    assert not Secret.objects.filter(name=f"{NAME}/database").exists()


def test_former_secrets_are_not_forgotten(idom, lose_at_check):
    enter_phase(idom, Phase.DUAL_WRITE)
    layouts.change_layout(client_id=idom, layout=Layout.SERVICE)
    since = timezone.now() - timedelta(hours=1, seconds=61)
    ClientMigration.objects.update(other_secrets_since=since)
    before = layout_of(idom)
    checks = lose_at_check(layouts)

    with pytest.raises(LeaseLostError):
        layouts.remove_other_secrets()

    assert (layout_of(idom), checks) == (before, [True])
    assert Secret.objects.filter(name=NAME).exists()


def test_a_phase_is_not_changed_in_the_transaction_that_lost_the_lock(idom, lose_at_check):
    enter_phase(idom, Phase.DUAL_WRITE)
    compare(client_ids=[idom])
    checks = lose_at_check(moves)

    with pytest.raises(LeaseLostError):
        move(client_id=idom, new=Phase.DUAL_READ)

    assert (phase_of(idom), checks) == (Phase.DUAL_WRITE, [True])


def test_a_run_changes_no_phase_in_the_transaction_that_lost_the_locks(idom, lose_at_check):
    enter_phase(idom, Phase.DUAL_WRITE)
    compare(client_ids=[idom])
    run = start_move_run(chosen=all_clients(), old=Phase.DUAL_WRITE, new=Phase.DUAL_READ)
    checks = lose_at_check(moves)

    with pytest.raises(LeaseLostError):
        engine.finish_inline(run)

    assert (phase_of(idom), checks) == (Phase.DUAL_WRITE, [True])
