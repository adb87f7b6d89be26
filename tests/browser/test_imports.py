"""Clients from a CSV file in a real browser: previewed, confirmed, migrated, compared."""

import os
import secrets
import tempfile
import time
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from credentials.models import Client, DatabaseCredential
from migration import tasks
from migration.models import ClientMigration
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, fits
from tests.factories import make_full_client
from tests.haystack import Haystack, everything_logged
from tests.migration.clients.imports.files import make_csv, make_full_rows, make_row
from tests.test_no_secret_escapes import add_pickles, add_tables

pytestmark = pytest.mark.browser

IMPORT = "/admin/credentials/client/import/"
MARKER = "MARKER-ONE"


@pytest.fixture
def choose(tmp_path):
    """Chooses a file with these bytes."""

    def choose(page: Page, data: bytes, name: str = "clients.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        page.get_by_label("CSV file").set_input_files(path)
        return path

    return choose


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def list_files_with(needle: str, *, since: float) -> list[str]:
    """The files that were written since and hold the text, where temporary files and this checkout's own are.

    The embedded PostgreSQL keeps its tables elsewhere in a run, or below a folder of its own.
    """
    found = []
    for top in (tempfile.gettempdir(), settings.LOCAL):
        for folder, _folders, names in os.walk(top):  # which leaves out what goes meanwhile
            for path in (Path(folder) / name for name in names):
                try:
                    is_new = path.is_file() and path.stat().st_mtime >= since
                    if is_new and needle.encode() in path.read_bytes():
                        found.append(str(path))
                except OSError:
                    continue
    return [path for path in found if "/postgres" not in path]


@pytest.mark.nightly
def test_so_many_that_a_plan_is_stored_are_previewed_confirmed_migrated_and_compared(visit, choose):
    haystack, begun = Haystack(), time.time()
    marker = f"{MARKER}-{secrets.token_hex(8)}"
    page = visit(IMPORT)
    with everything_logged(haystack):
        file = choose(page, make_csv(*make_full_rows(120, secret=marker)))
        press(page, "Preview the import")
        expect(page.locator("#import-new h2")).to_have_text("New: 120")
        expect(page.locator("#import-form .bg-primary-600")).to_have_text(
            ["upload Import 120 clients"]
        )
        haystack.add("preview", page.content())
        assert not Client.objects.exists()

        page.get_by_label("Then make the plan of their migration to AWS").check()
        press(page, "Import 120 clients")
        page.wait_for_url("**/client/act/plan/*/")
        haystack.add("plan", page.content())
        assert list_files_with(marker, since=begun) == [str(file)]  # or it would prove nothing
        file.unlink()
        assert Client.objects.count() == 120

        plan = Run.objects.get()
        tasks.work_on_run(plan.pk)
        page.reload()
        press(page, "Push 120 clients")
        page.wait_for_url("**/migration/run/*/change/")
        run = Run.objects.get(kind=Run.Kind.MIGRATE)
        tasks.work_on_run(run.pk)
        go_to(page, f"/admin/migration/run/{run.pk}/change/")
        page.get_by_text("Finished").first.wait_for()
        haystack.add("run", page.content())

        go_to(page, "/admin/credentials/client/")
        page.locator("tbody .action-select").first.check()
        page.get_by_label("Select all 120").check()
        press(page, "Compare")
        page.wait_for_url("**/migration/run/*/change/")
        tasks.work_on_run(Run.objects.get(kind=Run.Kind.COMPARE).pk)
        go_to(page, "/admin/migration/comparison/")
        haystack.add("comparisons", page.content())
    add_tables(haystack)
    add_pickles(haystack)

    found = ClientMigration.objects.filter(phase=Phase.DUAL_WRITE, comparison_status="match")
    assert found.count() == 120
    assert DatabaseCredential.objects.filter(db_password__startswith=marker).count() == 120
    assert haystack.found() == []
    assert list_files_with(marker, since=begun) == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_file_is_corrected_and_imported_on_a_telephone(visit, choose, scripts):
    page = visit(IMPORT, java_script_enabled=scripts, viewport=TELEPHONE)
    odd = make_row("odd", db_port="x", db_password="example-odd")
    mixed = make_csv(make_row("acme", groups="wave 1"), odd)
    choose(page, mixed)
    press(page, "Preview the import")
    expect(page.locator("#import-wrong")).to_contain_text("db_port: Enter a whole number.")
    assert fits(page)
    if not scripts:
        choose(page, mixed)  # the site kept nothing of it
    press(page, "Import 1 client")
    page.get_by_text("1 added, 0 changed, 0 unchanged.").wait_for()
    assert fits(page)
    if not scripts:
        choose(page, mixed)
    with page.expect_download() as download:
        press(page, "Download 1 refused line")
    given = Path(download.value.path()).read_bytes()
    assert b"example-odd" in given

    good = given.replace(b'"x"', b'"5432"')
    choose(page, good)
    press(page, "Preview the import")
    expect(page.locator("#import-new h2")).to_have_text("New: 1")
    if not scripts:
        choose(page, good)
    press(page, "Import 1 client")
    page.get_by_text("1 added, 0 changed, 0 unchanged.").wait_for()
    page.wait_for_url("**/client/?import=*")

    assert sorted(Client.objects.values_list("slug", flat=True)) == ["acme", "odd"]


def test_a_file_that_can_t_be_sent_is_said_and_one_that_was_not_previewed_is_not_imported(
    visit, choose, complaints
):
    page = visit(IMPORT)
    choose(page, make_csv(make_row("acme")))
    failed = page.locator("#import-failed")
    page.route("**/import/", lambda route: route.abort())
    press(page, "Preview the import")
    expect(failed).to_be_visible()
    expect(page.locator("#import-form .bg-primary-600")).to_have_count(1)
    complaints.clear()

    page.unroute("**/import/")
    press(page, "Preview the import")
    page.get_by_role("button", name="Import 1 client").wait_for()
    expect(failed).to_be_hidden()
    path = choose(page, make_csv(make_row("other")), "other.csv")
    press(page, "Import 1 client")
    page.get_by_text("this is not the file that was previewed").wait_for()
    expect(page.locator("#import-new")).to_contain_text("other")
    assert not Client.objects.exists()

    path.write_bytes(make_csv(make_row("other", db_password="another, and longer")))
    press(page, "Import 1 client")
    # Either the browser refuses to send it, or the site to take it.
    page.get_by_text("changed since").filter(visible=True).first.wait_for()
    assert not Client.objects.exists()
    refused = {"htmx:afterRequest", "htmx:sendError"}
    assert all("ERR_UPLOAD_FILE_CHANGED" in text for text in complaints if text not in refused)
    complaints.clear()


def test_the_page_after_a_preview_under_axe(visit, choose, stores):
    make_full_client("idom")
    page = visit(IMPORT)
    page.locator("summary", has_text="The columns").click()
    found = []
    rows = [make_row("acme"), {"slug": "idom", "name": "Idom & Co"}, make_row("odd", db_port="x")]
    for data in (make_csv(*rows), b"odd\n"):
        choose(page, data)
        press(page, "Preview the import")
        page.locator("#import-wait .hidden").wait_for(state="hidden")
        page.wait_for_load_state("networkidle")
        found += violations(page)

    assert found == []


def go_to(page: Page, address: str) -> None:
    page.goto(page.url.partition("/admin/")[0] + address)
