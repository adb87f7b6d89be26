"""What a push writes, and which clients it refuses."""

import json

import pytest

from credentials.models import Client
from migration.core.audit import PUSH_EVENT
from migration.models import AuditEvent, ClientMigration, Comparison, Secret
from migration.pushes.pushes import (
    NOT_PUSHED_EMPTY,
    NOT_PUSHED_INACTIVE,
    OUTCOMES,
    SECRETS_PUSHED,
    WRITTEN_VERSION,
    push,
)
from migration.runs.items import Outcome
from nova_credentials import sentences as shared
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.document import Layout
from tests.factories import make_client, make_database, make_email, make_full_client, update
from tests.migration.moves.clients import write_password
from tests.migration.pushes.pushed import make_own_secret, push_one, revision, stored

pytestmark = pytest.mark.usefixtures("stores")


def test_a_push_creates_the_secret_with_its_tags_and_the_document_of_the_rows(sm):
    pk = make_full_client("idom")

    result = push_one(pk)

    assert (result.outcome, result.message) == (Outcome.CREATED, None)
    assert result.summary_message == OUTCOMES[Outcome.CREATED]()
    assert stored(sm, "idom") == Client.objects.get(pk=pk).build_document()
    tags = sm.describe_secret("nova/clients/idom").tags
    assert tags == {"Project": "NOVA", "ManagedBy": "nova-admin", "Client": "idom"}


def test_the_read_back_of_a_push_makes_no_streak_longer():
    pk = make_full_client("idom")

    push_one(pk)
    push_one(pk)

    assert ClientMigration.objects.get(pk=pk).clean_streak == 0


def test_a_refusal_of_this_sites_own_is_final_until_somebody_changes_something(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="{}")  # without our tag

    result = push_one(pk)

    assert result.refused
    assert result.summary_message == result.message


def test_what_was_pushed_is_compared_and_its_revision_stored():
    pk = make_full_client("idom")

    result = push_one(pk)

    assert (result.busy, result.refused, result.postponed) == (False, False, False)
    assert result.comparison.status == Comparison.Status.MATCH
    assert revision(pk) == (4, 4)  # the client and three rows
    assert Comparison.objects.newest().get().client_id == pk


def test_an_unchanged_document_is_not_written_again(sm):
    pk = make_full_client("idom")
    push_one(pk)
    before, known = sm.describe_secret("nova/clients/idom").versions, Secret.objects.values().get()

    result = push_one(pk)

    assert (result.outcome, result.comparison.status) == (Outcome.UNCHANGED, "match")
    assert sm.describe_secret("nova/clients/idom").versions == before
    assert Secret.objects.values().get() == known  # with the time since when it is known


def test_another_layout_of_the_same_json_is_no_change(sm):
    pk = make_full_client("idom")
    document = Client.objects.get(pk=pk).build_document()
    text = json.dumps(dict(reversed(document.items())), indent=2)
    make_own_secret(sm, "nova/clients/idom", text, pk)

    assert push_one(pk).outcome == Outcome.UNCHANGED
    assert Secret.objects.get().version_id == sm.get_value("nova/clients/idom").version_id


def test_a_changed_row_becomes_a_new_version(sm):
    pk = make_client("idom")
    row = make_database(pk)
    push_one(pk)
    update("client_database_credentials", row, db_password_encrypted="example-password-9")

    assert push_one(pk).outcome == Outcome.UPDATED
    assert stored(sm, "idom")["database"]["password"] == "example-password-9"
    stages = sm.describe_secret("nova/clients/idom").versions.values()
    assert sorted(stage for each in stages for stage in each) == ["AWSCURRENT", "AWSPREVIOUS"]


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
    ("slug", "named"),
    [
        ("with blank", "a space"),
        ("\N{CYRILLIC SMALL LETTER A}cme", "(U+0430)"),
        ("ñandú", "'ñ'"),
        ("a/b", "'/'"),
        ("a#b", "'#'"),
    ],
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

    room = document.MAX_BYTES - document.size_in_bytes(Client.objects.get(pk=pk).build_document())
    update("client_database_credentials", row, db_password_encrypted="x" * room)

    assert push_one(pk).outcome == Outcome.CREATED


def test_two_primary_rows_fail_as_data_and_are_named():
    pk = make_client("idom")
    ids = [make_email(pk), make_email(pk, label="other")]

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "data")
    assert f"mail login {ids[0]}, mail login {ids[1]}" in str(result.message)


def test_no_credentials_and_inactive_are_skipped_with_the_reason():
    empty, inactive = make_client("empty"), make_full_client("inactive", is_active=False)

    results = {r.slug: r for r in push(client_ids=[empty, inactive], include_inactive=False)}

    assert {r.outcome for r in results.values()} == {Outcome.SKIPPED}
    assert (results["empty"].message, results["inactive"].message) == (
        NOT_PUSHED_EMPTY(),
        NOT_PUSHED_INACTIVE(),
    )


def test_an_inactive_client_is_pushed_where_nobody_leaves_it_out():
    assert push_one(make_full_client("idom", is_active=False)).outcome == Outcome.CREATED


def test_the_audit_names_the_secrets_that_were_written_by_eight_digits_of_their_versions(
    settings, sm
):
    settings.NOVA_SECRET_LAYOUT = "service"
    name = "nova/clients/idom/database"
    pk = make_full_client("idom")
    push_one(pk)
    write_password(pk, "example-new")

    push_one(pk)

    version = sm.get_value(name).version_id[:8]
    written = WRITTEN_VERSION(name=name, version=version)
    event = AuditEvent.objects.filter(code=PUSH_EVENT).first()
    assert event.message == SECRETS_PUSHED(secrets=(written,))


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


def test_with_a_secret_a_service_each_has_its_own_and_the_empty_one_says_so(settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    sm = ClientSecretsManager(layout=Layout.SERVICE)

    assert push_one(pk).outcome == Outcome.CREATED
    assert sm.get_client_credentials("idom") == Client.objects.get(pk=pk).build_document()
    Client.objects.get(pk=pk).emails.all()._raw_delete("default")
    assert push_one(pk).outcome == Outcome.UPDATED
    assert sm.get_client_credentials("idom") == Client.objects.get(pk=pk).build_document()
    assert push_one(pk).outcome == Outcome.UNCHANGED
