"""Each rule of AWS that plain moto lacks: the embedded AWS keeps it, plain moto is shown not to."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from mypy_boto3_secretsmanager import SecretsManagerClient

from tests.nova_admin.embedded.conftest import connect

NAME = "nova/clients/acme"
ONE, TWO, THREE = (digit * 32 for digit in "123")
RULES: list[Callable[[SecretsManagerClient], None]] = []


def rule(function):
    RULES.append(function)
    return function


def refused(code: str, call: Callable, **kwargs) -> None:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    assert caught.value.response["Error"]["Code"] == code


def create(sm, name=NAME, value="example-password-1", token=ONE, **kwargs) -> None:
    sm.create_secret(Name=name, SecretString=value, ClientRequestToken=token, **kwargs)


def put(sm, value, token, *labels) -> dict:
    stages = {"VersionStages": list(labels)} if labels else {}
    return sm.put_secret_value(
        SecretId=NAME, SecretString=value, ClientRequestToken=token, **stages
    )


def current(sm) -> str:
    return sm.get_secret_value(SecretId=NAME)["SecretString"]


def labels(sm) -> dict[str, set[str]]:
    described = sm.describe_secret(SecretId=NAME)
    return {version: set(stages) for version, stages in described["VersionIdsToStages"].items()}


@rule
def moving_awscurrent_moves_what_is_read(sm):
    create(sm)
    put(sm, "example-password-2", TWO, "AWSPENDING")
    sm.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=TWO, RemoveFromVersionId=ONE
    )
    assert current(sm) == "example-password-2"
    batch = sm.batch_get_secret_value(SecretIdList=[NAME])["SecretValues"]
    assert [value["SecretString"] for value in batch] == ["example-password-2"]
    assert labels(sm) == {ONE: {"AWSPREVIOUS"}, TWO: {"AWSCURRENT", "AWSPENDING"}}


@rule
def a_label_on_another_version_moves_only_when_that_version_is_named(sm):
    create(sm)
    put(sm, "example-password-2", TWO, "AWSPENDING")
    refused(
        "InvalidParameterException",
        sm.update_secret_version_stage,
        SecretId=NAME,
        VersionStage="AWSPENDING",
        MoveToVersionId=ONE,
    )


@rule
def a_refused_move_changes_no_label(sm):
    create(sm)
    with pytest.raises(ClientError):
        sm.update_secret_version_stage(
            SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=TWO, RemoveFromVersionId=ONE
        )
    assert labels(sm) == {ONE: {"AWSCURRENT"}}


@rule
def awscurrent_cannot_be_taken_off(sm):
    create(sm)
    refused(
        "InvalidParameterException",
        sm.update_secret_version_stage,
        SecretId=NAME,
        VersionStage="AWSCURRENT",
        RemoveFromVersionId=ONE,
    )


@rule
def a_version_that_stops_being_current_keeps_its_other_labels(sm):
    create(sm)
    sm.update_secret_version_stage(SecretId=NAME, VersionStage="blue", MoveToVersionId=ONE)
    put(sm, "example-password-2", TWO)
    assert labels(sm) == {ONE: {"AWSPREVIOUS", "blue"}, TWO: {"AWSCURRENT"}}


@rule
def describe_leaves_out_versions_without_a_label(sm):
    create(sm)
    put(sm, "example-password-2", TWO)
    put(sm, "example-password-3", THREE)
    assert labels(sm) == {TWO: {"AWSPREVIOUS"}, THREE: {"AWSCURRENT"}}


@rule
def a_name_has_only_certain_ascii_characters(sm):
    for name in ("acme madrid", "señal", "acme:1", "acme\n", "a" * 513):
        refused("ValidationException", sm.create_secret, Name=name, SecretString="x")


@rule
def a_value_is_measured_in_bytes(sm):
    create(sm, value="x" * 65_536)
    refused("ValidationException", put, sm=sm, value="x" * 65_537, token=TWO)
    refused("ValidationException", put, sm=sm, value="ñ" * 32_769, token=TWO)
    refused("ValidationException", sm.update_secret, SecretId=NAME, SecretBinary=b"x" * 65_537)


@rule
def an_empty_value_is_refused(sm):
    create(sm)
    refused("ValidationException", unchecked(sm).put_secret_value, SecretId=NAME, SecretString="")


@rule
def text_and_binary_together_are_refused(sm):
    refused(
        "InvalidParameterException",
        sm.create_secret,
        Name=NAME,
        SecretString="example-password-1",
        SecretBinary=b"example-password-1",
    )


@rule
def update_with_a_known_token_is_an_error(sm):
    create(sm)
    refused(
        "ResourceExistsException",
        sm.update_secret,
        SecretId=NAME,
        SecretString="example-password-1",
        ClientRequestToken=ONE,
    )


@rule
def put_never_overwrites_a_pending_version(sm):
    create(sm)
    put(sm, "example-password-2", TWO, "AWSPENDING")
    refused("ResourceExistsException", put, sm=sm, value="example-password-3", token=TWO)


@rule
def put_of_a_known_version_does_not_make_it_current(sm):
    create(sm)
    put(sm, "example-password-2", TWO, "AWSPENDING")
    assert put(sm, "example-password-2", TWO)["VersionStages"] == ["AWSPENDING"]
    assert current(sm) == "example-password-1"


@rule
def a_batch_has_at_most_20_ids(sm):
    ids = [f"nova/clients/{number}" for number in range(21)]
    refused("InvalidParameterException", sm.batch_get_secret_value, SecretIdList=ids)


@rule
def a_batch_has_each_id_in_exactly_one_list(sm):
    create(sm)
    create(sm, "nova/clients/gone")
    sm.delete_secret(SecretId="nova/clients/gone", RecoveryWindowInDays=7)
    sm.create_secret(Name="nova/clients/empty")
    ids = ["nova/clients/none", "nova/clients/empty", "nova/clients/gone", NAME]
    answer = sm.batch_get_secret_value(SecretIdList=ids)
    assert [value["Name"] for value in answer["SecretValues"]] == [NAME]
    assert {error["SecretId"]: error["ErrorCode"] for error in answer["Errors"]} == {
        "nova/clients/none": "ResourceNotFoundException",
        "nova/clients/empty": "ResourceNotFoundException",
        "nova/clients/gone": "InvalidRequestException",
    }


@rule
def the_name_of_a_secret_scheduled_for_deletion_is_taken(sm):
    create(sm)
    sm.delete_secret(SecretId=NAME)
    refused("InvalidRequestException", create, sm=sm, token=TWO)


@rule
def a_secret_scheduled_for_deletion_takes_no_value(sm):
    create(sm)
    sm.delete_secret(SecretId=NAME)
    refused("InvalidRequestException", put, sm=sm, value="example-password-2", token=TWO)


@rule
def a_secret_scheduled_for_deletion_takes_no_tag(sm):
    create(sm)
    sm.delete_secret(SecretId=NAME)
    tags = [{"Key": "Client", "Value": "acme"}]
    refused("InvalidRequestException", sm.tag_resource, SecretId=NAME, Tags=tags)


@rule
def a_secret_scheduled_for_deletion_loses_no_tag(sm):
    create(sm, Tags=[{"Key": "Client", "Value": "acme"}])
    sm.delete_secret(SecretId=NAME)
    refused("InvalidRequestException", sm.untag_resource, SecretId=NAME, TagKeys=["Client"])


@rule
def a_secret_scheduled_for_deletion_moves_no_label(sm):
    create(sm)
    sm.delete_secret(SecretId=NAME)
    refused(
        "InvalidRequestException",
        sm.update_secret_version_stage,
        SecretId=NAME,
        VersionStage="blue",
        MoveToVersionId=ONE,
    )


@rule
def a_secret_has_at_most_50_tags(sm):
    create(sm, Tags=[{"Key": f"tag{number}", "Value": ""} for number in range(50)])
    one_more = [{"Key": "tag50", "Value": ""}]
    refused("InvalidParameterException", sm.tag_resource, SecretId=NAME, Tags=one_more)
    assert len(sm.describe_secret(SecretId=NAME)["Tags"]) == 50


@rule
def a_tag_key_comes_once(sm):
    tags = [{"Key": "Client", "Value": "acme"}, {"Key": "Client", "Value": "idom"}]
    refused("InvalidParameterException", create, sm=sm, Tags=tags)


@rule
def a_tag_has_a_bounded_length_and_certain_characters(sm):
    for tag in (
        {"Key": "k" * 129, "Value": ""},
        {"Key": "Client", "Value": "v" * 257},
        {"Key": "Client", "Value": "a&b"},
    ):
        refused("ValidationException", create, sm=sm, Tags=[tag])


@rule
def a_version_has_at_most_20_labels(sm):
    create(sm)
    for number in range(19):
        label = f"label{number}"
        sm.update_secret_version_stage(SecretId=NAME, VersionStage=label, MoveToVersionId=ONE)
    refused(
        "LimitExceededException",
        sm.update_secret_version_stage,
        SecretId=NAME,
        VersionStage="label19",
        MoveToVersionId=ONE,
    )


@rule
def a_secret_written_more_than_100_times_in_a_day_is_full(sm):
    create(sm)
    for number in range(2, 101):
        put(sm, f"example-password-{number}", f"{number:032}")
    refused("LimitExceededException", put, sm=sm, value="example-password-101", token=TWO)
    assert current(sm) == "example-password-100"


@rule
def an_unknown_secret_is_http_400(sm):
    with pytest.raises(ClientError) as caught:
        sm.get_secret_value(SecretId=NAME)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


@rule
def a_value_may_look_like_a_form(sm):
    create(sm, value="x&Name=other&SecretString=other&y")
    assert current(sm) == "x&Name=other&SecretString=other&y"


@rule
def rotation_never_makes_an_empty_version_current(sm):
    create(sm)
    with pytest.raises(ClientError):
        sm.rotate_secret(SecretId=NAME, RotationRules={"AutomaticallyAfterDays": 30})
    assert current(sm) == "example-password-1"


@rule
def a_partial_arn_that_ends_like_a_full_one_finds_nothing(sm):
    create(sm, "acme-madrid")
    arn = sm.describe_secret(SecretId="acme-madrid")["ARN"]
    assert sm.get_secret_value(SecretId=arn)["Name"] == "acme-madrid"
    refused("ResourceNotFoundException", sm.get_secret_value, SecretId=arn[:-7])


@rule
def a_version_list_names_the_arn_and_only_labelled_versions(sm):
    create(sm)
    put(sm, "example-password-2", TWO)
    put(sm, "example-password-3", THREE)
    listed = sm.list_secret_version_ids(SecretId=NAME)
    assert listed["ARN"] == sm.describe_secret(SecretId=NAME)["ARN"]
    assert [version["VersionId"] for version in listed["Versions"]] == [TWO, THREE]
    every = sm.list_secret_version_ids(SecretId=NAME, IncludeDeprecated=True)["Versions"]
    assert [version["VersionId"] for version in every] == [ONE, TWO, THREE]


def unchecked(sm: SecretsManagerClient) -> SecretsManagerClient:
    """A client that sends what botocore itself would refuse to send."""
    endpoint = sm.meta.endpoint_url
    return connect(None if "amazonaws" in endpoint else endpoint, parameter_validation=False)


@pytest.mark.parametrize("keeps", RULES, ids=lambda function: function.__name__)
def test_embedded_aws_keeps_the_rule(keeps, sm):
    keeps(sm)


@pytest.mark.parametrize("keeps", RULES, ids=lambda function: function.__name__)
def test_plain_moto_breaks_the_rule(keeps, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", raising=False)
    with (
        mock_aws(),
        pytest.raises((AssertionError, ClientError, pytest.fail.Exception)),
    ):
        keeps(connect(None))
