"""Runs as they are watched and steered: live by a real worker, and without scripts by looking again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from credentials.models import Client
from migration import tasks
from migration.models import Rate
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.failures import select_current_failures
from migration.runs.models import Run
from nova_admin.embedded import run_while_parent_lives
from nova_credentials.phases import Phase
from tests.browser.keyboard import WIDTH, fits, press
from tests.browser.page_language import Person, words
from tests.factories import make_full_client, nova_uri, start_run
from tests.migration.moves.clients import enter_phase_together, phase_of
from tests.settings import SCRATCH

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start_worker(stores) -> Iterator[Callable[[], None]]:
    """A qcluster of its own, on the test's database and AWS; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_worker() -> None:
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DATABASE_URL": nova_uri(),
            "NOVA_WORKERS": "1",
        }
        held = [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid())]
        with (SCRATCH / "qcluster.log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [*held, sys.executable, "manage.py", "qcluster"],
                    cwd=ROOT,
                    env=env,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    yield start_worker
    for worker in started:
        worker.terminate()
        worker.wait(60)


@pytest.fixture
def three_clients(stores) -> None:
    """One of them can't have a secret of its name."""
    for slug in ("acme", "idom", "b d"):
        make_full_client(slug)


@pytest.fixture
def somebody(visit) -> Callable[..., Person]:
    return lambda address, **options: Person(visit(address, **options), words("en"))


def test_a_run_is_watched_to_its_end_by_nobody_touching_its_page_or_the_dashboard(
    three_clients, somebody, start_worker
):
    operator = somebody("/admin/credentials/client/act/push/?all=1")
    operator.presses("Push 2 clients")
    operator.reads("Running")
    operator.reads("0 of 2")
    viewer = somebody("/admin/")
    expect(viewer.page.get_by_role("progressbar")).to_have_count(1)

    # What its plan could not know.
    Client.objects.filter(slug="acme").update(slug="c d")
    start_worker()

    operator.reads("2 of 2")
    operator.reads("Finished")
    operator.reads("1 failed")
    # The list below the live part tells of the end as well.
    row = operator.page.get_by_role("row").filter(has_text="acme")
    expect(row).to_contain_text("does not allow a space")
    expect(row.get_by_role("link", name="Fix this client")).to_be_visible()
    # The dashboard is loaded anew: its numbers are others, and what failed needs somebody.
    viewer.reads("Nothing is running.")
    viewer.reads("The latest push or migration of 1 client failed.")


def test_a_run_is_paused_resumed_given_another_rate_and_stopped_without_scripts(
    three_clients, somebody
):
    operator = somebody("/admin/credentials/client/act/push/?all=1", java_script_enabled=False)
    operator.presses("Push 2 clients")

    operator.presses("Pause the run")
    operator.reads("Paused. Resume or stop it.")
    operator.presses("Resume the run")
    operator.types("7", "Writes per second, all runs")
    operator.presses("Change the rate")
    operator.reads("The new rate applies to all workers and runs.")
    assert set(Rate.objects.filter(per_second=7).values_list("kind", flat=True)) == {
        Rate.Kind.CREATE,
        Rate.Kind.WRITE,
    }
    operator.presses("Stop the run")
    operator.reads("2 not started")
    operator.follows("Not started")

    assert Run.objects.get().state == Run.State.STOPPED
    assert Run.objects.get().count_outcomes_and_matches()["not_begun"] == 2


def test_what_failed_is_put_right_by_its_remedy_and_tried_again(three_clients, somebody):
    run = start_run(kind=Run.Kind.MIGRATE, chosen=tasks.all_clients())
    engine.finish_inline(run)
    operator = somebody("/admin/migration/run/failures/", viewport=WIDTH)
    page = operator.page
    press(page.get_by_role("row").filter(has_text="b d").get_by_role("link", name="Migration"))
    operator.reads("does not allow a space")
    expect(page.get_by_role("button", name="Retry", exact=True)).to_have_count(0)
    assert fits(page)

    press(page.get_by_role("link", name="Fix this client"))
    # The fault is in the slug: its form is open.
    page.get_by_label("Slug").fill("bd")
    page.keyboard.press("Enter")
    operator.reads("Saved.")
    page.goto(f"{page.url.partition('/admin/')[0]}/admin/migration/run/{run.pk}/change/")
    press(page.get_by_role("button", name="Retry", exact=True))
    operator.reads("Running")
    tasks.work_on_run(run.pk)

    operator.reads("Finished")
    assert run.count_outcomes_and_matches()["failed"] == 0
    assert not select_current_failures(None).exists()


def test_many_that_are_ready_are_moved_from_the_dashboard_to_the_end_of_their_run(stores, visit):
    pks = [make_full_client(slug) for slug in ("acme", "idom")]
    enter_phase_together(pks, Phase.DUAL_WRITE)
    compare(client_ids=pks)
    page = visit("/admin/")
    assert fits(page)
    press(page.get_by_role("link", name="Move 2 clients to dual read…"))
    expect(page.get_by_text("Move 2 clients to dual read?").first).to_be_visible()
    press(page.get_by_role("button", name="Move 2 clients"))
    expect(page.get_by_text("0 of 2")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    stop = page.get_by_role("button", name="Stop the run")
    stop.focus()
    tasks.work_on_run(Run.objects.get(kind=Run.Kind.MOVE).pk)

    expect(page.get_by_text("2 of 2")).to_be_visible()
    expect(page.get_by_text("Finished", exact=True).first).to_be_visible()
    expect(stop).to_have_count(0)
    assert page.evaluate("window.notReloaded")
    assert [phase_of(pk) for pk in pks] == [Phase.DUAL_READ] * 2
    assert fits(page)
