"""The clients list and the search over the site: by keyboard, and without a script."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from migration.models import Outcome
from tests.factories import make_client
from tests.migration.admin.pages import close, make_run

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


def test_on_a_phone_a_client_is_a_few_lines_and_a_run_too(visit, two_clients):
    run = make_run(3)
    close(run, 1, Outcome.FAILED, error_class="data")
    page = visit(CLIENTS, viewport={"width": 390, "height": 844})

    row = page.locator("#result_list .data-row", has_text="Café Norte")
    expect(row.get_by_role("link", name="Café Norte")).to_be_visible()
    expect(row.locator(".field-phase_badge")).to_contain_text("PostgreSQL")
    expect(row.get_by_text("Blocked")).to_be_visible()
    # With the reason it has three lines; a card of all columns has some 300 pixels.
    assert row.bounding_box()["height"] < 140
    assert is_as_wide_as_the_screen(page)

    page.goto(page.url.replace(CLIENTS, "/admin/migration/run/"))

    row = page.locator("#result_list .data-row")
    expect(row.get_by_role("link", name="1 failed")).to_be_visible()
    assert row.bounding_box()["height"] < 140
    assert is_as_wide_as_the_screen(page)


def test_no_list_and_no_form_is_wider_than_the_screen(visit, two_clients):
    run = make_run(9)
    for number, outcome in enumerate((Outcome.FAILED, Outcome.REFUSED, Outcome.SKIPPED), 1):
        close(run, number, outcome)
    user = User.objects.create_superuser("vera")
    page = visit("/admin/migration/run/", viewport={"width": 1440, "height": 900})
    table = page.locator("#result_list")
    assert table.evaluate("e => e.scrollWidth <= e.parentElement.clientWidth + 1")

    page.set_viewport_size({"width": 1280, "height": 900})
    for address in (
        f"/admin/auth/user/{user.pk}/change/",
        "/admin/auth/group/add/",
        f"{CLIENTS}add/",
    ):
        page.goto(page.url.split("/admin/")[0] + address)
        assert is_as_wide_as_the_screen(page), address


def is_as_wide_as_the_screen(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
