"""A save writes the columns that were changed, and no other."""

import pytest

from credentials.models import Client
from migration.models import ClientMigration
from tests.credentials.client_admin.forms import SECRETS, TABLES, changed_columns, make_odd, stored
from tests.factories import (
    make_aws_secret,
    make_comparison,
    make_database,
    make_full_client,
    update,
)

SECRET_COLUMNS = {
    "client_database_credentials": "db_password_encrypted",
    "client_email_credentials": "email_password_encrypted",
    "client_aws_credentials": "secret_access_key",
}
NULLS = (
    ("clients", ("description", "is_active")),
    ("client_database_credentials", ("label", "is_primary")),
    (
        "client_email_credentials",
        (
            "email_provider", "imap_host", "imap_port", "smtp_host", "smtp_port",
            "sender_whitelist", "label", "is_primary",
        ),
    ),
    ("client_aws_credentials", ("region", "label", "is_primary")),
)  # fmt: skip
# What NOVA's columns take and no form would.
ODD = (
    ("clients", "name", "  two  blanks\tand a tab "),
    ("clients", "name", "two\nlines"),
    ("clients", "slug", "IDOM Ingeniería/ñ"),
    ("clients", "slug", "ends-in-abcdef"),
    ("clients", "description", "one\r\ntwo\rthree\nfour\r\n"),
    ("clients", "description", "\nbegins with a line end"),
    ("clients", "description", "  blanks  "),
    ("clients", "description", ""),
    ("client_database_credentials", "db_port", 0),
    ("client_database_credentials", "db_port", 99999),
    ("client_database_credentials", "db_port", -1),
    ("client_database_credentials", "db_host", ""),
    ("client_database_credentials", "db_user", " app "),
    ("client_database_credentials", "db_name", "<script>alert(1)</script>&amp;"),
    ("client_database_credentials", "label", ""),
    ("client_email_credentials", "email_provider", "unknown to us"),
    ("client_email_credentials", "sender_whitelist", "a@example.test,\r\nb@example.test\r\n"),
    ("client_email_credentials", "sender_whitelist", "\r\na@example.test"),
    ("client_email_credentials", "imap_port", 0),
    ("client_email_credentials", "smtp_host", ""),
    ("client_aws_credentials", "region", "moon-1"),
    ("client_aws_credentials", "access_key_id", ""),
)


@pytest.mark.parametrize(("table", "columns"), NULLS, ids=[table for table, _ in NULLS])
def test_null_stays_null_when_a_form_is_saved_untouched(send_untouched, idom, table, columns):
    make_odd(idom, table, **dict.fromkeys(columns))
    before = stored()

    assert send_untouched(idom).status_code == 302

    assert stored() == before


@pytest.mark.parametrize(("table", "columns"), NULLS, ids=[table for table, _ in NULLS])
def test_null_stays_null_when_something_else_is_changed(edit, idom, table, columns):
    make_odd(idom, table, **dict.fromkeys(columns))

    assert edit(idom, name="New name").status_code == 302

    row = next(row for row in stored()[table] if idom in (row.get("client_id"), row["id"]))
    assert {row[column] for column in columns} == {None}


@pytest.mark.parametrize(("table", "column", "value"), ODD)
def test_an_odd_stored_value_survives_an_untouched_form(send_untouched, idom, table, column, value):
    make_odd(idom, table, **{column: value})
    before = stored()

    assert send_untouched(idom).status_code == 302

    assert stored() == before


@pytest.mark.parametrize(("table", "column", "value"), ODD)
def test_an_odd_stored_value_survives_a_change_in_every_row(edit, idom, table, column, value):
    make_odd(idom, table, **{column: value})
    before = stored()
    changes = {
        "is_active": "false",
        "databases-0-is_primary": "unknown",
        "emails-0-is_primary": "unknown",
        "aws_logins-0-is_primary": "unknown",
    }

    assert edit(idom, **changes).status_code == 302

    flags = {f"{name}.is_primary" for name in TABLES[1:]} | {"clients.is_active"}
    assert changed_columns(before, stored()) == flags | {f"{name}.updated_at" for name in TABLES}


def test_a_form_saved_untouched_writes_nothing(send_untouched, idom):
    make_database(idom, label="second", is_primary=False), make_full_client("other")
    before = stored()

    assert send_untouched(idom).status_code == 302

    assert stored() == before


@pytest.mark.parametrize(
    ("field", "value", "table", "column", "expected"),
    [
        ("name", "New name", "clients", "name", "New name"),
        ("slug", "new-slug", "clients", "slug", "new-slug"),
        ("is_active", "unknown", "clients", "is_active", None),
        ("description", "one\r\ntwo", "clients", "description", "one\ntwo"),
        ("databases-0-db_name", "new", TABLES[1], "db_name", "new"),
        ("databases-0-db_password", "new", TABLES[1], "db_password_encrypted", "new"),
        ("databases-0-is_primary", "false", TABLES[1], "is_primary", False),
        ("emails-0-sender_whitelist", "", TABLES[2], "sender_whitelist", None),
        ("aws_logins-0-label", "new", TABLES[3], "label", "new"),
    ],
)  # fmt: skip
def test_a_change_writes_its_column_and_no_other(edit, idom, field, value, table, column, expected):
    before = stored()

    assert edit(idom, **{field: value}).status_code == 302

    after = stored()
    assert changed_columns(before, after) == {f"{table}.{column}", f"{table}.updated_at"}
    assert after[table][0][column] == expected
    assert after["revisions"][idom] == before["revisions"][idom] + 1


def test_what_could_not_be_checked_by_a_former_slug_is_forgotten(edit, idom):
    make_comparison(idom, "unchecked")
    found = []
    for change in ({"name": "New name"}, {"slug": "new-slug"}):
        assert edit(idom, **change).status_code == 302
        found.append(ClientMigration.objects.get(pk=idom).comparison_status)

    assert found == ["unchecked", None]


@pytest.mark.parametrize(
    ("field", "value", "table", "column", "expected"),
    [
        ("databases-0-db_port", "5433", TABLES[1], "db_port", 5433),
        ("emails-0-imap_port", "", TABLES[2], "imap_port", None),
        ("emails-0-email_provider", "", TABLES[2], "email_provider", None),
        ("aws_logins-0-region", "eu-south-2", TABLES[3], "region", "eu-south-2"),
    ],
)  # fmt: skip
def test_a_new_destination_is_written_with_the_secret_that_is_typed_again(
    edit, idom, field, value, table, column, expected
):
    before = stored()
    secret = next(name for name in SECRETS if name.split("-")[0] == field.split("-")[0])
    new = make_aws_secret("new") if secret.endswith("access_key") else "new"

    assert edit(idom, **{field: value, secret: new}).status_code == 302

    after = stored()
    columns = (column, SECRET_COLUMNS[table], "updated_at")
    assert changed_columns(before, after) == {f"{table}.{name}" for name in columns}
    assert after[table][0][column] == expected
    assert after[table][0][SECRET_COLUMNS[table]] == new
    assert after["revisions"][idom] == before["revisions"][idom] + 1


def test_a_save_writes_no_column_that_was_not_changed_even_where_it_knows_an_older_value(
    edit, idom, monkeypatch
):
    """NOVA writes between our check of the revision and our save: what it wrote stays."""
    from credentials import forms

    save = forms.save_columns

    def nova_was_first(row, columns):
        update("client_database_credentials", row.pk, db_password_encrypted="by NOVA")
        save(row, columns)

    monkeypatch.setattr(forms, "save_columns", nova_was_first)

    assert edit(idom, **{"databases-0-db_name": "new"}).status_code == 302

    row = Client.objects.get(pk=idom).databases.get()
    assert (row.db_name, row.db_password) == ("new", "by NOVA")
