"""A secret stays where it was put: no form sends a stored one to another host, port, user, provider or region."""

import json

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.urls import reverse

from credentials.models import AwsCredential, Client, DatabaseCredential, EmailCredential
from migration.core import aws_store
from migration.moves.moves import move
from nova_credentials.phases import Phase
from tests.credentials.client_admin.forms import errors_by_field, in_rounds
from tests.factories import make_database, make_full_client, make_user, nova_connected
from tests.migration.moves.clients import enter_phase
from tests.nova_credentials.in_phases import bring
from tests.page_forms import errors_of, forms_alone, open_form, send_form

pytestmark = pytest.mark.usefixtures("stores")

NAME = "nova/clients/idom"
TABLES = {
    model._meta.db_table: model
    for model in (Client, DatabaseCredential, EmailCredential, AwsCredential)
}
SECRETS = {
    "databases": "databases-0-db_password",
    "emails": "emails-0-email_password",
    "aws_logins": "aws_logins-0-secret_access_key",
}
EVIL = "evil.example.test"
CHANGES = [
    ("databases-0-db_host", EVIL, "The host changed: enter the password again."),
    ("databases-0-db_host", "DB.example.test", "The host changed"),
    ("databases-0-db_host", "db.example.test.", "The host changed"),
    ("databases-0-db_port", "5433", "The port changed: enter the password again."),
    ("databases-0-db_user", "postgres", "The user changed: enter the password again."),
    ("emails-0-email_provider", "custom", "The provider changed: enter the password again."),
    ("emails-0-email_provider", "", "The provider changed"),
    ("emails-0-imap_host", EVIL, "The IMAP host changed: enter the password again."),
    ("emails-0-imap_port", "", "The IMAP port changed"),
    ("emails-0-smtp_host", EVIL, "The SMTP host changed"),
    ("emails-0-smtp_port", "25", "The SMTP port changed"),
    ("emails-0-email_user", "other@example.test", "The user changed"),
    ("aws_logins-0-access_key_id", "EXAMPLEKEYID0OTHER00", "The access key id changed: enter the secret access key"),
    ("aws_logins-0-region", "us-east-2", "The region changed: enter the secret access key again."),
]  # fmt: skip


@pytest.fixture
def sm():
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


@pytest.fixture
def operator(client):
    """Somebody who edits logins and may reveal none. The tests look at a refusal's errors and at no page."""
    user = make_user("operator")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    with forms_alone():
        yield client


def url_of(pk: int) -> str:
    return reverse("admin:credentials_client_change", args=[pk])


def form_of(operator, pk: int) -> dict[str, str]:
    return open_form(operator, url_of(pk))


def everything(sm) -> dict[str, object]:
    """Every row and its count of writes, and what AWS holds of the client."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            found[table] = cursor.fetchall()
    found["revisions"] = list(
        Client.objects.with_revision().values_list("pk", "revision", "pushed_revision")
    )
    found["aws"] = sm.batch_get([NAME]).get(NAME)
    if hasattr(found["aws"], "code"):
        found["aws"] = found["aws"].code
    return found


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.PURGED])
def test_another_destination_asks_for_the_secret_and_writes_nothing(operator, idom, sm, phase):
    bring(idom, phase)
    before, form, silent = everything(sm), form_of(operator, idom), []
    for cases in in_rounds(CHANGES, lambda case: case[0].split("-")[0]):
        sent = {field: value for field, value, _ in cases}

        said = errors_by_field(operator.post(url_of(idom), form | sent))

        silent += [
            (field, value)
            for field, value, words in cases
            if words not in said[SECRETS[field.split("-")[0]]]
        ]
        assert everything(sm) == before
    assert silent == []
    for typed in ("", "aws-secretsmanager:nova/clients/idom"):
        changes = {"databases-0-db_host": EVIL, SECRETS["databases"]: typed}
        assert errors_of(operator.post(url_of(idom), form | changes)), typed
        assert everything(sm) == before


def test_all_that_changed_is_named_at_the_secret_and_in_spanish_too(operator, idom):
    changes = {"databases-0-db_host": EVIL, "databases-0-db_port": "1", "databases-0-db_user": "x"}
    data = form_of(operator, idom) | changes

    page = operator.post(url_of(idom), data)
    forms = page.context_data["inline_admin_formsets"][0].formset.forms

    assert forms[0].errors == {
        "db_password": ["The host, port and user changed: enter the password again."]
    }
    page = operator.post(url_of(idom), data, headers={"accept-language": "es"})
    assert "Ha cambiado «host, puerto y usuario»" in errors_of(page)


def test_another_logins_secret_is_not_enough(operator, idom, sm):
    destinations = {
        "databases": "databases-0-db_host",
        "emails": "emails-0-imap_host",
        "aws_logins": "aws_logins-0-region",
    }
    before, form = everything(sm), form_of(operator, idom)
    for kind, destination in destinations.items():
        others = {SECRETS[other]: "example-typed" for other in SECRETS if other != kind}

        response = operator.post(url_of(idom), form | {destination: EVIL} | others)

        assert "enter the" in errors_by_field(response)[SECRETS[kind]]
        assert everything(sm) == before


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_the_mask_is_a_secret_like_any_other_and_takes_the_old_ones_place(
    operator, idom, sm, phase
):
    bring(idom, phase)
    mask = "•" * 12

    changes = {"databases-0-db_host": EVIL, SECRETS["databases"]: mask}
    assert operator.post(url_of(idom), form_of(operator, idom) | changes).status_code == 302

    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == mask
    if phase != Phase.PURGED:
        assert DatabaseCredential.objects.get(client=idom).db_password == mask


def test_with_its_secret_a_new_destination_is_saved_and_back_it_does_not_go_without(operator, idom):
    there = {"databases-0-db_host": EVIL, SECRETS["databases"]: "example-typed"}
    assert operator.post(url_of(idom), form_of(operator, idom) | there).status_code == 302
    row = DatabaseCredential.objects.get(client=idom)
    assert (row.db_host, row.db_password) == (EVIL, "example-typed")

    back = {"databases-0-db_host": "db.example.test"}
    response = operator.post(url_of(idom), form_of(operator, idom) | back)

    assert "The host changed" in errors_of(response)
    assert DatabaseCredential.objects.get(client=idom).db_password == "example-typed"


def test_a_row_is_moved_to_no_other_client_and_to_a_new_one_not_without_its_secret(
    operator, idom, sm
):
    other = make_full_client("other")
    before, form = everything(sm), form_of(operator, idom)

    changes = {"slug": "copy", "databases-0-db_host": EVIL, "_saveasnew": "1"}
    assert "required" in errors_of(operator.post(url_of(idom), form | changes))
    assert everything(sm) == before
    changes = {"databases-0-client": str(other), "databases-0-db_host": EVIL}
    assert errors_of(operator.post(url_of(idom), form | changes))
    assert everything(sm) == before
    # The client field of a row is not written.
    changes = {"databases-0-client": str(other), "databases-0-label": "moved"}
    operator.post(url_of(idom), form | changes)

    assert DatabaseCredential.objects.filter(client=idom).count() == 1
    assert DatabaseCredential.objects.filter(client=other).count() == 1


def two_logins(pk: int) -> None:
    make_database(
        pk,
        db_host="two.example.test",
        label="second",
        is_primary=False,
        db_password_encrypted="example-second",
    )


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.PURGED])
def test_rows_that_change_places_ask_for_their_secrets_and_labels_leave_each_with_its_host(
    operator, idom, sm, phase
):
    two_logins(idom)
    bring(idom, phase)
    before, form = everything(sm), form_of(operator, idom)
    first, second = form["databases-0-id"], form["databases-1-id"]

    swapped = form | {"databases-0-id": second, "databases-1-id": first}
    said = errors_of(operator.post(url_of(idom), swapped))
    assert said.count("The host changed") == 2
    assert everything(sm) == before

    twice = form | {"databases-0-db_password": "example-typed", "databases-1-id": first}
    assert "The host changed" in errors_of(operator.post(url_of(idom), twice))
    assert everything(sm) == before

    changes = {
        "databases-0-label": "second",
        "databases-0-is_primary": "false",
        "databases-1-label": "",
        "databases-1-is_primary": "true",
    }
    assert operator.post(url_of(idom), form | changes).status_code == 302

    if phase != Phase.PURGED:
        assert secrets_by_host(Client.objects.get(pk=idom).build_document()) == WHERE_THEY_BELONG
    if phase != Phase.POSTGRES:
        assert secrets_by_host(json.loads(sm.get_value(NAME).text)) == WHERE_THEY_BELONG


WHERE_THEY_BELONG = {
    "db.example.test": "example-password-1",
    "two.example.test": "example-second",
}


def secrets_by_host(document) -> dict[str, str]:
    logins = [document["database"], *document["other_databases"]]
    return {login["host"]: login["password"] for login in logins}


def nova_makes_the_second_row_primary(pk: int) -> None:
    with nova_connected() as nova:
        nova.execute(
            "UPDATE client_database_credentials SET is_primary = NOT is_primary, label = NULL"
            " WHERE client_id = %s",
            [pk],
        )
        nova.commit()


def test_a_save_and_a_restore_after_nova_changed_the_primary_row_mix_no_secrets_up(
    operator, idom, sm
):
    two_logins(idom)
    enter_phase(idom, Phase.PURGED)
    nova_makes_the_second_row_primary(idom)

    data = form_of(operator, idom) | {"description": "new"}
    assert operator.post(url_of(idom), data).status_code == 302

    assert secrets_by_host(json.loads(sm.get_value(NAME).text)) == WHERE_THEY_BELONG
    nova_makes_the_second_row_primary(idom)  # or the first one again
    move(client_id=idom, new=Phase.AWS)
    assert secrets_by_host(Client.objects.get(pk=idom).build_document()) == WHERE_THEY_BELONG


def test_neither_blanks_around_a_host_nor_null_that_stays_unset_is_a_change(operator, idom, sm):
    EmailCredential.objects.update(email_provider=None, imap_host=None, imap_port=None)
    before, form = everything(sm), form_of(operator, idom)
    assert form["emails-0-email_provider"] == ""

    data = form | {"databases-0-db_host": "  db.example.test "}
    assert operator.post(url_of(idom), data).status_code == 302
    assert everything(sm) == before

    # What stands for NULL, typed out, is one.
    data = form | {"emails-0-email_provider": "gmail"}
    assert "The provider changed" in errors_of(operator.post(url_of(idom), data))
    assert everything(sm) == before


def test_a_row_without_a_secret_has_none_to_ask_for(operator, idom):
    DatabaseCredential.objects.update(db_password="")

    data = form_of(operator, idom) | {"databases-0-db_host": "new.example.test"}
    assert operator.post(url_of(idom), data).status_code == 302
    assert DatabaseCredential.objects.get(client=idom).db_host == "new.example.test"


def test_who_may_reveal_is_asked_too(client, idom):
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_superuser("root"))

    data = form_of(client, idom) | {"databases-0-db_host": EVIL}
    assert "The host changed" in errors_of(send_form(client, url_of(idom), data))
