"""The line that says when the session ends, and what an open page does once it has ended."""

import pytest
from django.contrib.sessions.models import Session

from migration.models import WrongPassword
from tests.browser.axe import violations

pytestmark = pytest.mark.browser

LIST = "/admin/people/failed-logins/"


def test_an_open_page_says_when_its_session_ends_and_then_that_it_has_ended(visit, settings):
    settings.SESSION_COOKIE_AGE = 4 * 60
    page = visit(LIST, clock=True)
    line = page.get_by_text("Your session ends in 4 minutes, at ")
    line.wait_for()
    found = violations(page)
    settings.SESSION_COOKIE_AGE = 30 * 60

    page.get_by_role("button", name="Stay logged in").click()

    line.wait_for(state="detached")
    assert found == []
    Session.objects.all().delete()
    page.clock.run_for(26 * 60 * 1000)
    again = page.get_by_role("link", name="Log in again, and come back here")
    again.wait_for()
    assert page.url.endswith(LIST)
    found = violations(page)
    again.click()
    assert found == []
    page.get_by_role("button", name="Log in", exact=True).wait_for()
    assert page.url.endswith("/admin/login/?next=%2Fadmin%2Fpeople%2Ffailed-logins%2F")


def test_the_page_that_locks_out_and_the_list_of_failed_logins(visit, complaints):
    page = visit("/admin/login/")
    page.context.clear_cookies()
    page.reload()
    for _ in range(5):
        page.get_by_label("Username").fill("root")
        page.get_by_role("textbox", name="Password").fill("example-guess")
        page.get_by_role("button", name="Log in").click()
    page.get_by_text("Try again after").wait_for()
    found = violations(page)
    # The status of the page, which Chromium notes as an error.
    assert len(complaints) == 2
    assert all("429" in line for line in complaints)
    complaints.clear()

    assert WrongPassword.objects.count() == 5
    listed = visit(LIST)
    listed.get_by_role("button", name="Remove lock").wait_for()
    assert found + violations(listed) == []
