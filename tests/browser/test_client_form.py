"""The form of a client in a browser: errors lose nothing, pasted strings are taken apart, logins added and edited."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from credentials.models import Client
from tests.browser.axe import violations
from tests.browser.keyboard import fits
from tests.factories import make_database, make_full_client

MARKER = "MARKER of the database"
CLIENTS = "/admin/credentials/client/"
PASTED = json.loads(
    (Path(__file__).parents[1] / "credentials" / "connection_strings.json").read_text()
)
AWS = next(case for case in PASTED if "region" in case[2])

pytestmark = pytest.mark.browser


def paste(page: Page, area: str, text: str) -> None:
    """As a browser tells a field that something was pasted into it."""
    page.locator(area).evaluate(
        """(at, text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text", text);
            const event = new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true});
            if (at.dispatchEvent(event)) { at.value = text; at.dispatchEvent(new Event("change", {bubbles: true})); }
        }""",
        text,
    )


def add_login(page: Page, title: str) -> None:
    page.get_by_text("Add a login").press("Enter")
    page.get_by_role("button", name=title, exact=True).press("Enter")


def sent(page: Page) -> list[str]:
    return [
        f"{each.url}{each.post_data}" for each in page.asked if "MARKER" in (each.post_data or "")
    ]


def test_a_client_with_three_logins_is_added_from_pasted_strings(visit):
    page = visit(f"{CLIENTS}add/")
    page.get_by_label("Name").press_sequentially("Ácme Foods, S.L.")
    expect(page.get_by_label("Slug")).to_have_value("acme_foods_s_l")
    paste(
        page,
        "#id_databases-0-connection",
        f"postgres://app:{MARKER.replace(' ', '%20')}@db.example.test:543210/app",
    )
    assert (
        page.input_value("#id_databases-0-connection")
        == "postgres://app:••••••••@db.example.test:543210/app"
    )
    expect(page.locator("#id_databases-0-connection_error")).to_contain_text(
        "Host, Port, Database, User"
    )
    add_login(page, "AWS")
    paste(page, "#id_aws_logins-0-connection", AWS[1])
    add_login(page, "Database")
    paste(
        page, "#id_databases-1-connection", "host=reports.example.test dbname=r user=r password=r"
    )
    page.fill("#id_databases-1-label", "reports")
    assert sent(page) == []

    page.get_by_role("button", name="Add client").press("Enter")

    port = page.locator("#id_databases-0-db_port")
    expect(port).to_be_focused()
    expect(page.locator("#id_databases-0-db_port_error")).to_have_text("errorUse 1 to 65535.")
    assert page.input_value("#id_databases-0-db_password") == MARKER
    assert MARKER not in page.content()
    assert violations(page) == []
    assert fits(page)
    port.fill("5432")
    expect(page.locator("#id_databases-0-db_port_error")).to_be_empty()
    port.press("Enter")

    expect(page.get_by_text("Ácme Foods, S.L. was added.")).to_be_visible()
    expect(page.locator("#aws-state")).to_contain_text("AWS does not have this client yet.")
    client = Client.objects.get(slug="acme_foods_s_l")
    first, reports = client.databases.all()
    assert (first.db_password, first.is_primary) == (MARKER, True)
    assert (reports.label, reports.is_primary, reports.db_port) == ("reports", False, 5432)
    assert client.aws_logins.get().secret_access_key == AWS[2]["secret_access_key"]
    assert violations(page) == []
    assert fits(page)


def test_the_script_takes_strings_apart_as_the_server_tells_what_is_not_kept_and_shows_no_password(
    visit,
):
    page = visit(f"{CLIENTS}add/")
    apart = "([text, kind]) => takeApart(text, kind).fields"
    taken = [page.evaluate(apart, [text, kind]) for kind, text, _columns in PASTED]
    assert taken == [columns for _kind, _text, columns in PASTED]
    area, beside = "#id_databases-0-connection", page.locator("#id_databases-0-connection_error")

    paste(page, area, f"mysql://rep:{MARKER}@db2.example.test/reports")

    expect(beside).to_contain_text("Not understood")
    expect(page.locator(area)).to_have_attribute("aria-invalid", "true")
    assert page.input_value("#id_databases-0-db_host") == ""
    assert violations(page) == []
    for text in (
        "postgres://app:a@db.example.test/app?sslmode=require&user=root&application_name=nova",
        "host=db.example.test user=root password=a sslmode=require application_name=nova",
    ):
        paste(page, area, text)
        expect(beside.locator(".field-warning")).to_have_text(
            "Not stored, as logins have no field for it: sslmode and application_name."
        )
        expect(page.locator(area)).not_to_have_attribute("aria-invalid", "true")
    # A card of a new login is none that is marked as wrong or as open.
    border = "each => getComputedStyle(each).boxShadow"
    assert page.locator(".login-card:has(.login-head)").first.evaluate(border) == "none"

    add_login(page, "Mail")
    one, other = MARKER.replace(" ", "%20"), "MARKER-of-another"
    paste(
        page,
        "#id_emails-0-connection",
        f"imaps://in:{one}@imap.a.example smtps://in:{other}@smtp.a.example",
    )
    shown = page.input_value("#id_emails-0-connection")
    assert "smtp.a.example" in shown
    assert "MARKER" not in shown
    assert page.input_value("#id_emails-0-email_password") == other


def test_a_login_is_edited_in_place_and_a_stale_form_loses_nothing(visit):
    pk = make_full_client("idom")
    page = visit(f"{CLIENTS}{pk}/change/?tab=logins")
    card = page.get_by_role("group", name="Database")
    card.get_by_text("Edit", exact=True).press("Enter")
    card.get_by_label("Host").fill("new.example.test")
    card.get_by_role("button", name="Save").click()
    password = card.get_by_label("Password")
    expect(password).to_be_focused()
    expect(card).to_contain_text("The host changed: enter the password again.")
    assert violations(page) == []
    make_database(pk, label="by NOVA", is_primary=False)
    password.fill(MARKER)
    card.get_by_role("button", name="Save").click()

    expect(page.get_by_role("alert")).to_contain_text("changed since you opened this page")
    assert password.input_value() == MARKER
    page.reload()
    assert page.input_value("#id_databases-0-db_password") == ""
    card = page.get_by_role("group", name="Database").first
    card.get_by_text("Edit", exact=True).press("Enter")
    card.get_by_label("Host").fill("new.example.test")
    card.get_by_label("Password").fill(f" {MARKER}")
    card.get_by_role("button", name="Save").click()
    remove = card.get_by_role("button", name="Remove the spaces")
    expect(remove).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Remove the spaces around the secret")
    remove.click()
    card.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    row = Client.objects.get(pk=pk).databases.get(is_primary=True)
    assert (row.db_host, row.db_password) == ("new.example.test", MARKER)


def test_what_is_left_blank_is_asked_about_what_is_removed_not_saved_and_a_provider_fills_its_hosts(
    visit,
):
    page = visit(f"{CLIENTS}add/")
    page.get_by_label("Name").fill("Acme")
    page.locator("#login-databases-0").get_by_role("button", name="Remove").click()
    add_login(page, "Mail")
    page.select_option("#id_emails-0-email_provider", "outlook")
    expect(page.locator("#id_emails-0-smtp_host")).to_have_value("smtp.office365.com")
    page.fill("#id_emails-0-email_user", "in@example.test")
    page.fill("#id_emails-0-email_password", MARKER)
    add_login(page, "AWS")
    page.get_by_role("button", name="Add client").click()

    expect(page.locator("#id_aws_logins-0-connection")).to_be_focused()
    expect(page.locator("#id_aws_logins-0-connection_error .field-error")).to_be_visible()
    assert not Client.objects.exists()
    page.locator("#login-aws_logins-0").get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Add client").click()

    expect(page.get_by_text("Acme was added.")).to_be_visible()
    client = Client.objects.get()
    assert client.aws_logins.count() == 0
    assert (client.databases.count(), client.emails.get().imap_host) == (0, "outlook.office365.com")


def test_without_scripts_a_client_is_added_with_two_logins(visit):
    page = visit(f"{CLIENTS}add/", java_script_enabled=False)
    page.get_by_label("Name").fill("Acme")
    page.get_by_text("Add a login").click()
    page.get_by_role("button", name="AWS", exact=True).click()
    page.get_by_label("Slug").fill("acme")
    page.fill("#id_databases-0-connection", "postgres://app:pw@db.example.test/app")
    page.fill("#id_aws_logins-0-connection", AWS[1])
    page.get_by_role("button", name="Add client").click()

    expect(page.get_by_text("Acme was added.")).to_be_visible()
    client = Client.objects.get()
    assert client.databases.get().db_password == "pw"
    assert client.aws_logins.get().region == "eu-west-1"


def test_a_click_after_a_field_with_a_hint_is_not_lost_and_the_hint_stays(visit):
    page = visit(f"{CLIENTS}add/")
    page.get_by_label("Name").fill("Acme")
    page.fill("#id_databases-0-db_host", "db.example.test")
    page.fill("#id_databases-0-db_name", "app")
    page.fill("#id_databases-0-db_user", "app ")
    page.locator("#id_databases-0-db_user").focus()
    add = page.get_by_role("button", name="Add client")
    add.scroll_into_view_if_needed()
    box = add.bounding_box()
    # A hand takes longer than a script, and the page may move in between.
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 3)
    page.mouse.down()
    assert page.input_value("#id_databases-0-db_user") == "app"
    assert add.bounding_box() == box
    page.mouse.up()

    expect(page.locator("#id_databases-0-db_password_error .field-error")).to_be_visible()
    expect(page.locator("#id_databases-0-db_user_error .field-hint")).to_be_visible()
