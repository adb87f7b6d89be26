"""New clients and logins."""

from credentials.models import Client
from tests.credentials.client_admin.forms import (
    ADD,
    SECRETS,
    change,
    errors_by_field,
    new_client,
    stored,
)
from tests.factories import make_client, make_full_client
from tests.page_forms import errors_of, open_form, send_form


def test_a_client_is_added_with_a_login_of_each_kind_at_once(root):
    assert root.post(ADD, new_client(root)).status_code == 302

    client = Client.objects.get(slug="new")
    assert client.databases.get().db_password == " example-password-1 "
    assert client.emails.get().email_password == "example-app-password-2"
    assert client.aws_logins.get().secret_access_key == "example/secret/access/key/that/is/no/key"


def test_a_new_client_that_is_not_whole_is_refused_whole(root):
    make_client("taken")
    before, data = stored(), new_client(root)
    for field, value in (
        ("slug", "taken"),
        ("slug", "bad slug"),
        ("databases-0-db_password", ""),
        ("emails-0-email_password", ""),
        ("aws_logins-0-secret_access_key", ""),
        ("databases-0-db_port", "0"),
    ):
        said = errors_by_field(send_form(root, ADD, data | {field: value}))

        assert set(said) == {field}, (field, value)
        assert stored() == before


def test_two_new_primary_rows_are_refused_in_words(root):
    data = new_client(root)
    second = {
        name.replace("-0-", "-1-"): value for name, value in data.items() if "databases-0-" in name
    }

    response = root.post(ADD, data | second | {"databases-TOTAL_FORMS": "2"})

    assert "2 database logins are primary" in errors_of(response)


def test_a_login_is_added_to_a_stored_client(root, idom):
    data = open_form(root, change(idom)) | {
        "databases-TOTAL_FORMS": "2",
        "databases-1-label": "second",
        "databases-1-is_primary": "false",
        "databases-1-db_host": "db2.example.test",
        "databases-1-db_port": "5432",
        "databases-1-db_name": "app",
        "databases-1-db_user": "app",
        "databases-1-db_password": "example-password-4",
        "databases-1-client": str(idom),
    }

    assert root.post(change(idom), data).status_code == 302

    first, second = Client.objects.get(pk=idom).databases.order_by("pk")
    assert first.db_password == SECRETS["databases-0-db_password"]
    assert (second.label, second.db_password) == ("second", "example-password-4")


def test_a_row_of_another_client_cannot_be_written_through_this_ones_form(operator, idom):
    other = make_full_client("other")
    theirs = Client.objects.get(pk=other).databases.get()
    data = open_form(operator, change(idom))
    before = stored()

    response = operator.post(
        change(idom), data | {"databases-0-id": str(theirs.pk), "databases-0-db_host": "stolen"}
    )

    assert response.status_code == 200
    assert stored() == before
