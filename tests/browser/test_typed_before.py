"""What was typed before a session ended is offered once after the login, to the same user, and never a secret."""

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from tests.browser.axe import violations

ADD = "/admin/migration/clientgroup/add/"
PASSWORD = "example-password"


def test_text_outlives_the_session_and_a_secret_does_not(visit, stores):
    maria = User.objects.create_superuser("maria", password=PASSWORD)
    page = visit("/admin/credentials/client/add/", user=maria)
    page.fill("#id_name", "Acme")
    page.locator("#id_databases-0-db_password").press_sequentially("MARKER")
    page.locator("#id_databases-0-connection").press_sequentially("MARKER")
    kept = page.evaluate("JSON.stringify(sessionStorage)")
    assert "Acme" in kept
    assert "MARKER" not in kept

    page.goto(page.url.replace("/admin/credentials/client/add/", ADD))
    assert "Acme" not in page.evaluate("JSON.stringify(sessionStorage)")
    expect(page.locator("#typed-before")).to_be_hidden()
    page.fill("#id_name", "wave 7")
    Session.objects.all().delete()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_label("Username").fill("maria")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()

    expect(
        page.get_by_text("You have unsaved changes from before your session ended.")
    ).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Put it back").click()
    expect(page.locator("#id_name")).to_have_value("wave 7")
    page.reload()
    expect(page.locator("#typed-before")).to_be_hidden()
