"""The client's form: what it never shows, and that it writes what was changed and nothing else."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse
from psycopg import sql

from credentials.models import Client
from tests.factories import (
    CHANGE,
    VIEW,
    make_aws,
    make_client,
    make_database,
    make_email,
    make_full_client,
    make_user,
    qualified,
    sent_form,
    update,
)

TABLES = (
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_aws_credentials",
)
SECRETS = {
    "databases-0-db_password": "MARKER-ONE of the database",
    "emails-0-email_password": "MARKER-TWO of the mail",
    "aws_logins-0-secret_access_key": "MARKER-THREE of AWS",
}
SECRET_COLUMNS = {
    "client_database_credentials": "db_password_encrypted",
    "client_email_credentials": "email_password_encrypted",
    "client_aws_credentials": "secret_access_key",
}
ADD = "/admin/credentials/client/add/"
LIST = "/admin/credentials/client/"


def change(pk) -> str:
    return reverse("admin:credentials_client_change", args=[pk])


def stored() -> dict[str, list[tuple]]:
    """Every column of every row, updated_at included, and how often each client was written."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(qualified(table)))
            names = [column.name for column in cursor.description]
            found[table] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found["revisions"] = dict(Client.objects.with_revision().values_list("pk", "revision"))
    return found


def changed_columns(before, after) -> set[str]:
    return {
        f"{table}.{name}"
        for table in TABLES
        for old, new in zip(before[table], after[table], strict=True)
        for name in old
        if old[name] != new[name]
    }


def errors(response) -> str:
    """The words of a refusal, from the form and its inlines."""
    assert response.status_code == 200, "it was saved"
    context = response.context
    return " ".join(str(error) for error in context["errors"])


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def operator(db, client):
    client.force_login(make_user("operator", *VIEW, *CHANGE, "migration.add_run"))
    return client


@pytest.fixture
def idom(db) -> int:
    pk = make_client("idom")
    make_database(pk, db_password_encrypted=SECRETS["databases-0-db_password"])
    make_email(pk, email_password_encrypted=SECRETS["emails-0-email_password"])
    make_aws(pk, secret_access_key=SECRETS["aws_logins-0-secret_access_key"])
    return pk


@pytest.fixture
def edit(operator):
    """Opens a client's form, sends it back with some fields changed, and answers with the response."""

    def edit(pk, **changes):
        data = sent_form(operator.get(change(pk)).content.decode())
        assert set(changes) <= set(data), "the page has no such field"
        return operator.post(change(pk), data | changes)

    return edit


def test_no_stored_secret_is_on_any_page(root, idom):
    for url in (LIST, ADD, change(idom), f"{LIST}{idom}/history/"):
        page = root.get(url)
        assert page.status_code == 200
        assert "MARKER" not in page.content.decode()


def test_a_stored_secret_is_shown_as_a_mask_of_one_width(root, idom):
    short = make_client("short")
    make_database(short, db_password_encrypted="x")

    masks = {
        pk: root.get(change(pk)).content.decode().count('placeholder="••••••••••••"')
        for pk in (idom, short)
    }

    assert masks == {idom: 3, short: 1}


def test_a_refused_form_sends_back_neither_the_stored_nor_the_typed_secret(edit, idom):
    response = edit(idom, name="", **dict.fromkeys(SECRETS, "MARKER-FOUR typed"))

    assert "required" in errors(response)
    assert "MARKER" not in response.content.decode()
    assert response.content.decode().count("Type it again") == 3


def test_a_refused_form_for_a_new_client_does_not_send_back_the_typed_secret(root):
    data = new_client(root) | {"name": "", "databases-0-db_password": "MARKER-FOUR typed"}

    response = root.post(ADD, data)

    assert "required" in errors(response)
    assert "MARKER" not in response.content.decode()


@pytest.mark.parametrize(
    "secret",
    [
        "  blanks on both sides  ",
        "\ttab and no-break space\u00a0",
        "quotes ' \" ` and \\ and <b>&amp;</b> {{ x }} %s",
        "contraseña 密码 🔑 e\u0301",
        "a" * 4096,
        " ",
        "0",
        "••••••••••••",
    ],
)
@pytest.mark.parametrize("field", SECRETS)
def test_a_typed_secret_is_stored_byte_for_byte(edit, idom, field, secret):
    assert edit(idom, **{field: secret}).status_code == 302

    manager = {"databases": "databases", "emails": "emails", "aws_logins": "aws_logins"}
    row = getattr(Client.objects.get(pk=idom), manager[field.split("-")[0]]).get()
    assert getattr(row, field.split("-")[-1]) == secret


@pytest.mark.parametrize("secret", ["two\nlines", "two\r\nlines\r\n", " \n ", ""])
def test_a_secret_left_blank_stays_what_it_was(edit, idom, secret):
    row = Client.objects.get(pk=idom).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted=secret)

    assert edit(idom, **{"databases-0-db_name": "new"}).status_code == 302

    row.refresh_from_db()
    assert (row.db_password, row.db_name) == (secret, "new")


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


def make_odd(pk: int, table: str, **columns) -> None:
    rows = stored()[table]
    update(
        table, next(row["id"] for row in rows if pk in (row.get("client_id"), row["id"])), **columns
    )


@pytest.mark.parametrize(("table", "columns"), NULLS, ids=[table for table, _ in NULLS])
def test_null_stays_null_when_a_form_is_saved_untouched(edit, idom, table, columns):
    make_odd(idom, table, **dict.fromkeys(columns))
    before = stored()

    assert edit(idom).status_code == 302

    assert stored() == before


@pytest.mark.parametrize(("table", "columns"), NULLS, ids=[table for table, _ in NULLS])
def test_null_stays_null_when_something_else_is_changed(edit, idom, table, columns):
    make_odd(idom, table, **dict.fromkeys(columns))

    assert edit(idom, name="New name").status_code == 302

    row = next(row for row in stored()[table] if idom in (row.get("client_id"), row["id"]))
    assert {row[column] for column in columns} == {None}


@pytest.mark.parametrize(("table", "column", "value"), ODD)
def test_an_odd_stored_value_survives_an_untouched_form(edit, idom, table, column, value):
    make_odd(idom, table, **{column: value})
    before = stored()

    assert edit(idom).status_code == 302

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


def test_a_form_saved_untouched_writes_nothing(edit, idom):
    make_database(idom, label="second", is_primary=False), make_full_client("other")
    before = stored()

    assert edit(idom).status_code == 302

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

    assert edit(idom, **{field: value, secret: "new"}).status_code == 302

    after = stored()
    columns = (column, SECRET_COLUMNS[table], "updated_at")
    assert changed_columns(before, after) == {f"{table}.{name}" for name in columns}
    assert after[table][0][column] == expected
    assert after[table][0][SECRET_COLUMNS[table]] == "new"
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


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("field", ["name", "databases-0-db_password", "aws_logins-0-region"])
def test_a_form_opened_before_another_write_is_refused_and_writes_nothing(
    operator, idom, table, field
):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_odd(idom, table, updated_at="2020-01-01")
    before = stored()

    response = operator.post(change(idom), data | {field: "typed"})

    assert "changed since you opened" in errors(response)
    assert stored() == before


def test_a_form_opened_before_a_row_was_added_or_taken_away_is_refused(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_database(idom, label="by NOVA", is_primary=False)

    assert "changed since you opened" in errors(operator.post(change(idom), data | {"name": "x"}))

    data = sent_form(operator.get(change(idom)).content.decode())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")
    before = stored()

    response = operator.post(change(idom), data | {"name": "x"})

    assert response.status_code == 200
    assert stored() == before


def test_a_form_with_the_revision_taken_out_is_refused(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    del data["revision"]

    response = operator.post(change(idom), data | {"name": "x"})

    assert "changed since you opened" in errors(response)


def test_a_refused_stale_form_sent_again_is_refused_again(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_odd(idom, "clients", description="by NOVA")
    refused = operator.post(change(idom), data | {"name": "x"})

    again = operator.post(change(idom), sent_form(refused.content.decode()))

    assert "changed since you opened" in errors(again)


def test_a_save_of_another_client_does_not_make_a_form_stale(operator, edit, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    edit(make_full_client("other"), name="Other")

    assert operator.post(change(idom), data | {"name": "x"}).status_code == 302


@pytest.mark.parametrize(
    ("make", "prefix", "words"),
    [
        (make_database, "databases", "2 database logins are primary"),
        (make_email, "emails", "2 mail logins are primary"),
        (make_aws, "aws_logins", "2 AWS logins are primary"),
    ],
)
def test_two_primary_rows_of_one_kind_are_refused_in_words(edit, idom, make, prefix, words):
    make(idom, label="second", is_primary=False)
    before = stored()

    response = edit(idom, **{f"{prefix}-1-is_primary": "true"})

    assert words in errors(response)
    assert stored() == before


def test_two_stored_primary_rows_stop_no_other_edit_and_can_be_mended(edit, idom):
    make_database(idom, label="second")

    assert edit(idom, name="New name").status_code == 302
    assert edit(idom, **{"databases-1-is_primary": "false"}).status_code == 302

    primary = Client.objects.get(pk=idom).databases.filter(is_primary=True)
    assert primary.count() == 1


def test_the_primary_row_can_be_exchanged_in_one_form(edit, idom):
    make_database(idom, label="second", is_primary=False)

    response = edit(idom, **{"databases-0-is_primary": "false", "databases-1-is_primary": "true"})

    assert response.status_code == 302
    assert Client.objects.get(pk=idom).databases.get(is_primary=True).label == "second"


@pytest.mark.parametrize("slug", ["with space", "ñ", "a:b", "", "x" * 101])
def test_a_slug_that_no_secret_can_have_is_refused(edit, idom, slug):
    before = stored()

    assert errors(edit(idom, slug=slug)) != ""

    assert stored() == before


def test_a_slug_that_is_taken_is_refused(edit, idom):
    make_client("other")

    assert "already exists" in errors(edit(idom, slug="other"))


def test_a_bad_stored_slug_can_stay_and_can_be_mended(edit, idom):
    make_odd(idom, "clients", slug="bad slug")

    assert edit(idom, name="New name").status_code == 302
    assert edit(idom, slug="good-slug").status_code == 302

    assert Client.objects.get(pk=idom).slug == "good-slug"


def test_a_slug_that_ends_like_an_arn_is_saved_with_a_warning(edit, operator, idom):
    assert edit(idom, slug="client-abc123").status_code == 302

    shown = operator.get(change(idom)).context["messages"]
    assert [m.level_tag for m in shown].count("warning") == 1
    assert Client.objects.get(pk=idom).slug == "client-abc123"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "1.5", "abc", "99999999999999999999"])
@pytest.mark.parametrize(
    "field", ["databases-0-db_port", "emails-0-imap_port", "emails-0-smtp_port"]
)
def test_a_new_port_outside_the_range_is_refused(edit, idom, field, port):
    before = stored()

    assert errors(edit(idom, **{field: port})) != ""

    assert stored() == before


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_taken(edit, idom, port):
    changes = {"databases-0-db_port": str(port), "databases-0-db_password": "example-again"}

    assert edit(idom, **changes).status_code == 302

    assert Client.objects.get(pk=idom).databases.get().db_port == port


@pytest.mark.parametrize("field", ["name", "slug", "databases-0-db_host", "emails-0-email_user"])
def test_a_field_that_nova_needs_cannot_be_emptied(edit, idom, field):
    assert "required" in errors(edit(idom, **{field: ""}))


def test_a_null_byte_is_refused_in_words(edit, idom):
    for field in ("name", "databases-0-db_host", "databases-0-db_password"):
        assert "Null characters" in errors(edit(idom, **{field: "a\0b"}))


def new_client(browser) -> dict[str, str]:
    """The form of a new client with one login of each kind, as scripts add them to the page."""
    data = sent_form(browser.get(ADD).content.decode())
    return data | {
        "name": "New",
        "slug": "new",
        "databases-TOTAL_FORMS": "1",
        "databases-0-is_primary": "true",
        "databases-0-db_host": "db.example.test",
        "databases-0-db_port": "5432",
        "databases-0-db_name": "app",
        "databases-0-db_user": "app",
        "databases-0-db_password": " example-password-1 ",
        "emails-TOTAL_FORMS": "1",
        "emails-0-is_primary": "true",
        "emails-0-email_user": "invoices@example.test",
        "emails-0-email_password": "example-app-password-2",
        "aws_logins-TOTAL_FORMS": "1",
        "aws_logins-0-is_primary": "true",
        "aws_logins-0-access_key_id": "EXAMPLE-KEY-ID",
        "aws_logins-0-secret_access_key": "example-secret-key-3",
    }


def test_a_client_is_added_with_a_login_of_each_kind_at_once(root):
    assert root.post(ADD, new_client(root)).status_code == 302

    client = Client.objects.get(slug="new")
    assert client.databases.get().db_password == " example-password-1 "
    assert client.emails.get().email_password == "example-app-password-2"
    assert client.aws_logins.get().secret_access_key == "example-secret-key-3"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "taken"),
        ("slug", "bad slug"),
        ("databases-0-db_password", ""),
        ("emails-0-email_password", ""),
        ("aws_logins-0-secret_access_key", ""),
        ("databases-0-db_port", "0"),
    ],
)
def test_a_new_client_that_is_not_whole_is_refused_whole(root, field, value):
    make_client("taken")
    before = stored()

    assert errors(root.post(ADD, new_client(root) | {field: value})) != ""

    assert stored() == before


def test_two_new_primary_rows_are_refused_in_words(root):
    data = new_client(root)
    second = {
        name.replace("-0-", "-1-"): value for name, value in data.items() if "databases-0-" in name
    }

    response = root.post(ADD, data | second | {"databases-TOTAL_FORMS": "2"})

    assert "2 database logins are primary" in errors(response)


def test_a_login_is_added_to_a_stored_client(root, idom):
    data = sent_form(root.get(change(idom)).content.decode()) | {
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
    data = sent_form(operator.get(change(idom)).content.decode())
    before = stored()

    response = operator.post(
        change(idom), data | {"databases-0-id": str(theirs.pk), "databases-0-db_host": "stolen"}
    )

    assert response.status_code == 200
    assert stored() == before


def test_nobody_deletes_a_client_or_a_login_here(root, idom):
    before = stored()

    assert (
        root.post(
            reverse("admin:credentials_client_delete", args=[idom]), {"post": "yes"}
        ).status_code
        == 403
    )
    root.post(LIST, {"action": "delete_selected", "_selected_action": [idom], "post": "yes"})
    page = root.get(change(idom)).content.decode()
    assert "-DELETE" not in page
    root.post(change(idom), sent_form(page) | {"databases-0-DELETE": "on"})

    assert stored() == before
    assert "delete_selected" not in root.get(LIST).content.decode()


def test_a_viewer_sees_masks_and_nothing_to_type_into(client, idom):
    client.force_login(make_user("viewer", *VIEW))

    response = client.get(change(idom))

    page = response.content.decode()
    assert response.status_code == 200
    assert "MARKER" not in page
    assert page.count("••••••••••••") == 3
    assert not [
        name for name in sent_form(page) if name.endswith(("name", "slug", "host", "user", "label"))
    ]
    assert 'type="password"' not in page
    assert "db.example.test" in page


def test_a_viewer_cannot_save(client, idom):
    client.force_login(User.objects.create_superuser("root"))
    data = sent_form(client.get(change(idom)).content.decode())
    client.force_login(make_user("viewer", *VIEW))
    before = stored()

    assert (
        client.post(change(idom), data | {"name": "x", "databases-0-db_password": "x"}).status_code
        == 403
    )
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, data).status_code == 403

    assert stored() == before


def test_who_may_change_clients_but_only_view_logins_is_shown_masks_and_cannot_write_them(
    client, idom
):
    client.force_login(make_user("half", *VIEW, "credentials.change_client"))
    page = client.get(change(idom)).content.decode()
    before = stored()

    assert "MARKER" not in page
    assert 'type="password"' not in page
    data = sent_form(page) | {"name": "x", "databases-0-db_password": "stolen"}
    assert client.post(change(idom), data).status_code == 302

    assert changed_columns(before, stored()) == {"clients.name", "clients.updated_at"}


def test_who_may_add_logins_but_not_change_them_is_offered_no_form_for_one(client, idom):
    add = ("credentials.add_databasecredential", "credentials.change_client")
    client.force_login(make_user("adder", *VIEW, *add))

    page = client.get(change(idom)).content.decode()

    assert "MARKER" not in page
    assert 'type="password"' not in page


def test_who_may_see_clients_only_sees_no_login(client, idom):
    client.force_login(make_user("narrow", "credentials.view_client"))

    page = client.get(change(idom))

    assert page.status_code == 200
    assert "db.example.test" not in page.content.decode()


def test_the_history_of_a_change_names_fields_and_no_value(edit, operator, idom):
    edit(
        idom, **{"databases-0-db_password": "MARKER-FOUR", "databases-0-db_host": "h.example.test"}
    )

    page = operator.get(f"{LIST}{idom}/history/").content.decode()

    assert "password" in page.lower()
    assert "MARKER" not in page
    assert "h.example.test" not in page


@pytest.mark.parametrize(
    "key", ["abc", "0", "99999999", "99999999999999999999", "_00", "1%2F2", "%00"]
)
def test_a_client_that_is_not_there_is_told_in_words(root, key):
    response = root.get(f"{LIST}{key}/change/", follow=True)

    assert response.status_code == 200
    assert any("exist" in str(message) for message in response.context["messages"])
