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
    page = visit(f"{CLIENTS}onboard/")
    section = page.get_by_role("group", name="Database login")

    section.get_by_role("button", name="Test this login").click()
    expect(section.get_by_role("status")).to_contain_text("Host: This field is required.")
    type_database(page, "database")
    section.get_by_role("button", name="Test this login").click()
    expect(section.get_by_role("status")).to_contain_text(NOT_FOUND)

    assert page.input_value('[name="database-db_password"]') == MARKER
    sent = [request for request in page.asked if "MARKER" in (request.post_data or "")]
    assert {request.url.partition(CLIENTS)[2] for request in sent} == {"onboard/test/database/"}
    assert not Client.objects.exists()


@pytest.mark.parametrize("address", ["add/", "{}/change/?tab=logins"])
def test_a_row_that_is_added_is_tested(visit, address):
    pk = make_full_client("idom")
    page = visit(CLIENTS + address.format(pk))
    number = 0 if address == "add/" else 1
    rows = page.locator("#databases-group")

    rows.get_by_role("link", name="Add another").click()
    type_database(page, f"databases-{number}")
    button = page.locator(f"#login-test-databases-{number}").locator("xpath=preceding::button[1]")
    button.click()

    expect(page.locator(f"#login-test-databases-{number}")).to_contain_text(NOT_FOUND)
    assert Client.objects.get(pk=pk).databases.count() == 1


def test_the_table_of_login_tests_fits_a_telephone(visit):
    pk = make_full_client("idom")
    long = make_database(pk, is_primary=False, label="a-label-that-is-as-long-as-labels-become" * 2)
    LoginTest.objects.bulk_create(
        LoginTest(client_id=pk, kind="database", credential_id=long, store=store, outcome="unsafe")
        for store in ("postgres", "aws")
    )
    page = visit(f"{CLIENTS}{pk}/change/?tab=logins", viewport=TELEPHONE)
    table = page.locator("#login-tests table")

    expect(table.locator("td").get_by_text("Values of AWS").first).to_be_visible()
    width, shown = table.locator("..").evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert width <= shown
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(table.locator("td").get_by_text("Values of AWS").first).to_be_hidden()
    expect(table.get_by_role("columnheader", name="Values of AWS")).to_be_visible()
