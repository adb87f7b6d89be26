"""The parts of the dashboard: late pushes, what happened lately, what helps."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from credentials.models import Client, ClientRevision, ClientWrite
from migration.campaigns.members import LEFT_OUT_OF_CAMPAIGN
from migration.campaigns.models import CAMPAIGN_EVENT
from migration.campaigns.steps import CAMPAIGN_STARTED, advance_campaign, start_campaign
from migration.clients.counts import add_up_counts
from migration.clients.models import SiteCounts
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    RUN_EVENT,
    WRITES_STARTED_EVENT,
    Actor,
    acting,
)
from migration.core.aws_writes import STARTED_WRITES, start_aws_writes, stop_aws_writes
from migration.core.clients import MOVE_EVENT, MOVED, PlannedChange, all_clients
from migration.core.comparisons import RESOLUTION_EVENT
from migration.core.database_identity import CLAIM_EVENT
from migration.models import (
    AuditEvent,
    ClientGroup,
    ClientMigration,
    OpenMismatch,
    RunItem,
    Worker,
)
from migration.moves.rules import CLEAN_STREAK
from migration.people.audit_signals import LOGGED_IN, LOGIN_EVENT
from migration.pushes.resolutions import RESOLUTIONS
from migration.runs.models import RUN_STARTED, RUN_STEERED, Run
from migration.runs.plans import FORMER_SENTENCES
from migration.site.dashboard import (
    ACTIVITIES_SHOWN,
    SHORT,
    Activity,
    list_activity,
)
from nova_credentials.messages import SENTENCES
from nova_credentials.phases import Phase
from tests.bulk_data import make_crowd
from tests.explained import count_rows_read
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_user,
    update,
)
from tests.page_forms import pages_left_out

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


# --- Recent activity


def make_event(kind, facts, *, about: int | None = None, **named) -> AuditEvent:
    slug = "idom" if about is not None else ""
    return AuditEvent.objects.record(kind, facts, client_id=about, slug=slug, **named)


def move(pk: int, **named) -> AuditEvent:
    facts = MOVED(old=Phase.DUAL_READ.label, new=Phase.AWS.label)
    return make_event(MOVE_EVENT, facts, about=pk, **named)


def list_all_activity() -> list[Activity]:
    return list_activity(lambda _permission: True)


def test_what_people_did_is_told_in_sentences_the_newest_first():
    by = User.objects.create(username="maria")
    move(7, by=by, reason="T-42")
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=by)
    make_event(RESOLUTION_EVENT, RESOLUTIONS["check"](), about=7)
    stop_aws_writes(by=by, reason="INC-42")
    start_aws_writes(by=by)
    make_event(LOGIN_EVENT, LOGGED_IN(), by=by)  # no news

    found = [item for item in list_all_activity() if "finished" not in item.line]

    assert [strip_tags(item.line) for item in found] == [
        "maria resumed AWS writes",
        "maria stopped all AWS writes",
        "A command compared idom again",
        f"maria started Comparison {run.pk}",
        "maria cut over idom",
    ]
    writes, idom = (
        reverse("admin:migration_run_aws_writes"),
        reverse("admin:credentials_client_change", args=[7]),
    )
    run_page = reverse("admin:migration_run_change", args=[run.pk])
    assert [item.url for item in found] == [writes, writes, idom, run_page, idom]
    assert f'<a href="{idom}">idom</a>' in found[-1].line


PHASES = {phase.value: phase.label for phase in Phase}


def test_a_move_is_told_by_the_name_that_it_has():
    for old, new, told in (
        ("dual_write", "dual_read", "moved idom to Dual read"),
        ("dual_read", "dual_write", "moved idom to Dual write"),
        ("dual_read", "aws", "cut over idom"),
        ("aws", "dual_read", "rolled back idom"),
        ("aws", "purged", "purged idom"),
        ("purged", "aws", "restored idom"),
    ):
        facts = json.dumps(MOVED(old=PHASES[old], new=PHASES[new]).to_json())
        event = AuditEvent(code=MOVE_EVENT, who="eva", slug="idom", client_id=7, facts=facts)

        assert Activity(event, "").line == f"<b>eva</b> {told}"


def test_what_has_no_short_words_is_told_as_it_is_and_no_name_is_html():
    def tell(message, url: str) -> str:
        facts = json.dumps(message.to_json())
        event = AuditEvent(code=CLAIM_EVENT, who="<i>", slug="<b>", client_id=7, facts=facts)
        return Activity(event, url).line

    assert strip_tags(tell(STARTED_WRITES(), "")) == "&lt;i&gt; resumed AWS writes (&lt;b&gt;)"

    line = tell(CLEAN_STREAK(n=0, wanted=3), "/x/")

    assert "&lt;b&gt;: " in line
    assert str(CLEAN_STREAK(n=0, wanted=3)) in line


def test_every_short_line_is_of_a_sentence_that_is_still_said():
    sentences = {key.split()[0] for key in SHORT}

    assert sentences <= SENTENCES.keys()
    for key, words in SHORT.items():
        values = {"who", "client"} | SENTENCES[key.split()[0]].value_names
        assert set(re.findall(r"%\((\w+)\)s", str(words))) <= values


def test_a_campaign_is_told_and_neither_its_runs_nor_the_clients_that_it_left_out():
    by = User.objects.create(username="maria")
    group = ClientGroup.objects.get_or_add("Spain")
    group.put_clients(all_clients().filter(pk=make_full_client("idom")))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_WRITE, by=by, reason="T-42")
    with campaign.grouping_audit_entries():
        make_event(RUN_EVENT, RUN_STARTED(run="Move 5"))
        left_out = LEFT_OUT_OF_CAMPAIGN(campaign=campaign.name_message)
        make_event(CAMPAIGN_EVENT, left_out, about=7)

    (activity,) = list_all_activity()

    assert activity.event.message.key == CAMPAIGN_STARTED.key
    assert activity.url == reverse("admin:migration_campaign_change", args=[campaign.pk])


def test_the_end_of_a_campaigns_run_is_told_as_the_clients_that_it_moved():
    group = ClientGroup.objects.get_or_add("Spain")
    pks = [make_full_client("one"), make_full_client("two")]
    group.put_clients(all_clients().filter(pk__in=pks))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_WRITE)
    run = advance_campaign(campaign.pk)
    item = run.items.first()
    run.items.exclude(pk=item.pk).update(outcome="moved", finished_at=timezone.now())
    run.items.filter(pk=item.pk).update(outcome="refused", finished_at=timezone.now())
    assert run.finish_if_done()

    newest = list_all_activity()[0]

    assert strip_tags(newest.line) == f"1 client moved to Dual write by Campaign {campaign.pk}"
    assert newest.url == reverse("admin:migration_campaign_change", args=[campaign.pk])


def test_of_a_campaigns_run_that_moved_nobody_just_that_is_told():
    group = ClientGroup.objects.get_or_add("Spain")
    group.put_clients(all_clients().filter(pk=make_full_client("one")))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_WRITE)
    run = advance_campaign(campaign.pk)
    run.items.update(outcome="refused", finished_at=timezone.now())
    assert run.finish_if_done()

    told = strip_tags(list_all_activity()[0].line)

    assert told == f"Campaign {campaign.pk} moved no client to Dual write"


def test_what_else_is_done_with_a_campaigns_run_is_told_beside_its_end():
    group = ClientGroup.objects.get_or_add("Spain")
    group.put_clients(all_clients().filter(pk=make_full_client("one")))
    run = advance_campaign(start_campaign(groups=[group], goal=Phase.DUAL_WRITE).pk)
    run.items.update(outcome="failed", finished_at=timezone.now())
    assert run.finish_if_done()
    make_event(RUN_EVENT, RUN_STEERED(run=run.name_message, state="running"))

    lines = [strip_tags(each.line) for each in list_all_activity()]

    assert any(line.startswith("A command") for line in lines)
    assert sum("moved no client to Dual write" in line for line in lines) == 1


def test_an_override_is_told_with_its_reason():
    pk = make_client("idom")
    plan = PlannedChange(overridden=(CLEAN_STREAK(n=0, wanted=3),))
    ClientMigration.objects.change_phases(
        {pk: plan}, old=Phase.POSTGRES, new=Phase.DUAL_WRITE, reason="T-42", override_reason="Test"
    )

    told = [(item.event.code, item.event.reason) for item in list_all_activity()]

    assert told == [("override", "Test"), ("move", "T-42")]


def test_what_the_schedule_starts_and_what_a_run_does_to_clients_is_no_news_of_its_own():
    Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())
    with acting(Actor("", "run 5")):
        move(7)
        make_event(RUN_EVENT, RUN_STARTED(run="Migration 5"))
    make_event(RUN_EVENT, FORMER_SENTENCES[-1](id="5"))

    told = [item.event.message.key for item in list_all_activity()]

    assert told == [RUN_STARTED.key]


def test_what_was_carried_over_stands_where_it_happened():
    AuditEvent.make_signed(
        MOVE_EVENT, MOVED(old="", new=""), client_id=7, slug="idom", happened_at=ago(days=9)
    ).save(force_insert=True)
    move(8)
    AuditEvent.make_signed(
        MOVE_EVENT, MOVED(old="", new=""), client_id=9, slug="idom", happened_at=ago(days=8)
    ).save(force_insert=True)

    assert [item.event.client_id for item in list_all_activity()] == [8, 9, 7]


def test_what_happened_is_told_to_those_who_may_see_it(client):
    told = {
        "credentials.view_client": ["move"],
        "migration.view_run": ["writes_started", "run", "approval", "cancellation", "request"],
        "migration.view_campaign": ["campaign"],
        "migration.view_comparison": [],
        "credentials.view_client migration.view_comparison": ["resolution", "move"],
        "migration.view_worker": ["claim"],
    }
    move(7)
    make_event(RESOLUTION_EVENT, RESOLUTIONS["to_aws"](), about=7)
    facts = STARTED_WRITES()
    for kind in (REQUEST_EVENT, CANCELLATION_EVENT, APPROVAL_EVENT, CLAIM_EVENT, CAMPAIGN_EVENT):
        make_event(kind, facts)
    with acting(Actor("", "run 5")):
        make_event(RUN_EVENT, facts)
    make_event(WRITES_STARTED_EVENT, facts)

    found = {}
    for permission in told:
        client.force_login(make_user(permission, *permission.split()))
        with pages_left_out():
            activity = client.get(HOME).context_data["activity"]
        found[permission] = [item.event.code for item in activity]
    assert found == told


@pytest.mark.parametrize(
    ("code", "slug", "correlation"), [("move", "idom", "run 5"), ("login", "", "0123456789abcdef")]
)
def test_recent_activity_reads_few_rows_of_an_audit_of_runs_and_of_logins(
    django_assert_num_queries, code, slug, correlation
):
    events = [move(7) for _ in range(ACTIVITIES_SHOWN)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO migration_auditevent
                (id, at, code, who, origin, client_id, slug, reason, facts, correlation, key, signature)
            SELECT gen_random_uuid(), now() + n * interval '1 ms', %s, 'system', '', n, %s, '', '{}', %s, '', ''
            FROM generate_series(1, 20000) AS n
            """,
            [code, slug, correlation],
        )
        cursor.execute("ANALYZE migration_auditevent")

    with django_assert_num_queries(1):
        found = list_all_activity()
    assert [item.event.pk for item in found] == [event.pk for event in reversed(events)]

    read = count_rows_read("migration_auditevent", list_all_activity)
    assert read <= 2 * ACTIVITIES_SHOWN


# --- Remedies


def remedies(browser) -> list[str]:
    lines = browser.get(HOME).context["attention"]
    return [line.action.label for line in lines if line.action]


def test_who_may_not_start_a_run_is_offered_links_alone(client):
    make_comparison(make_client("idom"), "missing_in_aws")
    client.force_login(make_user("viewer", *VIEW))
    make_comparison(make_client("acme"), "unchecked")
    offered = ["See the mismatches", "See the clients"]
    assert remedies(client) == offered

    client.force_login(make_user("operator", *VIEW, "migration.add_run"))

    lines = client.get(HOME).context["attention"]
    assert remedies(client) == offered
    assert not any(line.action.posts for line in lines)


def test_check_again_compares_just_the_clients_that_are_counted(client):
    Worker.objects.create(name="host:1")
    client.force_login(make_user("operator", *VIEW, "migration.add_run"))
    pk = make_client("idom")
    make_comparison(pk, "unchecked"), make_comparison(make_client("other"), "match")
    (item,) = client.get(HOME).context["attention"]
    _page, _mark, query = item.action.url.partition("?")

    client.post(f"{reverse('admin:migration_comparison_check')}?{query}", {"select_across": "1"})

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


@pytest.mark.nightly
def test_the_comparisons_are_searched_with_an_index(client):
    client.force_login(make_user("viewer", *VIEW))
    make_crowd(1000)
    found = client.get(reverse("admin:migration_comparison_changelist"), {"q": "crowd-000042"})

    plan_of = found.context["cl"].queryset.order_by().explain()

    assert found.context["cl"].result_count == 10
    assert "comparison_slug" in plan_of


@pytest.mark.parametrize("many", [200, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_no_page_asks_more_queries_for_many_clients_and_ten_comparisons_of_each(
    client, monkeypatch, many
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

    make_crowd(many)

    assert {url: queries(client, url) for url in pages} == few
    assert few[HOME] <= 19
    assert OpenMismatch.objects.count() == many
