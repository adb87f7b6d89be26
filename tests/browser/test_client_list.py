"""The clients list and the search over the site: by keyboard, and without a script."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.factories import make_client

pytestmark = pytest.mark.browser

CLIENTS = "/admin/credentials/client/"
FOCUSED = "document.activeElement.closest('summary, a, button, input')?.textContent.trim() ?? ''"


@pytest.fixture
def two_clients(stores) -> int:
    make_client("idom", name="IDOM", is_active=False)
    return make_client("cafe", name="Café Norte")


def tab_to(page: Page, name: str) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).startswith(name):
            return
    pytest.fail(f"no Tab reaches {name}")


def test_filters_search_and_palette_by_keyboard(visit, two_clients):
    page = visit(CLIENTS)

    tab_to(page, "Filters")
    page.keyboard.press("Enter")
    tab_to(page, "No, or not set")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Active: No, or not set")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    with page.expect_navigation():
        page.get_by_role("link", name="Clear all filters").click()

    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.locator("#searchbar").blur()
    page.keyboard.press("Control+k")
    box = page.locator("#search-input-command")
    expect(box).to_be_focused()
    page.keyboard.type("zzzz")
    expect(page.get_by_text("Nothing is found for “zzzz”.")).to_be_visible()
    box.fill("")
    page.keyboard.type("CAFE nor")
    expect(page.locator("#command-results-list li")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith(f"{CLIENTS}{two_clients}/change/")


def test_filters_and_search_without_a_script(visit, two_clients):
    page = visit(CLIENTS, java_script_enabled=False)

    page.locator("summary", has_text="Filters").click()
    page.get_by_role("link", name=re.compile("^PostgreSQL 2")).click()
    page.get_by_role("link", name="Phase: PostgreSQL").click()
    assert page.url.endswith(f"{CLIENTS}?")
    page.get_by_role("searchbox", name="Search everywhere").first.fill("cafe")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Café Norte").click()
    assert page.url.endswith(f"{CLIENTS}{two_clients}/change/")
