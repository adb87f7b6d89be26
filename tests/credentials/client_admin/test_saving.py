"""A save writes the columns that were changed, and no other."""

import pytest

from credentials.models import Client
from migration.models import ClientMigration
from tests.credentials.client_admin.forms import (
    SECRETS,
    TABLES,
    changed_columns,
    in_rounds,
    make_odd,
    stored,
)
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


def test_null_stays_null_in_an_untouched_form_and_when_something_else_is_changed(
    send_untouched, edit, idom
):
    make_database(idom, label="second", is_primary=False), make_full_client("other")
    for table, columns in NULLS:
        make_odd(idom, table, **dict.fromkeys(columns))
    before = stored()

    assert send_untouched(idom).status_code == 302
    assert stored() == before

    assert edit(idom, name="New name").status_code == 302
    assert changed_columns(before, stored()) == {"clients.name", "clients.updated_at"}


@pytest.mark.parametrize("odd", in_rounds(ODD, lambda case: case[:2]))
def test_odd_stored_values_survive_an_untouched_form_and_a_change_in_every_row(
    send_untouched, edit, idom, odd
):
    for table, column, value in odd:
        make_odd(idom, table, **{column: value})
    before = stored()

    assert send_untouched(idom).status_code == 302
    assert stored() == before

    changes = {
        "is_active": "false",
        "databases-0-is_primary": "unknown",
        "emails-0-is_primary": "unknown",
        "aws_logins-0-is_primary": "unknown",
    }
    assert edit(idom, **changes).status_code == 302
    flags = {f"{name}.is_primary" for name in TABLES[1:]} | {"clients.is_active"}
    assert changed_columns(before, stored()) == flags | {f"{name}.updated_at" for name in TABLES}


# Field, typed value, table, column, stored value.
CHANGES = [
    ("name", "New name", "clients", "name", "New name"),
    ("slug", "new-slug", "clients", "slug", "new-slug"),
    ("is_active", "unknown", "clients", "is_active", None),
    ("description", "one\r\ntwo", "clients", "description", "one\ntwo"),
    ("databases-0-db_name", "new", TABLES[1], "db_name", "new"),
    ("databases-0-db_password", "new", TABLES[1], "db_password_encrypted", "new"),
    ("databases-0-is_primary", "false", TABLES[1], "is_primary", False),
    ("emails-0-sender_whitelist", "", TABLES[2], "sender_whitelist", None),
    ("aws_logins-0-label", "new", TABLES[3], "label", "new"),
]
# With the secret that is typed again.
DESTINATIONS = [
    ("databases-0-db_port", "5433", TABLES[1], "db_port", 5433),
    ("emails-0-imap_port", "", TABLES[2], "imap_port", None),
    ("emails-0-email_provider", "", TABLES[2], "email_provider", None),
    ("aws_logins-0-region", "eu-south-2", TABLES[3], "region", "eu-south-2"),
]


def test_what_could_not_be_checked_by_a_former_slug_is_forgotten(edit, idom):
    make_comparison(idom, "unchecked")
    found = []
    for change in ({"name": "New name"}, {"slug": "new-slug"}):
        assert edit(idom, **change).status_code == 302
        found.append(ClientMigration.objects.get(pk=idom).comparison_status)

    assert found == ["unchecked", None]


def test_a_change_writes_its_column_and_no_other(edit, idom):
    # The later rounds leave rows alone, the last one all but the client's own.
    for cases in in_rounds(CHANGES, lambda case: case[2]):
        before = stored()

        sent = {field: value for field, value, *_ in cases}
        assert edit(idom, **sent).status_code == 302

        after = stored()
        assert changed_columns(before, after) == {
            f"{table}.{name}" for *_, table, column, _ in cases for name in (column, "updated_at")
        }
        assert [after[table][0][column] for *_, table, column, _ in cases] == [
            expected for *_, expected in cases
        ]
        assert after["revisions"][idom] == before["revisions"][idom] + len(cases)


def test_a_new_destination_is_written_with_the_secret_that_is_typed_again(edit, idom):
    for number, cases in enumerate(in_rounds(DESTINATIONS, lambda case: case[2])):
        before = stored()
        sent, expected = {}, {}
        for field, value, table, column, stored_value in cases:
            secret = next(name for name in SECRETS if name.split("-")[0] == field.split("-")[0])
            new = f"new-{number}"
            new = make_aws_secret(new) if secret.endswith("access_key") else new
            sent |= {field: value, secret: new}
            expected |= {(table, column): stored_value, (table, SECRET_COLUMNS[table]): new}

        assert edit(idom, **sent).status_code == 302

        after = stored()
        times = {f"{table}.updated_at" for table, _ in expected}
        assert changed_columns(before, after) == times | {".".join(each) for each in expected}
        assert {(name, column): after[name][0][column] for name, column in expected} == expected
        assert after["revisions"][idom] == before["revisions"][idom] + len(cases)


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
