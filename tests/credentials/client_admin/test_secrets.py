"""Secrets are masked on pages, kept where a field is left blank, and stored byte for byte."""

import pytest

from credentials.models import Client
from tests.credentials.client_admin.forms import ADD, LIST, SECRETS, change, new_client
from tests.factories import make_client, make_database, update
from tests.page_forms import errors_of, open_form


def test_no_stored_secret_is_on_any_page(root, idom):
    for url in (LIST, ADD, change(idom), f"{LIST}{idom}/history/"):
        page = root.get(url)
        assert page.status_code == 200
        assert "MARKER" not in page.content.decode()


def test_a_stored_secret_is_shown_as_a_mask_of_one_width(root, idom):
    short = make_client("short")
    make_database(short, db_password_encrypted="x")

    masks = {
        pk: root.get(f"{change(pk)}?tab=logins")
        .content.decode()
        .count('placeholder="••••••••••••"')
        for pk in (idom, short)
    }

    assert masks == {idom: 3, short: 1}


def test_a_refused_form_sends_back_neither_the_stored_nor_the_typed_secret(operator, idom):
    typed = {"name": "", **dict.fromkeys(SECRETS, "MARKER-FOUR typed")}

    response = operator.post(change(idom), open_form(operator, change(idom)) | typed)

    assert "required" in errors_of(response)
    assert "MARKER" not in response.content.decode()
    assert response.content.decode().count("Enter it again") == 3
    assert "Enter the secrets again" in response.content.decode()


def test_a_refused_form_for_a_new_client_does_not_send_back_the_typed_secret(root):
    data = new_client(root) | {"name": "", "databases-0-db_password": "MARKER-FOUR typed"}

    response = root.post(ADD, data)

    assert "required" in errors_of(response)
    assert "MARKER" not in response.content.decode()


@pytest.mark.parametrize(
    "secret",
    [
        "  blanks on both sides  ",
        "\ttab and no-break space\u00a0",
        "quotes ' \" ` and \\ and <b>&amp;</b> {{ x }} %s",
        "contraseña 密码 🔑 e\u0301",
        "a" * 4096,
        "0",
        "••••••••••••",
    ],
)
@pytest.mark.parametrize("field", ["databases-0-db_password", "emails-0-email_password"])
def test_a_typed_secret_is_stored_byte_for_byte(edit, idom, field, secret):
    assert edit(idom, **{field: secret}).status_code == 302

    row = getattr(Client.objects.get(pk=idom), field.split("-")[0]).get()
    assert getattr(row, field.split("-")[-1]) == secret


@pytest.mark.parametrize("secret", ["two\nlines", "two\r\nlines\r\n", " \n ", ""])
def test_a_secret_left_blank_stays_what_it_was(edit, idom, secret):
    row = Client.objects.get(pk=idom).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted=secret)

    assert edit(idom, **{"databases-0-db_name": "new"}).status_code == 302

    row.refresh_from_db()
    assert (row.db_password, row.db_name) == (secret, "new")


def test_the_history_of_a_change_names_fields_and_no_value(edit, operator, idom):
    edit(
        idom, **{"databases-0-db_password": "MARKER-FOUR", "databases-0-db_host": "h.example.test"}
    )

    page = operator.get(f"{LIST}{idom}/history/").content.decode()

    assert "password" in page.lower()
    assert "MARKER" not in page
    # A login is called by its host, as on other pages; the one that it had before is not told.
    assert "db.example.test" not in page
