"""The search over the site by keyboard, with the rights of a Viewer: on a wide page and on a telephone's."""

import pytest
from playwright.sync_api import expect

from tests.browser.keyboard import TELEPHONE, fits, press
from tests.factories import make_client, make_database, make_in_role

pytestmark = pytest.mark.browser


def test_a_viewer_finds_what_they_may_see_and_the_keyboard_goes_back(visit, stores):
    pk = make_client("cafe", name="Café Norte")
    make_database(pk, db_host="db.cafe.test")
    page = visit("/admin/", user=make_in_role("vera", "Viewer"))
    palette, box = page.get_by_role("dialog"), page.locator("#search-input-command")
    before = page.get_by_role("link", name="Skip to the content")
    press(before, "/")
    expect(box).to_be_focused()
    # The audit isn't for Viewers.
    page.keyboard.type("Audit")
    expect(palette.get_by_text("Nothing is found for “Audit”.")).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("!document.activeElement.closest('main, #nav-sidebar')")
    box.press("Escape")
    expect(box).to_have_value("")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    expect(before).to_be_focused()

    page.set_viewport_size(TELEPHONE)
    page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    page.keyboard.type("DB.Cafe")
    expect(palette.get_by_role("listitem")).to_have_count(1)
    assert palette.evaluate("at => at.scrollWidth") <= TELEPHONE["width"]
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith(f"/admin/credentials/client/{pk}/change/")

    # Without Ctrl+K, a link leads a telephone to the page of the search.
    press(page.get_by_role("link", name="Search everywhere"))
    expect(page.get_by_role("searchbox", name="Search everywhere").last).to_be_focused()
    page.keyboard.type("cafe")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Café Norte")).to_be_visible()
    assert fits(page)


def test_the_first_answer_is_chosen_and_the_menus_box_is_the_same_search(visit, stores):
    pk = make_client("cafe", name="Café Norte")
    page = visit("/admin/credentials/client/", user=make_in_role("vera", "Viewer"))
    palette, box = page.get_by_role("dialog"), page.locator("#search-input-command")
    # Also where a field has the focus; Enter waits for the answers.
    page.locator("#searchbar").focus()
    page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    page.keyboard.press("Control+k")
    with page.expect_navigation():
        page.keyboard.type("cafe")
        page.keyboard.press("Enter")
    assert page.url.endswith(f"/admin/credentials/client/{pk}/change/")

    menu = page.locator(".menu-search")
    menu.get_by_text("Ctrl K").click()
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    menu.get_by_role("searchbox").press("c")
    expect(box).to_be_focused()
    page.keyboard.type("afe")
    expect(box).to_have_value("cafe")
    expect(palette.get_by_role("listitem")).to_have_count(1)
    assert menu.get_by_role("searchbox", include_hidden=True).input_value() == ""
    # The frame of the field with the focus is the dialog's, which nothing cuts.
    frame = "at => getComputedStyle(at).outlineStyle"
    assert box.evaluate(frame) == "none"
    assert palette.locator("> div").evaluate(frame) == "solid"
