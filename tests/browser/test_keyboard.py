"""What the keyboard alone reaches, and where its focus is seen."""

from playwright.sync_api import Page

from migration.core.clients import all_clients
from migration.runs.models import Run
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, WIDTH, find_hidden
from tests.factories import make_full_client, make_many, start_run

CLIENTS = "/admin/credentials/client/"


def test_the_keyboard_skips_the_menu_and_reaches_filters_menu_and_account(visit, stores):
    make_many(3)
    page = visit(CLIENTS)

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.bounding_box()["y"] >= 0
    assert violations(page) == []
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content') !== null")

    filters = page.locator("summary", has_text="Filters")
    filters.focus()
    page.keyboard.press("Enter")
    page.locator(".list-filters-panel a").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.list-filters-panel') !== null")
    filters.press("Enter")
    page.locator(".list-filters-panel").wait_for(state="hidden")

    account = page.get_by_role("button", name="root")
    account.focus()
    assert account.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").wait_for()
    assert page.locator("#user-menu").evaluate("at => at.scrollWidth <= at.clientWidth")
    page.get_by_role("button", name="Dark").press("Enter")
    assert "dark" in page.locator("html").get_attribute("class")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Log out").wait_for(state="hidden")

    menu = page.get_by_role("button", name="Menu")
    menu.press("Enter")
    page.get_by_role("link", name="Dashboard").first.wait_for(state="hidden")

    page.set_viewport_size({"width": 390, "height": 800})
    menu.press("Enter")
    page.get_by_role("link", name="Dashboard").first.wait_for()
    page.get_by_role("button", name="Close the menu").press("Enter")
    page.get_by_role("link", name="Dashboard").first.wait_for(state="hidden")


def test_no_control_lies_under_a_bar_while_it_has_the_focus(visit, stores):
    pk = make_full_client("idom")
    run = start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())
    addresses = (
        f"{CLIENTS}{pk}/change/?tab=logins",
        f"/admin/migration/run/{run.pk}/change/",
        "/admin/migration/campaign/start/",
        CLIENTS,
    )
    page = visit("/admin/")
    hidden = find_at_both_widths(page)
    for address in addresses:
        page.goto(f"{page.url.partition('/admin/')[0]}{address}")
        if address == CLIENTS:
            # Now a bar with what can be done to it sticks to the foot of the window.
            page.get_by_role("checkbox").last.press("Space")
        hidden += find_at_both_widths(page)

    assert hidden == []
    page.evaluate(
        "document.querySelector('.environment').style = 'position: fixed; inset: 0; z-index: 99'"
    )
    assert find_hidden(page)


def find_at_both_widths(page: Page) -> list[str]:
    """Return what is hidden, on a wide page and on a telephone's; no control has a place of its own in the order."""
    hidden = []
    for window in (TELEPHONE, WIDTH):
        page.set_viewport_size(window)
        hidden += find_hidden(page)
    assert page.locator("[tabindex]:not([tabindex='0'], [tabindex='-1'])").count() == 0
    return hidden
