"""What the embedded AWS knows of keys and replicas: what AWS refuses, and that nothing of it makes a version."""

import pytest
from botocore.exceptions import ClientError

from nova_admin.embedded.aws import AwsServer
from tests.nova_admin.embedded.conftest import connect

NAME, ONE = "nova/clients/acme", "1" * 32
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ELSEWHERE = f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}"
IRELAND, PARIS = {"Region": "eu-west-1"}, {"Region": "eu-west-3"}


@pytest.fixture(scope="module")
def server():
    with AwsServer() as server:
        yield server


@pytest.fixture
def sm(server):
    server.reset()
    return connect(server.endpoint)


def create(sm, **more) -> None:
    sm.create_secret(Name=NAME, SecretString="{}", ClientRequestToken=ONE, **more)


def code(call, **values) -> str:
    with pytest.raises(ClientError) as error:
        call(**values)
    return error.value.response["Error"]["Code"]


def statuses(sm) -> dict[str, str]:
    there = sm.describe_secret(SecretId=NAME).get("ReplicationStatus", [])
    return {each["Region"]: each["Status"] for each in there}


def test_another_key_makes_no_version_and_the_own_one_is_not_named(sm):
    create(sm, KmsKeyId=KEY)
    before = sm.describe_secret(SecretId=NAME)
    assert before["KmsKeyId"] == KEY

    answer = sm.update_secret(SecretId=NAME, KmsKeyId="")

    after = sm.describe_secret(SecretId=NAME)
    assert "VersionId" not in answer
    assert after["VersionIdsToStages"] == before["VersionIdsToStages"]
    assert "KmsKeyId" not in after


def test_a_key_that_is_none_or_in_another_region_is_refused(sm):
    create(sm)
    assert code(sm.update_secret, SecretId=NAME, KmsKeyId="nova") == "ValidationException"
    wrong = code(sm.update_secret, SecretId=NAME, KmsKeyId=ELSEWHERE)
    assert wrong == "InvalidParameterException"
    assert "KmsKeyId" not in sm.describe_secret(SecretId=NAME)


def test_replicas_come_and_go_and_a_secret_that_has_some_is_not_deleted(sm):
    create(sm, AddReplicaRegions=[IRELAND])
    sm.replicate_secret_to_regions(SecretId=NAME, AddReplicaRegions=[PARIS])
    assert statuses(sm) == {"eu-west-1": "InSync", "eu-west-3": "InSync"}
    assert code(sm.delete_secret, SecretId=NAME) == "InvalidParameterException"

    remove = sm.remove_regions_from_replication
    remove(SecretId=NAME, RemoveReplicaRegions=["eu-west-1", "eu-west-3"])

    assert statuses(sm) == {}
    sm.delete_secret(SecretId=NAME)
    add = sm.replicate_secret_to_regions
    assert code(add, SecretId=NAME, AddReplicaRegions=[PARIS]) == "InvalidRequestException"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_no_replica_beside_the_secret_and_none_twice(sm, region):
    create(sm, AddReplicaRegions=[IRELAND])
    add = sm.replicate_secret_to_regions

    refused = code(add, SecretId=NAME, AddReplicaRegions=[{"Region": region}])

    assert refused == "InvalidParameterException"
    assert statuses(sm) == {"eu-west-1": "InSync"}


def test_a_replica_fails_where_its_name_is_taken_and_is_tried_again(sm, server):
    abroad = connect(server.endpoint, region="eu-west-1")
    abroad.create_secret(Name=NAME, SecretString="theirs")
    create(sm, AddReplicaRegions=[IRELAND])
    assert statuses(sm) == {"eu-west-1": "Failed"}

    abroad.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    sm.replicate_secret_to_regions(SecretId=NAME, AddReplicaRegions=[IRELAND])

    assert statuses(sm) == {"eu-west-1": "InSync"}


def test_replicas_outlast_the_server(tmp_path):
    with AwsServer(tmp_path) as server:
        create(connect(server.endpoint), AddReplicaRegions=[IRELAND], KmsKeyId=KEY)
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        assert statuses(sm) == {"eu-west-1": "InSync"}
        assert sm.describe_secret(SecretId=NAME)["KmsKeyId"] == KEY
