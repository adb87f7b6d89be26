"""The policies: exactly this account, region, prefix, layouts and key, accepted by a linter, and nothing in vain."""

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command

from migration.doctor.iam import PERMISSIONS, PolicyFacts, Role, find_policy_facts, make_policy
from migration.models import ClientMigration, Secret
from nova_credentials.document import Layout
from tests.factories import make_client
from tests.migration.doctor.iam.evaluator import Request, allows
from tests.migration.doctor.iam.linter import lint

ONE, MANY = frozenset({Layout.CLIENT}), frozenset({Layout.SERVICE})
ACCOUNT = "210987654321"
SECRET = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
KMS = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{KEY}"
OURS = {"secretsmanager:ResourceTag/ManagedBy": "nova-admin"}
SENT = {
    "aws:RequestTag/Project": "NOVA",
    "aws:RequestTag/ManagedBy": "nova-admin",
    "aws:TagKeys": ("Project", "ManagedBy", "Client"),
}


def facts(layouts=ONE, **changes) -> PolicyFacts:
    known = {"account": ACCOUNT, "region": "eu-west-1", "prefix": "nova/clients"}
    return PolicyFacts(**known | changes, layouts=layouts)


def may(role: Role, action: str, resource: str, context=None, **changes) -> bool:
    policy = make_policy(role, facts(**changes))
    return allows([policy], Request(f"secretsmanager:{action}", resource, context or {}))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("layouts", [ONE, MANY, ONE | MANY])
@pytest.mark.parametrize("key", ["", KEY, KMS, "alias/nova"])
def test_a_linter_that_knows_aws_finds_nothing_and_iam_takes_its_size(role, layouts, key):
    policy = make_policy(role, facts(layouts, kms_key=key))

    assert lint(policy) == []
    assert len(json.dumps(policy, separators=(",", ":"))) < 6144


def test_the_linter_finds_what_is_wrong():
    policy = make_policy(Role.ADMIN, facts())
    policy["Statement"][0]["Action"] = ["secretsmanager:ReadAll"]
    assert "secretsmanager:ReadAll" in str(lint(policy))
    policy["Statement"][0] |= {
        "Action": ["secretsmanager:BatchGetSecretValue"],
        "Resource": [f"{SECRET}nova/clients/*"],
    }
    assert "RESOURCE_MISMATCH" in str(lint(policy))


@pytest.mark.parametrize(
    "resource",
    [
        f"{SECRET}nova/clientsidom-a1B2c3",
        f"{SECRET}nova/others/idom-a1B2c3",
        f"{SECRET}idom-a1B2c3".replace("eu-west-1", "us-east-1"),
        f"{SECRET}nova/clients/idom-a1B2c3".replace(ACCOUNT, "123456789012"),
        f"{SECRET}nova/clients/idom-a1B2c3".replace("eu-west-1", "us-east-1"),
    ],
)
def test_no_secret_of_another_place_is_allowed(resource):
    context = OURS | SENT | {"secretsmanager:RecoveryWindowInDays": "30"}
    for role in Role:
        policy = make_policy(role, facts())
        for permission in PERMISSIONS:
            assert not allows([policy], Request(permission.action, resource, context)) or (
                permission.action.endswith((":BatchGetSecretValue", ":ListSecrets"))
            )


def test_the_reader_reads_and_does_nothing_else():
    name = f"{SECRET}nova/clients/idom-a1B2c3"
    actions = {p.action.partition(":")[2] for p in PERMISSIONS if p.action.startswith("secrets")}

    allowed = {action for action in actions if may(Role.READER, action, name, OURS | SENT)}

    assert allowed == {"GetSecretValue"}
    assert not may(Role.READER, "BatchGetSecretValue", "*")
    assert may(Role.READER, "BatchGetSecretValue", "*", layouts=MANY)


def test_a_layout_of_one_secret_per_service_allows_these_alone():
    for part in ("database", "email", "aws"):
        # A name without a secret may be judged as it was given.
        for end in ("", "-a1B2c3"):
            name = f"{SECRET}nova/clients/idom/{part}{end}"
            assert may(Role.READER, "GetSecretValue", name, layouts=MANY)
    for name in ("idom-a1B2c3", "idom", "idom/other-a1B2c3", "idom/database-a1B2c3x"):
        assert not may(Role.READER, "GetSecretValue", f"{SECRET}nova/clients/{name}", layouts=MANY)
        assert not may(
            Role.ADMIN, "PutSecretValue", f"{SECRET}nova/clients/{name}", OURS, layouts=MANY
        )


def test_only_secrets_with_our_tag_are_written_and_only_ours_are_tagged():
    name = f"{SECRET}nova/clients/idom-a1B2c3"
    for action in ("PutSecretValue", "UpdateSecretVersionStage"):
        assert may(Role.ADMIN, action, name, OURS)
        assert not may(Role.ADMIN, action, name)
        assert not may(
            Role.ADMIN, action, name, {"secretsmanager:ResourceTag/ManagedBy": "terraform"}
        )
    for action in ("CreateSecret", "TagResource"):
        assert may(Role.ADMIN, action, name, SENT)
        assert not may(Role.ADMIN, action, name, OURS)
        assert not may(Role.ADMIN, action, name, SENT | {"aws:RequestTag/Project": "OTHER"})
        assert not may(Role.ADMIN, action, name, SENT | {"aws:TagKeys": ("Project", "Owner")})


def test_a_deletion_needs_our_tag_and_the_window_in_which_it_can_be_restored():
    name = f"{SECRET}nova/clients/idom-a1B2c3"
    window = {"secretsmanager:RecoveryWindowInDays": "30"}
    at_once = {"secretsmanager:ForceDeleteWithoutRecovery": "true"}
    assert may(Role.ADMIN, "DeleteSecret", name, OURS | window)
    assert not may(Role.ADMIN, "DeleteSecret", name, window)
    assert not may(Role.ADMIN, "DeleteSecret", name, OURS | at_once)
    assert not may(
        Role.ADMIN, "DeleteSecret", name, OURS | {"secretsmanager:RecoveryWindowInDays": "7"}
    )
    assert not may(Role.ROTATION, "DeleteSecret", name, OURS | window)


def test_the_plans_own_policy_lets_its_own_code_create_nothing():
    """The plan asks for the tag of a secret that isn't there yet; its code sends none."""
    condition = {"StringEquals": {"secretsmanager:ResourceTag/Project": "NOVA"}}
    plan = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:CreateSecret", "secretsmanager:UpdateSecret"],
                "Resource": f"{SECRET}nova/clients/*",
                "Condition": condition,
            }
        ],
    }
    name = f"{SECRET}nova/clients/idom"

    assert not allows([plan], Request("secretsmanager:CreateSecret", name))
    assert not allows([plan], Request("secretsmanager:CreateSecret", name, SENT))
    assert may(Role.ADMIN, "CreateSecret", name, SENT)


@pytest.mark.parametrize(
    ("named", "resource", "aliases"),
    [
        (KEY, KMS, ()),
        (KMS, KMS, ()),
        ("alias/nova", KMS, ("alias/nova", "alias/other")),
        (f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/nova", KMS, ("alias/nova",)),
        # The alias is of the account that owns the key, which may be another one.
        (
            "arn:aws:kms:eu-west-1:111122223333:alias/nova",
            KMS.replace(ACCOUNT, "111122223333"),
            ("alias/nova",),
        ),
    ],
)
def test_an_own_key_is_used_only_through_secrets_manager_for_these_secrets(
    named, resource, aliases
):
    policy = make_policy(Role.ADMIN, facts(kms_key=named))
    context = {
        "kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com",
        "kms:EncryptionContext:SecretARN": f"{SECRET}nova/clients/idom-a1B2c3",
        "kms:ResourceAliases": aliases,
    }
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allows([policy], Request(action, resource, context))
        for key, other in (
            ("kms:ViaService", "s3.eu-west-1.amazonaws.com"),
            ("kms:EncryptionContext:SecretARN", f"{SECRET}others/x-a1B2c3"),
        ):
            assert not allows([policy], Request(action, resource, context | {key: other}))
    if aliases:
        other = context | {"kms:ResourceAliases": ("alias/other",)}
        assert not allows([policy], Request("kms:Decrypt", resource, other))
    assert not allows([make_policy(Role.ADMIN, facts())], Request("kms:Decrypt", resource, context))
    reader = make_policy(Role.READER, facts(kms_key=named))
    assert allows([reader], Request("kms:Decrypt", resource, context))
    assert not allows([reader], Request("kms:GenerateDataKey", resource, context))


def test_replicas_are_allowed_in_the_regions_of_the_settings_alone():
    name = f"{SECRET}nova/clients/idom-a1B2c3"
    there = {"secretsmanager:AddReplicaRegions": ("eu-west-3",)}
    elsewhere = {"secretsmanager:AddReplicaRegions": ("eu-west-3", "us-east-1")}
    add, remove = "ReplicateSecretToRegions", "RemoveRegionsFromReplication"
    replicas = {"eu-west-3": "", "eu-west-2": ""}

    # Also of a secret that is being created, which has no tag yet.
    assert may(Role.ADMIN, add, name, there, replicas=replicas)
    assert may(Role.ROTATION, add, name, there, replicas=replicas)
    assert not may(Role.ADMIN, add, name, elsewhere, replicas=replicas)
    assert not may(Role.READER, add, name, there, replicas=replicas)
    assert may(Role.ADMIN, remove, name, OURS, replicas=replicas)
    assert not may(Role.ADMIN, remove, name, replicas=replicas)
    assert not may(Role.ROTATION, remove, name, OURS, replicas=replicas)
    # None wanted: what is there may be removed. Not set: neither.
    assert not may(Role.ADMIN, add, name, there, replicas={})
    assert may(Role.ADMIN, remove, name, OURS, replicas={})
    assert not may(Role.ADMIN, add, name, there)
    assert not may(Role.ADMIN, remove, name, OURS)


def test_the_key_of_a_replica_is_used_in_its_region_for_these_secrets():
    other = KEY.replace("1234", "4321")
    replicas = {"eu-west-3": other, "eu-west-2": "alias/aws/secretsmanager"}
    policy = make_policy(Role.ADMIN, facts(kms_key=KEY, replicas=replicas))
    context = {
        "kms:ViaService": "secretsmanager.eu-west-3.amazonaws.com",
        "kms:EncryptionContext:SecretARN": f"{SECRET}nova/clients/idom-a1B2c3".replace(
            "eu-west-1", "eu-west-3"
        ),
    }
    there = f"arn:aws:kms:eu-west-3:{ACCOUNT}:key/{other}"
    for action in ("kms:GenerateDataKey", "kms:Encrypt"):
        assert allows([policy], Request(action, there, context))
        here = context | {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}
        assert not allows([policy], Request(action, there, here))
    assert not allows([policy], Request("kms:Decrypt", there, context))
    assert lint(policy) == []


@pytest.mark.parametrize(
    ("region", "start", "host"),
    [
        ("us-gov-west-1", "arn:aws-us-gov:", "secretsmanager.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "arn:aws-cn:", "secretsmanager.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_other_partitions_have_arns_of_their_own(region, start, host):
    made = facts(region=region, kms_key=KEY)

    key = made.find_key_arn_pattern(KEY, region)
    assert all(arn.startswith(start) for arn in (*made.list_secret_arns(), key))
    assert made.get_service_host(region) == host


# --- The command


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("iam_policy", *arguments, stdout=out)
    return out.getvalue()


def exit_code(*arguments: str) -> int:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    return error.value.returncode


@pytest.fixture
def known(db) -> None:
    Secret.objects.create(
        name="nova/clients/idom",
        arn=f"{SECRET}nova/clients/idom-a1B2c3",
        version_id="v",
        client_id=1,
    )


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("role", Role)
def test_it_prints_the_policy_of_the_newest_secrets_account(role, settings):
    settings.AWS_REGION = "eu-west-1"

    assert json.loads(run(role)) == make_policy(role, facts())
    assert "\n  " in run(role)  # as a person reads it


@pytest.mark.usefixtures("known")
def test_what_is_named_counts(settings):
    settings.AWS_REGION, settings.NOVA_SECRET_PREFIX = "eu-west-1", "staging/nova"
    named = ("--account", "123456789012", "--kms-key", KEY, "--layout", "service")

    printed = json.loads(run("reader", *named))

    made = facts(ONE | MANY, account="123456789012", kms_key=KEY, prefix="staging/nova")
    assert printed == make_policy(Role.READER, made)


@pytest.mark.usefixtures("known")
def test_the_layouts_are_those_that_clients_have(settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    assert find_policy_facts().layouts == MANY
    pk = make_client("idom")
    ClientMigration.objects.create(client_id=pk, phase="aws", layout="client")
    assert find_policy_facts().layouts == ONE | MANY
    ClientMigration.objects.update(layout="service")
    assert find_policy_facts().layouts == MANY
    ClientMigration.objects.update(other_secrets="kept")
    assert find_policy_facts().layouts == ONE | MANY


@pytest.mark.parametrize(
    "arguments",
    [
        ("reader",),
        ("nobody", "--account", ACCOUNT),
        ("reader", "--account", "12"),
        ("reader", "--account", f"{ACCOUNT}*"),
        ("reader", "--account", ACCOUNT, "--format", "yaml"),
        ("reader", "--account", ACCOUNT, "--layout", "both"),
        ("reader", "--account", ACCOUNT, "--kms-key", "*"),
        ("reader", "--account", ACCOUNT, "--kms-key", "alias/*"),
        ("reader", "--account", ACCOUNT, "--kms-key", f"{KMS}*"),
        ("reader", "--account", ACCOUNT, "--kms-key", KMS),  # of another region than the secrets
    ],
)
def test_wrong_use_exits_with_2(db, arguments):
    assert exit_code(*arguments) == 2


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("role", Role)
def test_terraform_says_the_same(role):
    policy = json.loads(run(role, "--kms-key", "alias/nova", "--layout", "service"))

    text = run(role, "--kms-key", "alias/nova", "--layout", "service", "--format", "terraform")

    assert read_terraform(text) == policy["Statement"]
    assert f"policy = data.aws_iam_policy_document.nova_{role}.json" in text


def read_terraform(text: str) -> list[dict]:
    """The statements of a policy document, as the JSON has them."""
    assert text.count("{") == text.count("}")
    statements = []
    for block in text.split("  statement {")[1:]:
        values = dict(re.findall(r"^    (\w+) +?= (.*)$", block, re.MULTILINE))
        conditions: dict[str, dict[str, object]] = {}
        for part in block.split("    condition {")[1:]:
            of = dict(re.findall(r"^      (\w+) +?= (.*)$", part, re.MULTILINE))
            test, variable, listed = (json.loads(of[key]) for key in ("test", "variable", "values"))
            single = len(listed) == 1 and "EncryptionContext" not in variable
            conditions.setdefault(test, {})[variable] = listed[0] if single else listed
        statement = {
            "Sid": json.loads(values["sid"]),
            "Effect": json.loads(values["effect"]),
            "Action": json.loads(values["actions"]),
            "Resource": json.loads(values["resources"]),
        }
        statements.append(statement | ({"Condition": conditions} if conditions else {}))
    return statements
