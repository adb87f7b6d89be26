"""What the keyboard alone reaches, where its focus is seen, and lists without scripts."""

from playwright.sync_api import Page

from migration.models import PhaseChoices
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.factories import make_full_client, make_many
from tests.migration.moves.clients import enter_phase

CLIENTS = "/admin/credentials/client/"
# What has the focus: its name, and whether something that sticks to an edge of the window lies over its middle.
FOCUSED = """() => {
    const at = document.activeElement, box = at.getBoundingClientRect();
    const over = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    const bar = over?.closest("#submit-row, [data-sticky]");
    return [at.getAttribute("aria-label") || at.innerText || at.name || at.id || "", Boolean(bar && !bar.contains(at))];
}"""


def walk(page: Page, most: int) -> dict[str, bool]:
    """Press Tab until the round is over; return whether each stop, by its name, was hidden under a bar."""
    stops: dict[str, bool] = {}
    for _ in range(most):
        page.keyboard.press("Tab")
        name, is_hidden = page.evaluate(FOCUSED)
        if name.strip() in stops and name.startswith("Skip"):
            break
        stops[name.strip()] = is_hidden
    return stops


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
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.list-filters-panel') !== null")
    filters.press("Enter")
    page.locator(".list-filters-panel").wait_for(state="hidden")

    account = page.get_by_role("button", name="root")
    account.focus()
    assert account.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").wait_for()
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


def test_no_stop_of_the_keyboard_lies_under_a_bar(visit, stores):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    page = visit(f"{CLIENTS}{pk}/change/")

    stops = walk(page, 150)

    assert len(stops) > 20
    assert [name for name, is_hidden in stops.items() if is_hidden] == []


def test_without_scripts_the_filters_of_a_list_are_there(visit, stores):
    make_many(3)
    page = visit(CLIENTS, java_script_enabled=False)

    page.locator("summary", has_text="Filters").click()
    page.get_by_role("link", name=str(PhaseChoices.DUAL_WRITE.label)).first.click()

    assert "phase" in page.url
