"""Secrets in states that a run meets rarely: keys that AWS names otherwise, secrets that went, replicas that stay."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.models import Secret
from migration.moves.moves import move
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.engine import ItemFailedError
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets import settings as applied_settings
from migration.secrets.layouts import change_layout
from migration.secrets.settings import (
    KEY_UNTOLD,
    REPLICA_LACKS,
    apply_settings,
    describe_settings,
    find_settings_drift,
    look_at_secrets,
)
from nova_credentials.aws import secret_settings
from nova_credentials.aws.answers import Replica
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_full_client
from tests.migration.clients.offboarding.clients import deactivate
from tests.migration.moves.clients import NAME, enter_phase
from tests.migration.pushes.pushed import make_anew
from tests.migration.secrets.settings.findings import find_states

pytestmark = pytest.mark.usefixtures("stores")

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = KEY.replace("a", "b")


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    return pk


def apply(pk: int):
    return apply_settings(client_id=pk, wanted=describe_settings())


def name_keys(monkeypatch, ids: dict[str, str]) -> None:
    """AWS names a key by its id, by whichever alias it was set."""
    describe = SecretsManager.describe_secret

    def describe_by_id(sm: SecretsManager, name: str):
        there = describe(sm, name)
        return replace(there, kms_key=ids.get(there.kms_key, there.kms_key))

    monkeypatch.setattr(SecretsManager, "describe_secret", describe_by_id)


def states() -> list[str]:
    return find_states()


def test_an_alias_that_aws_names_by_its_id_is_set_once_and_then_known(
    idom, settings, monkeypatch, aws
):
    ids = {"alias/nova": KEY}
    name_keys(monkeypatch, ids)
    settings.NOVA_KMS_KEY_ID = "alias/nova"
    secret_settings.update_secret(aws_store.secrets_manager(), NAME, kms_key=KEY)

    assert look_at_secrets(client_id=idom)[0].changes.messages[0].key == KEY_UNTOLD.key
    assert states() == ["not_looked_at"]
    assert apply(idom)[0] == Outcome.UPDATED

    assert states() == ["ok"]
    calls = aws.conditions.report()["calls"]["UpdateSecret"]["calls"]
    assert apply(idom) == (Outcome.UNCHANGED, None)
    Secret.objects.update(described_at=None)
    applied_settings.store_due_secret_states(seconds=10)
    assert not find_settings_drift().client_ids_to_look_at
    assert not look_at_secrets(client_id=idom)[0].changes
    assert aws.conditions.report()["calls"]["UpdateSecret"]["calls"] == calls
    # Somebody gives it another key, or the settings name another alias: nothing is known of these.
    ids["alias/nova"] = OTHER
    assert apply(idom)[0] == Outcome.UPDATED
    settings.NOVA_KMS_KEY_ID = "alias/other"
    ids["alias/other"] = OTHER
    assert states() == ["not_looked_at"]


def test_a_secret_that_went_since_the_last_look_differs_no_more_after_a_run(idom, settings, sm):
    applied_settings.store_due_secret_states(seconds=10)
    settings.NOVA_KMS_KEY_ID = KEY
    assert find_settings_drift().client_ids_to_look_at == {idom}
    sm.schedule_deletion(NAME)

    assert apply(idom)[0] == Outcome.SKIPPED

    assert not find_settings_drift().client_ids_to_look_at
    sm.restore_secret(NAME)
    look_at_secrets(client_id=idom)
    assert find_settings_drift().client_ids_to_look_at == {idom}
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    assert apply(idom)[0] == Outcome.SKIPPED
    assert not find_settings_drift().client_ids_to_look_at


def test_a_secret_that_somebody_made_anew_is_called_so_at_once(idom, sm):
    applied_settings.store_due_secret_states(seconds=10)
    make_anew(sm, NAME)

    with pytest.raises(ItemFailedError):
        apply(idom)

    assert states() == ["failed"]


def test_a_secret_that_lost_its_tag_is_ours_still_and_gets_it_back(idom, sm):
    sm.sm.untag_resource(SecretId=NAME, TagKeys=["ManagedBy"])
    applied_settings.store_due_secret_states(seconds=10)
    assert find_settings_drift().client_ids_to_look_at == {idom}

    assert apply(idom)[0] == Outcome.UPDATED

    assert sm.describe_secret(NAME).has_our_tag


def test_a_secret_that_is_taken_back_from_its_deletion_is_looked_at_soon(idom, settings):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": ""}
    apply(idom)
    assert not find_settings_drift().client_ids_to_look_at
    move(client_id=idom, new=Phase.POSTGRES, schedule_deletion=True)
    assert Secret.objects.get().facts["deleted"] is True
    assert not find_settings_drift().client_ids_to_look_at

    push(client_ids=[idom])  # which takes it back
    applied_settings.store_due_secret_states(seconds=10)

    (message,) = find_settings_drift().clients[0].secrets[0].changes.messages
    assert message.key == REPLICA_LACKS.key


def test_a_client_that_comes_back_is_looked_at_soon(idom, settings):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": ""}
    apply(idom)
    deactivate(idom)
    offboard_client(client_id=idom, reason="CHG-7")
    assert not find_settings_drift().client_ids_to_look_at

    bring_back_as_inactive(client_id=idom, reason="CHG-8")
    applied_settings.store_due_secret_states(seconds=10)

    assert find_settings_drift().client_ids_to_look_at == {idom}


def test_another_secret_of_the_name_is_looked_at_soon(idom, settings, sm):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": ""}
    apply(idom)
    Secret.objects.update(arn="arn:of:one:that:was:deleted")

    push(client_ids=[idom])

    assert Secret.objects.get().arn != "arn:of:one:that:was:deleted"
    assert find_settings_drift().unlooked == {NAME: idom}


def test_a_replica_that_aws_takes_long_to_remove_keeps_no_other_from_being_made(
    idom, settings, monkeypatch, sm
):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": KEY}
    apply(idom)
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": OTHER, "eu-west-2": ""}
    monkeypatch.setattr(secret_settings, "REMOVAL_SECONDS", 0.0)
    describe, slow = SecretsManager.describe_secret, [True]

    def describe_slowly(sm: SecretsManager, name: str):
        there = describe(sm, name)
        left = Replica("eu-west-1", "InProgress", KEY)
        regions = {each.region for each in there.replicas}
        if slow and "eu-west-1" not in regions:
            return replace(there, replicas=(left, *there.replicas))
        return there

    monkeypatch.setattr(SecretsManager, "describe_secret", describe_slowly)
    run = Run.start(
        kind=Run.Kind.SECRET_SETTINGS,
        chosen=all_clients(),
        tries=60,
        secret_settings=describe_settings(),
    )
    engine.process_batch_if_running(run.pk, 0)

    item = run.items.get()
    assert (item.outcome, item.attempts) == ("", 1)  # it passes by itself
    assert {each.region for each in describe(sm, NAME).replicas} == {"eu-west-2"}
    slow.clear()
    run.items.update(next_try_at=timezone.now() - timedelta(seconds=1))
    engine.process_batch_if_running(run.pk, 0)
    assert run.items.get().outcome == Outcome.UPDATED
    keys = {each.region: each.kms_key for each in describe(sm, NAME).replicas}
    assert keys["eu-west-1"] == OTHER


def test_a_slug_with_a_slash_reaches_no_other_clients_secret(idom, sm):
    change_layout(client_id=idom, layout=Layout.SERVICE)
    for slug in ("idom/database", "idom/"):
        pk = make_client(slug)

        assert apply(pk)[0] == Outcome.SKIPPED
        assert look_at_secrets(client_id=pk) == []

    assert sm.describe_secret(f"{NAME}/database").tags["Client"] == "idom"


def test_a_client_that_nova_deletes_meanwhile_has_no_secrets(idom):
    assert look_at_secrets(client_id=idom + 1) == []


def test_secrets_that_aws_never_describes_keep_no_other_waiting(idom, monkeypatch):
    enter_phase(make_full_client("acme"), Phase.DUAL_WRITE)
    describe = SecretsManager.describe_secret

    def refuse(sm: SecretsManager, name: str):
        if name == "nova/clients/acme":
            raise SecretsManagerError(
                ErrorClass.PERMISSION, "AccessDeniedException", "DescribeSecret", name
            )
        return describe(sm, name)

    monkeypatch.setattr(SecretsManager, "describe_secret", refuse)
    monkeypatch.setattr(applied_settings, "MOST_ERRORS", 0)

    applied_settings.store_due_secret_states(seconds=10)
    assert find_settings_drift().looked_at == 0
    applied_settings.store_due_secret_states(seconds=10)

    assert find_settings_drift().unlooked.keys() == {"nova/clients/acme"}
