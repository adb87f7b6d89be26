"""Conditions are switched from other processes and by command."""

import http.client
import json

import pytest
from django.core.management import CommandError, call_command

from nova_admin.embedded import conditions_api
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions, ConditionsMiddleware
from nova_admin.embedded.conditions_api import NoEmbeddedAwsError, get_conditions, set_conditions
from nova_admin.embedded.faults import Fault, FaultRule, mixed_rules
from tests.nova_admin.embedded.conditions.calls import fine, strike
from tests.nova_admin.embedded.test_strict_rules import NAME, create, current, refused

# Switches


TERMS = Conditions(
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
    assert Conditions.from_json(report["conditions"]) == TERMS
    assert Conditions.from_json(server.conditions.report()["conditions"]) == TERMS
    assert get_conditions(server.endpoint) == report


def test_another_process_switches_the_server_of_a_folder(tmp_path, use, monkeypatch):
    user = use("aws", tmp_path)
    address, sm = user.address, user.connect()
    create(sm)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user.access_key)
    set_conditions(address, Conditions(faults=(FaultRule(fault=Fault.EXPIRED),)))
    refused("ExpiredTokenException", sm.get_secret_value, SecretId=NAME)
    assert get_conditions(address)["injected"] == {"expired": 1}
    set_conditions(address, Conditions())
    assert current(sm) == "example-password-1"

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "example-key")
    with pytest.raises(NoEmbeddedAwsError, match="another key"):
        set_conditions(address, TERMS)


def test_who_switches_a_server_that_refuses_waits_until_it_listens(server, sm):
    strike(server, Fault.REFUSED, seconds=0.2)
    set_conditions(server.endpoint, Conditions())
    create(sm)


def test_reset_clears_conditions_and_counts(server, sm):
    strike(server, Fault.DENIED)
    refused("AccessDeniedException", create, sm=sm)
    server.reset()
    assert server.conditions.report() == ConditionsMiddleware(fine).report()
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
    connection.request("PUT", conditions_api.PATH, given)
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]
    connection.close()
    assert Conditions.from_json(server.conditions.report()["conditions"]) == TERMS


def test_only_get_and_put_are_answered(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", conditions_api.PATH, "{}")
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
    monkeypatch.setattr(conditions_api, "_connect_when_listening", pytest.fail)
    with pytest.raises(NoEmbeddedAwsError):
        set_conditions(endpoint, Conditions())


def test_where_nobody_listens_for_longer_than_a_refusal_there_is_no_embedded_aws(monkeypatch):
    with AwsServer() as server:
        gone = server.endpoint
    monkeypatch.setattr(conditions_api, "MAX_REFUSED_SECONDS", -5)
    with pytest.raises(NoEmbeddedAwsError):
        get_conditions(gone)


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
    assert Conditions.from_json(report["conditions"]) == Conditions(
        round_trip_seconds=0.1,
        quota_scale=1,
        faults=(FaultRule(fault=Fault.THROTTLED, probability=0.1),),
    )
    limits = ("--seconds", "5", "--calls", "9", "--operations", "CreateSecret", "TagResource")
    command("--quotas", "0.5", "--fault", "lost", "--mixed", "0.1", *limits)
    limited = {"seconds": 5.0, "calls": 9, "operations": ("CreateSecret", "TagResource")}
    assert Conditions.from_json(command()["conditions"]) == Conditions(
        quota_scale=0.5,
        faults=(FaultRule(fault=Fault.LOST, **limited), *mixed_rules(0.1, **limited)),
    )
    assert Conditions.from_json(command("--clear")["conditions"]) == Conditions()


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
    assert Conditions.from_json(server.conditions.report()["conditions"]) == TERMS


def test_the_command_switches_no_other_aws(command, settings):
    settings.AWS_ENDPOINT_URL = "https://secretsmanager.us-east-1.amazonaws.com"
    with pytest.raises(CommandError, match="no embedded AWS"):
        command("--quotas")
