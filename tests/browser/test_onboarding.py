"""Onboarding in a real browser: what is checked while somebody types, what leaves the form, and without scripts."""

from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Page, expect

from credentials.models import Client
from migration.pushes.pushes import push
from tests.factories import make_full_client, make_reader_process

MARKER = " MARKER of the database "
SECRETS = ("database-db_password", "email-email_password", "aws-secret_access_key")

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(visit):
    def open_page(*, scripts: bool = True) -> Page:
        return visit("/admin/credentials/client/onboard/", java_script_enabled=scripts)

    return open_page


def test_what_is_typed_is_checked_and_no_secret_leaves_the_form_with_it(open_page):
    page = open_page()
    for name in SECRETS:
        page.locator(f'[name="{name}"]').press_sequentially(MARKER)

    page.locator("#id_slug").press_sequentially("acme-abc123")
    expect(page.locator("#id_slug_error")).to_contain_text("hyphen and six characters")
    expect(page.locator("#onboard-summary")).to_contain_text("nova/clients/acme-abc123")
    page.fill("#id_database-db_port", "70000")
    expect(page.locator("#id_database-db_port_error")).to_contain_text("65535")
    page.fill("#id_database-db_port", "5433")
    expect(page.locator("#id_database-db_port_error")).to_be_empty()
    page.fill("#id_email-sender_whitelist", "a@example.test, b")
    expect(page.locator("#id_email-sender_whitelist_error")).to_contain_text(
        "“b” is not an address"
    )
    page.select_option("#id_email-email_provider", "outlook")
    expect(page.locator("#id_email-smtp_host")).to_have_value("smtp.office365.com")

    checks = [request for request in page.asked if "/onboard/check/" in request.url]
    sent = [parse_qs(request.post_data or "", keep_blank_values=True) for request in checks]
    assert any(fields["slug"] == ["acme-abc123"] for fields in sent)
    assert not any(name in fields for fields in sent for name in SECRETS)
    assert not any("MARKER" in f"{request.url}{request.post_data}" for request in page.asked)
    assert all(page.input_value(f'[name="{name}"]') == MARKER for name in SECRETS)


def test_blanks_around_a_secret_are_hinted_at_and_red_goes_with_its_reason(open_page):
    page = open_page()
    page.click("text=Add the client")
    refusal, name = page.locator("#onboard-refusal"), page.locator("#id_name")
    expect(refusal).to_contain_text("fill in at least one login")
    expect(name).to_have_attribute("aria-invalid", "true")

    page.fill("#id_name", "Acme")
    page.fill("#id_slug", "acme")
    expect(page.locator("#id_slug_error")).to_be_empty()
    expect(name).not_to_have_attribute("aria-invalid", "true")
    assert "errors" not in name.locator(
        "xpath=ancestor::div[contains(@class, 'group')][1]"
    ).get_attribute("class")
    page.fill("#id_database-db_host", "db.example.test")
    expect(refusal).to_be_hidden()

    secret = page.locator("#id_database-db_password")
    secret.press_sequentially(MARKER)
    beside = page.locator("#id_database-db_password_error")
    expect(beside).to_contain_text("begins or ends with a blank")
    beside.get_by_role("button", name="Keep them").click()
    expect(beside).to_be_empty()
    assert secret.input_value() == MARKER
    secret.press("End")
    secret.press(" ")
    beside.get_by_role("button", name="Take the blanks off").click()
    assert secret.input_value() == MARKER.strip()
    secret.fill("   ")
    expect(beside).to_contain_text("A secret of blanks only is refused")
    assert not any("MARKER" in f"{request.url}{request.post_data}" for request in page.asked)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_client_is_onboarded_and_its_page_says_what_is_next(open_page, scripts):
    make_reader_process()
    page = open_page(scripts=scripts)
    page.fill("#id_name", "Acme")
    page.fill("#id_slug", "acme")
    page.fill("#id_database-db_host", "db.example.test")
    page.fill("#id_database-db_password", MARKER)
    page.click("text=Add the client")
    expect(page.locator("#id_database-db_user_error")).to_contain_text("required")
    assert page.input_value("#id_database-db_password") == ""
    assert "MARKER" not in page.content()

    page.fill("#id_database-db_name", "app")
    page.fill("#id_database-db_user", "app")
    page.fill("#id_database-db_password", MARKER)
    page.check("#id_migrate_now")
    page.click("text=Add the client")

    expect(page.get_by_text("Push Acme to Secrets Manager?")).to_be_visible()
    assert Client.objects.get(slug="acme").databases.get().db_password == MARKER
    page.get_by_role("button", name="Push 1 client").click()
    expect(page.locator("[aria-current=step]")).to_contain_text("Dual write")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_the_versions_of_the_secret_come_after_the_page_or_by_a_link(open_page, scripts):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    page = open_page(scripts=scripts)
    page.goto(page.url.replace("onboard/", f"{pk}/change/?tab=comparison"))

    if not scripts:
        page.click("text=Versions and their stages")

    expect(page.get_by_text("AWSCURRENT")).to_be_visible()
