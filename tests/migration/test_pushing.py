"""Push: present rows, compare first, only what differs, ours alone, read back."""

import json
import threading

import pytest
from django.db import connection

from credentials.models import Client, ClientRevision, ClientWrite
from migration import sentences
from migration.models import ClientMigration, Comparison, Outcome, Run, Secret, clients
from migration.operations import pushes, runs, stores
from migration.operations.comparisons import compare
from migration.operations.pushes import push
from nova_admin.embedded.aws import AwsServer
from nova_credentials import sentences as shared
from nova_credentials.aws import ClientSecretsManager, SecretsManager
from nova_credentials.document import Layout
from tests.factories import insert, make_client, make_database, make_email, make_full_client, update

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def sm():
    return stores.secrets_manager()


def push_one(pk: int, **options):
    (result,) = push(client_ids=[pk], **options)
    return result


def stored(sm, slug: str):
    return json.loads(sm.get_value(f"nova/clients/{slug}").text)


def revision(pk: int):
    row = Client.objects.with_revision().get(pk=pk)
    return row.revision, row.pushed_revision


def test_a_push_creates_the_secret_with_its_tags_and_the_document_of_the_rows(sm):
    pk = make_full_client("idom")

    result = push_one(pk)

    assert (result.outcome, result.message) == (Outcome.CREATED, None)
    assert stored(sm, "idom") == Client.objects.get(pk=pk).document()
    tags = sm.describe_secret("nova/clients/idom").tags
    assert tags == {"Project": "NOVA", "ManagedBy": "nova-admin", "Client": "idom"}


def test_what_was_pushed_is_compared_and_its_revision_stored():
    pk = make_full_client("idom")

    result = push_one(pk)

    assert result.comparison.status == Comparison.Status.MATCH
    assert revision(pk) == (4, 4)  # the client and three rows
    assert Comparison.objects.newest().get().client_id == pk


def test_an_unchanged_document_is_not_written_again(sm):
    pk = make_full_client("idom")
    push_one(pk)
    before = sm.describe_secret("nova/clients/idom").versions

    assert push_one(pk).outcome == Outcome.UNCHANGED
    assert sm.describe_secret("nova/clients/idom").versions == before


def test_another_layout_of_the_same_json_is_no_change(sm):
    pk = make_full_client("idom")
    document = Client.objects.get(pk=pk).document()
    sm.create_secret(
        "nova/clients/idom", json.dumps(dict(reversed(document.items())), indent=2), slug="idom"
    )

    assert push_one(pk).outcome == Outcome.UNCHANGED


def test_a_changed_row_becomes_a_new_version(sm):
    pk = make_client("idom")
    row = make_database(pk)
    push_one(pk)
    update("client_database_credentials", row, db_password_encrypted="example-password-9")

    assert push_one(pk).outcome == Outcome.UPDATED
    assert stored(sm, "idom")["database"]["password"] == "example-password-9"


def test_an_earlier_value_again_becomes_current_again(sm):
    pk = make_client("idom")
    row = make_database(pk)
    for password in ("example-a", "example-b", "example-a", "example-b"):
        update("client_database_credentials", row, db_password_encrypted=password)
        push_one(pk)
        assert stored(sm, "idom")["database"]["password"] == password


def test_rows_that_are_gone_are_gone_from_the_document(sm):
    pk = make_full_client("idom")
    push_one(pk)
    Client.objects.get(pk=pk).emails.all()._raw_delete("default")

    assert push_one(pk).outcome == Outcome.UPDATED
    assert "email" not in stored(sm, "idom")


@pytest.mark.parametrize(
    ("slug", "named"), [("with blank", "' '"), ("ñandú", "'ñ'"), ("a/b", "'/'"), ("a#b", "'#'")]
)
def test_a_slug_that_aws_refuses_fails_as_data_and_names_the_characters(sm, slug, named):
    pk = make_full_client(slug)

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "data")
    assert named in str(result.message)
    assert revision(pk)[1] is None


def test_a_slug_that_ends_like_an_arn_is_pushed_with_a_warning():
    result = push_one(make_full_client("acme-madrid"))

    assert result.outcome == Outcome.CREATED
    assert result.message == shared.NAME_LIKE_ARN(name="nova/clients/acme-madrid")


def test_a_document_that_is_too_large_fails_with_its_size(sm):
    pk = make_client("idom")
    make_database(pk, db_password_encrypted="x" * 65_536)

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "data")
    assert result.message.key == shared.SECRET_TOO_LARGE.key
    assert "65,536" in str(result.message)
    assert sm.batch_get(["nova/clients/idom"])["nova/clients/idom"].not_found


def test_the_largest_document_that_fits_is_pushed():
    pk = make_client("idom")
    row = make_database(pk, db_password_encrypted="")
    from nova_credentials import document

    room = document.MAX_BYTES - document.size_in_bytes(Client.objects.get(pk=pk).document())
    update("client_database_credentials", row, db_password_encrypted="x" * room)

    assert push_one(pk).outcome == Outcome.CREATED


def test_two_primary_rows_fail_as_data_and_are_named():
    pk = make_client("idom")
    ids = [make_email(pk), make_email(pk, label="other")]

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "data")
    assert f"{ids[0]}, {ids[1]}" in str(result.message)


def test_no_credentials_and_inactive_are_skipped_with_the_reason():
    empty, inactive = make_client("empty"), make_full_client("inactive", is_active=False)

    results = {r.slug: r for r in push(client_ids=[empty, inactive], include_inactive=False)}

    assert {r.outcome for r in results.values()} == {Outcome.SKIPPED}
    assert (results["empty"].message, results["inactive"].message) == (
        sentences.NOT_PUSHED_EMPTY(),
        sentences.NOT_PUSHED_INACTIVE(),
    )


def test_a_secret_that_is_not_ours_is_left_alone(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "conflict")
    assert result.message == sentences.NOT_OURS(name="nova/clients/idom")
    assert sm.get_value("nova/clients/idom").text == "somebody else's"


def test_adopting_takes_it_over_and_tags_it(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")

    assert push_one(pk, adopt=True).outcome == Outcome.UPDATED
    assert sm.describe_secret("nova/clients/idom").is_ours
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
    assert sm.get_value("nova/clients/idom").arn == arn


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


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("layout", Layout)
@pytest.mark.usefixtures("vague_aws")
def test_a_deletion_that_is_told_by_its_date_alone_is_taken_back(settings, layout, known):
    settings.NOVA_SECRET_LAYOUT = layout
    pk = make_client("idom")
    row = make_database(pk)
    push_one(pk)
    name = stores.secret_names("idom")["client" if layout == Layout.CLIENT else "database"]
    sm = stores.secrets_manager()
    sm.schedule_deletion(name, days=7)
    update("client_database_credentials", row, db_port=5433)
    if not known:
        Secret.objects.all().delete()

    rehearsed = push_one(pk, dry_run=True)
    assert rehearsed.outcome == (Outcome.RESTORED if known else Outcome.CREATED)
    assert push_one(pk).outcome == Outcome.RESTORED
    assert json.loads(sm.get_value(name).text)["database"]["port"] == 5433
    assert push_one(pk).outcome == Outcome.UNCHANGED


@pytest.mark.usefixtures("vague_aws")
def test_a_foreign_deletion_that_is_told_by_its_date_alone_stays_so():
    pk, sm = make_full_client("idom"), stores.secrets_manager()
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="somebody else's")
    sm.schedule_deletion("nova/clients/idom", days=7)

    assert push_one(pk).message == sentences.NOT_OURS(name="nova/clients/idom")
    assert sm.describe_secret("nova/clients/idom").deleted_at is not None
    assert push_one(pk, adopt=True).outcome == Outcome.RESTORED
    assert stored(sm, "idom") == Client.objects.get(pk=pk).document()


@pytest.mark.parametrize("phase", ["postgres", "dual_write"])
@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("kind_of_aws", ["stores", "vague_aws"])
def test_a_comparison_says_that_a_secret_is_scheduled_for_deletion(
    request, settings, kind_of_aws, layout, phase
):
    request.getfixturevalue(kind_of_aws)
    settings.NOVA_SECRET_LAYOUT = layout
    pk = make_full_client("idom")
    push_one(pk)
    name = stores.secret_names("idom")["client" if layout == Layout.CLIENT else "email"]
    stores.secrets_manager().schedule_deletion(name, days=7)
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": phase})

    compared = compare(client_ids=[pk])[pk]

    assert compared.status == Comparison.Status.MISSING_IN_AWS
    assert compared.message == sentences.SCHEDULED_FOR_DELETION(name=name)


def test_a_client_that_nobody_migrated_is_compared_without_a_description_of_each_secret(
    aws_server, monkeypatch
):
    described = []
    monkeypatch.setattr(SecretsManager, "describe_secret", lambda _, name: described.append(name))

    compared = compare(client_ids=[make_full_client("idom")])

    assert [c.status for c in compared.values()] == [Comparison.Status.MISSING_IN_AWS]
    assert described == []


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


def test_a_rehearsal_writes_nothing_and_tells_what_would_happen(sm):
    new, changed = make_full_client("new"), make_client("changed")
    row = make_database(changed)
    push_one(changed)
    update("client_database_credentials", row, db_port=1)
    before = Comparison.objects.count(), Secret.objects.count(), revision(changed)

    results = {r.slug: r.outcome for r in push(client_ids=[new, changed], dry_run=True)}

    assert results == {"new": Outcome.CREATED, "changed": Outcome.UPDATED}
    assert (Comparison.objects.count(), Secret.objects.count(), revision(changed)) == before
    assert stored(sm, "changed")["database"]["port"] == 5432


def test_one_clients_error_keeps_no_other_from_being_pushed():
    bad, good = make_full_client("b d"), make_full_client("good")

    outcomes = {r.slug: r.outcome for r in push(client_ids=[bad, good])}

    assert outcomes == {"b d": Outcome.FAILED, "good": Outcome.CREATED}


def test_when_aws_is_down_the_item_says_so_and_nothing_counts_as_pushed(settings):
    pk = make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "unavailable")
    assert revision(pk)[1] is None


def test_the_rows_of_a_push_are_of_one_moment_with_its_revision(monkeypatch):
    """A write that comes while the push is under way leaves the client pending."""
    pk = make_client("idom")
    row = make_database(pk)
    read = stores.read_rows

    def write_after_reading(ids):
        rows = read(ids)
        update("client_database_credentials", row, db_port=6000)
        return rows

    monkeypatch.setattr(pushes, "read_rows", write_after_reading)
    push_one(pk)

    now, pushed = revision(pk)
    assert now == pushed + 1


def test_two_pushes_of_one_client_never_overlap(monkeypatch):
    pk = make_full_client("idom")
    monkeypatch.setattr(pushes, "LOCK_WAIT_SECONDS", 0.3)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with stores.locked([pk], wait_seconds=1):
            inside.set()
            leave.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    try:
        result = push_one(pk)
    finally:
        leave.set()
        other.join()

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "conflict")
    assert push_one(pk).outcome == Outcome.CREATED


def test_with_a_secret_a_service_each_has_its_own_and_the_empty_one_says_so(settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    sm = ClientSecretsManager(layout=Layout.SERVICE)

    assert push_one(pk).outcome == Outcome.CREATED
    assert sm.get_client_credentials("idom") == Client.objects.get(pk=pk).document()
    Client.objects.get(pk=pk).emails.all()._raw_delete("default")
    assert push_one(pk).outcome == Outcome.UPDATED
    assert sm.get_client_credentials("idom") == Client.objects.get(pk=pk).document()
    assert push_one(pk).outcome == Outcome.UNCHANGED


def test_folding_the_writes_keeps_every_revision():
    pk = make_full_client("idom")
    before = revision(pk)

    ClientRevision.objects.fold_writes()

    assert revision(pk) == before
    assert not ClientWrite.objects.exists()
    insert(
        "client_email_credentials",
        client_id=pk,
        email_user="u",
        email_password_encrypted="p",
        label="x",
    )
    assert revision(pk)[0] == before[0] + 1


def test_a_pushed_revision_never_goes_back():
    pk = make_full_client("idom")
    ClientRevision.objects.record_pushed([(pk, 7)])
    ClientRevision.objects.record_pushed([(pk, 3)])

    assert revision(pk)[1] == 7


def test_statements_per_client_stay_below_one_in_a_batch(django_assert_max_num_queries):
    ids = [make_full_client(f"client-{n:04}") for n in range(60)]

    with django_assert_max_num_queries(30):
        push(client_ids=ids)


def test_clients_that_nobody_migrated_have_no_push_pending():
    make_full_client("idom")

    assert not clients().to_push().exists()


def test_a_client_that_cannot_be_pushed_is_left_alone_until_something_changes():
    pk = make_full_client("idom")
    runs.finish_inline(runs.start(kind=Run.Kind.MIGRATE, chosen=clients()))
    second = make_database(pk)

    assert push_one(pk).outcome == Outcome.FAILED
    assert not clients().to_push().exists()
    assert (clients().push_pending().count(), clients().push_refused().count()) == (1, 1)

    update("client_database_credentials", second, is_primary=False)
    assert clients().to_push().get().pk == pk
    assert push_one(pk).outcome == Outcome.UPDATED
    assert not clients().push_pending().exists()


def test_a_push_that_aws_fails_is_tried_again(settings):
    pk = make_full_client("idom")
    runs.finish_inline(runs.start(kind=Run.Kind.MIGRATE, chosen=clients()))
    make_database(pk, is_primary=False)
    endpoint, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    assert push_one(pk).error_class == "unavailable"

    settings.AWS_ENDPOINT_URL = endpoint
    assert clients().to_push().get().pk == pk


@pytest.mark.parametrize(("tagged", "adopt"), [(True, False), (False, True)])
def test_a_secret_that_has_no_value_yet_is_filled(sm, tagged, adopt):
    tags = [{"Key": "ManagedBy", "Value": "nova-admin"}] if tagged else []
    sm.sm.create_secret(Name="nova/clients/idom", Tags=tags)

    result = push_one(make_full_client("idom"), adopt=adopt)

    assert (result.outcome, result.comparison.status) == (Outcome.UPDATED, "match")
    assert sm.describe_secret("nova/clients/idom").is_ours


def test_a_secret_without_a_value_that_is_not_ours_is_left_alone(sm):
    sm.sm.create_secret(Name="nova/clients/idom")

    result = push_one(make_full_client("idom"))

    assert result.message == sentences.NOT_OURS(name="nova/clients/idom")


def test_a_secret_of_a_service_without_a_row_may_be_scheduled_for_deletion(settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_client("idom")
    make_database(pk)
    sm.create_secret("nova/clients/idom/email", "{}", slug="idom")
    sm.schedule_deletion("nova/clients/idom/email")

    assert push_one(pk).comparison.status == Comparison.Status.MATCH


def test_what_fails_in_the_reading_is_not_asked_for_one_by_one(settings, monkeypatch):
    asked = []
    pks = [make_full_client(f"c{n}") for n in range(45)]
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    # One attempt is as good as five to see how often it is asked.
    monkeypatch.setattr(stores, "secrets_manager", lambda **_: impatient(asked, settings))
    monkeypatch.setattr(pushes, "secrets_manager", stores.secrets_manager)

    results = push(client_ids=pks)

    assert {result.error_class for result in results} == {"unavailable"}
    assert len(results) == 45
    assert asked == ["BatchGetSecretValue"] * 3  # at once


def impatient(asked: list[str], settings) -> SecretsManager:
    sm = SecretsManager(endpoint_url=settings.AWS_ENDPOINT_URL, max_attempts=1)
    sm.sm.meta.events.register(
        "before-call.secrets-manager", lambda model, **_: asked.append(model.name)
    )
    return sm
