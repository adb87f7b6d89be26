"""Every error has its class, and repeats no value."""

import logging
import pickle

import pytest
from botocore import exceptions as botocore_exceptions

from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws import (
    ClientSecretsManager,
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
)
from tests.nova_credentials.secrets_manager.managers import MARK, NAME, Faults, everything, versions


def lost(app, environ, start_response):
    """Do what is asked and lose the answer."""
    list(app(environ, start_response))
    raise ConnectionAbortedError


def page(status, body, content_type="text/html"):
    """Answer with a page, as a proxy does."""

    def answer(_app, _environ, start_response):
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    return answer


@pytest.mark.parametrize(
    ("code", "status", "error_class"),
    [
        ("ThrottlingException", 400, "throttled"),
        ("TooManyRequestsException", 429, "throttled"),
        ("RequestLimitExceeded", 503, "throttled"),
        ("KMSThrottlingException", 400, "throttled"),
        ("SomethingNew", 429, "throttled"),
        ("LimitExceededException", 400, "data"),
        ("InvalidParameterException", 400, "data"),
        ("ValidationException", 400, "data"),
        ("SomethingNew", 400, "data"),
        ("AccessDeniedException", 400, "permission"),
        ("UnrecognizedClientException", 400, "permission"),
        ("ExpiredTokenException", 400, "permission"),
        ("InvalidSignatureException", 400, "permission"),
        ("EncryptionFailure", 400, "permission"),
        ("DecryptionFailure", 400, "permission"),
        ("KMSInvalidStateException", 400, "permission"),
        ("SomethingNew", 403, "permission"),
        ("ResourceExistsException", 400, "conflict"),
        ("InvalidRequestException", 400, "conflict"),
        ("PreconditionNotMetException", 400, "conflict"),
        ("ResourceNotFoundException", 400, "conflict"),
        ("InternalServiceError", 400, "unavailable"),
        ("InternalFailure", 500, "unavailable"),
        ("ServiceUnavailable", 503, "unavailable"),
        ("SomethingNew", 502, "unavailable"),
    ],
)
def test_a_code_of_aws_has_a_class_and_its_message_is_not_repeated(
    stubbed, code, status, error_class
):
    sm, stub = stubbed
    stub.add_client_error("put_secret_value", code, f"echo of {MARK}", status)
    with pytest.raises(SecretsManagerError) as failure:
        sm.put_value(NAME, MARK)
    error = failure.value
    assert (error.error_class, error.code) == (error_class, code)
    assert (error.operation, error.name) == ("PutSecretValue", NAME)
    assert str(error).startswith(f"PutSecretValue failed for secret '{NAME}' with {code}: ")
    assert MARK not in everything(error)


@pytest.mark.parametrize(
    ("raised", "error_class"),
    [
        (botocore_exceptions.NoCredentialsError(), "permission"),
        (botocore_exceptions.PartialCredentialsError(provider="env", cred_var=MARK), "permission"),
        (
            botocore_exceptions.CredentialRetrievalError(provider="p", error_msg=MARK),
            "permission",
        ),
        (botocore_exceptions.UnauthorizedSSOTokenError(), "permission"),
        (botocore_exceptions.EndpointConnectionError(endpoint_url=MARK), "unavailable"),
        (botocore_exceptions.ConnectTimeoutError(endpoint_url=MARK), "unavailable"),
        (botocore_exceptions.ReadTimeoutError(endpoint_url=MARK), "unavailable"),
        (botocore_exceptions.ConnectionClosedError(endpoint_url=MARK), "unavailable"),
        (botocore_exceptions.SSLError(endpoint_url="e", error=MARK), "unavailable"),
        (botocore_exceptions.HTTPClientError(error=MARK), "unavailable"),
    ],
)
def test_an_error_of_botocore_has_a_class_and_its_text_is_not_repeated(aws, raised, error_class):
    def fail(**_):
        raise raised

    sm = SecretsManager(max_attempts=1)
    sm.sm.meta.events.register("before-send.secrets-manager", fail)
    with pytest.raises(SecretsManagerError) as failure:
        sm.put_value(NAME, MARK)
    assert failure.value.error_class == error_class
    assert failure.value.code == type(raised).__name__
    assert MARK not in everything(failure.value)


def test_a_parameter_that_botocore_refuses_is_not_echoed(sm):
    with pytest.raises(SecretsManagerError) as failure:
        sm.create_secret(NAME, "{}", slug={"password": MARK})
    assert failure.value.error_class is ErrorClass.DATA
    assert failure.value.code == "ParamValidationError"
    assert MARK not in everything(failure.value)


def test_an_endpoint_where_nobody_listens_is_unavailable():
    with AwsServer() as server:
        gone = server.endpoint
    sm = SecretsManager(endpoint_url=gone, max_attempts=1)
    with pytest.raises(SecretsManagerError) as failure:
        sm.put_value(NAME, MARK)
    assert failure.value.error_class is ErrorClass.UNAVAILABLE
    assert MARK not in everything(failure.value)


@pytest.mark.parametrize(
    "answer",
    [
        page("200 OK", b"<html>Sign in</html>"),
        page("200 OK", b""),
        page("302 Found", b"<html>Sign in</html>"),
        page("404 Not Found", b"<html>No such page</html>"),
        page("502 Bad Gateway", b"<html>Bad gateway</html>"),
        page("502 Bad Gateway", "<!DOCTYPE html>Error de conexión".encode("latin-1")),
        page("503 Service Unavailable", b""),
    ],
)
def test_the_page_of_a_proxy_is_unavailable(faulty, faults, answer):
    for call in (lambda: faulty.get_value(NAME), lambda: faulty.put_value(NAME, MARK)):
        faults.planned = [answer]
        with pytest.raises(SecretsManagerError) as failure:
            call()
        assert failure.value.error_class is ErrorClass.UNAVAILABLE
        assert MARK not in everything(failure.value)


def test_an_answer_that_is_lost_is_asked_for_again_and_written_once():
    faults = Faults()
    with AwsServer(wrap=faults.wrap) as server:
        sm = SecretsManager(endpoint_url=server.endpoint)
        faults.planned = [lost]
        sm.create_secret(NAME, "one", slug="idom")
        faults.planned = [lost]
        sm.put_value(NAME, "two")
        assert faults.calls == ["CreateSecret"] * 2 + ["PutSecretValue"] * 2
        assert len(versions(sm)) == 2
        assert sm.get_value(NAME).text == "two"


def test_a_throttled_call_is_tried_again_within_the_pinned_attempts():
    faults = Faults()
    throttled = page(
        "400 Bad Request", b'{"__type": "ThrottlingException"}', "application/x-amz-json-1.1"
    )
    with AwsServer(wrap=faults.wrap) as server:
        sm = SecretsManager(endpoint_url=server.endpoint, max_attempts=2)
        sm.create_secret(NAME, "one", slug="idom")
        faults.planned = [throttled]
        assert sm.get_value(NAME).text == "one"
        faults.planned = [throttled] * 2
        with pytest.raises(SecretsManagerError) as failure:
            sm.get_value(NAME)
    assert failure.value.error_class is ErrorClass.THROTTLED
    assert faults.planned == []


def test_attempts_and_time_outs_are_pinned(aws):
    config = SecretsManager().sm.meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert (config.connect_timeout, config.read_timeout) == (3, 5)
    assert config.max_pool_connections == 50


def test_no_log_shows_a_value_even_where_everything_is_logged(sm, caplog):
    caplog.set_level(logging.DEBUG, "botocore")
    sm.create_secret(NAME, MARK, slug="idom")
    assert sm.get_value(NAME).text == MARK
    assert sm.batch_get([NAME])[NAME].text == MARK
    assert "botocore" in caplog.text
    assert MARK not in caplog.text


def test_no_repr_shows_a_value(sm):
    sm.create_secret(NAME, MARK, slug="idom")
    assert MARK not in repr(sm.get_value(NAME)) + repr(sm.batch_get([NAME])) + repr(vars(sm))


def test_an_error_survives_the_way_from_one_process_to_another():
    error = SecretsManagerError(ErrorClass.CONFLICT, "ResourceNotFoundException", "Get", NAME)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.error_class, copy.not_found) == (str(error), "conflict", True)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="Layout"):
        ClientSecretsManager(layout="both")
