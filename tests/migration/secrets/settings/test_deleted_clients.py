"""NOVA deletes a client: the secret that it leaves in AWS is listed, counted, and deleted when somebody says so."""

import pytest
from django.db import connection
from django.urls import reverse

from migration.core import aws_store
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.problems import Look
from migration.doctor.site import find_orphaned_secrets
from migration.models import AuditEvent, Secret
from migration.pushes import pushes
from migration.pushes.pushes import push
from migration.secrets.deletions import (
    DELETION_EVENT,
    KEPT_NOT_OURS,
    NO_SECRET,
    schedule_deletion_for_deleted_clients,
)
from migration.site.background import read_background_facts
from migration.tasks import describe_secrets
from tests.factories import make_client, make_database, make_user

pytestmark = pytest.mark.usefixtures("stores")

PAGE = reverse("admin:migration_run_secret_settings")
NAME = "nova/clients/gone"


@pytest.fixture
def sm():
    return aws_store.secrets_manager()


@pytest.fixture
def gone() -> int:
    """A client that NOVA deleted, and one that is there, each with a secret."""
    made = []
    for slug in ("gone", "there"):
        made.append(make_client(slug))
        make_database(made[-1], db_password_encrypted="example-password-1")
    push(client_ids=made)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [made[0]])
    return made[0]


def counted() -> int:
    return read_background_facts().secrets_of_deleted_clients


def schedule(*names: str) -> list[str]:
    done = schedule_deletion_for_deleted_clients(names=names, reason="CHG-1", by=None)
    return [each.key for each in done]


def test_it_is_counted_and_listed_until_its_deletion_is_scheduled(client, sm, gone):
    client.force_login(make_user("boss", "migration.view_run", "migration.purge_client"))
    assert counted() == 1
    assert any("clients/gone" in str(f.message) for f in find_orphaned_secrets(Look()))
    shown = client.get(PAGE)
    assert [secret.name for secret in shown.context["deleted"]] == [NAME]

    client.post(PAGE, {"deleted": [NAME], "reason": ""})
    assert counted() == 1
    client.post(PAGE, {"deleted": [NAME, "nova/clients/there"], "reason": "CHG-1"})

    assert sm.describe_secret(NAME).deleted_at is not None
    assert sm.describe_secret("nova/clients/there").deleted_at is None
    assert counted() == 0
    assert list(client.get(PAGE).context["deleted"]) == []
    (entry,) = AuditEvent.objects.filter(code=DELETION_EVENT, client_id=gone)
    assert (entry.reason, entry.who) == ("CHG-1", "boss")
    describe_secrets()
    assert counted() == 0


def test_who_may_not_purge_sees_it_and_deletes_nothing(client, sm, gone):
    client.force_login(make_user("viewer", "migration.view_run"))

    assert 'name="reason"' not in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"deleted": [NAME], "reason": "CHG-1"}).status_code == 403
    assert sm.describe_secret(NAME).deleted_at is None


def test_another_secret_that_somebody_made_under_the_name_stays(sm, gone):
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    sm.sm.create_secret(Name=NAME, SecretString="theirs")

    assert schedule(NAME) == [KEPT_NOT_OURS.key]

    assert sm.describe_secret(NAME).deleted_at is None


def test_one_that_aws_no_longer_has_is_counted_no_more(sm, gone):
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    assert schedule(NAME) == [NO_SECRET.key]
    assert counted() == 0


def test_one_that_somebody_deleted_in_aws_is_counted_no_more_once_workers_looked(sm, gone):
    sm.schedule_deletion(NAME)
    describe_secrets()
    assert counted() == 0


def test_while_writes_are_stopped_nothing_goes(sm, gone):
    stop_aws_writes(reason="CHG-2", by=None)
    try:
        assert len(schedule(NAME)) == 1
        assert counted() == 1
    finally:
        start_aws_writes(by=None)
    assert Secret.objects.of_deleted_clients().count() == 1


def test_a_client_of_the_same_slug_never_gets_it(sm, gone):
    other = make_client("gone")
    make_database(other, db_password_encrypted="of-other")

    schedule(NAME)

    assert Secret.objects.get(name=NAME).client_id == gone


def test_a_secret_that_a_push_is_just_making_for_a_client_of_the_same_slug_stays(
    sm, gone, monkeypatch
):
    sm.sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    other = make_client("gone")
    make_database(other, db_password_encrypted="of-other")
    told = []
    written = pushes._record_results

    def delete_before_it_is_recorded(*args: object) -> None:
        told.extend(schedule(NAME))
        written(*args)

    monkeypatch.setattr(pushes, "_record_results", delete_before_it_is_recorded)

    push(client_ids=[other])

    assert told == [KEPT_NOT_OURS.key]
    assert sm.describe_secret(NAME).deleted_at is None
    assert Secret.objects.get(name=NAME).client_id == other
