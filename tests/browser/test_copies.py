"""A page that asks for a search for copies shows its result by itself, unless something was typed on it."""

import pytest
from playwright.sync_api import expect

from migration import tasks
from migration.models import CopySearch
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def copies_are_not_looked_for() -> None:
    """They are, here."""


def test_a_search_shows_its_result_by_itself_unless_something_was_typed(visit, stores):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    page = visit(f"/admin/credentials/client/{pk}/change/?tab=overview")
    button = page.get_by_role("button", name="Search for copies")
    waiting = page.get_by_role("status").filter(has_text="begins once a worker is free")
    offer = page.get_by_text("Reload to see its result")

    button.click()
    expect(waiting).to_be_visible()
    tasks.search_copies(CopySearch.objects.latest("pk").pk)
    expect(waiting).to_have_count(0)
    expect(page.get_by_text("Not searched for copies since this phase began.")).to_have_count(0)
    expect(offer).to_have_count(0)

    CopySearch.objects.all().delete()
    page.reload()
    button.click()
    expect(waiting).to_be_visible()
    page.locator("main textarea").first.fill("a comment")
    tasks.search_copies(CopySearch.objects.latest("pk").pk)
    expect(offer).to_be_visible()
    expect(page.locator("main textarea").first).to_have_value("a comment")
