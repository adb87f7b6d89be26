"""Secrets are masked on pages, kept where a field is left blank, and stored byte for byte."""

from credentials.models import Client
from tests.credentials.client_admin.forms import ADD, LIST, SECRETS, change, logins, new_client
from tests.factories import make_client, make_database, update
from tests.page_forms import errors_of, open_form


def test_no_stored_secret_is_on_any_page_but_a_mask_of_one_width(root, idom):
    short = make_client("short")
    make_database(short, db_password_encrypted="x")
    pages = {
        url: root.get(url).content.decode()
        for url in (LIST, ADD, change(idom), logins(idom), logins(short), f"{LIST}{idom}/history/")
    }

    assert [url for url, page in pages.items() if "MARKER" in page] == []
    mask = 'placeholder="••••••••••••"'
    assert [pages[logins(pk)].count(mask) for pk in (idom, short)] == [3, 1]


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


def test_a_typed_secret_is_stored_byte_for_byte(edit, idom):
    client = Client.objects.get(pk=idom)
    for secret in (
        "  blanks on both sides  ",
        "\ttab and no-break space\u00a0",
        "quotes ' \" ` and \\ and <b>&amp;</b> {{ x }} %s",
        "contraseña 密码 🔑 e\u0301",
        "a" * 4096,
        "0",
        "••••••••••••",
    ):
        typed = dict.fromkeys(("databases-0-db_password", "emails-0-email_password"), secret)

        assert edit(idom, **typed).status_code == 302

        stored = client.databases.get().db_password, client.emails.get().email_password
        assert stored == (secret, secret)


def test_a_secret_left_blank_stays_what_it_was(edit, idom):
    row = Client.objects.get(pk=idom).databases.get()
    for number, secret in enumerate(("two\nlines", "two\r\nlines\r\n", " \n ", "")):
        update("client_database_credentials", row.pk, db_password_encrypted=secret)

        assert edit(idom, **{"databases-0-db_name": f"new-{number}"}).status_code == 302

        row.refresh_from_db()
        assert (row.db_password, row.db_name) == (secret, f"new-{number}")


def test_the_history_of_a_change_names_fields_and_no_value(edit, operator, idom):
    edit(
        idom, **{"databases-0-db_password": "MARKER-FOUR", "databases-0-db_host": "h.example.test"}
    )

    page = operator.get(f"{LIST}{idom}/history/").content.decode()

    assert "password" in page.lower()
    assert "MARKER" not in page
    # A login is called by its host, as on other pages; the one that it had before is not told.
    assert "db.example.test" not in page
