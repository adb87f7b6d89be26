"""No page asks more queries for more rows."""

from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.models import ClientMigration, Comparison, OpenMismatch, PhaseChange, ReadCount
from migration.runs.items import Outcome
from migration.runs.models import Run
from tests.factories import make_comparison, make_full_client, make_many
from tests.migration.pages import (
    CLIENTS,
    COMPARISONS,
    DASHBOARD,
    DIFFERENT,
    EXTRA,
    REPORT,
    RUNS,
    make_run,
    page_of,
    run_page,
)


def queries(browser, url: str) -> int:
    browser.get(url)  # what is asked once a process or session is asked now
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(url).status_code == 200
    return len(captured)


def fill(number: int) -> None:
    """So many clients, runs, comparisons that differ, and items of one run."""
    make_many(number, status="mismatch")
    ReadCount.objects.bulk_create(
        [
            ReadCount(client_id=pk, last_read_at=timezone.now())
            for pk in ClientMigration.objects.values_list("pk", flat=True)
        ],
        ignore_conflicts=True,
    )
    Comparison.objects.update(mismatches=[DIFFERENT, EXTRA])
    OpenMismatch.objects.open_and_close(Comparison.objects.values_list("pk", flat=True))
    user = User.objects.first()
    Run.objects.bulk_create(Run(kind=Run.Kind.PUSH, by=user) for _ in range(number))
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=user)
    run.add_items(ClientMigration.objects.values_list("pk", "client__slug"))
    run.items.update(outcome=Outcome.FAILED, error_class="data", finished_at=timezone.now())


def test_no_page_asks_more_queries_for_more_clients(viewer):
    def count() -> dict[str, int]:
        pages = [DASHBOARD, CLIENTS, RUNS, COMPARISONS, REPORT, run_page(Run.objects.first())]
        return dict(zip((*pages[:-1], "run"), [queries(viewer, url) for url in pages], strict=True))

    fill(1)
    first = count()
    fill(49)

    assert count() == first


def test_the_page_of_a_client_asks_no_more_queries_for_a_longer_history(viewer):
    pk = make_full_client("idom")
    url = page_of("credentials_client", pk)
    make_comparison(pk, "match")
    run, user = make_run(1), User.objects.get()

    def moves(number: int) -> None:
        PhaseChange.objects.bulk_create(
            PhaseChange(client_id=pk, slug="idom", old="aws", new="dual_read", by=user, run=run)
            for _ in range(number)
        )

    moves(1)
    first = queries(viewer, url)
    moves(49)

    assert queries(viewer, url) == first
