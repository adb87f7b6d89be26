"""The embedded AWS as a server: what it keeps, what it shows, and when it ends."""

import http.client
import json
import logging
import os
import shutil
import signal
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from moto import mock_aws

from nova_admin.embedded import backend
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.service import SecretFiles
from tests.nova_admin.embedded.conftest import connect, eventually
from tests.nova_admin.embedded.test_strict_rules import (
    NAME,
    ONE,
    TWO,
    create,
    current,
    labels,
    put,
    refused,
)


def answers(endpoint: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), 5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed as this came in
        return False
    return True


def test_a_new_server_on_the_folder_has_every_secret_as_it_was(tmp_path):
    tags = [{"Key": "Client", "Value": "acme"}]
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        create(sm, Tags=tags, Description="of ACME", KmsKeyId="alias/nova")
        put(sm, "example-password-ñ", TWO)
        sm.create_secret(Name="nova/clients/binary", SecretBinary=b"\x00\xff")
        sm.delete_secret(SecretId="nova/clients/binary", RecoveryWindowInDays=7)
        create(connect(server.endpoint, "eu-west-1"), value="example-password-eu")
        before = sm.describe_secret(SecretId=NAME)
        deleted = sm.describe_secret(SecretId="nova/clients/binary")["DeletedDate"]
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        after = sm.describe_secret(SecretId=NAME)
        assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
        assert (after["Tags"], after["Description"], after["KmsKeyId"]) == (
            tags,
            "of ACME",
            "alias/nova",
        )
        assert current(sm) == "example-password-ñ"
        assert labels(sm) == {ONE: {"AWSPREVIOUS"}, TWO: {"AWSCURRENT"}}
        assert sm.describe_secret(SecretId="nova/clients/binary")["DeletedDate"] == deleted
        sm.restore_secret(SecretId="nova/clients/binary")
        binary = sm.get_secret_value(SecretId="nova/clients/binary")
        assert binary["SecretBinary"] == b"\x00\xff"
        european = connect(server.endpoint, "eu-west-1")
        assert current(european) == "example-password-eu"


def test_a_restored_secret_has_its_arn_and_versions_back(sm):
    create(sm)
    put(sm, "example-password-2", TWO)
    before = sm.describe_secret(SecretId=NAME)
    sm.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    refused("InvalidRequestException", sm.get_secret_value, SecretId=NAME)
    refused("InvalidRequestException", sm.update_secret, SecretId=NAME, Description="other")
    assert "DeletedDate" in sm.describe_secret(SecretId=NAME)
    sm.restore_secret(SecretId=NAME)
    after = sm.describe_secret(SecretId=NAME)
    assert "DeletedDate" not in after
    assert after["ARN"] == before["ARN"]
    assert after["VersionIdsToStages"] == before["VersionIdsToStages"]
    assert current(sm) == "example-password-2"


@pytest.mark.parametrize("days", [0, 6, 31])
def test_a_recovery_window_has_7_to_30_days(sm, days):
    create(sm)
    refused("InvalidParameterException", sm.delete_secret, SecretId=NAME, RecoveryWindowInDays=days)
    assert current(sm) == "example-password-1"


def test_a_secret_deleted_by_force_is_gone_from_the_disk_too(tmp_path):
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        create(sm)
        sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
        create(sm, "nova/clients/other")
    with AwsServer(tmp_path) as server:
        listed = connect(server.endpoint).list_secrets()["SecretList"]
    assert [secret["Name"] for secret in listed] == ["nova/clients/other"]


def test_a_secret_past_its_recovery_window_is_gone_at_the_next_start(tmp_path):
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        create(sm)
        sm.delete_secret(SecretId=NAME)
    (file,) = (tmp_path / "secrets").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "deleted_date": 1.0}))
    with AwsServer(tmp_path) as server:
        refused(
            "ResourceNotFoundException", connect(server.endpoint).describe_secret, SecretId=NAME
        )
    assert list((tmp_path / "secrets").iterdir()) == []


def test_only_the_owner_reads_the_files(tmp_path):
    with AwsServer(tmp_path) as server:
        create(connect(server.endpoint))
    (file,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_server_without_a_folder_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with AwsServer() as server:
        create(connect(server.endpoint))
    assert list(tmp_path.iterdir()) == []


def test_a_change_that_cannot_be_stored_is_not_made(tmp_path):
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        create(sm)
        shutil.rmtree(tmp_path / "secrets")
        refused("InternalServiceError", put, sm=sm, value="example-password-2", token=TWO)
        refused("InternalServiceError", create, sm=sm, name="nova/clients/other")
        assert current(sm) == "example-password-1"
        assert [secret["Name"] for secret in sm.list_secrets()["SecretList"]] == [NAME]


def test_half_a_write_is_forgotten(tmp_path):
    with AwsServer(tmp_path) as server:
        create(connect(server.endpoint))
    (file,) = (tmp_path / "secrets").iterdir()
    file.with_suffix(".new").write_text('{"name": "exam')
    with AwsServer(tmp_path) as server:
        assert current(connect(server.endpoint)) == "example-password-1"
    assert list((tmp_path / "secrets").iterdir()) == [file]


def test_a_damaged_file_is_named_without_its_content(tmp_path):
    (tmp_path / "damaged.json").write_text('{"secret": "example-password-1"')
    with pytest.raises(ValueError, match=r"damaged\.json is damaged") as caught:
        list(SecretFiles(tmp_path).load_states())
    assert caught.value.__cause__ is None
    assert "example-password" not in str(caught.value)


def test_versions_without_a_label_make_room_once_they_are_a_day_old(sm, monkeypatch):
    create(sm)
    for number in range(2, 101):
        put(sm, f"example-password-{number}", f"{number:032}")
    monkeypatch.setattr(backend, "PRUNE_AFTER_SECONDS", 0)
    put(sm, "example-password-101", f"{101:032}")
    versions = sm.list_secret_version_ids(SecretId=NAME, IncludeDeprecated=True)["Versions"]
    assert len(versions) == 100
    assert {version["VersionId"] for version in versions} >= {f"{n:032}" for n in range(2, 102)}


def test_a_secret_is_found_by_name_by_arn_and_by_partial_arn(sm):
    create(sm)
    arn = sm.describe_secret(SecretId=NAME)["ARN"]
    for identifier in (NAME, arn, arn[:-7]):
        assert sm.get_secret_value(SecretId=identifier)["ARN"] == arn


def test_lists_come_in_pages_and_by_filter(sm):
    for number in range(25):
        tags = [{"Key": "Client", "Value": f"c{number}"}]
        create(sm, f"nova/clients/c{number:02}", Tags=tags)
    sm.delete_secret(SecretId="nova/clients/c24")
    pages = sm.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 10})
    names = [[secret["Name"] for secret in page["SecretList"]] for page in pages]
    assert names == [
        [f"nova/clients/c{number:02}" for number in numbers]
        for numbers in (range(10), range(10, 20), range(20, 24))
    ]
    deleted = sm.list_secrets(IncludePlannedDeletion=True)["SecretList"][-1]
    assert deleted["Name"] == "nova/clients/c24"
    by_prefix = [{"Key": "name", "Values": ["nova/clients/c1"]}]
    assert len(sm.list_secrets(Filters=by_prefix)["SecretList"]) == 10
    everything = [{"Key": "name", "Values": ["nova/"]}]
    first = sm.batch_get_secret_value(Filters=everything)
    second = sm.batch_get_secret_value(Filters=everything, NextToken=first["NextToken"])
    assert (len(first["SecretValues"]), len(second["SecretValues"])) == (20, 4)


def test_of_many_creates_of_one_name_one_wins(sm):
    def outcome(number: int) -> str:
        try:
            create(sm, value=f"example-password-{number}", token=f"{number:032}")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "created"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(outcome, range(16)))
    assert sorted(outcomes) == ["ResourceExistsException"] * 15 + ["created"]


def test_puts_of_many_threads_leave_one_current_version(sm):
    create(sm)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: put(sm, f"example-password-{n}", f"{n:032}"), range(40)))
    held = sorted(label for stages in labels(sm).values() for label in stages)
    assert held == ["AWSCURRENT", "AWSPREVIOUS"]
    versions = sm.list_secret_version_ids(SecretId=NAME, IncludeDeprecated=True)["Versions"]
    assert len(versions) == 41


def test_servers_of_one_process_share_nothing(sm):
    create(sm)
    with AwsServer() as other, mock_aws():
        for elsewhere in (
            connect(other.endpoint),
            connect("https://secretsmanager.us-east-1.amazonaws.com"),
        ):
            assert elsewhere.list_secrets()["SecretList"] == []


def test_reset_forgets_every_secret(tmp_path):
    with AwsServer(tmp_path) as server:
        sm = connect(server.endpoint)
        create(sm)
        server.reset()
        assert sm.list_secrets()["SecretList"] == []
        create(sm, token=TWO)
        server.reset()
    assert list((tmp_path / "secrets").iterdir()) == []


def test_connections_stay_open(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/", body="{}")
    assert connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"identity": server.identity}
    assert connection.sock is first
    connection.close()


def test_an_ended_server_closes_its_connections():
    with AwsServer() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/health")
        connection.getresponse().read()
    assert connection.sock.recv(1) == b""
    connection.close()


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({}, "{}", "MissingAuthenticationTokenException"),
        ({"X-Amz-Target": "secretsmanager.GetSecretValue"}, "{", "SerializationException"),
        ({"X-Amz-Target": "secretsmanager.GetSecretValue"}, "[]", "SerializationException"),
        ({"X-Amz-Target": "secretsmanager.Nothing"}, "{}", "UnknownOperationException"),
        ({"X-Amz-Target": "secretsmanager.CreateSecret"}, '{"Name": 1}', "InternalServiceError"),
    ],
)
def test_a_call_that_is_none_gets_an_error(server, headers, body, code):
    signed = "AWS4-HMAC-SHA256 Credential=key/20250101/us-east-1/secretsmanager/aws4_request"
    if headers:
        headers = {**headers, "Authorization": signed}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/", body=body, headers=headers)
    assert json.loads(connection.getresponse().read())["__type"] == code
    connection.close()


def test_a_middleware_sees_every_call_and_can_drop_it():
    dropping = threading.Event()

    def wrap(app):
        def middleware(environ, start_response):
            if dropping.is_set():
                raise ConnectionAbortedError
            return app(environ, start_response)

        return middleware

    with AwsServer(wrap=wrap) as server:
        sm = connect(server.endpoint)
        create(sm)
        dropping.set()
        with pytest.raises(ConnectionClosedError):
            current(sm)
        dropping.clear()
        assert current(sm) == "example-password-1"


def test_no_value_is_ever_printed_or_logged(tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="nova_admin")

    def wrap(app):
        def middleware(environ, start_response):
            if environ["HTTP_X_AMZ_TARGET"].endswith("UpdateSecret"):
                raise ValueError("example-password-3")
            return app(environ, start_response)

        return middleware

    with AwsServer(tmp_path, wrap=wrap) as server:
        sm = connect(server.endpoint)
        create(sm)
        refused("ResourceExistsException", create, sm=sm, value="example-password-2")
        with pytest.raises(ClientError):
            sm.update_secret(SecretId=NAME, SecretString="example-password-3")
        shutil.rmtree(tmp_path / "secrets")
        refused("InternalServiceError", put, sm=sm, value="example-password-4", token=TWO)
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["PutSecretValue failed: FileNotFoundError"]
    assert "example-password" not in caplog.text + "".join(capfd.readouterr())


def test_processes_share_one_server_which_ends_after_the_last(tmp_path, use):
    first, second = use("aws", tmp_path), use("aws", tmp_path)
    assert first.address == second.address
    assert first.access_key == second.access_key
    sm = first.connect()
    create(sm)
    refused("UnrecognizedClientException", connect(first.address).list_secrets)
    arn = sm.describe_secret(SecretId=NAME)["ARN"]
    first.leave()
    assert not eventually(lambda: not answers(second.address), seconds=2.5)
    second.kill()
    assert eventually(lambda: not answers(second.address))
    later = use("aws", tmp_path)
    assert later.access_key != first.access_key  # made anew at each start
    third = later.connect()
    assert third.describe_secret(SecretId=NAME)["ARN"] == arn
    assert current(third) == "example-password-1"


def test_a_killed_server_is_replaced_and_has_every_secret(tmp_path, use):
    user = use("aws", tmp_path)
    create(user.connect())
    os.kill(json.loads((tmp_path / "run" / "info.json").read_text())["pid"], signal.SIGKILL)
    assert eventually(lambda: not answers(user.address))
    assert current(use("aws", tmp_path).connect()) == "example-password-1"


def test_a_server_ends_with_its_folder(tmp_path, use):
    user = use("aws", tmp_path / "folder")
    shutil.rmtree(tmp_path / "folder")
    assert eventually(lambda: not answers(user.address))
    assert user.process.poll() is None
    assert answers(use("aws", tmp_path / "folder").address)


def test_processes_that_start_at_once_share_one_server(tmp_path, use):
    with ThreadPoolExecutor(4) as threads:
        users = list(threads.map(lambda _: use("aws", tmp_path), range(4)))
    assert len({user.address for user in users}) == 1


@pytest.mark.parametrize("key", ["embedded", "example-key", "EMBEDDED0", ""])
def test_a_local_user_without_the_servers_key_is_refused(key):
    """The attack: any user of the machine finds the port, and was answered whatever key signed."""
    with AwsServer(access_key="EMBEDDED01") as server:
        owner = connect(server.endpoint, access_key="EMBEDDED01")
        create(owner)
        stranger = connect(server.endpoint, access_key=key or "x")
        if not key:  # not signed at all
            unsign = "before-send.secrets-manager"
            stranger.meta.events.register(unsign, lambda request, **_: request.headers.clear())

        refused("UnrecognizedClientException", stranger.list_secrets)
        refused("UnrecognizedClientException", stranger.get_secret_value, SecretId=NAME)
        assert current(owner) == "example-password-1"
