"""The plan's class raises what the plan's code catches, and what this site's does."""

import pickle

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws import ClientSecretsManager, ErrorClass, SecretsManagerError
from tests.nova_credentials.secrets_manager.managers import DOCUMENT, MARK, NAME, everything

METHODS = {
    "get_client_credentials": ("get_secret_value", ()),
    "get_database_credentials": ("get_secret_value", ()),
    "get_email_credentials": ("get_secret_value", ()),
    "create_client_credentials": ("create_secret", (DOCUMENT,)),
    "update_client_credentials": ("get_secret_value", (DOCUMENT,)),
    "rotate_password": ("get_secret_value", ("database", MARK)),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_raises_a_client_error_of_aws_code(stubbed, method):
    sm, stub = stubbed
    call, arguments = METHODS[method]
    stub.add_client_error(call, "AccessDeniedException", f"echo of {MARK}", 400)

    with pytest.raises(ClientError) as caught:
        getattr(sm, method)("idom", *arguments)

    error = caught.value
    assert error.response["Error"]["Code"] == "AccessDeniedException"
    assert error.operation_name == "".join(word.capitalize() for word in call.split("_"))
    assert isinstance(error, SecretsManagerError)
    assert error.error_class is ErrorClass.PERMISSION
    assert error.response["Error"]["Message"] == str(error)
    assert MARK not in everything(error)


def test_the_client_s_own_classes_catch_it(sm):
    sm.create_client_credentials("idom", DOCUMENT)

    with pytest.raises(sm.client.exceptions.ResourceExistsException, match=NAME) as caught:
        sm.create_client_credentials("idom", DOCUMENT)
    assert not isinstance(caught.value, sm.client.exceptions.ResourceNotFoundException)


def test_a_missing_secret_is_a_value_error_as_in_the_plan_and_no_client_error(sm):
    with pytest.raises(ValueError, match="'idom' not found in Secrets Manager") as caught:
        sm.get_client_credentials("idom")
    assert not isinstance(caught.value, ClientError)


def test_an_aws_that_cannot_be_reached_is_an_error_of_botocore():
    with AwsServer() as server:
        gone = server.endpoint
    sm = ClientSecretsManager(endpoint_url=gone, max_attempts=1)

    with pytest.raises(BotoCoreError) as caught:
        sm.get_client_credentials("idom")
    assert not isinstance(caught.value, ClientError)
    assert caught.value.code == "EndpointConnectionError"


def test_a_name_that_aws_would_refuse_is_a_client_error(sm):
    with pytest.raises(ClientError) as caught:
        sm.get_client_credentials("a b")
    assert caught.value.response["Error"]["Code"] == "InvalidName"


def test_it_survives_the_way_from_one_process_to_another(stubbed):
    sm, stub = stubbed
    stub.add_client_error("get_secret_value", "InternalServiceError", "", 500)
    with pytest.raises(SecretsManagerError) as caught:
        sm.get_client_credentials("idom")

    copy = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(copy, ClientError)
    assert isinstance(copy, SecretsManagerError)
    assert (copy.response, copy.error_class) == (caught.value.response, ErrorClass.UNAVAILABLE)
    assert str(copy.for_secret("other")) == str(caught.value).replace(NAME, "other")
