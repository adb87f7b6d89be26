"""The pages for requests that have none: in the site's looks and the reader's language, whatever it was that failed."""

import pytest
from django.db import DatabaseError
from django.test import Client

from tests.factories import VIEW, make_user

LOOKED_UP = "/admin/migration/comparison/report/"
PAGES = {
    "/admin/?q=%00": (400, "The address, form or cookie is not valid"),
    "/admin/people/invite/": (403, "Roles with this permission: User administrator."),
    "/no-such-page/": (404, "This page does not exist"),
    LOOKED_UP: (500, "The site failed. It may have done part"),
}


@pytest.fixture
def browser(db, monkeypatch):
    """Somebody who may view everything, on a site whose report fails."""

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("a text for the log alone")

    monkeypatch.setattr("migration.pushes.pages.get_report_context", fail)
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
    ("address", "right", "roles", "who"),
    [
        (
            "/admin/people/",
            "Can view users",
            "User administrator.",
            "Ask a User administrator if you need it",
        ),
        (
            "/admin/migration/auditevent/",
            "Can view audit entries",
            "Approver, Administrator.",
            "Ask a User administrator if you need it",
        ),
        (
            "/admin/credentials/client/act/push/?clients=1",
            "Can add runs",
            "Operator, Administrator.",
            "Ask a User administrator if you need it",
        ),
        (
            "/admin/migration/run/aws-writes/claim/",
            "Can claim a copied database as the one that writes to AWS",
            "Administrator.",
            "Ask a superuser, or a User administrator with such a role",
        ),
    ],
)
def test_a_refusal_says_what_is_missing_which_roles_have_it_and_who_gives_them(
    browser, address, right, roles, who
):
    browser.handler.enforce_csrf_checks = False
    ask = browser.post if "/aws-writes/" in address else browser.get

    page = ask(address).content.decode()

    assert f"Missing permission: {right}." in page
    assert f"Roles with this permission: {roles}" in page
    assert who in page
    assert 'href="/admin/people/"' not in page


def test_who_may_see_the_users_is_led_to_them(browser):
    browser.force_login(make_user("keeper", "auth.view_user"))

    page = browser.get("/admin/migration/auditevent/").content.decode()

    assert 'href="/admin/people/"' in page


def test_of_a_page_for_nobody_no_right_is_named(browser):
    browser.force_login(make_user("root", is_superuser=True))

    page = browser.get("/admin/migration/auditevent/add/").content.decode()

    assert "Your role does not allow it." in page
    assert "Missing permission" not in page


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
    assert "The address, form or cookie is not valid" in response.content.decode()


def test_a_wrong_login_is_told_once_and_no_link_leads_back_to_the_login(db):
    page = Client().post("/admin/login/", {"username": "x", "password": "example"}).content.decode()

    assert page.count("errornote") == 1
    assert "Wrong username or password" in page
    assert "Return to site" not in page
