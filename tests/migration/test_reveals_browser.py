"""Reveal in a real browser, where what is shown hides by itself, and the watch after a cutover, which renews."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Error, Page, expect, sync_playwright

from migration.models import ReadCount, Reveal
from migration.phases import Phase
from tests.factories import make_full_client
from tests.migration.test_moving import advance, phase_of, write_password

CHROMIUM = Path("/usr/bin/chromium")
VALUE = " 'two' <b>lines</b>\r\nand three blanks   "

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    write_password(pk, VALUE)
    return pk


@pytest.fixture
def open_page(stores, live_server, client, monkeypatch) -> Iterator:
    """Opens an address as a superuser; what the browser complains of is kept."""
    # Playwright's own loop runs in this thread, and Django then suspects every query.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    client.force_login(User.objects.create_superuser("root"))
    cookie = {"name": settings.SESSION_COOKIE_NAME, "url": live_server.url}
    cookie["value"] = client.cookies[settings.SESSION_COOKIE_NAME].value
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )

        def open_page(address: str, *, scripts: bool = True) -> Page:
            context = chromium.new_context(java_script_enabled=scripts, locale="en-GB")
            context.add_cookies([cookie])
            page = context.new_page()
            page.complaints = []
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.clock.install()
            page.goto(f"{live_server.url}{address}")
            return page

        yield open_page
        chromium.close()
        # While that loop runs Django keeps connections of their own for it.
        connections.close_all()


def reveal(page: Page) -> None:
    """From the client's page, by its first link."""
    page.locator("a[href*='/reveal/database/']").click()
    page.locator("[name=reason]").fill("INC-42")
    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("[data-countdown]")).to_be_visible()  # its script runs


def test_a_value_is_there_exactly_and_gone_after_thirty_seconds(idom, open_page):
    page = open_page(f"/admin/credentials/client/{idom}/change/")

    reveal(page)

    shown = page.locator("pre code")
    assert shown.evaluate("element => element.textContent") == VALUE
    page.clock.run_for(29_000)
    expect(shown).to_be_visible()
    page.clock.run_for(2_000)
    expect(shown).to_have_count(0)
    expect(page.locator("[data-hidden]")).to_be_visible()
    assert "three blanks" not in page.content()
    assert (Reveal.objects.count(), page.complaints) == (1, [])


LEAVING = {
    "the window": "window.dispatchEvent(new Event('blur'))",
    "the tab": """
        Object.defineProperty(document, 'hidden', {value: true});
        document.dispatchEvent(new Event('visibilitychange'));
    """,
}


@pytest.mark.parametrize("leaving", LEAVING.values(), ids=LEAVING)
def test_a_value_is_gone_when_its_tab_is_left(idom, open_page, leaving):
    page = open_page(f"/admin/credentials/client/{idom}/change/")
    reveal(page)

    page.evaluate(leaving)

    expect(page.locator("pre code")).to_have_count(0)
    assert "three blanks" not in page.content()


def test_going_back_and_forth_shows_no_value_again(idom, open_page):
    page = open_page(f"/admin/credentials/client/{idom}/change/")
    reveal(page)

    page.goto(page.url.split("/reveal/")[0] + "/change/")
    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # it would have to be asked for again
        page.go_back()

    expect(page.locator("body")).not_to_contain_text("three blanks")
    assert Reveal.objects.count() == 1


def test_the_watch_renews_its_numbers_beside_a_rollback_of_one_click(idom, open_page):
    ReadCount.objects.create(client_id=idom, reads=100)
    advance(idom, Phase.AWS)
    page = open_page(f"/admin/credentials/client/{idom}/change/")
    numbers = page.get_by_label("Just cut over").locator("dl")
    expect(numbers).to_contain_text("Reads since0")

    ReadCount.objects.update(reads=107)
    page.clock.run_for(6_000)

    expect(numbers).to_contain_text("Reads since7")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("idom is in Dual read now.")).to_be_visible()
    assert phase_of(idom) == Phase.DUAL_READ
    assert page.complaints == []
