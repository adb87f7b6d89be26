"""The site and NOVA's reader at an AWS that asks their policies: a client's whole life is allowed, in each layout."""

import os
from itertools import pairwise

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from migration.core.aws_store import secrets_manager
from migration.doctor.iam import PolicyFacts, Role, list_permissions, make_policy
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.service import ACCOUNT
from nova_credentials.aws.secret_settings import update_secret
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.aws.versions import list_versions
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import make_full_client
from tests.migration.doctor.iam.calls import enforce
from tests.migration.moves.clients import advance, write_password
from tests.migration.pushes.pushed import adopt

REGION, PREFIX = "us-east-1", "nova/clients"


def policies(layout: Layout, *, without: str = "") -> dict[str, dict]:
    facts = PolicyFacts(ACCOUNT, REGION, PREFIX, frozenset({layout}))
    made = {role.value: make_policy(role, facts) for role in Role}
    for policy in made.values():
        for statement in policy["Statement"]:
            statement["Action"] = [a for a in statement["Action"] if a != without]
    return made


@pytest.fixture
def enforced(stores, settings, monkeypatch, request):
    """An AWS that asks the policies of this layout, and the layout in the settings."""
    settings.NOVA_SECRET_LAYOUT = request.param
    asked = policies(Layout(request.param))
    with AwsServer(wrap=enforce(asked)) as server:
        settings.AWS_ENDPOINT_URL = server.endpoint
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        yield Layout(request.param), asked


both = pytest.mark.parametrize("enforced", ["client", "service"], indirect=True)


@both
def test_a_client_goes_all_the_way_and_back_and_its_secrets_are_deleted_and_restored(enforced):
    layout, _asked = enforced
    pk = make_full_client("idom")
    uri = make_conninfo(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"])
    reader = Reader(uri, cache_seconds=0, layout=layout)

    advance(pk, Phase.AWS)
    write_password(pk, "another-password")
    assert reader.get_credential("idom", "database") is not None
    (pushed,) = push(client_ids=[pk], overwrite=True)
    assert pushed.outcome in (Outcome.UPDATED, Outcome.UNCHANGED)
    compare(client_ids=[pk])
    for _old, new in pairwise((Phase.AWS, Phase.DUAL_READ, Phase.DUAL_WRITE, Phase.POSTGRES)):
        move(client_id=pk, new=new, schedule_deletion=new == Phase.POSTGRES)
    (restored,) = push(client_ids=[pk])

    reader.close()
    assert restored.outcome == Outcome.RESTORED


@both
def test_somebody_elses_secret_is_adopted(enforced):
    pk = make_full_client("idom")
    for name in ("idom", "idom/database", "idom/email", "idom/aws"):
        SecretsManager(REGION).sm.create_secret(Name=f"{PREFIX}/{name}", SecretString="{}")

    (refused,) = push(client_ids=[pk])
    adopt(pk)
    (adopted,) = push(client_ids=[pk], overwrite=True)

    assert refused.outcome == Outcome.FAILED
    assert adopted.outcome == Outcome.UPDATED


@pytest.mark.parametrize("enforced", ["service"], indirect=True)
def test_the_policy_of_one_layout_is_none_for_the_other(enforced):
    with pytest.raises(SecretsManagerError) as error:
        secrets_manager().get_value(f"{PREFIX}/idom")

    assert error.value.code == "AccessDeniedException"


CALLS = {
    "secretsmanager:GetSecretValue": lambda sm: sm.get_value(f"{PREFIX}/idom"),
    "secretsmanager:BatchGetSecretValue": lambda sm: sm.sm.batch_get_secret_value(
        SecretIdList=[f"{PREFIX}/idom"]
    ),
    "secretsmanager:DescribeSecret": lambda sm: sm.describe_secret(f"{PREFIX}/idom"),
    "secretsmanager:ListSecrets": lambda sm: sm.list_kms_keys_of_secrets([f"{PREFIX}/"]),
    "secretsmanager:ListSecretVersionIds": lambda sm: list_versions(sm, f"{PREFIX}/idom"),
    "secretsmanager:CreateSecret": lambda sm: sm.create_secret(f"{PREFIX}/new", "{}", slug="new"),
    "secretsmanager:TagResource": lambda sm: sm.tag_secret(f"{PREFIX}/idom", slug="idom"),
    "secretsmanager:PutSecretValue": lambda sm: sm.put_value(f"{PREFIX}/idom", "{}"),
    "secretsmanager:UpdateSecretVersionStage": lambda sm: sm.move_stage(
        f"{PREFIX}/idom", "OTHER", away_from=sm.get_value(f"{PREFIX}/idom").version_id
    ),
    "secretsmanager:UpdateSecret": lambda sm: update_secret(sm, f"{PREFIX}/idom", description="x"),
    "secretsmanager:RestoreSecret": lambda sm: sm.restore_secret(f"{PREFIX}/idom"),
    "secretsmanager:DeleteSecret": lambda sm: sm.schedule_deletion(f"{PREFIX}/idom"),
}

OFTEN = {f"secretsmanager:{call}" for call in ("GetSecretValue", "TagResource", "DeleteSecret")}


@pytest.mark.parametrize("enforced", ["client"], indirect=True)
@pytest.mark.parametrize(
    "without",
    [
        # The rest differ in nothing but the call.
        action if action in OFTEN else pytest.param(action, marks=pytest.mark.nightly)
        for action in CALLS
    ],
)
def test_without_one_permission_just_its_call_is_refused(enforced, without):
    """Creating needs the right to tag too."""
    _layout, asked = enforced
    SecretsManager(REGION).create_secret(f"{PREFIX}/idom", "{}", slug="idom")
    asked |= policies(Layout.CLIENT, without=without)
    also = {"secretsmanager:TagResource": {"secretsmanager:CreateSecret"}}

    refused = {action for action, call in CALLS.items() if is_denied(call)}

    needs_reading = {"secretsmanager:UpdateSecretVersionStage"}
    dependent = needs_reading if without == "secretsmanager:GetSecretValue" else set()
    assert refused - dependent == {without} | also.get(without, set())


def is_denied(call) -> bool:
    from botocore.exceptions import ClientError

    try:
        call(SecretsManager(REGION, caller="nova-admin"))
    except SecretsManagerError as error:
        return error.code == "AccessDeniedException"
    except ClientError as error:
        return error.response["Error"]["Code"] == "AccessDeniedException"
    return False


def test_every_permission_of_secrets_manager_has_such_a_call():
    given = {p.action for p in list_permissions(Role.ADMIN, frozenset(Layout), kms=False)}

    assert given == CALLS.keys()
