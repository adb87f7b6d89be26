"""Secrets that are not ours, have no value yet or are scheduled for deletion."""

import json
from itertools import product

import pytest
from django.db import transaction

from credentials.models import Client
from migration.core import aws_store
from migration.core.sentences import NOT_OURS, WRITTEN_SINCE_BACKUP
from migration.core.snapshots import read_snapshot
from migration.models import ClientMigration, Comparison, OpenMismatch, PlannedVersion, Secret
from migration.pushes import secret_writer
from migration.pushes.comparisons import SCHEDULED_FOR_DELETION, compare
from migration.pushes.pushes import write_document
from migration.pushes.secret_writer import NOT_TAGGED, ForeignVersionError
from migration.runs.items import Outcome
from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws import SecretsManager, SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_database, make_full_client, update
from tests.migration.moves.clients import advance, change_in_aws
from tests.migration.pushes.pushed import adopt, push_one, stored

pytestmark = pytest.mark.usefixtures("stores")


def test_a_secret_that_is_not_ours_is_left_alone(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "conflict")
    assert NOT_OURS(name="nova/clients/idom") in result.message.parts
    assert sm.get_value("nova/clients/idom").text == "somebody else's"


def test_adopting_takes_it_over_and_tags_it(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")

    adopt(pk)
    assert push_one(pk).outcome == Outcome.UPDATED
    assert sm.describe_secret("nova/clients/idom").has_our_tag
    assert push_one(pk).outcome == Outcome.UNCHANGED


def test_a_secret_scheduled_for_deletion_is_restored_then_written(sm):
    pk = make_client("idom")
    row = make_database(pk)
    push_one(pk)
    arn = sm.get_value("nova/clients/idom").arn
    sm.schedule_deletion("nova/clients/idom", days=7)
    update("client_database_credentials", row, db_port=5433)

    assert push_one(pk).outcome == Outcome.RESTORED
    assert stored(sm, "idom")["database"]["port"] == 5433
    value = sm.get_value("nova/clients/idom")
    assert value.arn == arn
    # Killed before it is recorded, the push is known for ours.
    assert PlannedVersion.objects.filter(pk=value.version_id).exists()


def test_a_restored_secret_that_is_newer_than_the_database_is_not_overwritten(sm, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk)
    push_one(pk)
    sm.schedule_deletion("nova/clients/idom", days=7)
    update("client_database_credentials", row, db_port=5433)
    monkeypatch.setattr(
        secret_writer,
        "find_own_unplanned_versions",
        lambda values, **_: {value.version_id for value in values},
    )

    assert push_one(pk).message == WRITTEN_SINCE_BACKUP(name="nova/clients/idom")
    assert stored(sm, "idom")["database"]["port"] == 5432


def test_a_secret_that_it_knows_is_not_described_again(monkeypatch):
    pk = make_full_client("idom")
    push_one(pk)
    monkeypatch.setattr(SecretsManager, "describe_secret", None)

    assert push_one(pk).outcome == Outcome.UNCHANGED


def test_a_secret_that_somebody_made_anew_under_the_name_is_not_ours(sm):
    pk = make_full_client("idom")
    push_one(pk)
    sm.sm.delete_secret(SecretId="nova/clients/idom", ForceDeleteWithoutRecovery=True)
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")

    assert push_one(pk).message.codes == [NOT_OURS.key, NOT_TAGGED.key]
    assert sm.get_value("nova/clients/idom").text == "somebody else's"


def test_a_secret_that_may_not_be_created_is_an_error_of_its_own(monkeypatch):
    def refuse(*_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "CreateSecret", "idom")

    monkeypatch.setattr(SecretsManager, "create_secret", refuse)

    assert push_one(make_full_client("idom")).error_class == "permission"


@pytest.fixture
def vague_aws(stores, settings, monkeypatch):
    """An emulator that reads of a secret scheduled for deletion as of none, and takes its name as taken."""
    with AwsServer(wrap=as_an_emulator) as server:
        settings.AWS_ENDPOINT_URL = server.endpoint
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        yield server


def as_an_emulator(app):
    """Answer InvalidRequestException by other codes: of a read as not found, of CreateSecret as there already."""

    def answer(environ, start_response):
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        if operation not in {"GetSecretValue", "BatchGetSecretValue", "CreateSecret"}:
            return app(environ, start_response)
        started = []
        body = b"".join(app(environ, lambda *start: started.append(start)))
        code = "ResourceExists" if operation == "CreateSecret" else "ResourceNotFound"
        body = body.replace(b"InvalidRequestException", f"{code}Exception".encode())
        status, headers, *_ = started[0]
        headers = [(k, v) for k, v in headers if k.lower() not in TELL_OF_THE_BODY]
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answer


TELL_OF_THE_BODY = {"content-length", "x-amzn-errortype", "x-amz-crc32"}


@pytest.mark.usefixtures("vague_aws")
def test_a_deletion_that_is_told_by_its_date_alone_is_taken_back(settings):
    for layout, known in product(Layout, (True, False)):
        settings.NOVA_SECRET_LAYOUT = layout
        pk = make_client(slug := f"{layout}-{known}".lower())
        row = make_database(pk)
        push_one(pk)
        name = aws_store.secret_names(slug)["client" if layout == Layout.CLIENT else "database"]
        sm = aws_store.secrets_manager()
        sm.schedule_deletion(name, days=7)
        update("client_database_credentials", row, db_port=5433)
        if not known:
            Secret.objects.all().delete()

        rehearsed = push_one(pk, dry_run=True)
        assert rehearsed.outcome == (Outcome.RESTORED if known else Outcome.CREATED), slug
        assert push_one(pk).outcome == Outcome.RESTORED, slug
        assert json.loads(sm.get_value(name).text)["database"]["port"] == 5433
        assert push_one(pk).outcome == Outcome.UNCHANGED, slug


@pytest.mark.usefixtures("vague_aws")
def test_a_foreign_deletion_that_is_told_by_its_date_alone_stays_so():
    pk, sm = make_full_client("idom"), aws_store.secrets_manager()
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")
    sm.schedule_deletion("nova/clients/idom", days=7)

    assert push_one(pk).message.codes == [NOT_OURS.key, NOT_TAGGED.key]
    assert sm.describe_secret("nova/clients/idom").deleted_at is not None
    adopt(pk)
    assert push_one(pk).outcome == Outcome.RESTORED
    assert stored(sm, "idom") == Client.objects.get(pk=pk).build_document()


@pytest.mark.parametrize("kind_of_aws", ["stores", "vague_aws"])
def test_a_comparison_says_that_a_secret_is_scheduled_for_deletion(request, settings, kind_of_aws):
    request.getfixturevalue(kind_of_aws)
    for layout, phase in product(Layout, (Phase.POSTGRES, Phase.DUAL_WRITE)):
        settings.NOVA_SECRET_LAYOUT = layout
        pk = make_full_client(slug := f"{layout}-{phase}".replace("_", "-"))
        push_one(pk)
        name = aws_store.secret_names(slug)["client" if layout == Layout.CLIENT else "email"]
        aws_store.secrets_manager().schedule_deletion(name, days=7)
        ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": phase})

        compared = compare(client_ids=[pk])[pk]

        assert compared.status == Comparison.Status.MISSING_IN_AWS, slug
        assert compared.message == SCHEDULED_FOR_DELETION(name=name)


@pytest.mark.parametrize("layout", Layout)
def test_a_client_that_was_never_pushed_is_no_mismatch_and_no_secret_of_it_is_described(
    aws_server, monkeypatch, settings, layout
):
    settings.NOVA_SECRET_LAYOUT = layout
    described = []
    monkeypatch.setattr(SecretsManager, "describe_secret", lambda _, name: described.append(name))

    assert compare(client_ids=[make_full_client("idom")]) == {}

    assert described == []
    assert not Comparison.objects.exists()


@pytest.mark.parametrize("status", ["missing_in_aws", "unchecked"])
def test_what_was_said_before_of_a_client_that_was_never_pushed_is_forgotten(sm, status):
    pk = make_full_client("idom")
    make_comparison(pk, status)

    assert OpenMismatch.objects.filter(client_id=pk).exists() == (status == "missing_in_aws")
    assert compare(client_ids=[pk]) == {}

    assert not OpenMismatch.objects.filter(client_id=pk).exists()
    standing = ClientMigration.objects.get(pk=pk)
    assert (standing.comparison_id, standing.comparison_status) == (None, None)


def test_a_client_that_went_back_to_postgres_and_whose_secret_somebody_deleted_is_a_mismatch(sm):
    pk = make_full_client("idom")
    push_one(pk)
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": "postgres"})
    sm.sm.delete_secret(SecretId="nova/clients/idom", ForceDeleteWithoutRecovery=True)

    assert compare(client_ids=[pk])[pk].status == Comparison.Status.MISSING_IN_AWS


def test_a_service_client_whose_secrets_are_all_gone_is_missing_in_aws(settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_client("idom")
    make_database(pk)
    push_one(pk)
    Client.objects.get(pk=pk).databases.all()._raw_delete("default")
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": "aws"})

    assert push_one(pk).outcome == Outcome.UPDATED
    assert compare(client_ids=[pk])[pk].status == Comparison.Status.MATCH
    sm.sm.delete_secret(SecretId="nova/clients/idom/database", ForceDeleteWithoutRecovery=True)
    assert compare(client_ids=[pk])[pk].status == Comparison.Status.MISSING_IN_AWS


def test_a_foreign_secret_scheduled_for_deletion_stays_so(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")
    sm.schedule_deletion("nova/clients/idom", days=7)

    assert push_one(pk).error_class == "conflict"
    assert sm.describe_secret("nova/clients/idom").deleted_at is not None


@pytest.mark.parametrize("tagged", [True, False])
def test_a_secret_that_has_no_value_yet_is_filled_once_it_is_adopted(sm, tagged):
    tags = [{"Key": "ManagedBy", "Value": "nova-admin"}] if tagged else []
    sm.sm.create_secret(Name="nova/clients/idom", Tags=tags)
    pk = make_full_client("idom")

    assert NOT_OURS.key in push_one(pk).message.codes
    adopt(pk)
    result = push_one(pk)

    assert (result.outcome, result.comparison.status) == (Outcome.UPDATED, "match")
    assert sm.describe_secret("nova/clients/idom").has_our_tag


def test_a_secret_without_a_value_that_is_not_ours_is_left_alone(sm):
    sm.sm.create_secret(Name="nova/clients/idom")

    result = push_one(make_full_client("idom"))

    assert NOT_OURS(name="nova/clients/idom") in result.message.parts


def test_a_secret_of_a_service_without_a_row_may_be_scheduled_for_deletion(settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_client("idom")
    make_database(pk)
    sm.create_secret("nova/clients/idom/email", "{}", slug="idom")
    sm.schedule_deletion("nova/clients/idom/email")

    assert push_one(pk).comparison.status == Comparison.Status.MATCH


def test_a_save_overwrites_what_somebody_else_wrote_only_where_it_may(sm):
    pk = make_full_client("idom")
    advance(pk, Phase.AWS)
    change_in_aws(sm, db_password="example-theirs")
    snapshot = read_snapshot(pk)
    document = snapshot.require_document()

    with transaction.atomic(), pytest.raises(ForeignVersionError):
        write_document(snapshot, document=document)
    assert stored(sm, "idom") != document

    with transaction.atomic():
        write_document(snapshot, document=document, overwrite=True)
    assert stored(sm, "idom") == document
