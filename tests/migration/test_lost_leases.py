"""Who loses a client's lease while working on it writes nothing more to AWS and changes no phase."""

import pytest

from migration.operations import aws_store, leases, moves, pushes, resolutions
from migration.operations.comparisons import compare
from migration.operations.leases import LeaseLostError
from migration.operations.moves import move
from migration.operations.pushes import push
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import NAME, change_in_aws, enter_phase, password, phase_of
from tests.migration.test_leases import LOSSES

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
    lose_after(pushes, "make_writer", lose)

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
    lose_after(moves, "make_comparison", lose)

    with pytest.raises(LeaseLostError):
        move(client_id=idom, new=Phase.DUAL_READ)

    assert phase_of(idom) == Phase.DUAL_WRITE


@LOSSES
def test_a_copy_to_postgresql_changes_no_row(idom, lose_after, lose):
    enter_phase(idom, Phase.AWS)
    before = password(idom)
    change_in_aws(aws_store.secrets_manager(), db_password="example-theirs")
    lose_after(resolutions, "keep_rows_in_aws", lose)

    with pytest.raises(LeaseLostError):
        resolutions.copy_to_postgres(client_id=idom)

    assert password(idom) == before
