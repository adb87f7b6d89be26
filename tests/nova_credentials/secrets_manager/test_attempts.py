"""Each attempt of a call is told with what became of it, and with nothing that AWS or a proxy could put into it."""

import pytest
from botocore.awsrequest import AWSResponse

from nova_admin.embedded.faults import Fault
from nova_credentials.aws import SecretsManager, SecretsManagerError
from nova_credentials.aws.attempts import observe_attempts
from tests.nova_admin.embedded.conditions.calls import strike
from tests.nova_credentials.secrets_manager.managers import MARK

NAME = "nova/clients/idom"


@pytest.fixture
def observed(aws):
    """A manager that tries twice, and the attempts it told of."""
    attempts = []
    sm = SecretsManager(
        endpoint_url=aws.endpoint, max_attempts=2, connect_timeout=1, read_timeout=1
    )
    observe_attempts(sm.sm, attempts.append)
    yield sm, attempts
    aws.conditions.clear()


def outcomes(attempts) -> list[tuple[str, str, str]]:
    return [(told.operation, told.outcome, told.code) for told in attempts]


def answer_with(sm, status: int, body: bytes, request_id: str) -> None:
    def answer(request, **_):
        answered = AWSResponse(request.url, status, {"x-amzn-requestid": request_id}, None)
        answered._content = body
        return answered

    sm.sm.meta.events.register("before-send.secrets-manager", answer)


def test_a_call_that_goes_well_is_told_with_awss_own_name_of_it(observed):
    sm, attempts = observed

    sm.create_secret(NAME, "{}", slug="idom")

    assert outcomes(attempts) == [("CreateSecret", "ok", "")]
    assert len(attempts[0].request_id) == 36


@pytest.mark.parametrize(
    ("fault", "outcome", "code", "tries"),
    [
        (Fault.DENIED, "permission", "AccessDeniedException", 1),
        (Fault.THROTTLED, "throttled", "ThrottlingException", 2),
        (Fault.DOWN, "unavailable", "ServiceUnavailable", 2),
        (Fault.RESET, "unavailable", "ConnectionClosedError", 2),
        (Fault.TIMEOUT, "unavailable", "ReadTimeoutError", 2),
    ],
)
def test_a_retry_is_an_attempt_of_its_own(aws, observed, fault, outcome, code, tries):
    sm, attempts = observed
    strike(aws, fault)

    with pytest.raises(SecretsManagerError):
        sm.get_value(NAME)

    assert outcomes(attempts) == [("GetSecretValue", outcome, code)] * tries


def test_a_secret_that_is_not_there_is_no_fault(observed):
    sm, attempts = observed
    with pytest.raises(SecretsManagerError):
        sm.describe_secret(NAME)

    assert outcomes(attempts) == [("DescribeSecret", "conflict", "ResourceNotFoundException")]


def test_what_was_not_sent_is_not_told(observed):
    sm, attempts = observed

    def refuse(**_):
        raise SecretsManagerError.from_code("WritesStopped", "PutSecretValue", "")

    sm.sm.meta.events.register_first("before-send.secrets-manager", refuse)
    with pytest.raises(SecretsManagerError):
        sm.put_value(NAME, "{}")

    assert attempts == []


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, f'{{"__type": "{MARK}", "message": "{MARK}"}}', "data"),
        (502, f"<html>{MARK}</html>", "unavailable"),
        (403, f"<html>{MARK}</html>", "permission"),
    ],
)
def test_nothing_that_others_wrote_is_told(observed, status, body, outcome):
    sm, attempts = observed
    answer_with(sm, status, body.encode(), MARK)
    with pytest.raises(SecretsManagerError):
        sm.get_value(NAME)

    assert {told.outcome for told in attempts} == {outcome}
    assert MARK not in repr(attempts)
