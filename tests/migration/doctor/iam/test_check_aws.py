"""`check_aws`: AWS is asked about each permission, harmlessly; what it refuses is named, and no doubt is called ok."""

import io
import json

import pytest
from django.core.management import call_command

from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import stop_aws_writes
from migration.doctor.iam import (
    ON_ABSENT,
    PolicyFacts,
    Role,
    examine_account,
    list_permissions,
    make_policy,
)
from migration.models import Secret
from migration.pushes.pushes import push
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_admin.embedded.service import ACCOUNT
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from tests.factories import make_full_client
from tests.migration.doctor.iam.calls import enforce

SM = "secretsmanager:"
UNTOLD = {f"{SM}DeleteSecret": "not_looked_at"}
ALL = {p.action for p in list_permissions(Role.ADMIN, frozenset(Layout), kms=False)}
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def policy(layouts=(Layout.CLIENT,), *, kms_key="", without: str = "") -> dict:
    facts = PolicyFacts(ACCOUNT, "us-east-1", "nova/clients", frozenset(layouts), kms_key)
    made = make_policy(Role.ADMIN, facts)
    for statement in made["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != without]
    return made


@pytest.fixture
def asked(stores, settings, monkeypatch):
    """The policies that AWS asks; the site's may be replaced at any time."""
    policies = {"admin": policy(), "reader": policy()}
    with AwsServer(wrap=enforce(policies)) as server:
        settings.AWS_ENDPOINT_URL = server.endpoint
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        policies["server"] = server
        yield policies


@pytest.fixture
def pushed(asked) -> int:
    pk = make_full_client("idom")
    (done,) = push(client_ids=[pk])
    assert done.outcome == "created"
    return pk


def look() -> dict[str, str]:
    return {finding.permission.action: finding.state.value for finding in examine_account()}


def messages() -> dict[str, str]:
    return {finding.permission.action: str(finding.message) for finding in examine_account()}


def secrets_as_they_are() -> dict[str, object]:
    """Everything that somebody could change, and the values."""
    sm = SecretsManager()
    names = [each["Name"] for each in sm.sm.list_secrets()["SecretList"]]
    return {name: (sm.describe_secret(name), sm.get_value(name)) for name in names}


def test_with_its_policy_the_site_may_do_everything_and_a_deletion_can_not_be_told(pushed):
    assert look() == dict.fromkeys(ALL, "ok") | UNTOLD


def test_a_policy_of_one_secret_per_service_is_enough_for_that_layout(asked, settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    asked["admin"] = policy([Layout.SERVICE])
    push(client_ids=[make_full_client("idom")])

    assert look() == dict.fromkeys(ALL, "ok") | UNTOLD


def test_what_lacks_is_named_with_what_it_is_for(asked, pushed):
    for without in sorted(ALL - UNTOLD.keys()):
        asked["admin"] = policy(without=without)

        found = {finding.permission.action: finding for finding in examine_account()}

        lacking = found[without]
        state, code = lacking.state.value, lacking.message.values["code"]
        assert (without, state, code) == (without, "failed", "AccessDeniedException")
        assert str(lacking.permission.why()) in str(lacking.message)
        assert "iam_policy admin" in str(lacking.remedy)
        also = {f"{SM}CreateSecret"} if without == f"{SM}TagResource" else set()
        failed = {action for action, finding in found.items() if finding.state.value == "failed"}
        assert failed == {without} | also
        assert next(iter(found)) in failed  # the worst is told first


def test_a_permission_that_another_hides_is_not_looked_at(asked, pushed):
    asked["admin"] = policy(without=f"{SM}GetSecretValue")
    found = look()
    assert found[f"{SM}PutSecretValue"] == found[f"{SM}UpdateSecretVersionStage"] == "not_looked_at"
    assert found[f"{SM}CreateSecret"] == "ok"
    asked["admin"] = policy(without=f"{SM}DescribeSecret")
    found = look()
    for action in ("CreateSecret", "PutSecretValue", "TagResource", "RestoreSecret"):
        assert found[SM + action] == "not_looked_at", action


def test_it_changes_nothing_whatever_is_allowed(pushed):
    before = secrets_as_they_are()

    look(), look()

    assert secrets_as_they_are() == before


def test_it_changes_nothing_where_its_own_name_is_a_secret(pushed):
    SecretsManager().sm.create_secret(Name="nova/clients/check_aws", SecretString="{}")
    before = secrets_as_they_are()

    found = messages()

    assert secrets_as_they_are() == before
    for action in ("TagResource", "RestoreSecret"):
        assert "nova/clients/check_aws exists" in found[SM + action]


def test_a_version_that_waits_as_aws_own_rotation_leaves_it_stays(pushed):
    sm = SecretsManager()
    current = sm.get_value("nova/clients/idom").version_id
    sm.sm.update_secret_version_stage(
        SecretId="nova/clients/idom", VersionStage="AWSPENDING", MoveToVersionId=current
    )

    assert "AWSPENDING" in messages()[f"{SM}UpdateSecretVersionStage"]
    assert sm.describe_secret("nova/clients/idom").versions[current] == ("AWSCURRENT", "AWSPENDING")


@pytest.mark.usefixtures("asked")
def test_before_the_first_push_what_needs_a_secret_is_not_looked_at():
    found = look()

    actions = ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "UpdateSecret")
    needing = {f"{SM}{action}" for action in actions}
    assert {action for action, state in found.items() if state != "ok"} == needing | UNTOLD.keys()


def test_secrets_that_are_gone_or_not_ours_are_not_tried(pushed):
    sm = SecretsManager()
    sm.sm.untag_resource(SecretId="nova/clients/idom", TagKeys=["ManagedBy"])
    assert look()[f"{SM}PutSecretValue"] == "not_looked_at"
    sm.tag_secret("nova/clients/idom", slug="idom")
    assert look()[f"{SM}PutSecretValue"] == "ok"
    sm.schedule_deletion("nova/clients/idom")
    assert look()[f"{SM}PutSecretValue"] == "not_looked_at"
    Secret.objects.all().delete()
    assert look()[f"{SM}PutSecretValue"] == "not_looked_at"


def test_while_aws_writes_are_stopped_what_writes_is_not_tried(pushed):
    stop_aws_writes(reason="INC-42")

    found = look()

    writing = ("CreateSecret", "PutSecretValue", "TagResource", "RestoreSecret", "DeleteSecret")
    assert {found[SM + action] for action in writing} == {"not_looked_at"}
    assert found[f"{SM}GetSecretValue"] == "ok"
    assert "INC-42" not in str(messages())


def test_replicas_and_a_key_of_the_settings_are_named_and_no_trial_makes_one(pushed, settings):
    settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = KEY, {"eu-west-1": KEY}
    before = secrets_as_they_are()

    found = look()

    untold = ("ReplicateSecretToRegions", "RemoveRegionsFromReplication")
    assert {found[SM + action] for action in untold} == {"not_looked_at"}
    assert {found[f"kms:{action}"] for action in ("GenerateDataKey", "Encrypt")} == {
        "not_looked_at"
    }
    assert secrets_as_they_are() == before


def test_an_aws_that_does_not_answer_is_asked_once(asked, pushed):
    asked["server"].conditions.set(Conditions(faults=(FaultRule(fault=Fault.DOWN),)))

    found = look()

    calls = asked["server"].conditions.report()["calls"]
    assert set(found.values()) == {"not_looked_at"}
    assert calls["DescribeSecret"]["failed"] <= 2  # botocore tries it twice
    assert "CreateSecret" in calls  # of the push
    assert "ListSecrets" not in calls


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.DENIED])
def test_a_name_of_which_aws_says_nothing_is_not_called_taken(asked, monkeypatch, fault):
    """AWS answered when it was asked for the permission, and not when it was asked for the name."""
    monkeypatch.setitem(ON_ABSENT, f"{SM}DescribeSecret", lambda _sm, _name: None)
    rule = FaultRule(fault=fault, operations=("DescribeSecret",))
    asked["server"].conditions.set(Conditions(faults=(rule,)))

    found = {each.permission.action: each for each in examine_account()}

    for action in ("TagResource", "RestoreSecret"):
        assert found[SM + action].state.value == "not_looked_at"
        key = "iam_no_answer" if fault == Fault.DOWN else "iam_needs_other"
        assert found[SM + action].message.key == key


def test_an_expired_key_is_no_lacking_permission(asked, pushed):
    asked["server"].conditions.set(Conditions(faults=(FaultRule(fault=Fault.EXPIRED),)))

    found = examine_account()

    assert {finding.state.value for finding in found} == {"not_looked_at"}
    assert {finding.message.values["code"] for finding in found} == {"ExpiredTokenException"}


def test_a_key_of_your_own_is_asked_for_too(asked, pushed):
    SecretsManager().sm.update_secret(SecretId="nova/clients/idom", KmsKeyId=KEY)
    asked["admin"] = policy(kms_key=KEY)
    found = look()
    assert found == dict.fromkeys(ALL, "ok") | UNTOLD | {
        "kms:Decrypt": "ok", "kms:GenerateDataKey": "not_looked_at", "kms:Encrypt": "not_looked_at",
    }  # fmt: skip
    asked["admin"] = policy()

    refused = messages()

    assert "check its KMS key and resource policy" in refused[f"{SM}GetSecretValue"]
    assert look()["kms:Decrypt"] == "not_looked_at"


# --- The command


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("check_aws", *arguments, stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def test_it_exits_with_0_where_all_that_can_be_told_is_well(pushed):
    code, printed = run("--format", "json")

    found = json.loads(printed)
    assert code == 0
    assert {each["check"] for each in found} == ALL
    assert {tuple(each) for each in found} == {
        ("check", "ok", "state", "message", "remedy", "codes")
    }
    assert [each["check"] for each in found if not each["ok"]] == [f"{SM}DeleteSecret"]


def test_it_exits_with_1_where_one_lacks_and_says_so_first(asked, pushed):
    asked["admin"] = policy(without=f"{SM}RestoreSecret")

    code, printed = run()

    assert code == 1
    assert printed.startswith("FAILED: secretsmanager:RestoreSecret: AWS refuses it on ")
    assert "11 ok" not in printed
    assert "10 ok, 1 failed, 1 not looked at" in printed
    assert "iam_policy reader" in printed


@pytest.mark.usefixtures("asked")
def test_it_exits_with_1_where_something_could_not_be_looked_at():
    assert run()[0] == 1


def test_no_value_is_in_what_it_says(pushed):
    value = secrets_manager().get_value("nova/clients/idom").text

    printed = run()[1] + run("--format", "json")[1]

    passwords = [v for v in json.loads(value)["database"].values() if isinstance(v, str)]
    assert not [password for password in passwords if len(password) > 6 and password in printed]
