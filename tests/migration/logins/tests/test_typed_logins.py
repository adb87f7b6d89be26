"""What is typed into a login's form is tested as it is; a stored secret goes to its stored destination alone."""

import re

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from credentials.models import Client
from credentials.values import POINTER
from migration.logins.testing import LOGIN_TEST_EVENT
from migration.models import AuditEvent, LoginTest
from tests.factories import make_client, make_database, update
from tests.migration.logins.tests.servers import HOST, PASSWORD, USER
from tests.page_forms import open_form, pages_left_out, send_form

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def row(stores, servers, scram_server):
    pk = make_client("idom")
    make_database(
        pk,
        db_host=HOST,
        db_port=servers.database(behind=scram_server),
        db_name="postgres",
        db_user=USER,
        db_password_encrypted=f" {PASSWORD} ",
    )
    return Client.objects.get(pk=pk).databases.get()


@pytest.fixture
def browser(client, admin_user):
    client.force_login(admin_user)
    return client


@pytest.fixture
def typed(browser, row):
    page = reverse("admin:credentials_client_change", args=[row.client_id])
    return open_form(browser, page)


def send(browser, row, typed, **changes):
    address = reverse(
        "admin:credentials_client_test_typed", args=[row.client_id, "database", row.pk]
    )
    return browser.post(
        address, typed | {f"databases-0-{name}": value for name, value in changes.items()}
    )


def test_an_unchanged_form_is_a_test_of_postgresql(browser, row, typed):
    answer = send(browser, row, typed).content.decode()

    assert "the login works" in answer
    assert LoginTest.objects.get().outcome == "works"


def test_what_is_typed_is_tested_and_not_kept(browser, row, typed):
    answer = send(browser, row, typed, db_password="wrong").content.decode()
    assert "the server refuses user or password" in answer
    assert "the login works" in send(browser, row, typed, db_name="template1").content.decode()

    assert not LoginTest.objects.exists()
    row.refresh_from_db()
    assert row.db_name == "postgres"
    facts = [event.facts for event in AuditEvent.objects.filter(code=LOGIN_TEST_EVENT)]
    assert len(facts) == 2
    assert "wrong" not in "".join(facts)


def save_after_test(browser, row, typed, tried, saved):
    """Test what `tried` changes in the form, save it as `saved` changes it, and return what the page says."""
    change = {f"databases-0-{name}": value for name, value in saved.items()}
    if tried:
        answer = send(browser, row, typed, **tried).content.decode()
        (change["databases-0-tested"],) = re.findall(
            r'name="databases-0-tested" value="(.+)"', answer
        )
    page = f"{reverse('admin:credentials_client_change', args=[row.client_id])}?tab=logins"
    answer = send_form(browser, page, typed | change)
    assert answer.status_code == 302
    return [(each.level_tag, str(each)) for each in get_messages(answer.wsgi_request)]


def test_values_that_were_refused_and_are_saved_all_the_same_are_told_and_shown(
    browser, row, typed
):
    wrong = {"db_password": "wrong"}

    told = save_after_test(browser, row, typed, tried=wrong, saved=wrong)

    login = f"database login {HOST} › postgres"
    why = "the server refuses user or password"
    assert told == [("warning", f"Saved, though these values failed their test: {login}, {why}.")]
    test = LoginTest.objects.get()
    assert (test.credential_id, test.store, test.outcome) == (row.pk, "postgres", "refused")
    page = reverse("admin:credentials_client_change", args=[row.client_id])
    with pages_left_out():
        (card,) = browser.get(page, {"tab": "logins"}).context_data["login_cards"]
    assert [each.outcome for each in card["tests"]] == ["refused"]


def test_values_that_work_are_saved_with_their_test(browser, row, typed):
    other = {"db_name": "template1"}

    told = save_after_test(browser, row, typed, tried=other, saved=other)

    assert told == [("success", "Saved.")]
    test = LoginTest.objects.get()
    row.refresh_from_db()
    assert test.works
    assert test.tested_at == row.updated_at, "a write of NOVA's since would not be told as tested"


def test_other_values_than_were_tested_have_no_test(browser, row, typed):
    page = reverse("admin:credentials_client_change", args=[row.client_id])
    wrong = {"db_password": "wrong"}
    for tried, saved in (
        (wrong, {"db_password": "another"}),
        (wrong, {"db_password": "wrong", "db_name": "template1"}),
        ({}, {"db_password": "third", "tested": "WyJ4Il0:forged"}),
    ):
        told = save_after_test(browser, row, open_form(browser, page), tried, saved)
        assert told[-1] == ("success", "Saved.")
        assert not LoginTest.objects.exists()


def test_a_test_of_one_login_says_nothing_of_a_guess_that_is_saved_for_another(browser, row, typed):
    answer = send(browser, row, typed).content.decode()
    (signed,) = re.findall(r'name="databases-0-tested" value="(.+)"', answer)
    LoginTest.objects.all().delete()
    places = {"db_host": HOST, "db_port": row.db_port, "db_name": "postgres", "db_user": USER}
    other = make_client("other")
    make_database(other, **places, db_password_encrypted="x")
    page = f"{reverse('admin:credentials_client_change', args=[other])}?tab=logins"
    guess = {"databases-0-db_password": f" {PASSWORD} ", "databases-0-tested": signed}

    assert send_form(browser, page, open_form(browser, page) | guess).status_code == 302

    stored = Client.objects.get(pk=other).databases.get()
    assert stored.db_password == f" {PASSWORD} "
    assert not LoginTest.objects.exists()


def test_a_stored_secret_goes_to_its_stored_destination_alone(browser, row, typed, servers):
    async def listen(reader, writer):
        servers.heard.append(await reader.read(100))

    elsewhere = servers.serve(listen)
    for change in ({"db_port": elsewhere}, {"db_host": "other.example"}, {"db_user": "eve"}):
        answer = send(browser, row, typed, **change).content.decode()
        assert "enter the password again" in answer
    assert servers.heard == []
    answer = send(browser, row, typed, db_port=elsewhere, db_password="typed").content.decode()
    assert "TLS" in answer
    assert servers.heard


def test_only_who_may_change_the_login_may_test_what_is_typed(
    browser, row, typed, client, django_user_model
):
    from django.contrib.auth.models import Group

    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(viewer)
    assert send(client, row, typed).status_code == 403
    assert not LoginTest.objects.exists()


def test_a_purged_secret_and_a_row_that_is_not_there(browser, row, typed):
    pointer = f"{POINTER}nova/clients/idom"
    update("client_database_credentials", row.pk, db_password_encrypted=pointer)
    assert "Only AWS has this secret" in send(browser, row, typed).content.decode()
    del typed["databases-0-id"]
    assert "missing in the form" in send(browser, row, typed).content.decode()
    assert not LoginTest.objects.exists()
