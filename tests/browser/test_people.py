"""A colleague is invited on a telephone, opens the link, and is at work; by keyboard one is deactivated."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser, User

from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, fits
from tests.factories import make_user

pytestmark = pytest.mark.browser

PASSWORD, NEW = "example-login-password", "kT4-zQ9_wB7x-new"


def test_a_colleague_is_invited_and_gets_in(visit, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    root = make_user("root", password=PASSWORD, is_superuser=True)
    page = visit("/admin/people/", user=root, viewport=TELEPHONE)
    page.get_by_role("link", name="Invite…").click()
    page.get_by_label("Name").fill("Pau Serra")
    page.get_by_label("Email").fill("pau@example.test")
    page.get_by_role("radio", name="Operator").check()
    page.get_by_label("Your own password").fill(PASSWORD)
    found = violations(page)
    page.get_by_label("Your own password").press("Enter")
    address = page.locator("#new-link").inner_text()
    found += violations(page)

    theirs = visit(
        address.partition("/admin")[1] + address.partition("/admin")[2],
        user=AnonymousUser(),
        viewport=TELEPHONE,
    )
    assert address not in theirs.url
    theirs.get_by_text("Your username is pau.").wait_for()
    found += violations(theirs)
    theirs.get_by_label(re.compile(r"^\s*New password\W*$")).fill(NEW)
    theirs.get_by_label("New password confirmation").fill(NEW)
    theirs.get_by_role("button", name="Save password and log in").click()
    theirs.wait_for_url("**/admin/")

    assert found == []
    assert User.objects.get(username="pau").check_password(NEW)
    for each in (page, theirs):
        assert fits(each)


def test_the_menu_of_a_row_leads_to_a_question_and_back(visit, settings):
    root = make_user("root", password=PASSWORD, is_superuser=True)
    maria = make_user("maria", password=PASSWORD)
    page = visit("/admin/people/", user=root)
    page.get_by_label("Actions for maria").press("Enter")
    page.get_by_role("link", name="Deactivate…").press("Enter")
    page.get_by_label("Your own password").fill(PASSWORD)
    page.get_by_role("button", name="Deactivate").press("Enter")
    page.get_by_text("maria is deactivated.").wait_for()

    maria.refresh_from_db()
    assert not maria.is_active
