"""What guards a move: the client's lock, the exact streak, and what a refusal or a restore leaves in the tables."""

import threading

import pytest
from django.db import connection, transaction

from migration.core import aws_store, leases, snapshots
from migration.core.audit import REFUSAL_EVENT
from migration.core.sentences import IS_OFFBOARDED
from migration.models import (
    AuditEvent,
    ClientMigration,
    Comparison,
    Offboarding,
    OpenMismatch,
    PhaseChange,
    Secret,
)
from migration.moves import moves
from migration.moves.moves import MOVE_UNDER_WAY, RESTORED, move
from migration.moves.rules import CLEAN_STREAK
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import hold_rows, hold_rows_if_all_free
from migration.runs.items import Outcome
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import MOVES, Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import (
    NAME,
    change_in_aws,
    codes,
    compare_apart,
    enter_phase,
    is_pending,
    phase_of,
    refusal_of,
    write_password,
)
from tests.migration.moves.runs.moved import move_all, outcomes
from tests.migration.pushes.pushed import adopt

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


def hold_lock(pk: int, held: threading.Event, done: threading.Event) -> None:
    """Holds the client's lock on a connection of its own, as a push that takes long does."""
    try:
        with leases.hold_client_locks([pk], wait_seconds=5) as mine:
            assert mine == {pk}
            held.set()
            done.wait(30)
    finally:
        connection.close()


@pytest.mark.parametrize(("old", "new"), MOVES)
def test_no_move_happens_while_another_holds_the_clients_lock(idom, monkeypatch, old, new):
    enter_phase(idom, old)
    monkeypatch.setattr(moves, "LOCK_WAIT_SECONDS", 0.05)
    held, done = threading.Event(), threading.Event()
    other = threading.Thread(target=hold_lock, args=(idom, held, done))
    other.start()
    try:
        assert held.wait(10)
        refusal = refusal_of(idom, new)
    finally:
        done.set()
        other.join(30)

    assert refusal.codes == [MOVE_UNDER_WAY.key]
    assert phase_of(idom) == old


def test_the_streak_that_is_wanted_is_enough_and_one_less_is_not(idom, settings):
    settings.NOVA_CLEAN_STREAK = 3
    enter_phase(idom, Phase.DUAL_READ)
    compare_apart(idom, times=2)
    assert codes(idom, Phase.AWS) == [CLEAN_STREAK.key]

    compare_apart(idom)
    assert ClientMigration.objects.get(pk=idom).clean_streak == 3

    move(client_id=idom, new=Phase.AWS)


def test_the_mismatch_that_stops_a_cutover_is_stored_and_ends_the_streak(idom, sm):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    change_in_aws(sm, port=1)

    refusal_of(idom, Phase.AWS)

    stands = ClientMigration.objects.get(pk=idom)
    assert (stands.comparison_status, stands.clean_streak) == (Comparison.Status.MISMATCH, 0)
    assert [row.path for row in OpenMismatch.objects.filter(client_id=idom)] == ["database.port"]


def test_a_refusal_is_recorded_by_the_move_and_that_of_a_run_by_the_run(idom):
    enter_phase(idom, Phase.DUAL_READ)
    write_password(idom, "example-new")
    refused = AuditEvent.objects.filter(code=REFUSAL_EVENT)

    run = move_all(Phase.DUAL_READ, Phase.AWS)
    assert outcomes(run) == {"idom": Outcome.REFUSED}
    assert not refused.exists()

    refusal_of(idom, Phase.AWS)
    assert refused.get().client_id == idom


@pytest.mark.parametrize("new", [Phase.AWS, Phase.DUAL_WRITE])
def test_a_client_that_is_about_to_leave_goes_neither_forward_nor_back(idom, new):
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    Offboarding.objects.create(client_id=idom, slug="idom", former_phase=Phase.DUAL_READ)

    assert codes(idom, new) == [IS_OFFBOARDED.key]


def test_a_plain_restore_leaves_no_push_pending_and_says_what_it_did(idom):
    enter_phase(idom, Phase.PURGED)

    moved = move(client_id=idom, new=Phase.AWS)

    assert moved.message.key == RESTORED.key
    assert not is_pending(idom)
    assert PhaseChange.objects.first().note is None


def test_a_push_remembers_the_version_that_it_wrote_and_the_secret_that_it_adopted(idom, sm):
    document = snapshots.read_snapshots([idom])[idom].document
    sm.sm.create_secret(Name=NAME, SecretString='{"client_name": "somebody else\'s"}')
    adopt(idom)
    (pushed,) = push(client_ids=[idom])

    assert pushed.outcome == "updated"
    assert sm.get_value(NAME).to_document() == document
    assert Secret.objects.get(pk=NAME).version_id == sm.get_value(NAME).version_id


def test_a_push_that_reads_back_something_else_is_tried_again(idom, sm, monkeypatch):
    put = SecretsManager.put_value

    def put_and_change(self: SecretsManager, name: str, text: str, **options: str) -> str:
        version = put(self, name, text, **options)
        put(self, name, '{"client_name": "changed at once"}')
        return version

    push(client_ids=[idom])
    connection.cursor().execute("UPDATE public.clients SET name = 'Other' WHERE id = %s", [idom])
    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "put_value", put_and_change)
        (pushed,) = push(client_ids=[idom])

    assert (pushed.outcome, pushed.refused) == ("failed", False)
    assert is_pending(idom)
    assert ClientMigration.objects.get(pk=idom).refused_revision is None


@pytest.mark.parametrize("hold", [hold_rows, lambda pk: hold_rows_if_all_free([pk])])
def test_rows_are_held_in_a_transaction_of_their_own(idom, hold):
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), hold(idom):
        pass
