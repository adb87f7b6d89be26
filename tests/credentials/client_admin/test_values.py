"""Values that can't be: refused at their field by forms, imports and commands alike."""

import pytest
from django.core.exceptions import ValidationError

from credentials.import_columns import read_cell
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
)
from migration.clients.imports import preview_import
from tests.credentials.client_admin.forms import (
    change,
    errors_by_field,
    in_rounds,
    make_odd,
    stored,
)
from tests.factories import make_client, make_full_client
from tests.migration.clients.imports.files import AWS, EMAIL, make_csv, make_row
from tests.page_forms import open_form, send_form

PREFIXES = {
    Client: "",
    DatabaseCredential: "databases-0-",
    EmailCredential: "emails-0-",
    AwsCredential: "aws_logins-0-",
}
KEY, SECRET = AWS["access_key_id"], AWS["secret_access_key"]
# Model, column, value, what is said of it.
MALFORMED = [
    (Client, "name", "Acme \u202egnirts", "U+202E"),
    (Client, "name", "Acme \u2067", "U+2067"),
    (Client, "name", "Ac\u200bme", "U+200B"),
    (Client, "name", "two\nlines", "U+000A"),
    (Client, "name", "bell\x07", "U+0007"),
    (Client, "description", "esc\x1b[31m", "U+001B"),
    (Client, "slug", ".", "letter or a digit"),
    (Client, "slug", "..", "letter or a digit"),
    (DatabaseCredential, "label", "tab\there", "U+0009"),
    (DatabaseCredential, "db_host", "http://db.example.com/ x", "only the host"),
    (DatabaseCredential, "db_host", "postgres://u:p@h/db", "only the host"),
    (DatabaseCredential, "db_host", "u:p@db.example.com", "only the host"),
    (DatabaseCredential, "db_host", "db.example.com:5432", "only the host"),
    (DatabaseCredential, "db_host", "db.example.com/orders", "only the host"),
    (DatabaseCredential, "db_host", "db example.com", "only the host"),
    (DatabaseCredential, "db_host", "db..example.com", "only the host"),
    (DatabaseCredential, "db_host", "-db.example.com", "only the host"),
    (DatabaseCredential, "db_host", "[::1]", "only the host"),
    (DatabaseCredential, "db_host", "10.0.0.300", "from 0 to 255"),
    (DatabaseCredential, "db_host", "10.0.0", "from 0 to 255"),
    (DatabaseCredential, "db_host", "db.example.com,10.0.0.300", "from 0 to 255"),
    (EmailCredential, "imap_host", "1.2.3.4.5", "from 0 to 255"),
    (DatabaseCredential, "db_name", " x", "begins or ends with a space"),
    (DatabaseCredential, "db_name", "x\u00a0", "begins or ends with a space"),
    (DatabaseCredential, "db_user", "app\u202euser", "U+202E"),
    (DatabaseCredential, "db_port", "0", "1 to 65535"),
    (DatabaseCredential, "db_port", "65536", "1 to 65535"),
    (DatabaseCredential, "db_port", "99999999999999999999", "1 to 65535"),
    (DatabaseCredential, "db_password", "two\nlines", "one line"),
    (DatabaseCredential, "db_password", "one line\r", "one line"),
    (DatabaseCredential, "db_password", "  ", "only spaces"),
    (DatabaseCredential, "db_password", "a\0b", "Null characters"),
    (EmailCredential, "imap_host", "imaps://imap.example.com", "only the host"),
    (EmailCredential, "smtp_host", "smtp.example.com:587", "only the host"),
    (EmailCredential, "smtp_port", "-1", "1 to 65535"),
    (EmailCredential, "email_user", "in\x00voices@example.com", "Null characters"),
    (EmailCredential, "email_password", "two\r\nlines", "one line"),
    (AwsCredential, "access_key_id", "short", "16 to 128"),
    (AwsCredential, "access_key_id", KEY.lower(), "16 to 128"),
    (AwsCredential, "access_key_id", KEY.replace("0", "-"), "16 to 128"),
    (AwsCredential, "secret_access_key", "short", "40 characters"),
    (AwsCredential, "secret_access_key", f"{SECRET} ", "40 characters"),
    (AwsCredential, "secret_access_key", f"{SECRET}0", "40 characters"),
    (AwsCredential, "region", "eu-west-1\u202e", "U+202E"),
]
SOUND = [
    (Client, "name", "Ingeniería 中 & Cía ‌"),
    (Client, "description", "two\nlines\tand a tab"),
    (Client, "slug", "a.b"),
    *(
        (DatabaseCredential, "db_host", host)
        for host in ("localhost", "10.0.0.8", "::1", "fe80::1")
    ),
    *((DatabaseCredential, "db_host", host) for host in ("db_1.example.com.", "münchen.example")),
    (DatabaseCredential, "db_host", "db1.example.com,db2.example.com"),
    (DatabaseCredential, "db_name", "with a blank"),
    (DatabaseCredential, "db_password", " blanks around it "),
    (DatabaseCredential, "db_port", "65535"),
    (EmailCredential, "email_user", "invoices"),
    (AwsCredential, "secret_access_key", "/+" * 20),
]


@pytest.mark.parametrize(("model", "column", "value", "words"), MALFORMED)
def test_what_cannot_be_is_refused_by_the_field_without_quoting_a_secret(
    model, column, value, words
):
    with pytest.raises(ValidationError) as refused:
        read_cell(model, column, value)

    said = " ".join(refused.value.messages)
    assert words in said
    if issubclass(model, Credential) and column in model.SECRET_FIELDS:
        assert value.strip() == "" or value not in said


@pytest.mark.parametrize(("model", "column", "value"), SOUND)
def test_what_can_be_is_taken_as_it_is(model, column, value):
    assert str(read_cell(model, column, value)) == value


def test_a_form_says_so_at_the_field_and_saves_nothing(operator, idom):
    before, silent, data = stored(), [], open_form(operator, change(idom))
    for cases in in_rounds(MALFORMED, lambda case: case[:2]):
        sent = {PREFIXES[model] + column: value for model, column, value, _ in cases}

        said = errors_by_field(send_form(operator, change(idom), data | sent))

        silent += [
            case for case, field in zip(cases, sent, strict=True) if case[3] not in said[field]
        ]
        assert stored() == before
    assert silent == []


def test_an_import_says_so_of_the_line(stores):
    make_full_client("idom")
    taken = []
    for model, column, value, words in MALFORMED:
        slug = value if column == "slug" else "idom" if column == "label" else "acme"
        row = make_row(slug, **EMAIL, **AWS) | {column: value, "slug": slug}

        (line,) = preview_import(data=make_csv(row)).lines

        said = " ".join(map(str, line.problems))
        # A NUL is refused of the file already.
        if line.outcome != "wrong" or (words not in said and "NUL" not in said):
            taken.append((model, column, value, said))
    assert taken == []


ODD = [
    ("clients", "name", "two\nlines \u202e", "description", "new"),
    ("clients", "slug", "..", "name", "New"),
    ("client_database_credentials", "db_host", "postgres://u@h/db", "databases-0-label", "new"),
    ("client_database_credentials", "db_name", " x ", "databases-0-db_password", "new"),
    ("client_database_credentials", "db_password_encrypted", "a\nb", "databases-0-label", "new"),
    ("client_aws_credentials", "access_key_id", "short", "aws_logins-0-label", "new"),
    ("client_aws_credentials", "secret_access_key", "short", "aws_logins-0-label", "new"),
]


def test_rows_that_hold_such_values_stay_editable(edit, idom):
    for cases in in_rounds(ODD, lambda case: case[0]):
        former = stored()
        for table, column, value, *_ in cases:
            make_odd(idom, table, **{column: value})

        assert edit(idom, **{field: new for *_, field, new in cases}).status_code == 302

        for table, column, value, *_ in cases:
            assert stored()[table][0][column] == value
            make_odd(idom, table, **{column: former[table][0][column]})


def test_a_slug_that_differs_in_capitals_alone_is_refused_and_may_stay(edit, idom, operator):
    make_client("zeta_foods")
    twin = make_full_client("Zeta_foods")
    before = stored()

    response = edit(idom, slug="ZETA_FOODS")

    (said,) = response.context_data["adminform"].form.errors["slug"]
    assert "zeta_foods" in said.lower()
    assert stored() == before
    assert edit(twin, name="New").status_code == 302
    assert edit(idom, slug="IDOM").status_code == 302
    assert operator.get(change(idom)).status_code == 200
