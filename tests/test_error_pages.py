"""The pages for requests that have none: in the site's looks and the reader's language, whatever it was that failed."""

import pytest
from django.db import DatabaseError
from django.test import Client

from tests.factories import VIEW, make_user

LOOKED_UP = "/admin/migration/comparison/report/"
PAGES = {
    "/admin/?q=%00": (400, "No page of this site sends such an address"),
    "/admin/auth/user/add/": (403, "It takes one of these roles: User administrator."),
    "/no-such-page/": (404, "This page does not exist"),
    LOOKED_UP: (500, "The site failed, and its log says at what"),
}


@pytest.fixture
def browser(db, monkeypatch):
    """Somebody who may view everything, on a site whose report fails."""

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("a text for the log alone")

    monkeypatch.setattr("migration.admin.mismatches.get_report_context", fail)
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    browser.force_login(make_user("viewer", *VIEW))
    return browser


@pytest.mark.parametrize("address", PAGES)
def test_each_status_has_its_page_in_the_sites_looks(browser, address):
    response = browser.get(address)
    page = response.content.decode()

    assert response.status_code == PAGES[address][0]
    assert PAGES[address][1] in page
    assert "unfold/css/styles.css" in page
    assert 'href="/admin/"' in page
    assert "a text for the log alone" not in page
    assert response.headers["Content-Language"] == "en"


@pytest.mark.parametrize("address", PAGES)
def test_each_is_in_the_readers_language(browser, address):
    by_browser = browser.get(address, headers={"accept-language": "es-ES,es"})
    browser.cookies["django_language"] = "es"
    chosen = browser.get(address)

    for response in (by_browser, chosen):
        assert response.headers["Content-Language"] == "es"
        assert '<html lang="es"' in response.content.decode()


@pytest.mark.parametrize(
    ("address", "roles"),
    [
        ("/admin/auth/user/", "User administrator."),
        ("/admin/migration/auditevent/", "Approver, Administrator."),
        ("/admin/migration/run/start-all/", "Operator, Administrator."),
        ("/admin/migration/run/aws-writes/claim/", "Administrator."),
    ],
)
def test_a_refusal_says_which_roles_may_and_who_gives_them(browser, address, roles):
    browser.handler.enforce_csrf_checks = False
    ask = browser.post if "/run/" in address else browser.get

    page = ask(address).content.decode()

    assert f"It takes one of these roles: {roles}" in page
    assert "ask a User administrator" in page


@pytest.mark.parametrize("address", ["/admin/?q=%00", "/no-such-page/"])
def test_a_page_asks_the_database_for_nothing(browser, django_assert_num_queries, address):
    with django_assert_num_queries(0):
        browser.get(address)


def test_a_form_without_a_token_is_refused_in_the_same_looks(browser):
    response = browser.post("/admin/password_change/", {"old_password": "example"})

    assert response.status_code == 403
    assert "This form is no longer valid" in response.content.decode()


def test_a_host_of_others_has_the_page_too(browser):
    response = browser.get("/admin/", headers={"host": "evil.example"})

    assert response.status_code == 400
    assert "evil.example" not in response.content.decode()
    assert "No page of this site sends such an address" in response.content.decode()


def test_a_wrong_login_is_told_once_and_no_link_leads_back_to_the_login(db):
    page = Client().post("/admin/login/", {"username": "x", "password": "example"}).content.decode()

    assert page.count("errornote") == 1
    assert "Please enter the correct username" in page
    assert "Return to site" not in page
