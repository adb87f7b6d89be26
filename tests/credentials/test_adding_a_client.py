"""Add a client: one form with any number of logins. A script is told its errors; no secret is ever sent back."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection

from credentials.models import Client
from tests.credentials.client_admin.forms import ADD
from tests.factories import CHANGE, VIEW, make_aws_secret, make_client, make_user, sent_form
from tests.page_forms import errors_of, forms_alone, open_form

ADD_PERMISSIONS = tuple(name.replace("change", "add") for name in CHANGE)
SECRETS = ("databases-0-db_password", "emails-0-email_password", "aws_logins-0-secret_access_key")
CLIENT = {"name": "New", "slug": "new"}
DATABASE = {
    "databases-0-db_host": "db.example.test",
    "databases-0-db_port": "5433",
    "databases-0-db_name": "app",
    "databases-0-db_user": "app-user",
    "databases-0-db_password": " example-password-1 ",
}
EMAIL = {
    "emails-TOTAL_FORMS": "1",
    "emails-0-email_provider": "gmail",
    "emails-0-email_user": "invoices@example.test",
    "emails-0-email_password": "example-app-password-2",
    "emails-0-sender_whitelist": "a@example.test, b@example.test",
}
AWS = {
    "aws_logins-TOTAL_FORMS": "1",
    "aws_logins-0-access_key_id": "EXAMPLEKEYID00000000",
    "aws_logins-0-secret_access_key": make_aws_secret("example"),
    "aws_logins-0-region": "eu-west-1",
}
PASTED = {"databases-0-connection": "postgres://app-user:MARKER-ONE@db.example.test:5433/app"}


@pytest.fixture
def root(admin_client):
    return admin_client


@pytest.fixture
def send(root):
    """Sends the form as it opens, with what was typed into it; pages are not rendered."""

    def send(by_script=False, **typed):
        with forms_alone():
            headers = {"Accept": "application/json"} if by_script else {}
            return root.post(ADD, open_form(root, ADD) | typed, headers=headers)

    return send


def told(answer) -> list[str]:
    return [str(each) for each in get_messages(answer.wsgi_request)]


def test_a_client_and_several_logins_of_each_type_are_made_at_once(send):
    second = {name.replace("-0-", "-1-"): value for name, value in DATABASE.items()}
    second |= {"databases-1-label": "reports", "databases-1-is_primary": "false"}

    answer = send(**CLIENT, **DATABASE, **EMAIL, **AWS, **second, **{"databases-TOTAL_FORMS": "2"})

    client = Client.objects.get(slug="new")
    assert answer.url == f"/admin/credentials/client/{client.pk}/change/?tab=logins"
    (database, reports), email, aws = (
        client.databases.all(),
        client.emails.get(),
        client.aws_logins.get(),
    )
    assert (client.name, client.is_active, client.description) == ("New", True, None)
    assert (database.db_port, database.db_password) == (5433, " example-password-1 ")
    assert (reports.label, reports.is_primary) == ("reports", False)
    assert (email.imap_host, email.smtp_port) == ("imap.gmail.com", 587)
    assert email.sender_whitelist == "a@example.test,b@example.test"
    assert {row.is_primary for row in (database, email, aws)} == {True}
    assert "New was added." in told(answer)


def test_a_pasted_string_fills_the_login_without_scripts(send):
    assert send(**CLIENT, **PASTED).status_code == 302

    row = Client.objects.get().databases.get()
    assert (row.db_host, row.db_port, row.db_name) == ("db.example.test", 5433, "app")
    assert (row.db_user, row.db_password) == ("app-user", "MARKER-ONE")


def test_a_pasted_string_that_is_none_is_told_and_never_shown_again(root):
    typed = open_form(root, ADD) | CLIENT

    page = root.post(ADD, typed | {"databases-0-connection": "mysql://app:MARKER-ONE@h/db"})

    assert "Not understood" in errors_of(page)
    assert "MARKER" not in page.content.decode()
    refused = root.post(ADD, typed | PASTED | {"slug": ""})
    assert 'value="db.example.test"' in refused.content.decode()
    assert "MARKER" not in refused.content.decode()


@pytest.mark.parametrize(("section", "rows"), [(DATABASE, (1, 0)), (EMAIL, (0, 1))])
def test_a_login_into_which_nothing_was_typed_is_left_out(send, section, rows):
    assert send(**CLIENT, **section).status_code == 302

    client = Client.objects.get()
    assert (client.databases.count(), client.emails.count()) == rows


def test_a_client_without_any_login_is_refused(send):
    assert "at least one login" in errors_of(send(**CLIENT))
    assert not Client.objects.exists()


BAD = [
    ("name", "", "required"),
    ("slug", "", "required"),
    ("slug", "with space", "a space"),
    ("slug", "taken", "already exists"),
    ("slug", "Taken", "capitals"),
    ("databases-0-db_host", "", "required"),
    ("databases-0-db_port", "abc", "whole number"),
    ("emails-0-sender_whitelist", "a@example.test, b example", "“b example” is not an address"),
    ("emails-0-email_provider", "nobody's", "valid choice"),
    ("aws_logins-0-access_key_id", "", "required"),
    *((name, "", "required") for name in SECRETS),
]


@pytest.mark.parametrize(("field", "value", "words"), BAD)
def test_a_script_is_told_what_is_wrong_by_the_names_of_fields(send, field, value, words):
    make_client("taken")

    answer = send(by_script=True, **CLIENT | DATABASE | EMAIL | AWS | {field: value})

    assert "no-store" in answer["Cache-Control"]
    found = answer.json()
    assert list(found["fields"]) == [field]
    assert words in found["fields"][field][0]
    assert found["general"] == []
    assert not Client.objects.exclude(slug="taken").exists()
    for secret in (DATABASE[SECRETS[0]], EMAIL[SECRETS[1]], AWS[SECRETS[2]]):
        assert secret not in answer.content.decode()


def test_a_script_is_told_where_the_page_leads(send):
    answer = send(by_script=True, **CLIENT, **DATABASE)

    pk = Client.objects.get().pk
    assert answer.json() == {"url": f"/admin/credentials/client/{pk}/change/?tab=logins"}


def test_a_script_is_told_what_the_database_refuses_without_its_values(send):
    rule = "ADD CONSTRAINT novas_own CHECK (region <> 'eu-west-1')"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE nova_admin.client_aws_credentials {rule}")

    found = send(by_script=True, **CLIENT, **DATABASE, **AWS).json()

    (text,) = found["general"]
    assert "SQLSTATE 23514" in text
    assert not Client.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_client_larger_than_a_secret_is_refused(send):
    answer = send(**CLIENT, **DATABASE | {"databases-0-db_password": "é" * 40_000})

    assert "65536 bytes" in errors_of(answer)
    assert not Client.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("aws_logins-0-region", "mars-west-9", "AWS has no region “mars-west-9”"),
        ("emails-0-email_user", "invoices", "This is not an email address"),
        ("databases-0-db_password", "blank ", "begins or ends with a space"),
        ("slug", "client-abc123", "hyphen and six characters"),
    ],
)
def test_what_may_be_a_mistake_is_taken_and_told(send, field, value, words):
    answer = send(**CLIENT | DATABASE | EMAIL | AWS | {field: value})

    assert answer.status_code == 302
    assert any(words in each for each in told(answer))
    assert "blank " not in "".join(each for each in told(answer) if value == "blank ").replace(
        "a blank", ""
    )


def test_without_scripts_a_button_adds_an_empty_login_and_keeps_what_was_typed(root):
    typed = sent_form(root.get(ADD).content.decode()) | CLIENT | DATABASE

    page = root.post(ADD, typed | {"_add_login": "databases"})

    text = page.content.decode()
    again = sent_form(text)
    assert (again["name"], again["databases-0-db_host"]) == ("New", "db.example.test")
    assert (again["databases-TOTAL_FORMS"], again["databases-1-is_primary"]) == ("2", "false")
    assert again["databases-0-db_password"] == ""
    assert "enter the secrets again" in errors_of(page)
    assert not Client.objects.exists()


def test_without_scripts_a_login_that_was_left_blank_is_told_of(root, send):
    answer = send(**CLIENT, **EMAIL)

    # The page opens with one, of a database.
    assert answer.status_code == 302
    assert sum("1 login was left blank" in each for each in told(answer)) == 1
    answer = root.post(
        ADD,
        sent_form(root.get(ADD).content.decode()) | CLIENT | {"slug": "other"} | DATABASE,
    )
    assert not any("left blank" in each for each in told(answer))


def test_without_scripts_the_first_error_has_the_focus_and_secrets_are_asked_again(root):
    typed = sent_form(root.get(ADD).content.decode()) | CLIENT | DATABASE

    text = root.post(ADD, typed | {"databases-0-db_port": "0"}).content.decode()

    assert text.count("autofocus") == 1
    (focused,) = [tag for tag in text.split("<") if "autofocus" in tag]
    assert 'name="databases-0-db_port"' in focused
    assert "Enter the secrets again" in text
    assert "example-password-1" not in text


def test_the_hosts_of_the_provider_are_stored_without_scripts_too(send):
    outlook = EMAIL | {"emails-0-email_provider": "outlook", "emails-0-imap_host": "imap.gmail.com"}
    assert send(**CLIENT, **outlook).status_code == 302

    row = Client.objects.get().emails.get()
    assert (row.imap_host, row.imap_port) == ("outlook.office365.com", 993)


def test_another_provider_needs_its_hosts_typed(send):
    hosts = dict.fromkeys(("emails-0-imap_host", "emails-0-smtp_port"), "")
    answer = send(by_script=True, **CLIENT, **EMAIL | {"emails-0-email_provider": "custom"} | hosts)

    assert set(hosts) <= set(answer.json()["fields"])


def test_who_may_add_no_client_is_refused(client, db):
    client.force_login(make_user("viewer", *VIEW, *CHANGE))

    assert (client.get(ADD).status_code, client.post(ADD, CLIENT | DATABASE).status_code) == (
        403,
        403,
    )


def test_a_login_of_a_type_that_the_user_may_not_add_is_neither_shown_nor_stored(client, db):
    of_databases = [n for n in (*CHANGE, *ADD_PERMISSIONS) if "email" not in n and "aws" not in n]
    client.force_login(make_user("narrow", *VIEW, *of_databases))
    page = client.get(ADD).content.decode()
    assert 'id="new-databases"' in page
    assert 'id="new-emails"' not in page

    client.post(ADD, sent_form(page) | CLIENT | DATABASE | AWS)

    assert Client.objects.get().databases.count() == 1
    assert not Client.objects.get().aws_logins.exists()


def test_former_addresses_lead_to_the_page(root):
    assert root.get("/admin/credentials/client/onboard/").url == ADD
