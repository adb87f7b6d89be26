"""Users are deactivated, never deleted, and records keep the names that people had then."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection, transaction
from django.db.models import ForeignKey

from migration.core.clients import all_clients
from migration.core.text import KeptNameField
from migration.models import (
    CopySearch,
    DatabaseClaim,
    PasswordReset,
    PhaseChange,
    Resolution,
    WriteStop,
)
from migration.moves.approvals import (
    ApprovalStepRefused,
    approve_run,
    cancel_run_request,
    find_approval_refusal,
)
from migration.people.models import RESET_COUNTS_FOR, UserDeletionError
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_user, request_run

pytestmark = pytest.mark.django_db

MOVE = {"slug": "idom", "old": Phase.DUAL_READ, "new": Phase.AWS}


@pytest.fixture
def maria() -> User:
    return make_user("maria")


RECORDS = (
    CopySearch,
    DatabaseClaim,
    PasswordReset,
    PhaseChange,
    Resolution,
    Run,
    WriteStop,
)
KEPT_NAMES = [
    (model, field.of)
    for model in RECORDS
    for field in model._meta.get_fields()
    if isinstance(field, KeptNameField)
]


def delete_by_sql(user: User) -> None:
    """As a superuser of PostgreSQL can, whom no trigger stops."""
    for model, of in KEPT_NAMES:
        model.objects.filter(**{of: user}).update(**{of: None})
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM auth_user WHERE id = %s", [user.pk])
        cursor.execute("SET LOCAL session_replication_role = origin")


# Nobody is deleted.


def test_a_superuser_deletes_no_user_on_any_page(client, maria):
    root = User.objects.create_superuser("root", password="the-keepers-own-1")
    client.force_login(root)
    sent = {"post": "yes", "current_password": "the-keepers-own-1"}
    action = {"action": "delete_selected", "_selected_action": [maria.pk], "index": "0"}

    client.post(f"/admin/auth/user/{maria.pk}/delete/", sent, follow=True)
    client.post("/admin/auth/user/", sent | action, follow=True)
    client.post("/admin/people/", sent | action)

    assert User.objects.filter(username="maria").exists()


def test_no_role_is_given_the_permission_to_delete_users(db):
    assert not Group.objects.filter(permissions__codename="delete_user").exists()


@pytest.mark.parametrize(
    "delete", [lambda user: user.delete(), lambda user: User.objects.filter(pk=user.pk).delete()]
)
def test_the_models_delete_no_user(maria, delete):
    change = PhaseChange.objects.create(client_id=1, by=maria, **MOVE)

    with pytest.raises(UserDeletionError, match="maria was not deleted"), transaction.atomic():
        delete(maria)

    change.refresh_from_db()
    assert change.by == maria


def test_the_database_deletes_no_user(maria):
    with pytest.raises(IntegrityError, match="23001"), transaction.atomic():
        User.objects.filter(pk=maria.pk)._raw_delete("default")
    with connection.cursor() as cursor, pytest.raises(IntegrityError), transaction.atomic():
        cursor.execute("DELETE FROM auth_user")

    assert User.objects.filter(username="maria").exists()


def test_who_is_deactivated_is_out_at_once_and_asks_for_nothing_any_more(client, maria):
    asked = request_run(1, by=maria)
    client.force_login(maria)
    assert client.get("/admin/").status_code == 200

    User.objects.filter(pk=maria.pk).update(is_active=False)

    assert client.get("/admin/").status_code == 302
    with pytest.raises(ApprovalStepRefused, match="maria, who requested it, is deactivated"):
        approve_run(run_id=asked.pk, by=make_user("ana"))


# Names are kept.


def test_every_record_of_a_person_keeps_the_name():
    """A client's owner says who is to look at it.

    Who is told of a notice needs an account that has an address. A time zone is read by its user alone.
    """
    people = [
        field
        for app in ("migration", "credentials")
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey) and field.related_model is User
    ]
    lacking = []
    for field in people:
        names = {each.name: each for each in field.model._meta.get_fields()}
        kept = names.get(f"{field.name}_name")
        if "username" not in names and not (
            isinstance(kept, KeptNameField) and kept.of == field.name
        ):
            lacking.append(f"{field.model.__name__}.{field.name}")

    assert len(people) > 10
    told = ["Notice.recipient", "NoticeDelivery.user"]
    assert sorted(lacking) == sorted([*told, "ClientOwner.owner", "TimeZoneChoice.user"])


def test_records_tell_of_who_is_gone_from_the_database(maria):
    pk = make_client("idom")
    PhaseChange.objects.bulk_create([PhaseChange(client_id=pk, by=maria, reason="T-1", **MOVE)])
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=maria)
    Resolution.objects.create(client_id=pk, slug="idom", kind="check", by=maria)
    asked = request_run(pk, by=maria)
    cancel_run_request(run_id=asked.pk, by=maria)
    WriteStop.objects.create(by=maria, reason="T-3")
    WriteStop.objects.end_all(by=maria)

    delete_by_sql(maria)

    asked.refresh_from_db()
    assert (asked.by_name, asked.steered_by_name) == ("maria", "maria")
    # A run that a person started isn't taken for one of the schedule, which are forgotten.
    Run.objects.filter(pk=run.pk).update(created_at="2020-01-01T00:00Z")
    Run.objects.forget_sweeps()
    assert Run.objects.filter(pk=run.pk).exists()


def test_a_name_is_kept_as_it_was_then(maria):
    change = PhaseChange.objects.create(client_id=1, by=maria, **MOVE)
    maria.username = "pedro"
    maria.save()

    change = PhaseChange.objects.get(pk=change.pk)
    change.reason = "T-1"
    change.save()

    change.refresh_from_db()
    assert (change.by.username, change.by_name) == ("pedro", "maria")


@pytest.mark.parametrize(("model", "of"), KEPT_NAMES)
def test_the_database_keeps_no_person_without_a_name(maria, model, of):
    fields = {
        PhaseChange: {"client_id": 1, **MOVE},
        Resolution: {"client_id": 1},
        DatabaseClaim: {"database_oid": 1},
    }
    row = model.objects.create(**fields.get(model, {}))

    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        model.objects.filter(pk=row.pk).update(**{of: maria})

    name = refused.value.__cause__.diag.constraint_name
    assert name == f"{model._meta.model_name}_{of}_is_named"


# Who can act as whom.


@pytest.mark.parametrize(
    ("resets", "refused"),
    [
        ([], False),
        (["ana>maria"], True),  # the approver reset the requester's password
        (["maria>ana"], True),  # the requester reset the approver's
        (["eva>maria", "eva>ana"], True),  # a third person reset both
        (["ana>eva", "eva>maria"], True),  # by way of a third person
        (["eva>maria"], False),
        (["eva>maria", "pedro>ana"], False),
        (["ana>eva"], False),
        (["maria>maria", "ana>ana"], False),  # their own
    ],
)
def test_nobody_approves_what_they_could_have_requested(resets, refused):
    people = {name: make_user(name) for name in ("maria", "ana", "eva", "pedro")}
    asked = request_run(1, by=people["maria"])
    for reset in resets:
        by, _, user = reset.partition(">")
        PasswordReset.objects.record(
            user=people[user], by=people[by], what=PasswordReset.What.PASSWORD
        )

    assert (find_approval_refusal(asked, people["ana"]) is not None) == refused
    if refused:
        with pytest.raises(
            ApprovalStepRefused, match="so one person could have requested and approved"
        ):
            approve_run(run_id=asked.pk, by=people["ana"])


def test_a_reset_counts_for_a_day(maria):
    ana = make_user("ana")
    asked = request_run(1, by=maria)
    PasswordReset.objects.record(user=maria, by=ana, what=PasswordReset.What.FACTOR)
    reset = PasswordReset.objects.get()

    for ago, counts in ((RESET_COUNTS_FOR * 0.99, True), (RESET_COUNTS_FOR, False)):
        PasswordReset.objects.update(reset_at=reset.reset_at - ago)
        assert (find_approval_refusal(asked, ana) is not None) == counts
