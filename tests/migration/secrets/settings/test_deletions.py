"""AWS deletes no secret that has replicas: they are removed first, wherever a secret goes, and are back by a run."""

import pytest

from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core import aws_store
from migration.models import ClientMigration, PhaseChange
from migration.moves.moves import move
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from migration.secrets import layouts
from migration.secrets.settings import apply_settings, describe_settings
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.clients.offboarding.clients import deactivate
from tests.migration.moves.clients import NAME, enter_phase

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture(autouse=True)
def two_regions(settings) -> None:
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": ""}


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


def has_gone(sm, name: str = NAME) -> bool:
    there = sm.describe_secret(name)
    assert bool(there.deleted_at) != bool(there.replicas)
    return there.deleted_at is not None


def test_after_a_move_back_they_go_and_a_run_makes_them_again(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)

    move(client_id=pk, new=Phase.POSTGRES, schedule_deletion=True)

    assert has_gone(sm)
    assert "The replicas of nova/clients/idom were removed: eu-west-1, eu-west-2." in str(
        PhaseChange.objects.first().note
    )
    (pushed,) = push(client_ids=[pk])
    assert pushed.outcome == Outcome.RESTORED
    assert sm.describe_secret(NAME).replicas == ()
    assert apply_settings(client_id=pk, wanted=describe_settings())[0] == Outcome.UPDATED
    assert len(sm.describe_secret(NAME).replicas) == 2


@pytest.mark.parametrize("operation", ["RemoveRegionsFromReplication", "DeleteSecret"])
def test_offboarding_removes_them_also_where_it_was_killed_in_the_middle(sm, aws, operation):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    deactivate(pk)
    rule = FaultRule(fault=Fault.DOWN, operations=(operation,))
    aws.conditions.set(Conditions(faults=(rule,)))
    with pytest.raises(Exception, match=r"DeleteSecret|RemoveRegions"):
        offboard_client(client_id=pk, reason="CHG-7", acknowledged=True)
    aws.conditions.clear()

    said = offboard_client(client_id=pk, reason="CHG-7", acknowledged=True)

    assert has_gone(sm)
    assert ("were removed" in str(said)) is (operation == "RemoveRegionsFromReplication")
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert sm.describe_secret(NAME).deleted_at is None


def test_the_secrets_of_a_former_layout_go_with_theirs(sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    layouts.change_layout(client_id=pk, layout=Layout.SERVICE)
    due = ClientMigration.objects.filter(pk=pk)
    monkeypatch.setattr(layouts, "select_with_unneeded_secrets", lambda: due)

    layouts.remove_other_secrets()

    assert has_gone(sm)
    assert len(sm.describe_secret(f"{NAME}/email").replicas) == 2
