"""The clients list: filters, views and owners by keyboard, a selection over pages, and no script."""

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from credentials.models import Client
from migration.campaigns.steps import find_broken_rule
from migration.runs.items import Outcome
from migration.runs.models import Run
from tests.browser.keyboard import TELEPHONE, WIDTH, choose_act, find_hidden, fits, press
from tests.bulk_data import make_crowd
from tests.factories import make_client, make_in_role
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.pages import close, make_run

pytestmark = pytest.mark.browser

CLIENTS = "/admin/credentials/client/"
FOCUSED = "document.activeElement.closest('summary, a, button, input')?.textContent.trim() ?? ''"
ROWS = "#result_list tbody tr"


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


def test_an_owner_is_set_and_the_list_of_mine_opened_and_left_by_keyboard(visit, two_clients):
    page = visit(CLIENTS, user=make_in_role("ana", "Operator"))
    rows = page.locator(ROWS)
    press(rows.filter(has_text="Café Norte").get_by_role("checkbox"), "Space")
    choose_act(page, "More", "Set the owner…")
    page.get_by_label("Owner").select_option("ana")
    press(page.get_by_role("button", name="Set owner"))
    expect(page.get_by_text("ana now owns 1 client.")).to_be_visible()

    tab_to(page, "Filters")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Mine").wait_for()
    tab_to(page, "Mine")
    page.keyboard.press("Enter")
    chip = page.get_by_role("link", name="Owner: Mine")
    expect(chip).to_be_visible()
    expect(rows).to_have_count(1)
    assert fits(page)
    # An address is a bookmark.
    address = page.url
    press(page.get_by_role("link", name="Clear filters"))
    expect(rows).to_have_count(2)
    page.goto(address)
    expect(rows).to_have_count(1)
    press(chip)
    expect(rows).to_have_count(2)


def test_the_rows_follow_what_is_typed_and_nothing_stays_ticked(visit, two_clients):
    page = visit(CLIENTS)
    rows, bar = page.locator(ROWS), page.get_by_role("region", name="Selection")
    rows.filter(has_text="IDOM").get_by_role("checkbox").check()
    box = page.get_by_role("searchbox", name="Search clients")
    box.press_sequentially("norte")
    expect(rows).to_have_count(1)
    expect(box).to_be_focused()
    assert page.url.endswith("?q=norte")
    expect(bar).to_be_hidden()
    # What came is as alive as what was there.
    rows.get_by_role("checkbox").check()
    expect(bar.get_by_text("1 selected")).to_be_visible()
    # On a telephone all of the bar is on the screen; one client alone needs no "all".
    page.set_viewport_size(TELEPHONE)
    parts = bar.locator("p, summary:visible, .list-close")
    boxes = [part.bounding_box() for part in parts.all()]
    assert [box for box in boxes if box["x"] < 0 or box["x"] + box["width"] > 390] == []
    assert len(boxes) == 4
    expect(bar.locator(".list-across")).to_be_hidden()
    page.set_viewport_size(WIDTH)
    page.get_by_role("button", name="Clear selection").click()
    expect(bar).to_be_hidden()
    rows.locator(".row-menu").click()
    expect(rows.locator(".list-menu-items")).to_be_visible()
    page.reload()
    expect(rows).to_have_count(1)
    box.fill("")
    expect(rows).to_have_count(2)


def test_a_selection_stays_over_pages_and_a_page_stays_small(visit, stores):
    make_crowd(120, comparisons_each=1)
    listed = list(Client.objects.order_by("name").values_list("pk", flat=True))
    page = visit(CLIENTS)
    rows, ticked = page.locator(ROWS), page.locator(f"{ROWS} input:checked")
    elsewhere = page.get_by_role("status").filter(has_text="on other pages")
    expect(rows).to_have_count(50)
    small = [is_small(page)]
    for row in (rows.nth(0), rows.nth(1)):
        press(row.get_by_role("checkbox"), "Space")
    press(page.get_by_role("link", name="2", exact=True))
    expect(elsewhere).to_contain_text("2 on other pages")
    press(rows.first.get_by_role("checkbox"), "Space")
    press(page.get_by_role("link", name="1", exact=True))
    expect(elsewhere).to_contain_text("1")
    expect(ticked).to_have_count(2)
    expect(page.get_by_text("3 selected")).to_be_visible()
    hidden = find_hidden(page)
    page.set_viewport_size(TELEPHONE)
    assert (hidden, find_hidden(page), fits(page)) == ([], [], True)
    choose_act(page, "More", "Set the owner…")
    expect(page.get_by_text("Set the owner of 3 clients?").first).to_be_visible()
    sent = page.locator("[name=clients]").input_value().split()
    assert {int(each.removesuffix(":")) for each in sent} == {listed[n] for n in (0, 1, 50)}

    run = Run.objects.get()
    page.goto(f"{page.url.partition('/admin/')[0]}/admin/migration/run/{run.pk}/change/")
    items = page.locator("#items tbody tr")
    expect(items).to_have_count(50)
    small.append(is_small(page))
    press(page.get_by_role("link", name="Next"))
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()
    expect(items.first).to_contain_text(run.items.order_by("pk")[50].slug)
    assert fits(page)

    # Whoever comes from elsewhere has nothing ticked.
    page.goto(f"{page.url.partition('/admin/')[0]}{CLIENTS}")
    expect(rows).to_have_count(50)
    assert (ticked.count(), elsewhere.count(), small) == (0, 0, [True] * 2)


def is_small(page: Page) -> bool:
    """Says whether the page's text has at most 500 KB, and its tree 3,000 elements."""
    weight = len(page.content().encode())
    elements = page.evaluate("document.querySelectorAll('*').length")
    return weight <= 500_000 and elements <= 3_000


def test_filters_and_search_without_a_script(visit, two_clients):
    page = visit(CLIENTS, java_script_enabled=False)

    page.locator("summary", has_text="Filters").click()
    page.get_by_role("link", name="Show filters").click()
    page.get_by_role("link", name=re.compile("^No, or not set 1")).click()
    page.get_by_role("link", name="PostgreSQL 1").click()
    page.get_by_role("link", name="Active: No, or not set").click()
    assert page.url.endswith(f"{CLIENTS}?phase=postgres")
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Owner").check()
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("columnheader", name="Owner")).to_be_visible()
    page.get_by_role("searchbox", name="Search clients").fill("cafe")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Owner")).to_be_visible()
    page.get_by_role("link", name="Café Norte").click()
    assert f"{CLIENTS}{two_clients}/change/" in page.url


def test_an_act_is_chosen_for_one_or_all_without_a_script_and_asks(visit, two_clients):
    page = visit(CLIENTS, java_script_enabled=False)
    for is_every, asked in ((False, "Push Café Norte"), (True, "Push 2 clients")):
        page.goto(page.url.partition("/admin/")[0] + CLIENTS)
        page.get_by_role("checkbox", name="Café Norte").check()
        page.get_by_label("Select all 2").set_checked(is_every)
        page.locator(".list-bar summary", has_text="Move").click()
        page.get_by_role("button", name="Push to AWS…").click()
        expect(page.get_by_role("heading", name=asked).first).to_be_visible()
    assert not Run.objects.exists()


def test_all_are_selected_and_let_go_again_and_shift_takes_those_between(visit, stores):
    for slug in ("a", "b", "c", "d"):
        make_client(slug)
    page = visit(CLIENTS)
    bar, ticked = (
        page.get_by_role("region", name="Selection"),
        page.locator(f"{ROWS} input:checked"),
    )
    rows = page.locator(ROWS).get_by_role("checkbox")

    rows.nth(0).click()
    expect(bar).to_contain_text("1 selected")
    rows.nth(2).click(modifiers=["Shift"])
    expect(ticked).to_have_count(3)
    bar.get_by_label("Select all 4").check()
    expect(bar).to_contain_text("All 4 selected")
    # Whoever chooses anew means these alone.
    rows.nth(0).click()
    expect(bar.get_by_label("Select all 4")).not_to_be_checked()
    page.get_by_label("Select this page").click()
    expect(ticked).to_have_count(4)
    press(bar.get_by_role("button", name="Clear selection"))
    expect(ticked).to_have_count(0)
    expect(bar).to_be_hidden()


def test_rows_are_44_pixels_with_a_menu_for_the_keyboard_and_on_a_phone_the_bar_keeps_two(
    visit, two_clients
):
    page = visit(CLIENTS, viewport={"width": 1440, "height": 900})
    button = page.get_by_role("button", name="Actions Café Norte")

    press(button)
    menu = page.locator("td .list-menu-items")
    expect(menu.get_by_role("button", name="Push to AWS…")).to_be_focused()
    expect(menu.get_by_role("button", name="Cut over to AWS…")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(button).to_be_focused()
    press(button)
    press(menu.get_by_role("button", name="Push to AWS…"))

    expect(page.get_by_role("heading", name="Café Norte")).to_be_visible()
    page.goto(page.url.partition("/admin/")[0] + CLIENTS)

    assert {row.bounding_box()["height"] for row in page.locator(ROWS).all()} <= {44, 45}
    assert is_as_wide_as_the_screen(page)
    page.goto(f"{page.url}?columns=owner&columns=groups&columns=since")
    assert is_as_wide_as_the_screen(page)

    page.set_viewport_size(TELEPHONE)
    page.locator(f"{ROWS} input").first.check()
    bar = page.get_by_role("region", name="Selection")
    expect(bar.locator("summary:visible")).to_have_text(["Move…", "More…"])
    bar.locator("summary", has_text="More").click()
    press(bar.get_by_role("button", name="Compare"))
    page.wait_for_url("**/migration/run/*/change/")


def test_on_a_phone_clients_runs_and_campaigns_are_a_few_lines_and_nothing_is_too_wide(
    visit, two_clients
):
    campaign = make_campaign(make_group("Spain", 3))
    begin_wave(campaign, ["spain-0", "spain-1", "spain-2"])
    wave = campaign.waves.begun()[0]
    campaign.stop_by_itself(find_broken_rule(wave, wave.count_against_rule()))
    make_campaign(make_group("Italy"))
    run = make_run(9)
    for number, outcome in enumerate((Outcome.FAILED, Outcome.REFUSED, Outcome.SKIPPED), 1):
        close(run, number, outcome, error_class="data" if number == 1 else "")
    page = visit(CLIENTS, viewport=TELEPHONE)
    site = page.url.partition("/admin/")[0]

    row = page.locator("#result_list .data-row", has_text="Café Norte")
    expect(row.get_by_role("link", name="Café Norte")).to_be_visible()
    expect(row.locator(".field-phase_shown")).to_contain_text("PostgreSQL")
    expect(row.get_by_text("Add a login")).to_be_visible()
    assert row.bounding_box()["height"] < 100
    assert is_as_wide_as_the_screen(page)

    page.goto(f"{site}/admin/migration/campaign/")
    stopped = page.locator("#result_list .data-row", has_text="stopped")
    expect(stopped.get_by_role("link").first).to_be_visible()
    expect(stopped.locator(".field-why_it_waits")).to_be_visible()
    assert stopped.bounding_box()["height"] < 200
    running = page.locator("#result_list .data-row", has_not_text="stopped")
    expect(running.locator(".field-why_it_waits")).to_contain_text("No worker is taking tasks.")
    assert running.bounding_box()["height"] < 200
    expect(running.locator(".field-created_when")).to_be_visible()
    assert is_as_wide_as_the_screen(page)

    page.goto(f"{site}/admin/migration/run/")
    row = page.locator("#result_list .data-row", has_text="1 failed")
    expect(row.get_by_role("link", name="1 failed")).to_be_visible()
    assert row.bounding_box()["height"] < 140
    assert is_as_wide_as_the_screen(page)
    page.set_viewport_size(WIDTH)
    table = page.locator("#result_list")
    assert table.evaluate("e => e.scrollWidth <= e.parentElement.clientWidth + 1")

    page.set_viewport_size({"width": 1280, "height": 900})
    user = User.objects.get(username="root")
    for address in (f"/admin/people/{user.pk}/", "/admin/people/invite/", f"{CLIENTS}add/"):
        page.goto(site + address)
        assert is_as_wide_as_the_screen(page), address


def is_as_wide_as_the_screen(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
