"""Quotas and round trips of the embedded AWS."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from nova_admin.embedded.conditions import (
    BURST_SECONDS,
    PER_SECOND,
    Conditions,
    ConditionsMiddleware,
    Quotas,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from tests.nova_admin.embedded.conditions.calls import Clock, fine
from tests.nova_admin.embedded.test_strict_rules import create


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


# Quotas


@pytest.mark.parametrize("operations", PER_SECOND)
def test_a_group_under_siege_gets_its_quota_and_one_burst(operations):
    clock = Clock()
    quotas = Quotas(1, clock=clock)
    rate, passed = PER_SECOND[operations], 0
    for tick in range(400):  # ten seconds, each group at more than four times its quota
        clock.now = 1000 + tick / 40
        asked = [operations[i % len(operations)] for i in range(rate // 10 + 1)]
        passed += sum(map(quotas.take_token, asked))
    assert passed == pytest.approx(rate * (399 / 40 + BURST_SECONDS), abs=1)


@pytest.mark.parametrize("operations", PER_SECOND)
def test_calls_at_the_quotas_own_pace_all_pass(operations):
    clock = Clock()
    quotas = Quotas(1, clock=clock)
    for number in range(2000):
        clock.now = 1000 + number / PER_SECOND[operations]
        assert quotas.take_token(operations[number % len(operations)])


def test_groups_have_buckets_of_their_own_and_other_operations_none():
    quotas = Quotas(1e-9, clock=Clock())
    assert [quotas.take_token("CreateSecret") for _ in range(3)] == [True, False, False]
    assert [quotas.take_token("PutSecretValue"), quotas.take_token("UpdateSecret")] == [True, False]
    assert quotas.take_token("BatchGetSecretValue")
    assert all(quotas.take_token("ListSecretVersionIds") for _ in range(1000))


def test_a_scale_scales_rate_and_burst():
    clock = Clock()
    quotas = Quotas(0.1, burst_seconds=2, clock=clock)
    assert [quotas.take_token("CreateSecret") for _ in range(11)] == [True] * 10 + [False]
    clock.now += 0.2
    assert [quotas.take_token("CreateSecret") for _ in range(2)] == [True, False]


def test_a_call_over_its_quota_is_throttled_as_by_aws(server, sm, manager):
    server.conditions.set(Conditions(quota_scale=1e-9))
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
    under = ConditionsMiddleware(fine, sleep=sleeps.append)
    called(under)
    assert sleeps == []
    under.set(Conditions(round_trip_seconds=0.1))
    assert called(under) == ("200 OK", {"Name": "idom"})
    assert sleeps == [0.05, 0.05]


def test_calls_travel_side_by_side():
    together = threading.Barrier(8)
    under = ConditionsMiddleware(fine, sleep=lambda _: together.wait(30))
    under.set(Conditions(round_trip_seconds=0.1))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: called(under), range(8)))
    assert answers == [("200 OK", {"Name": "idom"})] * 8
