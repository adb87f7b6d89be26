"""Journeys on a client's page: a comment is left and taken back, a copy of AWS to PostgreSQL is undone."""

import pytest
from playwright.sync_api import expect

from migration.core import aws_store
from migration.models import ClientComment
from migration.pushes.comparisons import compare
from migration.pushes.resolutions import copy_to_postgres
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, WIDTH
from tests.factories import make_full_client, make_user
from tests.migration.moves.clients import change_in_aws, enter_phase, password

pytestmark = pytest.mark.browser

CLIENT = "/admin/credentials/client/"


def test_a_comment_is_left_by_keyboard_and_taken_back(visit, stores):
    pk = make_full_client("idom")
    by = make_user("paco")
    theirs = "Waiting for their DBA, " + "x" * 400
    ClientComment.objects.create(client_id=pk, slug="idom", text=theirs, by=by)
    page = visit(f"{CLIENT}{pk}/change/", viewport=WIDTH)
    expect(page.get_by_role("link", name="1 comment")).to_be_visible()
    comments = page.get_by_role("region", name="Comments")
    field = comments.get_by_role("textbox")

    field.focus()
    page.keyboard.type("Their DBA answered.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Added your comment.")).to_be_visible()
    expect(page.get_by_role("link", name="2 comments")).to_be_visible()
    expect(comments.get_by_role("listitem").first).to_contain_text("Their DBA answered.")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    mine = comments.get_by_role("button", name="Delete the comment of root")
    expect(mine).to_have_text("Delete")
    mine.click()
    expect(page.get_by_text("Deleted the comment.")).to_be_visible()
    assert [row.by_name for row in ClientComment.objects.all()] == ["paco"]


def test_a_copy_is_undone_after_a_look(visit, stores):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    change_in_aws(aws_store.secrets_manager(), password="example-theirs", host="db-9.example")
    compare(client_ids=[pk])
    copy_to_postgres(client_id=pk, reason="INC-1", by=make_user("paco"))
    page = visit(f"{CLIENT}{pk}/change/?tab=comparison", viewport=TELEPHONE)

    expect(page.get_by_text("AWS was copied to PostgreSQL by paco")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("link", name="Put the former values back").click()
    expect(page.get_by_text("Before the copy", exact=True)).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_label("Reason or ticket").fill("INC-2")
    page.get_by_role("button", name="Put the former values back").click()

    expect(page.get_by_text("Put the former values back.", exact=True)).to_be_visible()
    assert password(pk) == "example-password-1"
