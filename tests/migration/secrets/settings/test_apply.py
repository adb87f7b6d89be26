"""A run makes secrets as the settings say, whatever it finds, and changes no value and no version."""

import json

import pytest
from django.core.management import call_command

from migration.core import aws_store
from migration.core.aws_writes import stop_aws_writes
from migration.core.clients import all_clients
from migration.core.leases import LeaseKind
from migration.core.sentences import NOT_OURS
from migration.models import AuditEvent, ClientMigration, Secret
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.engine import ItemFailedError
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets import settings as applied_settings
from migration.secrets.layouts import change_layout
from migration.secrets.settings import (
    KEY_READS_NOT,
    NO_SECRET_TO_SET,
    SETTINGS_OF_ANOTHER_START,
    SETTINGS_UNDER_WAY,
    describe_settings,
)
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.aws.secret_settings import update_secret
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.held_leases import held_elsewhere
from tests.migration.doctor.iam.recorder import recorder
from tests.migration.moves.clients import NAME, enter_phase
from tests.migration.pushes.pushed import make_anew

pytestmark = pytest.mark.usefixtures("stores")

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = KEY.replace("a", "b")


@pytest.fixture
def sm() -> SecretsManager:
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    """In AWS by the settings of before: AWS's own key, no replica."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


@pytest.fixture
def wanted(settings, idom):
    settings.NOVA_KMS_KEY_ID = KEY
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": OTHER}
    return settings


def apply(pk: int, **more):
    return applied_settings.apply_settings(client_id=pk, wanted=describe_settings(), **more)


def made(aws) -> int:
    """How often a secret was described."""
    return aws.conditions.report()["calls"]["DescribeSecret"]["calls"]


def replicas(sm, name: str = NAME) -> dict[str, str]:
    return {each.region: each.status for each in sm.describe_secret(name).replicas}


def test_a_new_secret_has_the_key_and_the_replicas_at_once(settings, sm):
    settings.NOVA_KMS_KEY_ID = KEY
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": OTHER}

    with recorder.rotating():  # before a rotation, too: who only rotates has to be allowed to
        (pushed,) = push(client_ids=[make_full_client("idom")])

    there = sm.describe_secret(NAME)
    assert pushed.outcome == Outcome.CREATED
    assert there.kms_key == KEY
    assert [(each.region, each.kms_key) for each in there.replicas] == [
        ("eu-west-1", "alias/aws/secretsmanager"),
        ("eu-west-2", OTHER),
    ]


def test_a_secret_moves_to_the_key_and_gets_replicas_and_nothing_else_changes(wanted, idom, sm):
    before, value = sm.describe_secret(NAME), sm.get_value(NAME)
    streak = ClientMigration.objects.get(pk=idom)

    outcome, message = apply(idom)

    after = sm.describe_secret(NAME)
    assert outcome == Outcome.UPDATED
    assert "Its KMS key is alias/aws/secretsmanager, and should be" in str(message)
    assert after.kms_key == KEY
    assert replicas(sm) == {"eu-west-1": "InSync", "eu-west-2": "InSync"}
    assert (after.versions, after.tags, after.description) == (
        before.versions,
        before.tags,
        before.description,
    )
    assert (sm.get_value(NAME).version_id, sm.get_value(NAME).text) == (
        value.version_id,
        value.text,
    )
    assert compare(client_ids=[idom])[idom].status == "match"
    assert ClientMigration.objects.get(pk=idom).phase_changed_at == streak.phase_changed_at
    (pushed,) = push(client_ids=[idom])
    assert pushed.outcome == Outcome.UNCHANGED
    event = AuditEvent.objects.get(code="secret_settings")
    assert event.slug == "idom"
    assert KEY in str(event.message)
    # Done again it changes nothing, and the audit says nothing more.
    assert apply(idom) == (Outcome.UNCHANGED, None)
    assert AuditEvent.objects.filter(code="secret_settings").count() == 1


def test_what_somebody_changed_by_hand_is_mended_and_tags_of_others_stay(idom, sm):
    arn = sm.describe_secret(NAME).arn
    update_secret(sm, arn, description="mine")
    sm.sm.tag_resource(
        SecretId=arn, Tags=[{"Key": "Client", "Value": "acme"}, {"Key": "Cost", "Value": "7"}]
    )

    assert apply(idom)[0] == Outcome.UPDATED

    after = sm.describe_secret(NAME)
    assert after.description == "NOVA credentials for client idom"
    assert (after.tags["Client"], after.tags["Cost"]) == ("idom", "7")


def test_settings_that_say_nothing_leave_key_and_replicas_alone(wanted, idom, sm):
    apply(idom)
    wanted.NOVA_KMS_KEY_ID, wanted.NOVA_REPLICA_REGIONS = "", None

    assert apply(idom) == (Outcome.UNCHANGED, None)

    assert sm.describe_secret(NAME).kms_key == KEY
    assert set(replicas(sm)) == {"eu-west-1", "eu-west-2"}


def test_a_region_that_is_taken_out_loses_its_replica_and_the_way_back_to_awss_key(
    wanted, idom, sm
):
    apply(idom)
    wanted.NOVA_REPLICA_REGIONS = {"eu-west-2": OTHER}
    wanted.NOVA_KMS_KEY_ID = "alias/aws/secretsmanager"

    assert apply(idom)[0] == Outcome.UPDATED

    assert set(replicas(sm)) == {"eu-west-2"}
    assert sm.describe_secret(NAME).kms_key == ""
    wanted.NOVA_REPLICA_REGIONS = {}
    assert apply(idom)[0] == Outcome.UPDATED
    assert replicas(sm) == {}


def test_a_replica_with_another_key_is_made_anew(wanted, idom, sm):
    apply(idom)
    wanted.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": KEY}

    assert apply(idom)[0] == Outcome.UPDATED

    keys = {each.region: each.kms_key for each in sm.describe_secret(NAME).replicas}
    assert keys["eu-west-2"] == KEY
    # Nobody can tell whether an alias names this one: it is taken as it is, and not made anew each time.
    wanted.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": "alias/nova"}
    assert apply(idom) == (Outcome.UNCHANGED, None)


def test_a_replica_that_failed_is_told_and_tried_again_and_no_secret_is_overwritten(
    wanted, idom, sm
):
    abroad = SecretsManager("eu-west-1")
    abroad.sm.create_secret(Name=NAME, SecretString="theirs")

    with pytest.raises(ItemFailedError) as refused:
        apply(idom)

    assert "Its replica in eu-west-1 failed" in str(refused.value)
    assert refused.value.error_class == "conflict"
    assert abroad.get_value(NAME).text == "theirs"
    assert replicas(sm) == {"eu-west-1": "Failed", "eu-west-2": "InSync"}
    abroad.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    assert apply(idom)[0] == Outcome.UPDATED
    assert replicas(sm) == {"eu-west-1": "InSync", "eu-west-2": "InSync"}


def test_an_alias_beside_an_id_is_set_as_the_settings_name_it(wanted, idom, sm):
    apply(idom)
    wanted.NOVA_KMS_KEY_ID = "alias/nova"

    assert apply(idom)[0] == Outcome.UPDATED
    assert sm.describe_secret(NAME).kms_key == "alias/nova"


def test_both_layouts_secrets_and_those_that_a_change_left_are_changed(wanted, idom, sm):
    for layout, wanted.NOVA_KMS_KEY_ID in ((Layout.SERVICE, KEY), (Layout.CLIENT, OTHER)):
        change_layout(client_id=idom, layout=layout)

        assert apply(idom)[0] == Outcome.UPDATED

        for name in (NAME, *(f"{NAME}/{part}" for part in ("database", "email", "aws"))):
            assert sm.describe_secret(name).kms_key == wanted.NOVA_KMS_KEY_ID, name
            assert set(replicas(sm, name)) == {"eu-west-1", "eu-west-2"}


def test_a_secret_that_is_not_ours_stays(wanted, idom, sm):
    make_anew(sm, NAME)

    with pytest.raises(ItemFailedError) as refused:
        apply(idom)

    assert NOT_OURS.key in refused.value.message.codes
    assert sm.describe_secret(NAME).kms_key == ""


def test_without_a_secret_or_with_one_that_goes_there_is_nothing_to_do(wanted, idom, sm):
    sm.schedule_deletion(NAME)

    assert apply(idom) == (Outcome.SKIPPED, NO_SECRET_TO_SET())
    assert apply(make_full_client("acme"))[0] == Outcome.SKIPPED


def test_a_key_that_can_not_be_used_is_told_and_the_secret_keeps_its_own(wanted, idom, sm, aws):
    aws.conditions.set(
        Conditions(faults=(FaultRule(fault=Fault.KMS, operations=("UpdateSecret",)),))
    )

    with pytest.raises(ItemFailedError) as refused:
        apply(idom)

    aws.conditions.clear()
    assert "EncryptionFailure" in str(refused.value)
    assert refused.value.error_class == "permission"
    assert sm.describe_secret(NAME).kms_key == ""


def test_a_key_by_which_the_site_can_not_read_is_told(wanted, idom, sm, aws):
    aws.conditions.set(
        Conditions(faults=(FaultRule(fault=Fault.KMS, operations=("GetSecretValue",)),))
    )

    for _again in range(
        2
    ):  # the second time nothing is changed any more, and it still can't be read
        with pytest.raises(ItemFailedError) as refused:
            apply(idom)
        assert refused.value.message.key == KEY_READS_NOT.key

    aws.conditions.clear()
    assert apply(idom) == (Outcome.UNCHANGED, None)


@pytest.mark.parametrize(
    "operation", ["UpdateSecret", "ReplicateSecretToRegions", "RemoveRegionsFromReplication"]
)
def test_what_was_begun_and_not_finished_is_gone_on_with(wanted, idom, sm, aws, operation):
    """As after kill -9 behind the call: AWS has carried it out, and nobody knows."""
    if operation == "RemoveRegionsFromReplication":
        apply(idom)
        wanted.NOVA_REPLICA_REGIONS = {"eu-west-1": "", "eu-west-2": KEY}
    rule = FaultRule(fault=Fault.LOST, operations=(operation,))
    aws.conditions.set(Conditions(faults=(rule,)))
    with pytest.raises(ItemFailedError):
        apply(idom)
    aws.conditions.clear()

    assert apply(idom)[0] in (Outcome.UPDATED, Outcome.UNCHANGED)

    there = sm.describe_secret(NAME)
    assert there.kms_key == KEY
    assert set(replicas(sm)) == {"eu-west-1", "eu-west-2"}
    assert not applied_settings.look_at_secrets(client_id=idom)[0].changes


def test_two_at_once_one_waits_and_says_so(wanted, idom, monkeypatch):
    monkeypatch.setattr(applied_settings, "LOCK_WAIT_SECONDS", 0)
    with held_elsewhere(LeaseKind.CLIENT, idom), pytest.raises(ItemFailedError) as refused:
        apply(idom)

    assert refused.value.message.key == SETTINGS_UNDER_WAY.key
    assert refused.value.error_class == "unavailable"


def test_a_run_waits_while_aws_writes_are_stopped_and_a_worker_with_other_settings_does_nothing(
    wanted, idom, sm
):
    run = Run.start(
        kind=Run.Kind.SECRET_SETTINGS, chosen=all_clients(), secret_settings=describe_settings()
    )
    stop_aws_writes(reason="a test")
    engine.work_on_run(run_id=run.pk)
    assert run.items.get().outcome == ""
    assert sm.describe_secret(NAME).kms_key == ""

    with pytest.raises(ItemFailedError) as refused:
        applied_settings.apply_settings(client_id=idom, wanted={"kms_key": "", "replicas": None})
    assert refused.value.message.key == SETTINGS_OF_ANOTHER_START.key


def test_a_dry_run_of_the_command_asks_aws_what_is_otherwise(wanted, idom, capsys, sm):
    make_full_client("acme")

    call_command("apply_secret_settings", "--all", "--dry-run", "--format", "json")

    plan = json.loads(capsys.readouterr().out)
    assert (plan["clients"], plan["will"], plan["nothing"], plan["refused"]) == (2, 1, 1, 0)
    acme, found = plan["items"]
    assert (acme["slug"], acme["verdict"]) == ("acme", "nothing")
    assert (found["slug"], found["code"]) == ("idom", "settings_still_differ")
    assert NAME in found["message"]
    assert sm.describe_secret(NAME).kms_key == ""
    assert not Run.objects.exists()


def test_the_command_compares_and_applies(wanted, idom, capsys, sm):
    make_full_client("acme")
    with pytest.raises(SystemExit) as ended:
        call_command("apply_secret_settings", "--all", "--check", "--format", "json")
    assert ended.value.code == 1
    (found,) = json.loads(capsys.readouterr().out)["items"]
    assert (found["slug"], found["name"]) == ("idom", NAME)
    assert found["codes"] == ["key_differs", "replica_lacks", "replica_lacks"]
    assert sm.describe_secret(NAME).kms_key == ""

    call_command("apply_secret_settings", "--all", "--inline", "--format", "json")

    told = json.loads(capsys.readouterr().out)
    assert (told["updated"], told["skipped"], told["failed"]) == (1, 1, 0)
    run = Run.objects.get()
    assert run.secret_settings == {
        "kms_key": KEY,
        "replicas": {"eu-west-1": "", "eu-west-2": OTHER},
    }
    assert str(run) == f"Key and regions {run.pk}"
    call_command("apply_secret_settings", "idom", "--check")
    assert capsys.readouterr().out == "1 secrets, 0 differing\n"


def test_the_audit_has_what_aws_took_and_nothing_of_what_it_refused(wanted, idom, aws):
    for operation, entries in (("UpdateSecret", 0), ("ReplicateSecretToRegions", 1)):
        rule = FaultRule(fault=Fault.DENIED, operations=(operation,))
        aws.conditions.set(Conditions(faults=(rule,)))
        with pytest.raises(ItemFailedError):
            apply(idom)
        assert AuditEvent.objects.filter(code="secret_settings").count() == entries


def test_one_secret_that_aws_does_not_describe_keeps_no_other_from_being_looked_at(
    wanted, idom, aws
):
    enter_phase(make_full_client("acme"), Phase.AWS)
    rule = FaultRule(fault=Fault.DENIED, operations=("DescribeSecret",), calls=1)
    aws.conditions.set(Conditions(faults=(rule,)))

    applied_settings.store_due_secret_states(seconds=10)

    assert Secret.objects.filter(described_at=None).count() == 1


def test_each_secret_is_looked_at_once_a_day(wanted, idom, aws):
    applied_settings.store_due_secret_states(seconds=10)
    facts = Secret.objects.get().facts
    assert (facts["kms_key"], facts["replicas"]) == ("", [])
    calls = made(aws)

    applied_settings.store_due_secret_states(seconds=10)

    assert made(aws) == calls
    apply(idom)
    assert Secret.objects.get().facts["kms_key"] == KEY
