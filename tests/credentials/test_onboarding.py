"""Onboarding: one page makes a client with its logins, checks what is typed, and sends no secret back."""

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection

from credentials.models import Client
from migration.runs.models import Run
from tests.factories import CHANGE, VIEW, make_client, make_user, sent_form

PAGE = "/admin/credentials/client/onboard/"
CHECK = f"{PAGE}check/"
MAIL = f"{PAGE}mail/"
ADD = tuple(name.replace("change", "add") for name in CHANGE)
SECRETS = {
    "database-db_password": "MARKER-ONE",
    "email-email_password": "MARKER-TWO",
    "aws-secret_access_key": "MARKER-THREE",
}
CLIENT = {"name": "New", "slug": "new"}
DATABASE = {
    "database-db_host": "db.example.test",
    "database-db_port": "5433",
    "database-db_name": "app",
    "database-db_user": "app-user",
    "database-db_password": " example-password-1 ",
}
EMAIL = {
    "email-email_user": "invoices@example.test",
    "email-email_password": "example-app-password-2",
    "email-sender_whitelist": "a@example.test, b@example.test",
}
AWS = {
    "aws-access_key_id": "EXAMPLEKEYID00000000",
    "aws-secret_access_key": "example/secret/access/key/that/is/no/key",
    "aws-region": "eu-west-1",
}


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def send(root):
    """Sends the page as it came, with what was typed into it."""

    def send(**typed):
        data = sent_form(root.get(PAGE).content.decode(), "onboard_form")
        assert set(typed) <= {*data, "migrate_now"}, "the page has no such field"
        return root.post(PAGE, data | typed)

    return send


@pytest.fixture
def check(root):
    """What the page is told while somebody types into a field."""

    def check(name: str, /, **typed) -> str:
        response = root.post(CHECK, typed, headers={"HX-Trigger-Name": name})
        assert response.status_code == 200
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())

    return check


def html(response) -> str:
    assert response.status_code == 200, "it was saved"
    return unescape(response.content.decode())


def test_a_client_and_a_login_of_each_kind_are_made_at_once(send):
    answer = send(**CLIENT, **DATABASE, **EMAIL, **AWS)

    client = Client.objects.get(slug="new")
    assert answer.url == f"/admin/credentials/client/{client.pk}/change/"
    database, email, aws = client.databases.get(), client.emails.get(), client.aws_logins.get()
    assert (client.name, client.is_active, client.description) == ("New", True, None)
    assert (database.db_host, database.db_port) == ("db.example.test", 5433)
    assert database.db_password == " example-password-1 "
    assert (email.email_provider, email.imap_host, email.smtp_port) == (
        "gmail",
        "imap.gmail.com",
        587,
    )
    assert email.sender_whitelist == "a@example.test,b@example.test"
    assert (aws.region, aws.secret_access_key) == (
        "eu-west-1",
        "example/secret/access/key/that/is/no/key",
    )
    assert {row.is_primary for row in (database, email, aws)} == {True}
    assert {row.label for row in (database, email, aws)} == {None}


@pytest.mark.parametrize(
    ("section", "rows"), [(DATABASE, (1, 0, 0)), (EMAIL, (0, 1, 0)), (AWS, (0, 0, 1))]
)
def test_a_login_into_which_nothing_was_typed_is_left_out(send, section, rows):
    assert send(**CLIENT, **section).status_code == 302

    client = Client.objects.get()
    found = client.databases.count(), client.emails.count(), client.aws_logins.count()
    assert found == rows


def test_a_client_without_any_login_is_refused(send):
    assert "at least one login" in html(send(**CLIENT))
    assert not Client.objects.exists()


@pytest.mark.parametrize("secret", ["  blanks  ", "\tтаб\u00a0", "'\"\\<b>&amp;", "a" * 4096])
@pytest.mark.parametrize(
    ("section", "field"), list(zip((DATABASE, EMAIL, AWS), SECRETS, strict=True)), ids=SECRETS
)
def test_a_secret_is_stored_byte_for_byte(send, section, field, secret):
    assert send(**CLIENT, **section | {field: secret}).status_code == 302

    client = Client.objects.get()
    (row,) = [*client.databases.all(), *client.emails.all(), *client.aws_logins.all()]
    assert getattr(row, field.split("-")[1]) == secret


BAD = [
    ("name", "", "required"),
    ("slug", "", "required"),
    ("slug", "with space", "SPACE"),
    ("slug", "a/b", "'/'"),
    ("slug", "ñ", "SMALL LETTER N WITH TILDE"),
    ("slug", "x" * 101, "at most 100"),
    ("slug", "taken", "already exists"),
    ("database-db_port", "0", "greater than or equal to 1"),
    ("database-db_port", "65536", "less than or equal to 65535"),
    ("database-db_port", "abc", "whole number"),
    ("database-db_host", "", "required"),
    ("database-db_host", "a\0b", "Null characters"),
    ("email-imap_port", "65536", "less than or equal to 65535"),
    ("email-sender_whitelist", "a@example.test, b example", "“b example” is not an address"),
    ("email-sender_whitelist", "a@example.test;b@example.test", "not an address"),
    ("email-email_provider", "nobody's", "valid choice"),
    ("email-email_user", "", "required"),
    ("aws-access_key_id", "", "required"),
]


@pytest.mark.parametrize(("field", "value", "words"), BAD)
def test_what_is_wrong_is_told_and_nothing_is_saved(send, field, value, words):
    make_client("taken")

    page = html(send(**CLIENT | DATABASE | EMAIL | AWS | {field: value}))

    (told,) = re.findall(rf'(?s)id="id_{field}_error".*?</div>', page)
    assert words in told
    assert not Client.objects.filter(name="New").exists()
    assert not Client.objects.exclude(slug="taken").exists()


# Of an AWS login without its key's id nothing is left that is sent: its secret stays in the browser.
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [row for row in BAD if row[:2] != ("aws-access_key_id", "")],
)
def test_what_is_wrong_is_told_while_it_is_typed(check, field, value, words):
    make_client("taken")

    assert words in check(field, **CLIENT | DATABASE | EMAIL | AWS | {field: value})


@pytest.mark.parametrize("field", SECRETS)
def test_a_secret_of_blanks_only_is_refused_and_not_sent_back(send, field):
    page = html(send(**CLIENT | DATABASE | EMAIL | AWS | {field: " \u00a0  "}))

    (told,) = re.findall(rf'(?s)id="id_{field}_error".*?</div>', page)
    assert "A secret of blanks only is refused" in told
    assert not Client.objects.exists()


HINTS = [
    ("aws-access_key_id", "EXAMPLEKEYID00000000", "begin with AKIA"),
    ("aws-region", "mars-west-9", "AWS has no region “mars-west-9”"),
    ("email-email_user", "invoices", "This is no mail address"),
]


@pytest.mark.parametrize(("field", "value", "words"), HINTS)
def test_what_may_be_a_mistake_is_hinted_at_and_taken(send, check, field, value, words):
    typed = CLIENT | DATABASE | EMAIL | AWS | {field: value}

    assert words in check(field, **typed)
    (told,) = re.findall(rf'(?s)id="id_{field}_error".*?</div>', html(send(**typed | {"slug": ""})))
    assert words in told

    said = [str(each) for each in get_messages(send(**typed).wsgi_request)]
    assert any(words in each for each in said)
    assert Client.objects.filter(slug="new").exists()


def test_blanks_around_a_secret_are_told_after_it_is_saved_without_the_secret(send):
    said = [str(each) for each in get_messages(send(**CLIENT | DATABASE).wsgi_request)]

    (hint,) = [each for each in said if "blank" in each]
    assert hint.startswith("Password: It begins or ends with a blank.")
    assert "example-password-1" not in hint


@pytest.mark.parametrize("field", SECRETS)
def test_a_missing_secret_is_refused(send, field):
    typed = CLIENT | DATABASE | EMAIL | AWS | {field: ""}

    assert "required" in html(send(**typed))
    assert not Client.objects.exists()


def test_a_wrong_port_is_told_before_anything_else_of_its_login_is_typed(check):
    told = check("database-db_port", **{"database-db_port": "70000"})

    assert "65535" in told
    assert "required" not in check("database-db_host", **{"database-db_port": "70000"})


def test_a_field_that_is_right_is_told_nothing(check):
    for field in (*CLIENT, *DATABASE, *EMAIL, *AWS):
        told = check(field, **CLIENT | DATABASE | EMAIL | AWS)
        assert told.startswith(("Names of", "Name of"))
        assert "error" not in told


@pytest.mark.parametrize("slug", ["client-abc123", "x-123456"])
def test_a_slug_that_ends_like_an_arn_is_warned_of_and_saved(send, check, slug):
    assert "hyphen and six characters" in check("slug", **CLIENT | DATABASE | {"slug": slug})

    answer = send(**CLIENT | DATABASE | {"slug": slug})

    assert answer.status_code == 302
    said = [str(message) for message in get_messages(answer.wsgi_request)]
    assert any("hyphen and six characters" in text for text in said)


@pytest.mark.parametrize(
    ("layout", "section", "names", "dollars"),
    [
        ("client", DATABASE, ["nova/clients/new"], "$0.40 per month"),
        ("client", DATABASE | EMAIL | AWS, ["nova/clients/new"], "$0.40 per month"),
        ("service", DATABASE, ["nova/clients/new/database"], "$0.40 per month"),
        (
            "service",
            DATABASE | EMAIL | AWS,
            ["nova/clients/new/database", "nova/clients/new/email", "nova/clients/new/aws"],
            "$1.20 per month",
        ),
    ],
)
def test_what_the_secrets_will_be_called_and_cost_is_told(
    check, settings, layout, section, names, dollars
):
    settings.NOVA_SECRET_LAYOUT = layout

    told = check("slug", **CLIENT | section)

    assert re.findall(r"nova/clients/\S+?(?=[ ,])", told) == names
    assert dollars in told
    assert "$0.05 per 10,000 calls" in told


@pytest.mark.parametrize(
    "typed", [{}, DATABASE, {"slug": "a b"} | DATABASE, {"slug": "taken"} | DATABASE]
)
def test_no_name_is_told_of_a_secret_that_there_will_not_be(check, typed):
    make_client("taken")
    assert "nova/clients" not in check("slug", **typed)


@pytest.mark.parametrize(
    ("provider", "hosts"),
    [
        ("gmail", ["imap.gmail.com", "993", "smtp.gmail.com", "587"]),
        ("outlook", ["outlook.office365.com", "993", "smtp.office365.com", "587"]),
        ("custom", []),
        ("nobody's", []),
    ],
)
def test_a_provider_fills_in_its_hosts_and_ports(root, provider, hosts):
    page = root.get(MAIL, {"email-email_provider": provider}).content.decode()

    assert re.findall(r'value="([^"]*)"', page) == hosts
    assert page.count("<input") == 4


def test_the_hosts_of_the_provider_are_stored_without_javascript_too(send):
    assert send(**CLIENT, **EMAIL, **{"email-email_provider": "outlook"}).status_code == 302

    row = Client.objects.get().emails.get()
    assert (row.imap_host, row.imap_port) == ("outlook.office365.com", 993)
    assert (row.smtp_host, row.smtp_port) == ("smtp.office365.com", 587)


def test_typed_hosts_are_kept(send):
    hosts = {"email-imap_host": "imap.example.test", "email-imap_port": "1993"}
    assert send(**CLIENT, **EMAIL, **hosts).status_code == 302

    row = Client.objects.get().emails.get()
    assert (row.imap_host, row.imap_port) == ("imap.example.test", 1993)


def test_another_provider_needs_its_hosts_typed(send):
    hosts = dict.fromkeys(("email-imap_host", "email-smtp_port"), "")

    page = html(send(**CLIENT, **EMAIL, **hosts, **{"email-email_provider": "custom"}))

    for field in hosts:
        (told,) = re.findall(rf'(?s)id="id_{field}_error".*?</div>', page)
        assert "required" in told


def test_no_typed_secret_is_ever_sent_back(send, root):
    typed = CLIENT | DATABASE | EMAIL | AWS | SECRETS

    refused = html(send(**typed | {"name": ""}))
    told = root.post(CHECK, typed, headers={"HX-Trigger-Name": "slug"}).content.decode()

    assert "required" in refused
    assert refused.count("Type it again") == 3
    assert "MARKER" not in refused + told
    for field in SECRETS:
        answer = root.post(CHECK, typed, headers={"HX-Trigger-Name": field}).content.decode()
        assert "MARKER" not in answer


def test_the_page_asks_for_no_check_of_a_secret_and_leaves_secrets_out_of_every_other(root):
    page = root.get(PAGE).content.decode()

    (left_out,) = re.findall(r'hx-params="not ([^"]*)"', page)
    assert set(left_out.split(",")) == set(SECRETS)
    inputs = re.findall(r"<(?:input|textarea|select)\b[^>]*>", page)
    secret = [tag for tag in inputs if 'type="password"' in tag]
    assert {name for tag in secret for name in re.findall(r'name="([^"]*)"', tag)} == set(SECRETS)
    assert not any("hx-" in tag for tag in secret)
    checked = {re.search(r'name="([^"]*)"', tag)[1] for tag in inputs if "hx-post" in tag}
    assert {"name", "slug", "database-db_port", "email-sender_whitelist"} <= checked


def test_a_client_larger_than_a_secret_is_refused(send):
    page = html(send(**CLIENT, **DATABASE | {"database-db_password": "é" * 40_000}))

    assert "65536 bytes" in page
    assert not Client.objects.exists()


def test_what_the_database_refuses_is_saved_nowhere_and_told_without_its_values(send):
    rule = "ADD CONSTRAINT novas_own CHECK (region <> 'eu-west-1')"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE nova_admin.client_aws_credentials {rule}")

    page = html(send(**CLIENT, **DATABASE, **AWS | {"aws-secret_access_key": "MARKER-THREE"}))

    assert "SQLSTATE 23514" in page
    assert "MARKER" not in page
    assert not Client.objects.exists()
    assert not LogEntry.objects.exists()


def test_the_admin_log_names_the_logins_and_no_value(send):
    send(**CLIENT | DATABASE | EMAIL | AWS | SECRETS)

    entry = LogEntry.objects.get()
    assert "database login" in entry.get_change_message()
    assert "AWS login" in entry.get_change_message()
    assert "MARKER" not in entry.change_message


def test_a_new_client_is_pushed_from_the_page_that_says_what_would_be_done(send):
    answer = send(**CLIENT, **DATABASE, migrate_now="yes")

    client = Client.objects.get()
    assert answer.url == f"/admin/credentials/client/act/push/?clients={client.pk}"
    assert not Run.objects.exists()


def test_no_run_is_started_where_it_is_not_asked_for(send):
    send(**CLIENT, **DATABASE)

    assert not Run.objects.exists()


def test_who_may_not_start_runs_is_not_offered_it_and_starts_none(client, db):
    client.force_login(make_user("clerk", *VIEW, *CHANGE, *ADD))
    page = client.get(PAGE).content.decode()
    assert "migrate_now" not in page

    data = sent_form(page, "onboard_form") | CLIENT | DATABASE | {"migrate_now": "yes"}
    assert client.post(PAGE, data).status_code == 302

    assert Client.objects.exists()
    assert not Run.objects.exists()


def test_who_may_add_no_client_is_refused_everywhere(client, db):
    client.force_login(make_user("viewer", *VIEW, *CHANGE))

    for answer in (
        client.get(PAGE),
        client.post(PAGE, CLIENT | DATABASE),
        client.post(CHECK, CLIENT),
        client.get(MAIL),
    ):
        assert answer.status_code == 403
    assert not Client.objects.exists()


def test_anonymous_visitors_are_sent_to_the_login(client, db):
    for answer in (
        client.get(PAGE),
        client.post(PAGE, CLIENT | DATABASE),
        client.post(CHECK, CLIENT),
        client.get(MAIL),
    ):
        assert answer.url.startswith("/admin/login/?next=")
    assert not Client.objects.exists()


def test_a_login_of_a_kind_that_the_user_may_not_add_is_neither_shown_nor_stored(client, db):
    of_databases = [name for name in (*CHANGE, *ADD) if "email" not in name and "aws" not in name]
    client.force_login(make_user("narrow", *VIEW, *of_databases))
    page = client.get(PAGE).content.decode()
    assert "email-email_user" not in page

    client.post(PAGE, sent_form(page, "onboard_form") | CLIENT | DATABASE | AWS)

    assert Client.objects.get().databases.count() == 1
    assert not Client.objects.get().aws_logins.exists()
    assert client.get(MAIL).status_code == 403


def test_who_may_add_clients_but_no_login_is_led_to_the_form_without_them(client, db):
    client.force_login(make_user("half", *VIEW, "credentials.add_client"))

    assert client.get(PAGE).url == "/admin/credentials/client/add/"
    assert client.get("/admin/credentials/client/add/").status_code == 200


@pytest.mark.parametrize(("url", "method"), [(CHECK, "get"), (MAIL, "post")])
def test_the_small_addresses_take_one_method(root, url, method):
    assert getattr(root, method)(url).status_code == 405


def test_every_way_to_add_a_client_leads_to_the_page(root):
    pages = ["/admin/credentials/client/"]
    assert f'href="{PAGE}' in root.get(pages[0]).content.decode()
    pk = make_client("idom")

    for url in (*pages, f"/admin/credentials/client/{pk}/change/"):
        html = root.get(url).content.decode()
        assert f'href="{PAGE}' in html
        assert 'href="/admin/credentials/client/add/' not in html
