"""Whose a secret is: this database's rows and keys decide, for this client, whatever the tags say."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from credentials.models import Client
from migration.core.audit import ReasonError
from migration.core.aws_store import read_aws
from migration.core.leases import hold_client_locks
from migration.core.sentences import FOREIGN_VERSION, NOT_OURS
from migration.core.snapshots import read_snapshot
from migration.models import AuditEvent, ClientMigration, Comparison, OpenMismatch, Secret
from migration.moves.moves import move
from migration.pushes.resolutions import NotResolved, copy_to_postgres
from migration.pushes.rows_from_aws import back_up_rows_to_aws
from migration.pushes.secret_writer import (
    NOT_CREATED,
    OWNED_BY_DELETED_CLIENT,
    TAGGED_AS,
    RefusedBySiteError,
)
from migration.runs.items import Outcome
from migration.secrets import settings as applied_settings
from migration.secrets.adoptions import (
    ADOPTION_EVENT,
    adopt_and_overwrite_secrets,
    find_foreign_secrets,
)
from nova_credentials.aws import SecretsManagerError
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_email, make_full_client
from tests.migration.moves.clients import NAME, advance, change_in_aws, enter_phase
from tests.migration.pushes.pushed import adopt, make_anew, push_one, stored

pytestmark = pytest.mark.usefixtures("stores")


def delete_for_good(sm, name: str = NAME) -> None:
    sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def delete_client(pk: int) -> None:
    """As NOVA does it."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])


def test_tags_of_ours_prove_nothing(sm):
    pk = make_full_client("idom")
    sm.create_secret(NAME, '{"client_name": "of another site"}', slug="idom")

    result = push_one(pk)

    assert result.message.codes == [NOT_OURS.key, TAGGED_AS.key]
    assert "Client=idom" in str(result.message)
    assert stored(sm, "idom") == {"client_name": "of another site"}


def test_a_version_of_ours_proves_a_secret_whose_row_was_never_stored(sm):
    pk = make_full_client("idom")
    push_one(pk)
    Secret.objects.all().delete()
    sm.put_value(NAME, '{"client_name": "by hand"}')  # ours is AWSPREVIOUS now

    assert push_one(pk).outcome == Outcome.UPDATED
    assert Secret.objects.get().client_id == pk


def test_a_secret_of_ours_is_taken_back_from_its_deletion_though_its_row_is_lost(sm):
    pk = make_full_client("idom")
    push_one(pk)
    Secret.objects.all().delete()
    sm.schedule_deletion(NAME)

    assert push_one(pk).outcome == Outcome.RESTORED


def test_a_tagged_secret_that_is_not_ours_stays_in_its_deletion(sm):
    sm.create_secret(NAME, "{}", slug="idom")
    sm.schedule_deletion(NAME)

    assert NOT_OURS.key in push_one(make_full_client("idom")).message.codes
    assert sm.describe_secret(NAME).deleted_at is not None


@pytest.mark.parametrize("is_scheduled", [False, True])
def test_a_client_made_again_under_a_slug_has_no_part_in_the_former_ones_secret(sm, is_scheduled):
    former = make_full_client("idom")
    push_one(former)
    held = stored(sm, "idom")
    delete_client(former)
    if is_scheduled:
        sm.schedule_deletion(NAME)
    pk = make_client("idom")
    make_database(pk, db_password_encrypted="example-of-the-new-one")

    result = push_one(pk)

    assert result.message.codes == [NOT_OURS.key, OWNED_BY_DELETED_CLIENT.key]
    assert str(former) in str(result.message)
    assert Secret.objects.get().client_id == former
    adopt(pk)
    assert push_one(pk).outcome == (Outcome.RESTORED if is_scheduled else Outcome.UPDATED)
    assert stored(sm, "idom") == Client.objects.get(pk=pk).build_document() != held
    assert Secret.objects.get().client_id == pk


def test_a_record_takes_no_secret_over_from_another_client(sm):
    pk, other = make_full_client("idom"), make_client("acme")
    push_one(pk)
    before = Secret.objects.values().get()
    of_other = Secret(name=NAME, arn=before["arn"], version_id="x", client_id=other)

    Secret.objects.record([of_other])
    assert Secret.objects.values().get() == before

    of_other.arn = f"{before['arn']}-made-anew"
    Secret.objects.record([of_other])
    assert Secret.objects.get().client_id == other


# Adoptions


def test_of_two_adoptions_at_once_one_is_made(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name=NAME, SecretString='{"theirs": "x"}')
    seen = find_foreign_secrets(pk).versions

    def try_to_adopt(_):
        try:
            return adopt_and_overwrite_secrets(client_id=pk, seen=seen, reason="INC-42").kind
        except NotResolved as refusal:
            return refusal.message.key
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(try_to_adopt, range(2)))

    assert sorted(results) == ["nothing_to_adopt", "to_aws"]
    (entry,) = AuditEvent.objects.filter(code=ADOPTION_EVENT)
    assert (entry.reason, entry.slug) == ("INC-42", "idom")


def test_a_secret_whose_deletion_somebody_just_schedules_is_not_adopted_meanwhile(sm):
    """That is done under the lock of the client whose it was."""
    former = make_full_client("idom")
    push_one(former)
    delete_client(former)
    pk = make_full_client("idom")
    seen = find_foreign_secrets(pk).versions

    def adopt_in_another_session() -> None:
        try:
            with pytest.raises(NotResolved, match="again"):
                adopt_and_overwrite_secrets(client_id=pk, seen=seen, reason="INC-42")
        finally:
            connection.close()

    with hold_client_locks([former], wait_seconds=0), ThreadPoolExecutor(1) as thread:
        thread.submit(adopt_in_another_session).result()

    assert Secret.objects.get().client_id == former
    adopt_and_overwrite_secrets(client_id=pk, seen=seen, reason="INC-42")
    assert Secret.objects.get().client_id == pk


def test_without_a_reason_nothing_is_adopted(sm):
    pk = make_full_client("idom")
    sm.sm.create_secret(Name=NAME, SecretString='{"theirs": "x"}')
    seen = find_foreign_secrets(pk).versions

    for reason in ("", " ", "x" * 501):
        with pytest.raises(ReasonError):
            adopt_and_overwrite_secrets(client_id=pk, seen=seen, reason=reason)
        with pytest.raises(CommandError):
            call_command("migrate_clients", "idom", "--inline", "--adopt", "--reason", reason)

        assert not Secret.objects.exists()
        assert sm.get_value(NAME).text == '{"theirs": "x"}'


def test_an_adoption_that_was_killed_before_its_push_is_finished_by_the_next(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    make_anew(sm, NAME)
    change_in_aws(sm, password="example-theirs")
    sm.sm.untag_resource(SecretId=NAME, TagKeys=["ManagedBy"])
    adopt(pk)

    assert push_one(pk).outcome == Outcome.UPDATED

    assert stored(sm, "idom") == Client.objects.get(pk=pk).build_document()
    assert sm.describe_secret(NAME).has_our_tag
    # What is written there afterwards is a mismatch again.
    change_in_aws(sm, password="example-theirs")
    ClientMigration.objects.update(phase=Phase.AWS)
    assert push_one(pk).message == FOREIGN_VERSION(name=NAME)


def test_a_rehearsal_shows_what_would_be_adopted_and_changes_nothing(sm, capsys):
    make_full_client("idom")
    text = json.dumps({"database": {"password": "MARKER"}})
    sm.sm.create_secret(Name=NAME, SecretString=text)

    call_command("migrate_clients", "idom", "--dry-run", "--adopt")

    shown = capsys.readouterr()
    assert "database.password" in shown.err
    assert "MARKER" not in shown.out + shown.err
    assert not Secret.objects.exists()
    assert sm.get_value(NAME).text == text


# Where AWS is the authority


def is_there(sm, name: str) -> bool:
    try:
        sm.describe_secret(name)
    except SecretsManagerError:
        return False
    return True


@pytest.mark.parametrize("forgotten", [False, True])
def test_where_aws_decides_a_missing_secret_is_a_mismatch_and_never_made_anew(sm, forgotten):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    delete_for_good(sm)
    if forgotten:  # as where the site was given another prefix
        Secret.objects.all().delete()

    result = push_one(pk, overwrite=True)

    assert (result.outcome, result.refused) == (Outcome.FAILED, False)
    assert result.message == NOT_CREATED(name=NAME)
    assert result.comparison.status == Comparison.Status.MISSING_IN_AWS
    assert OpenMismatch.objects.filter(client_id=pk).exists()
    assert not is_there(sm, NAME)
    # The way out: back to where PostgreSQL decides.
    move(client_id=pk, new=Phase.DUAL_READ)
    assert push_one(pk).outcome == Outcome.CREATED


def test_where_aws_decides_a_part_that_never_was_is_made_and_one_that_went_is_not(sm, settings):
    settings.NOVA_SECRET_LAYOUT = Layout.SERVICE
    pk = make_client("idom")
    make_database(pk)
    enter_phase(pk, Phase.AWS)
    make_email(pk)

    assert push_one(pk).outcome == Outcome.CREATED
    delete_for_good(sm, f"{NAME}/email")

    assert push_one(pk).message == NOT_CREATED(name=f"{NAME}/email")
    assert not is_there(sm, f"{NAME}/email")


# What else writes


def test_what_rows_held_is_kept_in_no_secret_of_somebody_else(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    make_anew(sm, NAME)
    change_in_aws(sm, password="example-theirs")
    before = sm.describe_secret(NAME).versions

    with pytest.raises(NotResolved) as refused:
        copy_to_postgres(client_id=pk, reason="INC-42")

    assert NOT_OURS.key in refused.value.message.codes
    assert sm.describe_secret(NAME).versions == before


def test_a_restored_client_has_no_part_in_the_secret_that_it_was_restored_from(sm):
    pk = make_full_client("idom")
    advance(pk, Phase.PURGED)
    make_anew(sm, NAME)
    arn = Secret.objects.get().arn

    move(client_id=pk, new=Phase.AWS)

    assert Secret.objects.get().arn == arn
    assert NOT_OURS.key in push_one(pk).message.codes


def test_a_secret_that_a_change_of_layout_left_is_forgotten_once_aws_has_it_no_more(sm):
    pk = make_full_client("idom")
    push_one(pk)
    left, own = f"{NAME}/database", Secret.objects.get()
    Secret.objects.create(name=left, arn="x", client_id=pk, facts={"deleted": True})
    Secret.objects.update(described_at=None)
    delete_for_good(sm)
    Secret.objects.filter(pk=NAME).update(facts=own.facts | {"deleted": True})

    applied_settings.store_due_secret_states(seconds=10)

    # Of its own one it stays known that it was there.
    assert Secret.objects.get().name == NAME


def test_rows_are_kept_aside_in_no_secret_that_is_somebody_elses(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    make_anew(sm, NAME)
    snapshot = read_snapshot(pk)
    found = read_aws(snapshot, sm=sm)

    with pytest.raises(RefusedBySiteError) as refused:
        back_up_rows_to_aws(snapshot, found, always=True)

    assert refused.value.message.codes == [NOT_OURS.key, TAGGED_AS.key]
    versions = sm.sm.list_secret_version_ids(SecretId=NAME)["Versions"]
    assert [version["VersionStages"] for version in versions] == [["AWSCURRENT"]]
