"""Done, failed, refused, skipped, in progress, waiting and not begun are counted apart wherever a run is shown."""

import io
import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from migration.management.progress import describe_progress
from migration.pushes.pushes import NOT_PUSHED_INACTIVE
from migration.runs import engine
from migration.runs.items import RUN_INTERRUPTED, RUN_STOPPED, Outcome
from migration.runs.models import Run
from migration.runs.progress import measure_progress, select_runs_for_progress
from tests.factories import make_client
from tests.migration.pages import RUNS, close, make_run, run_page, text
from tests.migration.runs.steering.runs import start
from tests.page_forms import pages_left_out

COUNTS = {
    "all": 15, "in_progress": 1, "waiting": 1, "not_begun": 3, "failed": 2, "refused": 1, "differs": 1, "skipped": 4,
    "done": 2,
}  # fmt: skip
SHOWN = "2 done, 2 failed, 1 refused, 1 differs, 4 skipped, 1 in progress, 1 waiting, 3 not started"


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def mixed(db):
    """A run under way that has items of every kind, a worker holding one batch of it."""
    run = make_run(15, kind=Run.Kind.MIGRATE)
    close(run, 2, Outcome.CREATED, comparison_status="match")
    close(run, 2, Outcome.FAILED, error_class="data")
    close(run, 1, Outcome.REFUSED)
    close(run, 1, Outcome.COMPARED, comparison_status="mismatch")
    close(run, 1, Outcome.SKIPPED)
    close(run, 3, Outcome.SKIPPED, message=NOT_PUSHED_INACTIVE())
    close(run, 1, Outcome.SKIPPED, message=RUN_INTERRUPTED())
    close(run, 2, Outcome.SKIPPED, message=RUN_STOPPED())
    # The last two items are of the batches 6 and 7.
    with engine.try_lock_batch(run.pk, 7):
        yield run


def measure(run: Run):
    return measure_progress(select_runs_for_progress().get(pk=run.pk))


def test_the_page_of_a_run_counts_them_in_its_line_and_in_its_tabs(root, mixed):
    response = root.get(run_page(mixed))

    assert f"10 of 15 clients: {SHOWN}" in text(response)
    assert {tab["key"]: tab["count"] for tab in response.context["tabs"]} == COUNTS
    with pages_left_out():
        for tab, number in COUNTS.items():
            page = root.get(f"{run_page(mixed)}?items={tab}").context_data["page"]
            assert page.paginator.count == len(page.object_list) == number, tab


def test_the_live_part_counts_them_as_the_page_does_and_the_dashboard_those_that_are_done(
    root, mixed
):
    assert SHOWN in text(root.get(reverse("admin:migration_run_live", args=[mixed.pk])))
    (work,) = root.get(reverse("admin:index")).context["work"]
    assert (work.done, work.total) == (10, 15)


def test_the_list_of_runs_has_a_column_for_each(root, mixed):
    (shown,) = root.get(RUNS).context["cl"].result_list

    assert (shown.total, shown.done, shown.succeeded, shown.failed, shown.refused) == (
        15,
        10,
        2,
        2,
        1,
    )
    assert (shown.mismatched, shown.skipped, shown.in_work, shown.left_out) == (1, 4, 1, 3)
    shown = text(root.get(RUNS))
    assert "10 of 15 2 done error 2 failed block 1 refused difference 1 differs" in shown
    assert "differs warning 3 not started 4 skipped 1 in progress" in shown


def test_the_line_of_a_command_counts_them(mixed):
    line = describe_progress(measure(mixed))

    assert line.startswith(f"{mixed}: 10 of 15 clients (67 %)")
    assert line.endswith(
        "2 failed (2 data), 1 differs, 1 refused, 4 skipped, 1 in progress, 3 not begun"
    )


def test_the_counts_of_a_run_have_what_was_not_begun_for_itself(mixed):
    mixed.items.filter(outcome=Outcome.REFUSED).update(outcome=Outcome.FAILED)

    counts = mixed.count_outcomes_and_matches()

    assert (counts["clients"], counts["skipped"], counts["not_begun"]) == (15, 4, 3)
    assert (counts["created"], counts["failed"], counts["compared"]) == (2, 3, 1)


def test_an_item_that_waits_for_its_next_try_is_in_nobodys_work(mixed):
    later = timezone.now() + timedelta(minutes=1)
    mixed.items.filter(batch=7).update(next_try_at=later)

    now = measure(mixed)

    assert (now.in_work, now.waiting, now.open_or_left_out) == (0, 2, 5)


def test_without_a_worker_nothing_is_in_progress(root, db):
    run = make_run(2)

    assert (measure(run).in_work, measure(run).waiting) == (0, 2)
    assert root.get(RUNS).context["cl"].result_list[0].in_work == 0


@pytest.mark.usefixtures("stores")
def test_a_stopped_run_does_not_look_done(root):
    make_client("empty")
    run = start(3)
    run.items.filter(slug="empty").update(batch=0)
    engine.process_batch_if_running(run.pk, 0)
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)
    run.refresh_from_db()

    page = text(root.get(run_page(run)))
    left = run.items.never_begun().count()
    assert "Stopped" in page
    assert f"{left} not started" in page
    assert page.count("Not started") == 1 + left  # the tab, and each of the rows


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_command_whose_run_somebody_stops_says_what_was_not_begun_and_exits_with_1(
    monkeypatch, output
):
    def stop(run, _output):
        engine.process_batch_if_running(run.pk, 0)
        run.stop(by=None)
        engine.skip_free_items_of_stopped_run(run)
        run.refresh_from_db()

    monkeypatch.setattr("migration.management.base.wait_for_workers", stop)
    for n in range(3):
        make_client(f"client-{n}")
    out = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("migrate_clients", "--all", "--format", output, stdout=out)

    assert ended.value.code == 1
    if output == "json":
        printed = json.loads(out.getvalue())
        assert (printed["skipped"], printed["not_begun"], printed["failed"]) == (2, 1, 0)
        assert printed["items"][2]["code"] == RUN_STOPPED.key
    else:
        run = Run.objects.get()
        assert out.getvalue().splitlines()[2:] == [
            "client-2  not begun  The run was stopped.",
            f"{run.pk} run, 3 clients, 2 skipped, 1 not begun",
        ]
