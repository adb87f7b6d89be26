"""A login is tested before it is stored: of a client that is being added, and of a row that is added to one."""

import re

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from credentials.models import Client
from migration.logins.testing import LOGIN_TEST_EVENT
from migration.models import AuditEvent, LoginTest
from tests.factories import make_client, make_database
from tests.migration.logins.tests.servers import HOST, PASSWORD, USER
from tests.page_forms import open_form

pytestmark = pytest.mark.django_db(transaction=True)

ADD = "/admin/credentials/client/add/"


@pytest.fixture
def browser(stores, client, admin_user):
    client.force_login(admin_user)
    return client


@pytest.fixture
def values(servers, scram_server):
    return {
        "db_host": HOST,
        "db_port": servers.database(behind=scram_server),
        "db_name": "postgres",
        "db_user": USER,
        "db_password": f" {PASSWORD} ",
    }


def type_in(values, row):
    return {f"{row}-{name}": value for name, value in values.items()}


def find_buttons(html):
    """The addresses of the tests of what isn't stored, each with what its button sends."""
    pattern = r"hx-post=\"([^\"]*/(?:test-new|add/test)/[^\"]*)\"[^>]*hx-vals='([^']*)'"
    return set(re.findall(pattern, html))


def add_test(browser, kind="database", **typed):
    return browser.post(reverse("admin:credentials_client_add_test", args=[kind]), typed)


def add_row(browser, pk, **typed):
    return browser.post(reverse("admin:credentials_client_test_new", args=[pk, "database"]), typed)


def test_the_login_of_a_new_client_is_tested_and_nothing_is_stored(browser, values):
    page = browser.get(ADD).content.decode()
    assert (f"{ADD}test/database/", '{"row": "databases-0"}') in find_buttons(page)
    typed = type_in(values, "databases-0") | {"row": "databases-0"}

    assert "the login works" in add_test(browser, **typed).content.decode()
    wrong = add_test(browser, **typed | {"databases-0-db_password": "wrong"}).content.decode()
    assert "the server refuses user or password" in wrong

    assert not Client.objects.exists()
    assert not LoginTest.objects.exists()
    entries = AuditEvent.objects.filter(code=LOGIN_TEST_EVENT)
    assert {(entry.client_id, entry.slug) for entry in entries} == {(None, "")}
    assert "a new database login" in str(entries[0].message)
    assert "wrong" not in "".join(entry.facts for entry in entries)


def test_what_is_lacking_is_named_and_nothing_is_tried(browser, values, servers):
    async def listen(reader, writer):
        servers.heard.append(await reader.read(100))

    elsewhere = servers.serve(listen)
    typed = type_in(values | {"db_port": elsewhere, "db_password": ""}, "databases-0")
    answer = add_test(browser, row="databases-0", **typed).content.decode()
    assert "Password: This field is required." in answer
    answer = add_test(browser, row="databases-0", **type_in(values, "databases-1"))
    assert "This field is required" in answer.content.decode()
    for row in ("", "emails-0", "databases-x", "databases-__prefix__"):
        assert "missing in the form" in add_test(browser, row=row).content.decode()
    assert servers.heard == []
    assert not AuditEvent.objects.filter(code=LOGIN_TEST_EVENT).exists()


def test_a_mailbox_s_hosts_come_from_its_provider(browser, settings):
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = False
    typed = {
        "row": "emails-0",
        "emails-0-email_provider": "custom",
        "emails-0-imap_host": HOST,
        "emails-0-imap_port": 993,
        "emails-0-smtp_host": HOST,
        "emails-0-smtp_port": 587,
        "emails-0-email_user": USER,
        "emails-0-email_password": PASSWORD,
    }
    answer = add_test(browser, "email", **typed).content.decode()
    assert "logins are not sent to the address of this host" in answer
    assert "IMAP" in answer


@pytest.mark.parametrize("is_new", [True, False])
def test_a_row_that_is_added_is_tested_with_what_is_typed(browser, values, is_new):
    pk = make_client("idom")
    stored = make_database(pk, db_password_encrypted="example-stored")
    page = reverse("admin:credentials_client_change", args=[pk])
    shown = browser.get(ADD if is_new else f"{page}?tab=logins").content.decode()
    address = f"{ADD}test/" if is_new else page.replace("change", "test-new")
    assert find_buttons(shown) >= {
        (f"{address}{kind}/", f'{{"row": "{rows}-__prefix__"}}')
        for kind, rows in (("database", "databases"), ("email", "emails"), ("aws", "aws_logins"))
    }

    def send(**typed):
        return add_test(browser, **typed) if is_new else add_row(browser, pk, **typed)

    typed = type_in(values, "databases-1") | {
        "row": "databases-1",
        "databases-1-is_primary": "false",
    }
    assert "the login works" in send(**typed).content.decode()
    typed["databases-1-db_password"] = "wrong"
    assert "the server refuses user or password" in send(**typed).content.decode()

    # A stored secret isn't used, whatever stands beside it.
    asks = open_form(browser, page) | type_in(values | {"db_password": ""}, "databases-0")
    answer = send(**asks | {"row": "databases-0"}).content.decode()
    assert "Password: This field is required." in answer
    assert not LoginTest.objects.exists()
    assert Client.objects.get(pk=pk).databases.get().pk == stored
    entries = AuditEvent.objects.filter(code=LOGIN_TEST_EVENT)
    assert {entry.slug for entry in entries} == {"" if is_new else "idom"}


def test_a_row_that_was_refused_has_its_button_too(browser, values):
    pk = make_client("idom")
    page = reverse("admin:credentials_client_change", args=[pk])
    stored = make_database(pk)
    typed = open_form(browser, page) | type_in(values | {"db_host": ""}, "databases-1")
    typed |= {"databases-TOTAL_FORMS": 2, "databases-1-is_primary": "false", "databases-1-id": ""}

    shown = browser.post(page, typed | {"_continue": ""}).content.decode()

    assert "This field is required" in shown
    new = page.replace("change", "test-new")
    assert (f"{new}database/", '{"row": "databases-1"}') in find_buttons(shown)
    assert f"/test-typed/database/{stored}/" in shown


def test_only_who_may_add_the_login_may_test_it(browser, values, client, django_user_model):
    pk = make_client("idom")
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(viewer)
    typed = type_in(values, "databases-0") | {"row": "databases-0"}
    assert add_test(client, **typed).status_code == 403
    assert add_row(client, pk, row="databases-0").status_code == 403
    assert add_test(client, "unknown").status_code == 403
    shown = client.get(reverse("admin:credentials_client_change", args=[pk]) + "?tab=logins")
    assert find_buttons(shown.content.decode()) == set()


def test_there_are_no_other_types_and_clients(browser):
    assert add_test(browser, "unknown").status_code == 404
    assert add_row(browser, 99_999).status_code == 404
    assert (
        browser.get(reverse("admin:credentials_client_add_test", args=["aws"])).status_code == 405
    )
