"""A purge takes secrets out of the rows, and a restore brings them back."""

import json

import pytest
from django.db import connection

from credentials.models import Client, DatabaseCredential
from credentials.pointers import POINTER_IN_ROW
from migration.core.keys import make_fingerprint
from migration.core.sentences import NOVA_WROTE
from migration.models import ClientMigration, Comparison
from migration.moves import moves
from migration.moves.moves import (
    NO_VALUE_IN_AWS,
    ONLY_IN_AWS,
    RESTORED,
    RESTORED_ALL_BUT_NEWER,
    STORES_DIFFER,
    move,
)
from migration.pushes.comparisons import compare
from migration.pushes.known_values import note_written_rows
from migration.pushes.pushes import push
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, update
from tests.migration.moves.clients import (
    NAME,
    NO_DOCUMENT,
    change_in_aws,
    codes,
    document,
    enter_phase,
    is_pending,
    password,
    refusal_of,
    write_password,
)
from tests.migration.secrets.versions.known import facts, known

pytestmark = pytest.mark.usefixtures("stores")


def test_a_purge_leaves_rows_and_takes_their_secrets(idom, sm):
    before = document(idom)
    enter_phase(idom, Phase.AWS)
    compare(client_ids=[idom])

    moved = move(client_id=idom, new=Phase.PURGED)

    assert moved.message == ONLY_IN_AWS()
    client = Client.objects.get(pk=idom)
    sentences = [row for of_kind in client.credentials_by_type().values() for row in of_kind]
    secrets = {getattr(row, name) for row in sentences for name in row.SECRET_FIELDS}
    assert secrets == {f"aws-secretsmanager:{NAME}"}
    assert client.databases.get().db_host == before["database"]["host"]
    assert json.loads(sm.get_value(NAME).text) == before
    assert not is_pending(idom)


def test_a_purge_and_a_restore_are_told_as_comparisons_of_what_they_saw(idom):
    """Pages say when both stores were last equal; no gate counts these, as they were made before the move."""
    enter_phase(idom, Phase.AWS)
    at = compare(client_ids=[idom])[idom].compared_at
    for new in (Phase.PURGED, Phase.AWS):
        move(client_id=idom, new=new)

        newest = Comparison.objects.newest().get(client_id=idom)
        assert newest.status == "match"
        assert newest.compared_at > at
        assert ClientMigration.objects.get(pk=idom).clean_streak == 0
        at = newest.compared_at


def test_of_a_purged_value_it_stays_known_which_one_stood_in_the_rows(idom):
    """So that a copy of it, or a later value that is equal to it, is known for what it is."""
    stood = make_fingerprint(idom, password(idom))

    enter_phase(idom, Phase.PURGED)
    note_written_rows()

    value = known(idom)
    assert (value.digest, value.key_id) == (stood.digest, stood.key_id)
    assert facts(idom) == ["stood_in_tables"]


def test_a_purge_trusts_no_stored_comparison(idom, sm):
    enter_phase(idom, Phase.AWS)
    compare(client_ids=[idom])
    change_in_aws(sm, password="example-theirs")

    assert codes(idom, Phase.PURGED) == [STORES_DIFFER.key]
    assert password(idom) != f"aws-secretsmanager:{NAME}"


def test_a_purge_does_not_take_what_nova_wrote_in_the_meantime(idom, monkeypatch):
    enter_phase(idom, Phase.AWS)
    compare(client_ids=[idom])
    read = moves.read_aws

    def meanwhile(*args, **kwargs):
        found = read(*args, **kwargs)
        write_password(idom, "example-novas")
        return found

    monkeypatch.setattr(moves, "read_aws", meanwhile)

    assert codes(idom, Phase.PURGED) == [NOVA_WROTE.key]
    assert password(idom) == "example-novas"


def test_a_restore_needs_aws_and_a_value_for_every_row(idom, settings, aws):
    enter_phase(idom, Phase.PURGED)
    later, last = (
        make_database(
            idom, label=label, is_primary=False, db_password_encrypted=f"aws-secretsmanager:{NAME}"
        )
        for label in ("later", "last")
    )

    refusal = refusal_of(idom, Phase.AWS)
    assert refusal.codes == [NO_VALUE_IN_AWS.key]
    lacking = f"database login {later}, database login {last}"
    assert f"AWS holds no value for {lacking}." in str(refusal)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    assert codes(idom, Phase.AWS) == [shared.AWS_FAILED.key]


def test_a_restore_keeps_what_nova_wrote_since_and_has_it_pushed(idom, sm):
    before = document(idom)
    enter_phase(idom, Phase.PURGED)
    write_password(idom, "example-since")

    moved = move(client_id=idom, new=Phase.AWS)

    assert moved.message == RESTORED_ALL_BUT_NEWER()
    expected = before | {"database": before["database"] | {"password": "example-since"}}
    assert document(idom) == expected
    assert is_pending(idom)
    push(client_ids=[idom])
    assert json.loads(sm.get_value(NAME).text) == expected


def test_a_restore_keeps_a_host_that_nova_wrote_since(idom):
    enter_phase(idom, Phase.PURGED)
    row = DatabaseCredential.objects.get(client_id=idom)
    update("client_database_credentials", row.pk, db_host="new.example.test")
    update("clients", idom, name="New")

    moved = move(client_id=idom, new=Phase.AWS)

    assert moved.message == RESTORED_ALL_BUT_NEWER()
    row.refresh_from_db()
    assert (row.db_host, row.db_password) == ("new.example.test", "example-password-1")
    assert document(idom)["client_name"] == "New"
    assert is_pending(idom)


def test_a_restore_tells_of_no_write_of_novas_where_there_was_none(idom):
    """As after an upgrade: each client waits to be compared once, though nobody wrote."""
    before = document(idom)
    enter_phase(idom, Phase.PURGED)
    row = DatabaseCredential.objects.get(client_id=idom)
    update("client_database_credentials", row.pk, db_host=row.db_host)
    assert is_pending(idom)

    assert move(client_id=idom, new=Phase.AWS).message == RESTORED()
    assert document(idom) == before


def test_several_rows_with_labels_come_back_each_to_its_own(sm):
    pk = make_client("idom")
    for label in ("b", "a", None, None):
        make_database(
            pk, label=label, is_primary=False, db_password_encrypted=f"example-{label}-{id(label)}"
        )
    make_database(pk, db_password_encrypted="example-primary")
    before = list(
        DatabaseCredential.objects.order_by("pk").values_list("pk", "label", "db_password")
    )

    enter_phase(pk, Phase.PURGED)
    move(client_id=pk, new=Phase.AWS)

    assert (
        list(DatabaseCredential.objects.order_by("pk").values_list("pk", "label", "db_password"))
        == before
    )


def test_a_restore_from_a_secret_that_is_no_clients_document_is_refused(idom, sm):
    enter_phase(idom, Phase.PURGED)
    sm.put_value(NAME, NO_DOCUMENT)

    assert codes(idom, Phase.AWS) == [shared.FIELD_IS_WRONG.key]


def test_a_restore_brings_back_no_row_that_nova_deleted(idom):
    enter_phase(idom, Phase.PURGED)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")

    move(client_id=idom, new=Phase.AWS)

    assert not Client.objects.get(pk=idom).emails.exists()
    assert password(idom) == "example-password-1"
    assert is_pending(idom)


@pytest.mark.parametrize("value", [f"aws-secretsmanager:{NAME}", "aws-secretsmanager:"])
def test_what_a_restore_would_take_for_a_pointer_goes_no_further(idom, sm, value):
    """Else a purge could not be undone; and a copy of a purged row would be pushed as if it held a secret."""
    write_password(idom, value)
    assert codes(idom, Phase.DUAL_WRITE) == [POINTER_IN_ROW.key]
    with pytest.raises(SecretsManagerError, match="ResourceNotFound"):
        sm.get_value(NAME)

    write_password(idom, "example-password-1")
    enter_phase(idom, Phase.AWS)
    write_password(idom, value)
    (pushed,) = push(client_ids=[idom])
    assert pushed.message.key == POINTER_IN_ROW.key
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.UNCHECKED
    assert "push_pending" in codes(idom, Phase.PURGED)
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-password-1"
