"""A thousand clients from a CSV file in a real browser: previewed, confirmed, migrated, compared; and without scripts."""

import os
import tempfile
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from credentials.models import Client, DatabaseCredential
from migration.models import ClientMigration, Comparison, Run, RunPlan
from migration.operations.run_plans import work_on_plan
from migration.operations.runs import work_on_run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.haystack import Haystack, everything_logged
from tests.migration.imports.files import make_csv, make_full_rows, make_row
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


def files_with(needle: str, *folders: Path, since: float) -> list[str]:
    """Files that were written since then and hold the text. The embedded PostgreSQL and AWS are no files of ours."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                if path.is_file() and path.stat().st_mtime >= since and needle.encode() in path.read_bytes():
                    found.append(str(path))
            except OSError:  # another process's, or gone
                continue
    return found


@pytest.mark.long(120)
def test_a_thousand_clients_are_previewed_confirmed_migrated_and_compared(visit, choose, tmp_path):
    haystack = Haystack()
    page = visit(IMPORT)
    with everything_logged(haystack):
        file = choose(page, make_csv(*make_full_rows(1_000, secret=MARKER)))
        press(page, "Preview the import")
        expect(page.locator("#import-new h3")).to_have_text("New: 1,000")
        haystack.add("preview", page.content())
        assert violations(page) == []
        assert not Client.objects.exists()

        page.get_by_label("Then make the plan of their migration to AWS").check()
        press(page, "Import the clients")
        page.wait_for_url("**/migration/run/plan/*/")
        haystack.add("plan", page.content())
        file.unlink()
        assert Client.objects.count() == 1_000

        plan = RunPlan.objects.get()
        work_on_plan(plan_id=plan.pk)
        page.reload()
        expect(page.get_by_text("1,000 clients").first).to_be_visible()
        press(page, "Start")
        page.wait_for_url("**/migration/run/**")
        work_on_plan(plan_id=plan.pk)
        run = Run.objects.get(kind=Run.Kind.MIGRATE)
        work_on_run(run_id=run.pk)
        page.goto(page.url)
        haystack.add("run", page.content())

        page.goto("/".join(page.url.split("/")[:3]) + "/admin/")
        press(page, "Compare all clients")
        page.wait_for_url("**/migration/run/**")
        work_on_run(run_id=Run.objects.get(kind=Run.Kind.COMPARE).pk)
        page.goto(page.url)
        haystack.add("comparison", page.content())
    add_tables(haystack)
    add_pickles(haystack)

    assert ClientMigration.objects.filter(phase=Phase.DUAL_WRITE).count() == 1_000
    newest = ClientMigration.objects.filter(comparison_status=Comparison.Status.MATCH)
    assert newest.count() == 1_000
    assert DatabaseCredential.objects.filter(db_password__startswith=MARKER).count() == 1_000
    assert haystack.found() == []
