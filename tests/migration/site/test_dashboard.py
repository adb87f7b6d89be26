"""The first page's numbers: each equals the rows, and the list that it links to."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client, ClientRevision, ClientWrite
from migration.campaigns.models import Campaign
from migration.campaigns.steps import start_campaign
from migration.clients.counts import add_up_counts
from migration.clients.models import SiteCounts
from migration.core.clients import VIEW_CHECKS
from migration.core.problems import (
    PROBLEMS,
    Area,
    Finding,
    ProblemRecord,
    Result,
    Severity,
    report_failure,
)
from migration.models import ClientMigration, Comparison, RunItem, Worker
from migration.runs.models import Run
from migration.runs.progress import RUN_PAUSED
from migration.site import dashboard
from migration.site.client_problems import PUSHES_LATE
from migration.site.dashboard import describe_left_to_campaigns, describe_phase_in_campaigns
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_database,
    make_many,
    make_reader_process,
    make_user,
    update,
)
from tests.migration.campaigns.taken import make_group
from tests.page_forms import pages_left_out

HOME = reverse("admin:index")


@pytest.fixture
def worker(db) -> Worker:
    return Worker.objects.create(name="host:1")


@pytest.fixture
def root(db, client, worker):
    client.force_login(User.objects.create_superuser("root"))
    return client


def home(browser) -> dict:
    """What the dashboard would show; it is not rendered."""
    with pages_left_out():
        return browser.get(HOME).context_data


def attention(context) -> dict[str, int]:
    return {item.code: item.count for item in context["attention"]}


def written_ago(**ago) -> None:
    """Every write that was counted so far was made so long ago."""
    ClientWrite.objects.update(written_at=timezone.now() - timedelta(**ago))


def clients_listed(response) -> int:
    context = response.context_data
    if "cl" in context:
        return context["cl"].result_count
    return context["found"]["clients"] if "found" in context else context["page"].paginator.count


def make_run(outcomes: list[str], kind: Run.Kind = Run.Kind.MIGRATE, **fields) -> Run:
    run = Run.objects.create(kind=kind, **fields)
    run.add_items((make_client(f"in-run-{run.pk}-{n}"), f"n{n}") for n in range(len(outcomes)))
    for item, outcome in zip(run.items.all(), outcomes, strict=True):
        RunItem.objects.filter(pk=item.pk).update(
            outcome=outcome, finished_at=timezone.now() if outcome else None
        )
    return run


def test_the_phases_are_counted_as_the_rows_stand(root):
    numbers = {"postgres": 3, "dual_write": 4, "dual_read": 2, "aws": 1, "purged": 1}
    for phase, number in numbers.items():
        make_many(number, phase=phase)
    (
        make_client("never-touched"),
        make_client("off", is_active=False),
        make_client("null", is_active=None),
    )

    clients = home(root)["clients"]

    assert {phase.phase: phase.clients for phase in clients.phases} == numbers | {"postgres": 6}
    assert (clients.total, clients.inactive) == (14, 2)


def test_the_newest_comparison_of_each_client_is_counted_and_no_older_one(root):
    for status in Comparison.Status:
        make_comparison(make_client(f"x-{status}"), status)
    pk = make_client("twice")
    make_comparison(pk, "mismatch"), make_comparison(pk, "match")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'x-missing_in_aws'")

    _clients, found = add_up_counts(SiteCounts.count_now())

    assert found.by_status == {
        "match": 2, "mismatch": 1, "missing_in_aws": 0, "missing_in_postgres": 1, "unchecked": 1,
    }  # fmt: skip
    assert (found.total, found.matched, found.differing) == (5, 2, 2)


def test_what_could_not_be_checked_is_no_match(root):
    make_comparison(make_client("a"), "unchecked")

    response = root.get(HOME)

    assert attention(response.context) == {"unchecked": 1}
    assert b"All clear" not in response.content


def test_every_item_that_needs_attention_links_to_a_list_of_exactly_as_many(root):
    for number, status in enumerate(
        ("mismatch", "missing_in_aws", "missing_in_postgres", "unchecked")
    ):
        make_many(number + 2, phase="postgres", status=status)
    make_many(7, phase="dual_write"), make_many(1, phase="purged")
    written_ago(minutes=3)
    make_many(6, phase="dual_write")
    make_run(["failed"] * 9), make_run(["failed"] * 3 + ["created"])
    make_run(["failed"] * 2, kind=Run.Kind.COMPARE)
    make_reader_process()

    page = root.get(HOME)
    items = [item for item in page.context["attention"] if PROBLEMS[item.code].area == Area.CLIENTS]

    # Those that differ stand together, as in the menu and in the report.
    assert [item.count for item in items] == [9, 5, 12, 2, 7]
    for item in items:
        with pages_left_out():
            response = root.get(item.url)
        assert response.status_code == 200, item.url
        assert clients_listed(response) == item.count
        assert item.url.encode().replace(b"&", b"&amp;") in page.content


def test_every_phase_links_to_a_list_of_exactly_as_many(root):
    for number, phase in enumerate(Phase):
        make_many(number + 1, phase=phase)
    make_client("never-touched"), make_client("off", is_active=False)
    response = root.get(HOME)
    html = response.content.decode()
    listing = reverse("admin:credentials_client_changelist")

    for phase in response.context["clients"].phases:
        url = f"{listing}?{phase.list_query}"
        assert f'href="{url}"' in html
        with pages_left_out():
            assert root.get(url).context_data["cl"].result_count == phase.clients


def test_a_client_that_was_written_since_its_push_waits_and_one_that_writes_no_store_does_not(root):
    pk, other = make_client("pushed"), make_client("in-postgres")
    row, _ = make_database(pk), make_database(other)
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    revision = Client.objects.with_revision().get(pk=pk).revision
    ClientRevision.objects.record_pushed([(pk, revision)])
    assert home(root)["clients"].push_pending == 0

    update("client_database_credentials", row, db_port=5433)

    assert home(root)["clients"].push_pending == 1


def test_an_empty_database_says_what_to_do_first(root):
    response = root.get(HOME)

    assert response.context["attention"] == []
    assert response.context["clients"].total == 0
    assert b"No clients yet" in response.content
    assert response.context["next"].url == reverse("admin:credentials_client_add")
    assert root.get(response.context["next"].url).status_code == 200


def test_who_may_add_no_client_to_an_empty_site_is_offered_nothing(db, client):
    client.force_login(make_user("viewer", *VIEW))

    assert home(client)["next"] is None


def test_where_nothing_is_to_be_done_it_says_so(root):
    make_comparison(make_client("idom"), "match")

    response = root.get(HOME)

    assert response.context["attention"] == []
    assert b"All clear" in response.content


@pytest.mark.parametrize("ago", [None, timedelta(seconds=31)])
def test_a_worker_that_is_not_there_needs_attention_with_the_command_that_starts_one(root, ago):
    Worker.objects.all().delete()
    if ago:
        Worker.objects.create(name="host:1", seen_at=timezone.now() - ago)

    response = root.get(HOME)

    assert [(item.code, item.statements) for item in response.context["attention"]] == [
        ("no_worker", ("python manage.py qcluster",))
    ]
    assert b"python manage.py qcluster" in response.content


def store(code: str, *findings: Finding, minutes_ago: int = 0) -> None:
    """Store what the workers found so long ago."""
    ProblemRecord.objects.store(Result(PROBLEMS[code], findings, None))
    looked_at = timezone.now() - timedelta(minutes=minutes_ago)
    ProblemRecord.objects.filter(code=code).update(looked_at=looked_at)


def test_what_the_workers_found_is_one_line_that_says_when_they_have_missed_some_looks(root):
    found = [report_failure(PUSHES_LATE(n=n), count=n) for n in (2, 3)]

    for minutes, is_old in ((1, False), (9, True)):
        store("tables_missing", *found, minutes_ago=minutes)
        (line,) = home(root)["attention"]

        assert (line.code, line.count, bool(line.looked_at)) == ("tables_missing", 5, is_old)
        assert line.sentence.endswith("(and 1 more)")
        assert root.get(line.action.url).status_code == 200


def test_the_worst_is_named_first_and_what_waits_for_somebody_last(root):
    make_many(1, status="mismatch")
    Campaign.objects.create(goal="aws", state="requested")
    store("writes_uncounted", report_failure(PUSHES_LATE(n=1)))

    lines = home(root)["attention"]

    severities = [line.severity for line in lines]
    assert severities == sorted(severities, key=list(Severity).index)
    assert (lines[0].code, lines[-1].code) == ("writes_uncounted", "requested_campaigns")


def test_who_may_not_open_the_page_of_a_problem_is_told_without_a_link(db, client):
    client.force_login(make_user("narrow", VIEW_CHECKS))

    (line,) = home(client)["attention"]

    assert (line.code, line.url, line.action) == ("no_worker", "", None)


def test_failures_of_an_earlier_migration_need_attention_after_one_over_others_went_well(root):
    make_run(["failed"]), make_run(["created"])

    assert attention(home(root)) == {"failures": 1}


def at_work(response) -> list[tuple[str, int, int]]:
    return [(each.key, each.done, each.total) for each in response.context["work"]]


def test_what_is_at_work_are_the_runs_that_are_not_over_and_the_running_campaigns(root):
    running = make_run(["created", ""])
    make_run(["compared"], state=Run.State.FINISHED, finished_at=timezone.now())
    paused = make_run([""], state=Run.State.PAUSED)
    make_run([""], state=Run.State.PLANNED), make_run([""], state=Run.State.REQUESTED)
    campaign = Campaign.objects.create(goal="aws", state="running")
    Campaign.objects.create(goal="aws", state="stopped")

    response = root.get(HOME)

    assert at_work(response) == [
        (f"c{campaign.pk}", 0, 0),
        (f"r{running.pk}", 1, 2),
        (f"r{paused.pk}", 0, 1),
    ]
    assert [root.get(each.url).status_code for each in response.context["work"]] == [200] * 3
    # What waits says why.
    assert str(RUN_PAUSED()) in response.content.decode()


def test_what_is_at_work_asks_for_itself_and_the_page_is_loaded_anew_once_it_is_over(root):
    run = make_run(["created", ""])
    page = root.get(HOME)
    poll = f"{reverse('admin:migration_run_at_work')}?shown={page.context['work_shown']}"
    assert f'hx-get="{poll}"' in page.content.decode()

    assert "HX-Refresh" not in root.get(poll).headers
    Run.objects.filter(pk=run.pk).update(state="finished", finished_at=timezone.now())
    answer = root.get(poll)

    assert answer.headers["HX-Refresh"] == "true"
    assert "hx-get" not in answer.content.decode()


def test_what_is_at_work_is_shown_to_those_who_may_see_it(db, client):
    make_run([""]), Campaign.objects.create(goal="aws", state="running")
    url = reverse("admin:migration_run_at_work")

    client.force_login(make_user("narrow", "credentials.view_client"))
    assert (at_work(client.get(HOME)), client.get(url).status_code) == ([], 403)
    client.force_login(make_user("waves", "migration.view_campaign"))
    page = client.get(HOME)
    assert [each.progress for each in page.context["work"]] == [None]
    assert "hx-get" not in page.content.decode().split('id="at-work"')[1].split(">")[0]
    client.force_login(make_user("starter", "migration.add_run"))
    assert len(at_work(client.get(HOME))) == 1
    assert client.get(url).status_code == 200


@pytest.mark.parametrize(
    ("permission", "shown"),
    [
        ("credentials.view_client", "clients"),
        ("migration.view_comparison", None),
        ("migration.view_run", "work"),
    ],
)
def test_a_permission_shows_its_part_and_no_other(worker, client, permission, shown):
    client.force_login(make_user("narrow", permission))
    make_many(2, status="mismatch"), make_run(["failed"])
    written_ago(minutes=3)

    response = client.get(HOME)

    parts = {key: response.context[key] for key in ("clients", "work", "next", "blocked")}
    assert {key for key, value in parts.items() if value} <= {shown, "next", "blocked"}
    assert bool(response.context["next"]) == (shown == "clients")
    assert len(response.context["attention"]) == 1
    assert {item.permission for item in response.context["attention"]} == {permission}
    for item in response.context["attention"]:
        assert client.get(item.url).status_code == 200


def test_who_may_view_but_not_start_runs_is_offered_no_button(db, client):
    client.force_login(make_user("viewer", *VIEW))

    response = client.get(HOME)

    assert reverse("admin:credentials_client_act", args=["push"]).encode() not in response.content


def test_the_summary_takes_as_many_queries_as_it_says_whatever_the_number_of_clients(db):
    for number in (1, 999):
        make_many(number, status="unchecked")
        make_run(["failed"])
        with CaptureQueriesContext(connection) as captured:
            dashboard.load_dashboard()
        assert len(captured) == 14


def test_what_is_at_work_takes_two_queries_whatever_is(root):
    request = root.get(HOME).wsgi_request
    request.user.has_perm(VIEW_CHECKS)
    for number in (1, 4):
        for _ in range(number):
            make_run(["failed", ""]), Campaign.objects.create(goal="aws", state="running")
        with CaptureQueriesContext(connection) as captured:
            dashboard.get_work_context(request)
        assert len(captured) == 2


def test_who_goes_on_with_a_campaign_is_told_apart_from_who_the_button_moves(root):
    """The strip counts all who are ready: beside a smaller number of the next step it says who has the others."""
    north, south = make_group("north", 2), make_group("south", 1)
    before = home(root)["next"].text
    start_campaign(groups=[north])

    found = home(root)["next"].text

    assert describe_left_to_campaigns(2) not in before
    assert found.endswith(describe_left_to_campaigns(2))

    start_campaign(groups=[south])

    found = home(root)["next"]
    assert found.text == "3 clients in PostgreSQL are ready. All of them are in a campaign."
    assert not found.is_main


def test_of_very_many_clients_it_says_how_many_of_the_phase_go_on_with_a_campaign(
    root, monkeypatch
):
    monkeypatch.setattr(dashboard, "KEPT_FROM_CLIENTS", 3)
    north, _south = make_group("north", 2), make_group("south", 1)
    start_campaign(groups=[north])

    found = home(root)["next"].text

    assert found.endswith(describe_phase_in_campaigns(2))
