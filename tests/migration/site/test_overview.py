"""The parts of the dashboard: late pushes, the chart's numbers, what happened lately."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client, ClientRevision, ClientWrite
from migration.campaigns.steps import advance_campaign, start_campaign
from migration.clients.counts import add_up_counts
from migration.clients.models import SiteCounts
from migration.core.clients import all_clients
from migration.core.comparisons import STATUSES
from migration.models import (
    ClientGroup,
    ClientMigration,
    DailyComparisons,
    OpenMismatch,
    PhaseChange,
    Resolution,
    RunItem,
    Worker,
    WriteStop,
)
from migration.moves.evidence import CLEAN_STREAK
from migration.runs.models import Run
from migration.site.dashboard import list_activity, load_comparison_chart
from nova_credentials.phases import Phase
from tests.bulk_data import make_crowd
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_user,
    update,
)

pytestmark = pytest.mark.django_db

HOME = reverse("admin:index")
REPORT = reverse("admin:migration_comparison_report")


def ago(**span) -> object:
    return timezone.now() - timedelta(**span)


# --- Pushes that wait for too long


def make_writer(slug: str) -> tuple[int, int]:
    """A client that writes both stores, and the id of its database row; nothing waits."""
    pk = make_client(slug)
    row = make_database(pk)
    ClientWrite.objects.filter(client_id=pk).update(written_at=ago(minutes=30))
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    push(pk)
    return pk, row


def push(pk: int) -> None:
    ClientRevision.objects.record_pushed([(pk, Client.objects.with_revision().get(pk=pk).revision)])


def write(row: int, **span) -> None:
    """NOVA writes the row, so long ago."""
    before = set(ClientWrite.objects.values_list("pk", flat=True))
    update("client_database_credentials", row, db_port=5433)
    ClientWrite.objects.exclude(pk__in=before).update(written_at=ago(**span))


def late() -> tuple[int, int]:
    """How many pushes wait, and how many of them are late."""
    clients, _ = add_up_counts(SiteCounts.count_now())
    return clients.push_pending, clients.push_late


@pytest.mark.parametrize(("span", "expected"), [({"minutes": 3}, (1, 1)), ({"minutes": 1}, (1, 0))])
@pytest.mark.parametrize("folded", [False, True])
def test_a_push_is_late_two_minutes_after_the_write(span, expected, folded):
    _, row = make_writer("idom")
    write(row, **span)

    if folded:
        ClientRevision.objects.fold_writes()

    assert late() == expected


@pytest.mark.parametrize("folded", [False, True])
def test_a_write_that_was_pushed_makes_no_later_one_late(folded):
    pk, row = make_writer("idom")
    write(row, minutes=9), push(pk)
    if folded:
        ClientRevision.objects.fold_writes()
    assert late() == (0, 0)

    write(row, seconds=1)

    assert late() == (1, 0)


def test_a_push_stays_late_however_often_the_rows_are_written_meanwhile():
    pk, row = make_writer("idom")
    write(row, minutes=9)
    ClientRevision.objects.fold_writes()
    write(row, seconds=1)
    ClientRevision.objects.fold_writes()
    assert late() == (1, 1)

    push(pk)

    assert late() == (0, 0)
    assert ClientRevision.objects.get(pk=pk).pending_since is None


def test_a_push_that_was_refused_is_not_late_too():
    pk, row = make_writer("idom")
    write(row, minutes=9)
    revision = Client.objects.with_revision().get(pk=pk).revision
    ClientMigration.objects.record_refused([(pk, revision)])

    clients, _ = add_up_counts(SiteCounts.count_now())

    assert (clients.push_pending, clients.push_refused, clients.push_late) == (0, 1, 0)


def test_a_late_push_leads_to_the_list_of_just_those(client):
    Worker.objects.create(name="host:1")
    client.force_login(User.objects.create_superuser("root"))
    _, row = make_writer("late")
    write(row, minutes=9)
    _, fresh = make_writer("fresh")
    write(fresh, seconds=1)

    (item,) = client.get(HOME).context["attention"]

    assert item.count == 1
    assert [shown.slug for shown in client.get(item.url).context["cl"].result_list] == ["late"]


# --- The chart


def count(days: int, status: str, number: int) -> None:
    day = timezone.localdate() - timedelta(days=days)
    DailyComparisons.objects.create(day=day, status=status, number=number)


def test_the_chart_has_a_bar_a_day_and_a_row_a_result():
    count(0, "match", 400), count(0, "mismatch", 1), count(0, "missing_in_aws", 2)
    count(29, "match", 100), count(29, "unchecked", 5), count(30, "match", 1000)

    found = load_comparison_chart()

    assert {series.key: series.total_number for series in found.series} == {
        "match": 500, "mismatch": 3, "unchecked": 5,
    }  # fmt: skip
    match, mismatch, _ = found.series
    assert len(match.bars) == 30
    assert [(bar.number, bar.height) for bar in match.bars if bar.number] == [(100, 25), (400, 100)]
    assert mismatch.bars[-1].height == 100
    assert found.table_rows[0] == (timezone.localdate(), [400, 3, 0])


def test_a_day_with_one_among_thousands_is_seen():
    count(0, "mismatch", 5000), count(1, "mismatch", 1)

    assert load_comparison_chart().series[1].bars[-2].height == 4


def test_the_chart_is_on_the_page_as_numbers_too(client):
    client.force_login(make_user("viewer", *VIEW))
    count(0, "match", 1234), count(3, "mismatch", 7)

    html = client.get(HOME).content.decode()

    assert html.count("<svg") >= 3
    assert "<details>" in html
    assert "Matches: 1,234" in html
    assert "Mismatches: 7" in html


# --- Recent activity


def test_what_people_did_is_told_in_sentences_the_newest_first():
    by = User.objects.create(username="maria")
    pk = make_client("idom")
    PhaseChange.objects.create(
        client_id=pk, slug="idom", old="dual_read", new="aws", by=by, reason="T-42", changed_at=ago(hours=2)
    )  # fmt: skip
    run = Run.objects.create(kind=Run.Kind.COMPARE, by=by, created_at=ago(hours=1))
    Resolution.objects.create(
        client_id=pk, slug="idom", kind="check", message=STATUSES["match"](), by=by
    )
    Resolution.objects.create(
        client_id=pk, slug="idom", kind="acknowledge", reason="known", resolved_at=ago(hours=3)
    )

    found = list_activity()

    assert [item.sentence for item in found] == [
        "maria checked idom again",
        f"maria created Comparison {run.pk}",
        "maria moved idom from Dual read to AWS (cut over), reason: T-42",
        "A command acknowledged the mismatch of idom, reason: known",
    ]
    assert [item.note for item in found] == [STATUSES["match"](), None, None, None]
    assert found[1].url == reverse("admin:migration_run_change", args=[run.pk])
    assert found[2].url == reverse("admin:credentials_client_change", args=[pk])


def test_a_campaign_is_told_and_not_each_of_its_runs():
    by = User.objects.create(username="maria")
    group = ClientGroup.objects.get_or_add("Spain")
    group.put_clients(all_clients().filter(pk=make_full_client("idom")))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_WRITE, by=by, reason="T-42")
    assert advance_campaign(campaign.pk) is not None

    (activity,) = list_activity()

    assert activity.sentence == f"maria created Campaign {campaign.pk}, reason: T-42"
    assert activity.url == reverse("admin:migration_campaign_change", args=[campaign.pk])


def test_an_override_is_told_with_its_reason():
    by = User.objects.create(username="maria")
    move = {"client_id": 1, "slug": "idom", "old": "dual_read", "new": "aws", "by": by}
    missing = [CLEAN_STREAK(n=0, wanted=3)]
    PhaseChange.objects.create(**move, reason="T-42", overridden=missing, override_reason="Test")
    PhaseChange.objects.create(**move, reason="T-43", overridden=missing, override_reason="T-43")
    PhaseChange.objects.create(**move, reason="", overridden=missing, override_reason="Test")

    assert [item.sentence.partition("(cut over)")[2] for item in list_activity()] == [
        ", overriding missing evidence, reason: Test",
        ", overriding missing evidence, reason: T-43",
        ", overriding missing evidence, reason: T-42; Test",
    ]


def test_who_stopped_aws_writes_and_started_them_again_is_told():
    by, other = User.objects.create(username="maria"), User.objects.create(username="ana")
    WriteStop.objects.create(by=by, reason="INC-42", stopped_at=ago(hours=3))
    WriteStop.objects.create(by=None, reason="INC-42", stopped_at=ago(hours=2))
    WriteStop.objects.end_all(by=other)
    WriteStop.objects.update(started_at=ago(hours=1))
    WriteStop.objects.create(by=by, reason="INC-43")

    found = list_activity()

    assert [item.sentence for item in found] == [
        "maria stopped all AWS writes, reason: INC-43",
        "ana started AWS writes again",
        "A command stopped all AWS writes, reason: INC-42",
        "maria stopped all AWS writes, reason: INC-42",
    ]
    assert {item.url for item in found} == {reverse("admin:migration_run_aws_writes")}


def test_what_the_schedule_starts_and_what_a_run_moves_is_no_news_of_its_own():
    Run.objects.create(kind=Run.Kind.COMPARE), Run.objects.create(kind=Run.Kind.PUSH)
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    PhaseChange.objects.create(client_id=1, slug="x", old="postgres", new="dual_write", run=run)

    assert [item.sentence for item in list_activity()] == [f"A command created Migration {run.pk}"]


@pytest.mark.parametrize(
    ("permission", "told"),
    [
        ("credentials.view_client", ["moved"]),
        ("migration.view_run", ["created"]),
        ("migration.view_comparison", ["copied"]),
    ],
)
def test_what_happened_is_told_to_those_who_may_see_it(client, permission, told):
    client.force_login(make_user("narrow", permission))
    PhaseChange.objects.create(client_id=1, slug="x", old="dual_read", new="aws")
    Run.objects.create(kind=Run.Kind.MIGRATE)
    Resolution.objects.create(client_id=1, slug="x", kind="to_aws")

    assert [item.sentence.split()[2] for item in client.get(HOME).context["activity"]] == told


# --- Remedies


def remedies(browser) -> list[str]:
    return [each.label for item in browser.get(HOME).context["attention"] for each in item.actions]


def test_who_may_not_start_a_run_is_offered_links_alone(client):
    make_comparison(make_client("idom"), "missing_in_aws")
    client.force_login(make_user("viewer", *VIEW))
    assert remedies(client) == ["See the clients"]

    client.force_login(make_user("operator", *VIEW, "migration.add_run"))

    assert remedies(client) == ["See the clients", "Check again"]


def test_check_again_compares_just_the_clients_that_are_counted(client):
    Worker.objects.create(name="host:1")
    client.force_login(make_user("operator", *VIEW, "migration.add_run"))
    pk = make_client("idom")
    make_comparison(pk, "unchecked"), make_comparison(make_client("other"), "match")
    (item,) = client.get(HOME).context["attention"]
    (check,) = item.actions

    client.post(check.url, {"all": "1"})
    assert not Run.objects.exists(), "the plan is shown first"
    client.post(check.url, {"all": "1", "confirmed": "1"})

    run = Run.objects.get()
    assert (run.kind, list(run.items.values_list("client_id", flat=True))) == ("compare", [pk])


def test_a_run_that_nobody_takes_up_says_how_to_start_a_worker(client):
    client.force_login(User.objects.create_superuser("root"))
    run = Run.objects.create(kind=Run.Kind.PUSH, created_at=ago(minutes=2))
    RunItem.objects.create(run=run, client_id=1, slug="x", batch=0)

    response = client.get(HOME)

    (item,) = response.context["attention"]
    assert item.code == "no_worker"
    assert b"python manage.py qcluster" in response.content


# --- Queries


def queries(browser, url: str) -> int:
    browser.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(url).status_code == 200
    return len(captured)


def test_the_comparisons_are_searched_with_an_index(client):
    client.force_login(make_user("viewer", *VIEW))
    make_crowd(1000)
    found = client.get(reverse("admin:migration_comparison_changelist"), {"q": "crowd-000042"})

    plan_of = found.context["cl"].queryset.order_by().explain()

    assert found.context["cl"].result_count == 10
    assert "comparison_slug" in plan_of


def test_no_page_asks_more_queries_for_ten_thousand_clients_and_a_hundred_thousand_comparisons(
    client, monkeypatch
):
    """And the dashboard at most nineteen, session and user and the two parts that others add to it counted in."""
    # Whether AWS writes are stopped is asked again after 0.7 s, on whichever page that is.
    monkeypatch.setattr("migration.core.aws_writes.KNOWN_FOR_SECONDS", 1e6)
    # And the session is renewed once a minute.
    monkeypatch.setattr("nova_admin.session_store.RENEW_EVERY", timedelta(hours=1))
    client.force_login(make_user("viewer", *VIEW))
    pages = [
        HOME,
        reverse("admin:credentials_client_changelist"),
        f"{reverse('admin:credentials_client_changelist')}?q=000042",
        reverse("admin:migration_comparison_changelist"),
        f"{reverse('admin:migration_comparison_changelist')}?q=crowd-000042",
        reverse("admin:migration_run_changelist"),
        REPORT,
        f"{REPORT}?status=mismatch&state=open&owner=none&age=day",
        f"{REPORT}?status=match",
        f"{REPORT}?status=unchecked",
    ]
    make_crowd(50)
    few = {url: queries(client, url) for url in pages}
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM nova_admin.migration_openmismatch; DELETE FROM nova_admin.migration_clientmigration;"
        )
        cursor.execute(
            "TRUNCATE public.clients CASCADE; DELETE FROM nova_admin.migration_readcount;"
            "DELETE FROM nova_admin.credentials_countinggap;"
        )
        cursor.execute(
            "DELETE FROM nova_admin.credentials_clientrevision; DELETE FROM nova_admin.migration_dailycomparisons;"
        )

    make_crowd(10_000)

    # A list of more than a page tells by one more what all of it is, for what acts on all.
    few["/admin/credentials/client/"] += 1
    assert {url: queries(client, url) for url in pages} == few
    assert few[HOME] <= 19
    assert OpenMismatch.objects.count() == 10_000
