"""SecretsManager against the strict embedded AWS, whole and with faults in front of it."""

import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

import boto3
import pytest
from botocore import exceptions as botocore_exceptions
from botocore.stub import Stubber

from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws import (
    ClientSecretsManager,
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.document import MAX_BYTES, DocumentError, Layout

MARK = "marked-example-password"
NAME = "nova/clients/idom"
DOCUMENT = {
    "client_name": "IDOM",
    "database": {
        "host": "db.example.com",
        "port": 49057,
        "name": "railway",
        "user": "nova",
        "password": "example-password-1",
    },
    "email": {
        "user": "bills@example.com",
        "app_password": "example-password-2",
        "sender_whitelist": "a@example.com",
    },
    "aws": {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "example-password-3"},
    "other_databases": [],
    "other_emails": [],
    "other_aws": [],
}


@cache
def manager(endpoint, layout):
    """One of each for all tests: boto3 takes a tenth of a second to make a client."""
    return ClientSecretsManager(endpoint_url=endpoint, layout=layout)


@pytest.fixture
def sm(aws):
    return manager(aws.endpoint, Layout.CLIENT)


@pytest.fixture(params=list(Layout))
def either(aws, request):
    """A ClientSecretsManager of each layout."""
    return manager(aws.endpoint, request.param)


@pytest.fixture
def services(aws):
    return manager(aws.endpoint, Layout.SERVICE)


class Faults:
    """Stands before an AWS; plays the faults it is given, one a call, and counts the calls."""

    def __init__(self):
        self.planned = []
        self.calls = []

    def wrap(self, app):
        def answer(environ, start_response):
            self.calls.append(environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2])
            fault = self.planned.pop(0) if self.planned else lambda app, *call: app(*call)
            return fault(app, environ, start_response)

        return answer


@pytest.fixture(scope="module")
def behind_faults():
    faults = Faults()
    with AwsServer(wrap=faults.wrap) as server:
        # It tries once, with the patience of a busy machine.
        sm = ClientSecretsManager(endpoint_url=server.endpoint, max_attempts=1, read_timeout=60)
        yield server, sm, faults


@pytest.fixture
def faulty(behind_faults):
    server, sm, faults = behind_faults
    server.reset()
    faults.planned, faults.calls = [], []
    return sm


@pytest.fixture
def faults(faulty, behind_faults):
    return behind_faults[2]


@pytest.fixture
def stubbed(sm):
    with Stubber(sm.sm) as stub:
        yield sm, stub


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


def everything(error):
    """The text of an error and of all that it drags along."""
    assert (error.__cause__, error.__context__) == (None, None)
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def versions(sm, name=NAME):
    return sm.describe_secret(name).versions


# The plan's six


def test_the_plans_reader_reads_what_is_written(aws):
    ClientSecretsManager().create_client_credentials("idom", DOCUMENT)
    secret = boto3.client("secretsmanager", region_name="us-east-1").get_secret_value(SecretId=NAME)
    credentials = json.loads(secret["SecretString"])
    assert credentials["database"]["password"] == "example-password-1"
    assert credentials["email"]["app_password"] == "example-password-2"


def test_what_the_plans_code_wrote_is_read(sm):
    plain = boto3.client("secretsmanager", region_name="us-east-1")
    written = {"database": {"password": "contraseña"}, "email": {"user": "u"}}
    plain.create_secret(Name=NAME, SecretString=json.dumps(written))
    assert sm.get_client_credentials("idom") == written
    plain.update_secret(SecretId=NAME, SecretString=json.dumps({"database": {}}))
    assert sm.get_client_credentials("idom") == {"database": {}}


def test_a_document_comes_back_as_it_was_created(either):
    either.create_client_credentials("idom", DOCUMENT)
    assert either.get_client_credentials("idom") == DOCUMENT
    assert either.get_database_credentials("idom") == DOCUMENT["database"]
    assert either.get_email_credentials("idom") == DOCUMENT["email"]


def test_every_secret_is_tagged_at_its_creation(either):
    either.create_client_credentials("idom", DOCUMENT)
    for name in either.secret_names("idom").values():
        description = either.describe_secret(name)
        assert description.is_ours
        assert description.tags == {"Project": "NOVA", "ManagedBy": "nova-admin", "Client": "idom"}


def test_an_unknown_client_is_a_value_error_that_names_it(either):
    for method in (
        either.get_client_credentials,
        either.get_database_credentials,
        either.get_email_credentials,
        lambda slug: either.update_client_credentials(slug, DOCUMENT),
        lambda slug: either.rotate_password(slug, "database", MARK),
    ):
        with pytest.raises(ValueError, match="'acme'") as refusal:
            method("acme")
        assert MARK not in everything(refusal.value)


def test_a_client_without_a_credential_is_a_value_error_that_names_both(either):
    document = {key: value for key, value in DOCUMENT.items() if key != "email"}
    either.create_client_credentials("idom", document)
    with pytest.raises(ValueError, match="'idom' has no email"):
        either.get_email_credentials("idom")
    with pytest.raises(ValueError, match="'idom' has no email"):
        either.rotate_password("idom", "email", MARK)


def test_an_existing_name_is_a_conflict(either):
    either.create_client_credentials("idom", DOCUMENT)
    with pytest.raises(SecretsManagerError) as refusal:
        either.create_client_credentials("idom", DOCUMENT)
    assert refusal.value.error_class is ErrorClass.CONFLICT
    assert not refusal.value.not_found


def test_an_update_replaces_the_document(either):
    either.create_client_credentials("idom", DOCUMENT)
    document = DOCUMENT | {"client_name": "Idom", "database": {"password": "example-password-4"}}
    either.update_client_credentials("idom", document)
    assert either.get_client_credentials("idom") == document


def test_an_update_writes_no_version_of_what_is_equal(either):
    either.create_client_credentials("idom", DOCUMENT)
    either.update_client_credentials("idom", DOCUMENT)
    assert [len(versions(either, name)) for name in either.secret_names("idom").values()] == [
        1
    ] * len(either.secret_names("idom"))


def test_an_update_replaces_a_secret_that_holds_no_document(sm):
    sm.create_secret(NAME, "no document", slug="idom")
    sm.update_client_credentials("idom", DOCUMENT)
    assert sm.get_client_credentials("idom") == DOCUMENT


@pytest.mark.parametrize(
    ("service", "key"),
    [("database", "password"), ("email", "app_password"), ("aws", "secret_access_key")],
)
def test_a_rotation_replaces_one_secret_value(either, service, key):
    either.create_client_credentials("idom", DOCUMENT)
    either.rotate_password("idom", service, "example-password-5")
    rotated = DOCUMENT | {service: DOCUMENT[service] | {key: "example-password-5"}}
    assert either.get_client_credentials("idom") == rotated


def test_a_service_that_is_unknown_is_refused_and_not_echoed(sm):
    sm.create_client_credentials("idom", DOCUMENT)
    with pytest.raises(ValueError, match="choose one of database, email, aws") as refusal:
        sm.rotate_password("idom", MARK, "database")
    assert MARK not in everything(refusal.value)
    assert len(versions(sm)) == 1


def test_a_rotation_touches_the_secret_of_its_service_only(services):
    services.create_client_credentials("idom", DOCUMENT)
    services.rotate_password("idom", "email", "example-password-5")
    counts = {part: len(versions(services, n)) for part, n in services.secret_names("idom").items()}
    assert counts == {"database": 1, "email": 2, "aws": 1}


def test_an_update_creates_the_parts_that_are_new_and_empties_those_without_a_row(services):
    without_aws = {key: value for key, value in DOCUMENT.items() if key != "aws"}
    services.create_client_credentials("idom", without_aws)
    assert services.batch_get([f"{NAME}/aws"])[f"{NAME}/aws"].not_found
    without_email = {key: value for key, value in DOCUMENT.items() if key != "email"}
    services.update_client_credentials("idom", without_email)
    assert services.get_value(f"{NAME}/email").document() == {
        "client_name": "IDOM",
        "other_emails": [],
    }
    assert services.get_client_credentials("idom") == without_email
    assert services.describe_secret(f"{NAME}/aws").is_ours


def test_a_client_without_a_row_has_no_secret_to_be_created_in_the_service_layout(services):
    with pytest.raises(ValueError, match="'idom' has no credentials"):
        services.create_client_credentials("idom", {"client_name": "IDOM"})


def test_a_part_that_cannot_be_read_fails_the_whole_client(services):
    services.create_client_credentials("idom", DOCUMENT)
    services.schedule_deletion(f"{NAME}/email")
    with pytest.raises(SecretsManagerError) as refusal:
        services.get_client_credentials("idom")
    assert refusal.value.name == f"{NAME}/email"
    assert refusal.value.error_class is ErrorClass.CONFLICT


def test_a_secret_that_holds_no_document_is_refused_by_its_name(either):
    for name in either.secret_names("idom").values():
        either.create_secret(name, f"{MARK} is no document", slug="idom")
    for method in (either.get_client_credentials, either.get_database_credentials):
        with pytest.raises(DocumentError, match=NAME) as refusal:
            method("idom")
        assert MARK not in everything(refusal.value)


def test_a_credential_that_is_no_object_is_refused_without_its_value(sm):
    sm.create_secret(NAME, json.dumps({"database": MARK}), slug="idom")
    with pytest.raises(DocumentError, match="idom: database must be an object") as refusal:
        sm.rotate_password("idom", "database", MARK)
    assert MARK not in everything(refusal.value)


def test_the_prefix_is_a_setting(aws):
    sm = ClientSecretsManager(prefix="staging/clients")
    sm.create_client_credentials("idom", DOCUMENT)
    assert sm.get_value("staging/clients/idom").to_document() == DOCUMENT


# AWS's calls


def test_a_batch_answers_every_name_exactly_once_and_in_order(sm):
    names = [f"nova/clients/c{number}" for number in range(45)]
    for name in names:
        sm.create_secret(name, json.dumps({"client_name": name}), slug="c")
    arn = sm.get_value(names[3]).arn
    sm.schedule_deletion(names[7])
    asked = [*reversed(names), "nova/clients/none", arn, "not legal", names[0]]
    answers = sm.batch_get(asked)
    assert list(answers) == list(dict.fromkeys(asked))
    for name in set(names) - {names[7]}:
        assert (answers[name].name, answers[name].document()) == (name, {"client_name": name})
    assert answers[arn] == answers[names[3]]
    assert answers[names[7]].code == "InvalidRequestException"
    assert answers["nova/clients/none"].not_found
    assert answers["nova/clients/none"].name == "nova/clients/none"
    assert answers["not legal"].error_class is ErrorClass.DATA
    assert sm.batch_get([]) == {}


def test_a_batch_asks_for_twenty_names_a_call(faulty, faults):
    faulty.batch_get(f"nova/clients/c{number}" for number in range(41))
    assert faults.calls == ["BatchGetSecretValue"] * 3


def test_a_call_that_fails_whole_is_the_error_of_each_of_its_names(stubbed):
    sm, stub = stubbed
    stub.add_client_error("batch_get_secret_value", "AccessDeniedException", MARK)
    answers = sm.batch_get(["a", "b"])
    assert [(e.name, e.error_class, e.operation) for e in answers.values()] == [
        ("a", ErrorClass.PERMISSION, "BatchGetSecretValue"),
        ("b", ErrorClass.PERMISSION, "BatchGetSecretValue"),
    ]


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "InvalidParameterException"])
def test_one_bad_name_does_not_speak_for_the_other_names_of_its_call(stubbed, code):
    sm, stub = stubbed
    stub.add_client_error("batch_get_secret_value", code)
    stub.add_client_error("get_secret_value", code)
    good = {"ARN": "arn:of-the-good-secret", "Name": "good", "VersionId": "v" * 32}
    stub.add_response("get_secret_value", {**good, "SecretString": "{}"})
    answers = sm.batch_get(["bad", "good"])
    assert answers["bad"].code == code
    assert answers["good"].to_document() == {}


def test_a_name_that_a_batch_leaves_out_is_no_answer_rather_than_no_secret(stubbed):
    sm, stub = stubbed
    stub.add_response("batch_get_secret_value", {"SecretValues": [], "Errors": []})
    answer = sm.batch_get(["a"])["a"]
    assert (answer.code, answer.error_class) == ("NoAnswer", ErrorClass.UNAVAILABLE)
    assert not answer.not_found


def test_a_binary_secret_has_no_text_and_is_no_document(sm):
    sm.sm.create_secret(Name=NAME, SecretBinary=b"example")
    value = sm.get_value(NAME)
    assert value.text is None
    with pytest.raises(DocumentError, match=NAME):
        value.to_document()


def test_a_description_tells_versions_tags_and_deletion(sm):
    first = sm.create_secret(NAME, "one", slug="idom")
    second = sm.put_value(NAME, "two")
    description = sm.describe_secret(NAME)
    assert (description.name, description.arn) == (NAME, first.arn)
    assert description.versions == {
        first.version_id: ("AWSPREVIOUS",),
        second: ("AWSCURRENT",),
    }
    assert description.deleted_at is None
    assert (sm.get_value(NAME).text, sm.get_value(NAME).version_id) == ("two", second)


def test_a_secret_of_somebody_else_is_not_ours_until_it_is_tagged(sm):
    sm.sm.create_secret(Name=NAME, SecretString="{}")
    assert not sm.describe_secret(NAME).is_ours
    sm.tag_secret(NAME, slug="idom")
    assert sm.describe_secret(NAME).is_ours
    assert sm.describe_secret(NAME).tags["Client"] == "idom"


def test_a_scheduled_deletion_can_be_taken_back(sm):
    sm.create_secret(NAME, "one", slug="idom")
    deleted_at = sm.schedule_deletion(NAME, days=7)
    assert abs(deleted_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(hours=1)
    assert sm.describe_secret(NAME).deleted_at is not None
    for call in (
        lambda: sm.get_value(NAME),
        lambda: sm.put_value(NAME, MARK),
        lambda: sm.create_secret(NAME, MARK, slug="idom"),
        lambda: sm.tag_secret(NAME, slug="idom"),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert refusal.value.error_class is ErrorClass.CONFLICT
        assert not refusal.value.not_found
        assert MARK not in everything(refusal.value)
    sm.restore_secret(NAME)
    assert sm.get_value(NAME).text == "one"


def test_a_repeated_token_changes_nothing(sm):
    token = str(uuid4())
    first = sm.create_secret(NAME, "one", slug="idom", token=token)
    assert sm.create_secret(NAME, "one", slug="idom", token=token) == first
    token = str(uuid4())
    assert sm.put_value(NAME, "two", token=token) == sm.put_value(NAME, "two", token=token) == token
    assert len(versions(sm)) == 2


def test_a_token_of_an_older_version_is_a_conflict_as_it_does_not_become_current(sm):
    token = str(uuid4())
    sm.create_secret(NAME, "one", slug="idom", token=token)
    sm.put_value(NAME, "two")
    with pytest.raises(SecretsManagerError) as refusal:
        sm.put_value(NAME, "one", token=token)
    assert (refusal.value.code, refusal.value.error_class) == ("NotCurrent", ErrorClass.CONFLICT)
    assert sm.get_value(NAME).text == "two"


def test_a_token_of_another_value_is_a_conflict(sm):
    token = str(uuid4())
    sm.create_secret(NAME, "one", slug="idom", token=token)
    with pytest.raises(SecretsManagerError) as refusal:
        sm.put_value(NAME, MARK, token=token)
    assert refusal.value.error_class is ErrorClass.CONFLICT
    assert MARK not in everything(refusal.value)


@pytest.mark.parametrize(
    "missing",
    [
        "get_value",
        "describe_secret",
        "restore_secret",
        "schedule_deletion",
        "put_value",
        "tag_secret",
    ],
)
def test_what_there_is_not_is_not_found(sm, missing):
    arguments = {"put_value": {"text": MARK}, "tag_secret": {"slug": "idom"}}.get(missing, {})
    with pytest.raises(SecretsManagerError) as refusal:
        getattr(sm, missing)(NAME, **arguments)
    assert refusal.value.not_found
    assert refusal.value.error_class is ErrorClass.CONFLICT
    assert MARK not in everything(refusal.value)


# What is refused before a call


def test_a_value_may_have_65536_bytes_and_not_one_more(faulty, faults):
    faulty.create_secret(NAME, "é" * (MAX_BYTES // 2), slug="idom")
    faulty.put_value(NAME, "x" * MAX_BYTES)
    faults.calls.clear()
    too_large = MARK + "é" * (MAX_BYTES // 2)
    for call in (
        lambda: faulty.create_secret("other", too_large, slug="idom"),
        lambda: faulty.put_value(NAME, too_large),
        lambda: faulty.create_client_credentials("acme", {"database": {"password": too_large}}),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.error_class) == ("TooLarge", ErrorClass.DATA)
        assert MARK not in everything(refusal.value)
    assert faults.calls == []


@pytest.mark.parametrize("name", ["", "two words", "ñ", "line\n", "x" * 257])
def test_an_illegal_name_is_refused_without_a_call(faulty, faults, name):
    for call in (
        lambda: faulty.get_value(name),
        lambda: faulty.describe_secret(name),
        lambda: faulty.create_secret(name, MARK, slug="idom"),
        lambda: faulty.put_value(name, MARK),
        lambda: faulty.restore_secret(name),
        lambda: faulty.tag_secret(name, slug="idom"),
        lambda: faulty.schedule_deletion(name),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert (refusal.value.code, refusal.value.error_class) == ("InvalidName", ErrorClass.DATA)
        assert MARK not in everything(refusal.value)
    assert faulty.batch_get([name])[name].code == "InvalidName"
    assert faults.calls == []


@pytest.mark.parametrize("slug", ["idom/database", "", "dos palabras"])
def test_a_slug_that_makes_no_name_of_its_own_is_refused_without_a_call(faulty, faults, slug):
    for call in (
        lambda: faulty.get_client_credentials(slug),
        lambda: faulty.get_database_credentials(slug),
        lambda: faulty.create_client_credentials(slug, DOCUMENT),
        lambda: faulty.update_client_credentials(slug, DOCUMENT),
        lambda: faulty.rotate_password(slug, "database", MARK),
    ):
        with pytest.raises(SecretsManagerError) as refusal:
            call()
        assert refusal.value.error_class is ErrorClass.DATA
        assert MARK not in everything(refusal.value)
    assert faults.calls == []


# Faults


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
