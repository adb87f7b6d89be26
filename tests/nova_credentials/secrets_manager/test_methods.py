"""The plan's six methods: create, read, update and rotate a client's secrets."""

import json

import boto3
import pytest

from nova_credentials.aws import ClientSecretsManager, ErrorClass, SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from tests.nova_credentials.secrets_manager.managers import (
    DOCUMENT,
    MARK,
    NAME,
    everything,
    manager,
    versions,
)


@pytest.fixture(params=list(Layout))
def either(aws, request):
    """A ClientSecretsManager of each layout."""
    return manager(aws.endpoint, request.param)


@pytest.fixture
def services(aws):
    return manager(aws.endpoint, Layout.SERVICE)


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
        assert description.has_our_tag
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
    assert services.get_value(f"{NAME}/email").to_document() == {
        "client_name": "IDOM",
        "other_emails": [],
    }
    assert services.get_client_credentials("idom") == without_email
    assert services.describe_secret(f"{NAME}/aws").has_our_tag


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
