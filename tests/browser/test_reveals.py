"""Reveal in a real browser, where what is shown hides by itself, and the watch after a cutover, which renews."""

import pytest
from playwright.sync_api import Error, Page, expect

from migration.models import ReadCount, Reveal
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase, phase_of, write_password

VALUE = " 'two' <b>lines</b>\r\nand three blanks   "

pytestmark = pytest.mark.browser


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    write_password(pk, VALUE)
    return pk


@pytest.fixture
def open_page(visit):
    return lambda address: visit(address, clock=True)


def reveal(page: Page) -> None:
    """Fill in the form that asks for the reason, and send it."""
    page.locator("[name=reason]").fill("INC-42")
    page.get_by_role("button", name="Reveal").click()
    # Said by the script that hides it again.
    expect(page.get_by_text("when you leave this tab")).to_be_visible()


LEAVING = (
    "window.dispatchEvent(new Event('blur'))",
    """
        Object.defineProperty(document, 'hidden', {value: true});
        document.dispatchEvent(new Event('visibilitychange'));
    """,
)


def test_a_value_is_there_exactly_gone_after_thirty_seconds_or_by_leaving_and_back_asks_for_the_form(
    idom, open_page, complaints
):
    page = open_page(f"/admin/credentials/client/{idom}/change/?tab=logins")
    logins, shown = page.url, page.locator("pre code")
    # It stands still from now on, however slow this machine is.
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)

    page.locator("a[href*='/reveal/database/']").click()
    page.wait_for_url("**/reveal/database/**")
    asked = page.url
    reveal(page)

    expect(shown).to_be_visible()
    assert shown.evaluate("element => element.textContent") == VALUE
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("window.copied") == VALUE
    page.clock.run_for(29_000)
    expect(shown).to_be_visible()
    page.clock.run_for(2_000)
    expect(shown).to_have_count(0)
    expect(page.locator("[data-hidden]")).to_be_visible()
    assert "three blanks" not in page.content()
    assert Reveal.objects.count() == 1

    for leaving in LEAVING:
        page.goto(asked)
        reveal(page)
        expect(shown).to_be_visible()
        page.evaluate(leaving)
        expect(shown).to_have_count(0)
        assert "three blanks" not in page.content()

    page.goto(asked)
    reveal(page)
    expect(shown).to_be_visible()
    page.goto(logins)
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
    # The browser has not kept what was shown: its own page says so.
    expect(page.locator("body")).not_to_contain_text("three blanks")
    assert complaints.pop().startswith("net::ERR_CACHE_MISS")
    assert Reveal.objects.count() == 4


def test_the_watch_renews_its_numbers_beside_a_rollback_of_one_click(idom, open_page):
    ReadCount.objects.create(client_id=idom, reads=100)
    enter_phase(idom, Phase.AWS)
    page = open_page(f"/admin/credentials/client/{idom}/change/")
    reads = page.get_by_label("Just cut over").get_by_role("definition").first
    expect(reads).to_have_text("0")

    ReadCount.objects.update(reads=107)
    page.clock.run_for(6_000)

    expect(reads).to_have_text("7")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("idom was rolled back to Dual read.")).to_be_visible()
    assert phase_of(idom) == Phase.DUAL_READ
