"""Login tests in a real browser: of what is typed and not stored yet, and their table on a telephone."""

import pytest
from playwright.sync_api import Page, expect

from credentials.models import Client
from migration.models import LoginTest
from tests.factories import make_database, make_full_client

CLIENTS = "/admin/credentials/client/"
TELEPHONE = {"width": 390, "height": 844}
NOT_FOUND = "the host has no address"
MARKER = "MARKER of the database"

pytestmark = pytest.mark.browser


def type_database(page: Page, row: str) -> None:
    values = {
        "host": "db.example.test",
        "port": "5432",
        "name": "app",
        "user": "app",
        "password": MARKER,
    }
    for name, value in values.items():
        page.locator(f'[name="{row}-db_{name}"]').fill(value)


def test_a_login_of_a_new_client_is_tested_on_its_page(visit):
    page = visit(f"{CLIENTS}add/")
    card = page.get_by_role("group", name="Database")

    card.get_by_role("button", name="Test").click()
    expect(card.get_by_role("status")).to_contain_text("Host: This field is required.")
    type_database(page, "databases-0")
    card.get_by_role("button", name="Test").click()
    expect(card.get_by_role("status")).to_contain_text(NOT_FOUND)

    assert page.input_value('[name="databases-0-db_password"]') == MARKER
    sent = [request for request in page.asked if "MARKER" in (request.post_data or "")]
    assert {request.url.partition(CLIENTS)[2] for request in sent} == {"add/test/database/"}
    assert not Client.objects.exists()


def test_the_cards_fit_a_telephone_and_a_login_that_is_added_is_tested(visit):
    pk = make_full_client("idom")
    long = make_database(pk, is_primary=False, label="a-label-that-is-as-long-as-labels-become" * 2)
    LoginTest.objects.bulk_create(
        LoginTest(client_id=pk, kind="database", credential_id=long, store=store, outcome="unsafe")
        for store in ("postgres", "aws")
    )
    page = visit(f"{CLIENTS}{pk}/change/?tab=logins", viewport=TELEPHONE)
    expect(page.get_by_role("button", name="Test").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]

    page.get_by_text("Add a login").click()
    page.get_by_role("button", name="Database", exact=True).click()
    type_database(page, "databases-2")
    page.locator("#login-databases-2").get_by_role("button", name="Test").click()

    expect(page.locator("#login-test-databases-2")).to_contain_text(NOT_FOUND)
    assert Client.objects.get(pk=pk).databases.count() == 2


def test_a_stored_login_is_tested_without_scripts(visit):
    pk = make_full_client("idom")
    page = visit(f"{CLIENTS}{pk}/change/?tab=logins", java_script_enabled=False)

    page.locator("#login-databases-0").get_by_role("button", name="Test").first.click()

    expect(page.locator("#login-databases-0")).to_contain_text(NOT_FOUND)
