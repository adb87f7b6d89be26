"""Each fault answers as AWS does, and ends."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.faults import Fault
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from tests.nova_admin.embedded.conditions.calls import strike
from tests.nova_admin.embedded.conftest import connect, eventually
from tests.nova_admin.embedded.test_strict_rules import NAME, TWO, create, current, put, refused

CONNECTION_FAULTS = {Fault.REFUSED, Fault.RESET, Fault.TIMEOUT, Fault.LOST}


@pytest.mark.parametrize(
    ("fault", "status", "code", "error_class"),
    [
        (Fault.THROTTLED, 400, "ThrottlingException", "throttled"),
        (Fault.INTERNAL, 500, "InternalServiceError", "unavailable"),
        (Fault.DOWN, 503, "ServiceUnavailable", "unavailable"),
        (Fault.DENIED, 400, "AccessDeniedException", "permission"),
        (Fault.EXPIRED, 400, "ExpiredTokenException", "permission"),
        (Fault.KMS, 400, "EncryptionFailure", "permission"),
    ],
)
def test_an_answered_fault_has_the_code_of_aws_and_changes_nothing(
    server, sm, manager, fault, status, code, error_class
):
    create(sm)
    strike(server, fault)
    with pytest.raises(ClientError) as caught:
        put(sm, "example-password-2", TWO)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    with pytest.raises(SecretsManagerError) as failure:
        manager.put_value(NAME, "example-password-2")
    assert (failure.value.code, failure.value.error_class) == (code, error_class)
    assert server.conditions.report()["injected"] == {fault: 2}
    server.conditions.clear()
    assert current(sm) == "example-password-1"


@pytest.mark.parametrize("name", ["InternalServiceError", "EncryptionFailure", "DecryptionFailure"])
def test_a_modelled_error_is_the_class_of_boto3(server, sm, name):
    create(sm)
    strike(server, Fault.INTERNAL if name == "InternalServiceError" else Fault.KMS)
    call = put if name == "EncryptionFailure" else current
    arguments = ("example-password-2", TWO) if call is put else ()
    with pytest.raises(getattr(sm.exceptions, name)):
        call(sm, *arguments)


def test_without_the_kms_key_a_batch_tells_of_each_secret_and_what_has_no_value_works(
    server, sm, manager
):
    create(sm)
    strike(server, Fault.KMS)
    names = [NAME, "nova/clients/none"]
    answer = sm.batch_get_secret_value(SecretIdList=names)
    assert answer["SecretValues"] == []
    assert [(e["SecretId"], e["ErrorCode"]) for e in answer["Errors"]] == [
        (name, "DecryptionFailure") for name in names
    ]
    answers = manager.batch_get(names)
    assert {error.error_class for error in answers.values()} == {"permission"}
    assert manager.describe_secret(NAME).name == NAME
    manager.tag_secret(NAME, slug="acme")


def test_a_reset_connection_is_an_error_of_the_connection_and_nothing_was_done(server, sm, manager):
    create(sm)
    strike(server, Fault.RESET)
    with pytest.raises(ConnectionClosedError) as caught:
        put(sm, "example-password-2", TWO)
    assert "ConnectionResetError" in repr(caught.value.kwargs["error"])
    with pytest.raises(SecretsManagerError) as failure:
        manager.put_value(NAME, "example-password-2")
    assert failure.value.error_class == "unavailable"
    server.conditions.clear()
    assert current(sm) == "example-password-1"


def test_an_answer_is_lost_after_the_write_was_done(server, sm, manager):
    strike(server, Fault.LOST)
    with pytest.raises(ConnectionClosedError):
        create(sm)
    with pytest.raises(SecretsManagerError) as failure:
        manager.put_value(NAME, "example-password-2")
    assert failure.value.error_class == "unavailable"
    server.conditions.clear()
    assert current(sm) == "example-password-2"


def test_a_late_answer_is_a_time_out_and_the_write_was_done(server, sm):
    create(sm)
    strike(server, Fault.TIMEOUT, hold_seconds=60, operations=("PutSecretValue",))
    with pytest.raises(ReadTimeoutError):
        put(connect(server.endpoint, read_timeout=0.5), "example-password-2", TWO)
    assert eventually(lambda: current(sm) == "example-password-2")


def test_a_late_answer_is_unavailable_to_the_manager(server, monkeypatch, manager):
    strike(server, Fault.TIMEOUT, hold_seconds=60)
    hurried = SecretsManager(endpoint_url=server.endpoint, max_attempts=1, read_timeout=0.2)
    with pytest.raises(SecretsManagerError) as failure:
        hurried.get_value(NAME)
    assert (failure.value.code, failure.value.error_class) == ("ReadTimeoutError", "unavailable")


def test_held_answers_go_out_when_the_conditions_change(server, sm):
    create(sm)
    strike(server, Fault.TIMEOUT, hold_seconds=60)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(current, sm)
        assert eventually(lambda: server.conditions.report()["injected"] == {"timeout": 1})
        assert not late.done()
        server.conditions.clear()
        assert late.result(timeout=30) == "example-password-1"


def test_connections_are_refused_for_some_seconds_and_open_ones_are_dropped(server, sm, manager):
    create(sm)
    strike(server, Fault.REFUSED, seconds=30)
    with pytest.raises(ConnectionClosedError):  # over the connection that create left open
        current(sm)
    with pytest.raises(EndpointConnectionError):
        current(sm)
    with pytest.raises(SecretsManagerError) as failure:
        manager.get_value(NAME)
    assert failure.value.code == "EndpointConnectionError"
    assert failure.value.error_class == "unavailable"
    server.conditions.clear()
    assert current(sm) == "example-password-1"


def test_a_refusal_ends_by_itself_on_the_same_port(server, sm):
    strike(server, Fault.REFUSED, seconds=0.2)
    assert eventually(lambda: not refuses(server))
    create(sm)


def test_a_refusal_by_chance_drops_the_call_and_ends_soon(server, sm):
    create(sm)
    strike(server, Fault.REFUSED, calls=1)
    with pytest.raises(ConnectionClosedError):
        current(sm)
    assert eventually(lambda: not refuses(server))
    assert current(sm) == "example-password-1"


def test_a_server_that_refuses_can_be_ended():
    with AwsServer() as server:
        strike(server, Fault.REFUSED, seconds=30)
    server.reset()
    assert refuses(server)


def refuses(server) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_ends_and_is_counted(server, sm, fault):
    create(sm)
    strike(server, fault, calls=1, hold_seconds=0)
    if fault == Fault.TIMEOUT:
        current(sm)
    else:
        with pytest.raises((ClientError, ConnectionClosedError)):
            current(sm)
    assert eventually(lambda: not refuses(server))
    assert current(sm) == "example-password-1"
    throttled = fault == Fault.THROTTLED
    assert server.conditions.report()["calls"]["GetSecretValue"] == {
        "calls": 2,
        "throttled": int(throttled),
        "failed": int(not throttled),
    }
    assert server.conditions.report()["injected"] == {fault: 1}


def test_a_call_that_the_service_refuses_counts_as_failed(server, sm):
    refused("ResourceNotFoundException", sm.get_secret_value, SecretId=NAME)
    assert server.conditions.report()["calls"]["GetSecretValue"]["failed"] == 1


@pytest.mark.parametrize("fault", sorted(set(Fault) - CONNECTION_FAULTS))
def test_health_answers_whatever_the_conditions(server, fault):
    strike(server, fault)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"identity": server.identity}
    connection.close()
