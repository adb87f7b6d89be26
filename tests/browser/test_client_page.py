"""A client's page: its first screen on a telephone, leaving it with changes, and the end of a run."""

import re

import pytest
from playwright.sync_api import expect

from migration.models import ClientMigration, RunItem
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_reader_process

pytestmark = pytest.mark.browser

TELEPHONE = {"width": 390, "height": 844}


def page_of(pk: int, tab: str) -> str:
    return f"/admin/credentials/client/{pk}/change/?tab={tab}"


def test_the_name_and_the_first_action_are_on_the_first_screen_of_a_telephone_and_a_run_ends_live(
    visit, stores
):
    make_reader_process()
    pk = make_full_client("idom")
    page = visit(page_of(pk, "overview"), viewport=TELEPHONE)
    for part in (
        page.get_by_role("heading", name="IDOM", level=1),
        page.get_by_role("link", name="Push to AWS").first,
    ):
        box = part.bounding_box()
        assert box
        assert box["y"] + box["height"] <= TELEPHONE["height"]
        assert box["x"] + box["width"] <= TELEPHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]

    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    item = RunItem.objects.create(run=run, client_id=pk, slug="idom", batch=0)
    page.reload()
    expect(page.get_by_role("status").filter(has_text="Queued")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    RunItem.objects.filter(pk=item.pk).update(outcome=Outcome.CREATED)
    ClientMigration.objects.change_phase([pk], Phase.POSTGRES, Phase.DUAL_WRITE)

    expect(page.get_by_text("Next step: Dual read")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Queued")).to_have_count(0)
    assert page.evaluate("window.notReloaded")


def test_leaving_the_logins_with_changes_asks_and_saving_them_does_not(visit, stores):
    page = visit(page_of(make_full_client("idom"), "logins"))
    asked: list[str] = []

    def stay(dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    card = page.locator(".login-card").filter(has=page.get_by_label("Description"))
    card.get_by_text("Edit", exact=True).click()
    page.get_by_label("Description").fill("new")
    page.get_by_role("link", name="Overview").click(no_wait_after=True)
    page.get_by_label("Name").fill("")
    assert asked == ["beforeunload"]

    card.get_by_role("button", name="Save").click()
    page.get_by_text("Correct what is marked").wait_for()
    # What was refused is still not saved.
    page.get_by_role("link", name="Overview").click(no_wait_after=True)
    expect(page.get_by_label("Description")).to_have_value("new")
    assert asked == ["beforeunload"] * 2

    page.get_by_label("Name").fill("IDOM")
    card.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    page.get_by_role("link", name="Overview").click()
    expect(page).to_have_url(re.compile("tab=overview"))
    assert asked == ["beforeunload"] * 2


def test_names_and_ids_are_copied_by_their_buttons_and_only_with_a_clipboard(visit, stores):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    page = visit(page_of(pk, "comparison"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for text in ("idom", "nova/clients/idom"):
        page.get_by_role("button", name=f"Copy {text}", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="Copied.").first).to_be_visible()
        assert paste(page) == text
    # The versions are loaded after the page.
    version = page.get_by_role("button", name=re.compile(r"Copy [0-9a-f]{64}"))
    version.focus()
    page.keyboard.press("Enter")
    expect(version.locator("xpath=following-sibling::*[1]")).to_have_text("Copied.")
    assert re.fullmatch("[0-9a-f]{64}", paste(page))

    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', {value: undefined})"
    )
    page.reload()
    expect(page.get_by_text("nova/clients/idom").first).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)


def paste(page) -> str:
    """What is pasted into a field: no page may read the clipboard by itself."""
    field = page.locator("#pasted")
    if not field.count():  # every field of the page itself does something once it is filled
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('textarea'), {id: 'pasted'}))"
        )
    field.fill("")
    field.focus()
    page.keyboard.press("Control+V")
    return field.input_value()
