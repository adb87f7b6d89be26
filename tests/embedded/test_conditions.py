"""The conditions of the embedded AWS: what boto3 and SecretsManager see of each, and how they are switched."""

import http.client
import io
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from django.core.management import CommandError, call_command

from nova_admin.embedded import switches
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions, Terms
from nova_admin.embedded.faults import Fault, FaultRule, Faults, mixed
from nova_admin.embedded.quotas import BURST_SECONDS, PER_SECOND, Quotas
from nova_admin.embedded.switches import NoSwitchesError, conditions, set_conditions
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from tests.embedded.conftest import connect, eventually
from tests.embedded.test_strict_rules import NAME, TWO, create, current, put, refused

CONNECTION_FAULTS = {Fault.REFUSED, Fault.RESET, Fault.TIMEOUT, Fault.LOST}


@pytest.fixture(scope="module")
def shared():
    with AwsServer() as server:
        yield server


@pytest.fixture
def server(shared):
    """The module's one server, empty and without conditions."""
    shared.reset()
    return shared


@cache
def client(endpoint):
    return connect(endpoint, read_timeout=60)


@pytest.fixture
def sm(server):
    return client(server.endpoint)


@pytest.fixture
def manager(server, monkeypatch):
    """SecretsManager, which tries once and has the patience of a busy machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "embedded")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "embedded")
    return SecretsManager(endpoint_url=server.endpoint, max_attempts=1, read_timeout=60)


def strike(server, fault, **rule):
    server.conditions.set(Terms(faults=(FaultRule(fault=fault, **rule),)))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def called(conditions, operation="GetSecretValue", body=b"{}"):
    """The status and the answer of a call that comes without a server."""
    statuses = []
    environ = {
        "HTTP_X_AMZ_TARGET": f"secretsmanager.{operation}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    answer = b"".join(conditions(environ, lambda status, _headers: statuses.append(status)))
    return statuses[0], json.loads(answer)


def fine(environ, start_response):
    start_response("200 OK", [])
    return [b'{"Name": "idom"}']


# Quotas


@pytest.mark.parametrize("operations", PER_SECOND)
def test_a_group_under_siege_gets_its_quota_and_one_burst(operations):
    clock = Clock()
    quotas = Quotas(1, clock=clock)
    rate, passed = PER_SECOND[operations], 0
    for tick in range(400):  # ten seconds, each group at far more than its quota
        clock.now = 1000 + tick / 40
        asked = [operations[i % len(operations)] for i in range(rate)]
        passed += sum(map(quotas.admits, asked))
    assert passed == pytest.approx(rate * (399 / 40 + BURST_SECONDS), abs=1)


@pytest.mark.parametrize("operations", PER_SECOND)
def test_calls_at_the_quotas_own_pace_all_pass(operations):
    clock = Clock()
    quotas = Quotas(1, clock=clock)
    for number in range(2000):
        clock.now = 1000 + number / PER_SECOND[operations]
        assert quotas.admits(operations[number % len(operations)])


def test_groups_have_buckets_of_their_own_and_other_operations_none():
    quotas = Quotas(1e-9, clock=Clock())
    assert [quotas.admits("CreateSecret") for _ in range(3)] == [True, False, False]
    assert [quotas.admits("PutSecretValue"), quotas.admits("UpdateSecret")] == [True, False]
    assert quotas.admits("BatchGetSecretValue")
    assert all(quotas.admits("ListSecretVersionIds") for _ in range(1000))


def test_a_scale_scales_rate_and_burst():
    clock = Clock()
    quotas = Quotas(0.1, burst_seconds=2, clock=clock)
    assert [quotas.admits("CreateSecret") for _ in range(11)] == [True] * 10 + [False]
    clock.now += 0.2
    assert [quotas.admits("CreateSecret") for _ in range(2)] == [True, False]


def test_a_call_over_its_quota_is_throttled_as_by_aws(server, sm, manager):
    server.conditions.set(Terms(quota_scale=1e-9))
    create(sm)
    with pytest.raises(ClientError) as caught:
        create(sm, "nova/clients/other")
    assert caught.value.response["Error"] == {
        "Code": "ThrottlingException",
        "Message": "Rate exceeded",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(SecretsManagerError) as failure:
        manager.create_secret("nova/clients/other", "{}", slug="other")
    assert failure.value.error_class == "throttled"
    assert server.conditions.report()["calls"]["CreateSecret"] == {
        "calls": 3,
        "throttled": 2,
        "failed": 0,
    }
    server.conditions.clear()
    create(sm, "nova/clients/other")


# Round trips


def test_a_call_sleeps_half_a_round_trip_on_each_way():
    sleeps = []
    under = Conditions(fine, sleep=sleeps.append)
    called(under)
    assert sleeps == []
    under.set(Terms(round_trip_seconds=0.1))
    assert called(under) == ("200 OK", {"Name": "idom"})
    assert sleeps == [0.05, 0.05]


def test_calls_travel_side_by_side():
    together = threading.Barrier(8)
    under = Conditions(fine, sleep=lambda _: together.wait(30))
    under.set(Terms(round_trip_seconds=0.1))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: called(under), range(8)))
    assert answers == [("200 OK", {"Name": "idom"})] * 8


# Faults


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
    assert server.conditions.report()["struck"] == {fault: 2}
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
        assert eventually(lambda: server.conditions.report()["struck"] == {"timeout": 1})
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
    assert server.conditions.report()["struck"] == {fault: 1}


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


# Rules


def drawn(rules, *operations, seed=0, clock=None):
    faults = Faults(rules, seed=seed, clock=clock or Clock())
    return [rule.fault if (rule := faults.draw(operation)) else None for operation in operations]


def test_a_rule_strikes_so_many_calls():
    rules = [FaultRule(fault=Fault.RESET, calls=2)]
    assert drawn(rules, *["GetSecretValue"] * 4) == [Fault.RESET, Fault.RESET, None, None]


def test_a_rule_strikes_certain_operations():
    rules = [FaultRule(fault=Fault.DENIED, operations=("CreateSecret", "TagResource"))]
    assert drawn(rules, "CreateSecret", "GetSecretValue", "TagResource") == [
        Fault.DENIED,
        None,
        Fault.DENIED,
    ]


def test_a_rule_strikes_for_some_seconds():
    clock = Clock()
    faults = Faults([FaultRule(fault=Fault.DOWN, seconds=5)], clock=clock)
    assert faults.draw("CreateSecret")
    clock.now += 4.9
    assert faults.draw("CreateSecret")
    clock.now += 0.1
    assert faults.draw("CreateSecret") is None


def test_a_mix_strikes_its_share_of_the_calls_with_every_fault_as_often():
    operations = ["PutSecretValue"] * 50_000
    counts = Counter(drawn(mixed(0.1), *operations))
    assert 1 - counts[None] / 50_000 == pytest.approx(0.1, abs=0.005)
    assert set(counts) == {*Fault, None}
    assert all(counts[fault] == pytest.approx(500, rel=0.25) for fault in Fault)


def test_a_mix_may_last_longer_than_a_refusal_of_all():
    assert {rule.seconds for rule in mixed(0.1, seconds=600)} == {600}


def test_the_same_seed_strikes_the_same_calls():
    operations = ["PutSecretValue"] * 200
    first, again, other = (drawn(mixed(0.5), *operations, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_probabilities_add_up_to_certainty():
    rules = mixed(1, (Fault.RESET, Fault.LOST))
    assert set(drawn(rules, *["CreateSecret"] * 200)) == {Fault.RESET, Fault.LOST}


# Switches


TERMS = Terms(
    round_trip_seconds=0.001,
    quota_scale=2.0,
    burst_seconds=1.0,
    seed=3,
    faults=(
        FaultRule(fault=Fault.DENIED, probability=0.5, calls=3, operations=("CreateSecret",)),
        FaultRule(fault=Fault.DOWN, seconds=2.0, probability=0.0),
    ),
)


def test_terms_survive_the_way_to_the_server(server):
    report = set_conditions(server.endpoint, TERMS)
    assert Terms.read(report["terms"]) == TERMS
    assert Terms.read(server.conditions.report()["terms"]) == TERMS
    assert conditions(server.endpoint) == report


def test_another_process_switches_the_server_of_a_folder(tmp_path, use):
    address = use("aws", tmp_path).address
    sm = connect(address)
    create(sm)
    set_conditions(address, Terms(faults=(FaultRule(fault=Fault.EXPIRED),)))
    refused("ExpiredTokenException", sm.get_secret_value, SecretId=NAME)
    assert conditions(address)["struck"] == {"expired": 1}
    set_conditions(address, Terms())
    assert current(sm) == "example-password-1"


def test_who_switches_a_server_that_refuses_waits_until_it_listens(server, sm):
    strike(server, Fault.REFUSED, seconds=0.2)
    set_conditions(server.endpoint, Terms())
    create(sm)


def test_reset_clears_conditions_and_counts(server, sm):
    strike(server, Fault.DENIED)
    refused("AccessDeniedException", create, sm=sm)
    server.reset()
    assert server.conditions.report() == Conditions(fine).report()
    create(sm)


@pytest.mark.parametrize(
    "given",
    [
        "[]",
        "no JSON",
        '{"round_trip": 1}',
        '{"round_trip_seconds": -1}',
        '{"round_trip_seconds": NaN}',
        '{"round_trip_seconds": "1"}',
        '{"quota_scale": 0}',
        '{"burst_seconds": -1}',
        '{"faults": [{"fault": "flood"}]}',
        '{"faults": [{}]}',
        '{"faults": [1]}',
        '{"faults": [{"fault": "down", "probability": 1.1}]}',
        '{"faults": [{"fault": "down", "calls": -1}]}',
        '{"faults": [{"fault": "refused", "seconds": 31}]}',
        '{"faults": [{"fault": "timeout", "hold_seconds": 61}]}',
    ],
)
def test_terms_that_are_none_are_refused_and_change_nothing(server, given):
    server.conditions.set(TERMS)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("PUT", switches.PATH, given)
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]
    connection.close()
    assert Terms.read(server.conditions.report()["terms"]) == TERMS


def test_only_get_and_put_are_answered(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", switches.PATH, "{}")
    assert connection.getresponse().status == 405
    connection.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://secretsmanager.us-east-1.amazonaws.com",
        "http://192.0.2.1:4566",
        "https://127.0.0.1:4566",
        "http://127.0.0.1",
        "",
    ],
)
def test_nobody_but_an_embedded_aws_is_asked(endpoint, monkeypatch):
    monkeypatch.setattr(switches, "_connect", pytest.fail)
    with pytest.raises(NoSwitchesError):
        set_conditions(endpoint, Terms())


def test_where_nobody_listens_for_longer_than_a_refusal_there_is_no_embedded_aws(monkeypatch):
    with AwsServer() as server:
        gone = server.endpoint
    monkeypatch.setattr(switches, "MAX_REFUSED_SECONDS", -5)
    with pytest.raises(NoSwitchesError):
        conditions(gone)


# The command


@pytest.fixture
def command(server, settings, capsys):
    def run(*arguments):
        call_command("aws_conditions", *arguments)
        return json.loads(capsys.readouterr().out)

    settings.AWS_ENDPOINT_URL = server.endpoint
    return run


def test_the_command_sets_what_it_names_and_clears_the_rest(server, command):
    report = command("--round-trip", "0.1", "--quotas", "--fault", "throttled=0.1")
    assert Terms.read(report["terms"]) == Terms(
        round_trip_seconds=0.1,
        quota_scale=1,
        faults=(FaultRule(fault=Fault.THROTTLED, probability=0.1),),
    )
    limits = ("--seconds", "5", "--calls", "9", "--operations", "CreateSecret", "TagResource")
    command("--quotas", "0.5", "--fault", "lost", "--mixed", "0.1", *limits)
    limited = {"seconds": 5.0, "calls": 9, "operations": ("CreateSecret", "TagResource")}
    assert Terms.read(command()["terms"]) == Terms(
        quota_scale=0.5,
        faults=(FaultRule(fault=Fault.LOST, **limited), *mixed(0.1, **limited)),
    )
    assert Terms.read(command("--clear")["terms"]) == Terms()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "flood"],
        ["--fault", "down=often"],
        ["--fault", "down=2"],
        ["--clear", "--quotas"],
        ["--seconds", "5"],
        ["--round-trip", "-1"],
    ],
)
def test_the_command_used_wrongly_says_why_and_changes_nothing(server, command, arguments):
    server.conditions.set(TERMS)
    with pytest.raises(CommandError) as refusal:
        command(*arguments)
    assert refusal.value.returncode == 2
    assert Terms.read(server.conditions.report()["terms"]) == TERMS


def test_the_command_switches_no_other_aws(command, settings):
    settings.AWS_ENDPOINT_URL = "https://secretsmanager.us-east-1.amazonaws.com"
    with pytest.raises(CommandError, match="no embedded AWS"):
        command("--quotas")
