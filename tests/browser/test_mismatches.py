"""The mismatch report by keyboard and on a phone: select, look at the plan, do it, undo it."""

from migration.models import Resolution
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE
from tests.factories import make_client, make_comparison
from tests.migration.pages import DIFFERENT, EXTRA

REPORT = "/admin/migration/comparison/report/"


def test_mismatches_of_many_clients_are_acknowledged_and_that_is_undone(visit, stores):
    fields = [DIFFERENT, *(EXTRA | {"path": f"database.f{n}"} for n in range(6))]
    for slug, found in (("one", [DIFFERENT]), ("two", fields)):
        make_comparison(make_client(slug), "mismatch", slug=slug, mismatches=found)
    page = visit(REPORT, viewport=TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = violations(page)

    bar = page.get_by_role("button", name="Compare now")
    assert not bar.is_visible()
    for slug in ("one", "two"):  # a card each, as in the list of clients: no head
        page.get_by_label(f"Select {slug}").press("Space")
    assert bar.is_visible()
    assert page.get_by_label("Select two").is_checked()
    page.get_by_label("Select one").press("Space")
    assert not page.get_by_label("Select this page").is_checked()
    page.get_by_label("Select one").press("Space")
    page.locator("summary", has_text="Resolve…").press("Enter")
    page.get_by_role("button", name="Acknowledge mismatches…").press("Enter")

    page.get_by_text("Acknowledge the mismatches of 2 clients?").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found += violations(page)
    page.get_by_label("Reason or ticket").fill("INC-42")
    page.get_by_label("Acknowledge until").fill("2099-01-01")
    page.get_by_role("button", name="Acknowledge the mismatches of 2 clients").press("Enter")
    page.get_by_text("You acknowledged the mismatches of 2 clients.").wait_for()
    assert Resolution.objects.acknowledgements_in_force().count() == 2
    found += violations(page)
    page.get_by_role("button", name="Undo").press("Enter")
    page.get_by_text("Undone for 2.").wait_for()

    assert Resolution.objects.acknowledgements_in_force().count() == 0
    assert found == []
