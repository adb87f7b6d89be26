"""The pages that adopt somebody else's secret and that copy AWS to PostgreSQL: shown first, then done, by keyboard."""

import pytest
from playwright.sync_api import expect

from migration.core import aws_store
from migration.models import Resolution
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.browser.keyboard import fits, press
from tests.factories import make_full_client
from tests.migration.moves.clients import change_in_aws, enter_phase, password, phase_of

pytestmark = pytest.mark.browser


def test_a_foreign_secret_is_adopted_and_what_aws_holds_copied(visit, stores):
    foreign, pk = make_full_client("foreign"), make_full_client("idom")
    sm = aws_store.secrets_manager()
    sm.sm.create_secret(Name="nova/clients/foreign", SecretString='{"owner": "another team"}')
    enter_phase(pk, Phase.DUAL_WRITE)
    change_in_aws(sm, password="another")
    compare(client_ids=[pk])
    page = visit(f"/admin/credentials/client/act/adopt/?clients={foreign}")
    expect(page.get_by_text("nova/clients/foreign")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("another team")
    page.get_by_label("Type foreign to confirm").fill("foreign")
    page.get_by_label("Reason or ticket").fill("INC-42")
    assert fits(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Adopted: nova/clients/foreign.")).to_be_visible()
    assert Resolution.objects.get().reason == "INC-42"

    page.goto(page.url.replace(f"/{foreign}/", f"/{pk}/") + "?tab=comparison")
    press(page.get_by_role("link", name="Copy AWS to PostgreSQL"))
    expect(page.get_by_text("database.password")).to_be_visible()
    page.set_viewport_size({"width": 1366, "height": 850})
    table = page.locator(".act-client .overflow-x-auto").first
    assert table.evaluate("each => each.scrollWidth <= each.clientWidth")
    expect(page.locator("main")).not_to_contain_text("another")
    assert password(pk) == "example-password-1"
    page.get_by_label("Reason or ticket").fill("INC-43")
    assert fits(page)
    press(page.get_by_role("button", name="Copy to PostgreSQL"))
    expect(page.get_by_text("Copied AWS to PostgreSQL")).to_be_visible()
    assert (password(pk), phase_of(pk)) == ("another", Phase.DUAL_WRITE)
