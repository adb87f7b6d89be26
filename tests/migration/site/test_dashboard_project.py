"""The headline of the dashboard: how far the project is, what can go on now, what keeps the rest, what is alive."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from credentials.models import ClientRevision
from migration import tasks
from migration.campaigns.models import STOPPED_BY_COMMAND
from migration.campaigns.steps import start_campaign
from migration.clients import models as site_counts
from migration.clients.models import SiteCounts, read_or_count_clients
from migration.core.clients import all_clients
from migration.models import (
    Campaign,
    ClientGroup,
    ClientMigration,
    Comparison,
    KeptCounts,
    PhaseChange,
    Worker,
)
from migration.moves import acts
from migration.moves.pages import find_move_act
from migration.runs.items import Act, Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_full_client,
    make_many,
    make_user,
)
from tests.migration.acts import press
from tests.migration.pages import text

HOME = reverse("admin:index")
LISTING = reverse("admin:credentials_client_changelist")


@pytest.fixture
def root(db, client):
    Worker.objects.create(name="host:1")
    client.force_login(User.objects.create_superuser("root"))
    return client


def push_all() -> None:
    rows = all_clients().with_revision().values_list("pk", "revision")
    ClientRevision.objects.record_pushed(list(rows))


FIRST = find_move_act(Phase.POSTGRES, Phase.DUAL_WRITE).code


def ready_page(code: str, phase: str) -> str:
    """The page of the act for what is ready in the phase, and left to no campaign."""
    page = reverse("admin:credentials_client_act", args=[code])
    return f"{page}?phase={phase}&next=kept_by_nothing&campaign=none&all=1"


def href(address: str) -> str:
    return f'href="{escape(address)}"'


@pytest.fixture(autouse=True)
def aws_is_not_asked(monkeypatch) -> None:
    monkeypatch.setattr(acts, "ASK_AWS_FOR_SECONDS", -1.0)


def cut_over(number: int, *, days_ago: int, back: bool = False) -> None:
    old, new = ("aws", "dual_read") if back else ("dual_read", "aws")
    at = timezone.now() - timedelta(days=days_ago)
    PhaseChange.objects.bulk_create(
        PhaseChange(client_id=1, slug="x", old=old, new=new, changed_at=at) for _ in range(number)
    )


def test_each_client_is_ready_or_kept_by_one_thing_and_every_number_leads_to_as_many(root):
    make_many(3), make_many(2, status="mismatch"), make_many(1, status="unchecked")
    push_all()
    make_many(4)  # waits for its push
    make_full_client("new"), make_client("off", is_active=False)
    # The list looks at its rows too, and says that it is blocked.
    make_full_client("no name of a secret")
    make_many(2, phase="purged")

    response = root.get(HOME)

    steps = {step["label"]: step for step in response.context["next_steps"]}
    assert {name: step["number"] for name, step in steps.items()} == {
        "Dual write": 2,
        "Dual read": 3,
    }
    rows = [row for _title, rows in response.context["blockers"] for row in rows]
    assert {row.blocker.code: row.clients for row in rows} == {
        "differs": 2, "unchecked": 1, "inactive": 1, "push_pending": 4,
    }  # fmt: skip
    assert response.context["blockers"][0][1][0].blocker.code == "differs"
    links = {f"{LISTING}?{row.list_query}": row.clients for row in rows}
    links |= {step["list_url"]: step["number"] for step in steps.values()}
    for url, number in links.items():
        assert url.replace("&", "&amp;") in response.content.decode()
        assert root.get(url).context["cl"].result_count == number
    assert sum(links.values()) + 2 == all_clients().count()


def test_what_clients_have_too_little_of_is_said_with_how_much_is_wanted(root, settings):
    settings.NOVA_CLEAN_STREAK, settings.NOVA_PURGE_AFTER_DAYS = 3, 7.0
    make_many(2, phase="dual_read"), push_all()
    ClientMigration.objects.update(clean_streak=1)
    make_many(1, phase="aws"), push_all()
    ClientMigration.objects.filter(phase="aws").update(clean_streak=3)

    words = text(root.get(HOME))

    assert "Too few matches in a row (needed: 3) 2" in words
    assert "Not long enough in its phase (needed: 7 days) 1" in words


def test_exactly_those_that_are_ready_are_moved_as_a_run(root):
    make_many(51)
    push_all()
    ready = set(all_clients().values_list("pk", flat=True))
    make_many(2, status="mismatch")
    page = ready_page("dual_read", "dual_write")
    assert href(page) in root.get(HOME).content.decode()
    assert root.get(page).context["number"] == 51

    press(root, page)

    run = Run.objects.get()
    assert (run.move_from, run.move_to) == ("dual_write", "dual_read")
    assert set(run.items.values_list("client_id", flat=True)) == ready


def test_those_before_a_cutover_lead_to_its_page_and_a_purge_is_offered_to_nobody(root, settings):
    make_many(3, phase="dual_read")
    push_all()
    ClientMigration.objects.update(phase_changed_at=timezone.now())
    settings.NOVA_CLEAN_STREAK = settings.NOVA_MIN_READS = settings.NOVA_DUAL_READ_HOURS = 0
    page = ready_page("cutover", "dual_read")

    assert href(page) in root.get(HOME).content.decode()
    assert root.get(page).context["number"] == 3
    assert not Run.objects.exists()
    ClientMigration.objects.update(phase=Phase.AWS)
    assert "act/purge" not in root.get(HOME).content.decode()


@pytest.mark.parametrize(
    ("new", "there"),
    [
        ("dual_write", (FIRST, "postgres")),
        ("dual_read", ("dual_read", "dual_write")),
        ("aws", ("cutover", "dual_read")),
        ("purged", None),
        ("x", None),
    ],
)
def test_the_former_address_of_what_is_ready_leads_to_the_page_of_the_act(root, new, there):
    former = reverse("admin:credentials_client_ready", args=[new])

    answer = root.get(former)

    assert getattr(answer, "url", None) == (ready_page(*there) if there else None)
    assert answer.status_code == (302 if there else 404)
    assert root.post(former).status_code == 405


def test_who_is_in_a_campaign_is_left_to_it_and_the_others_can_be_moved(root):
    make_many(2)
    group = ClientGroup.objects.create(name="north")
    group.put_clients(all_clients())
    push_all()
    campaign = start_campaign(groups=[group], goal=Phase.AWS)
    ready = ready_page("dual_read", "dual_write")

    def count_ready() -> int:
        page = root.get(ready)
        return page.context["number"] if page.status_code == 200 else 0

    assert href(ready) not in root.get(HOME).content.decode()
    assert count_ready() == 0
    campaign.stop(by=None)
    assert href(ready) not in root.get(HOME).content.decode()
    Campaign.objects.filter(pk=campaign.pk).update(goal=Phase.DUAL_WRITE)
    assert count_ready() == 2
    Campaign.objects.filter(pk=campaign.pk).update(goal=Phase.AWS)

    make_many(51), push_all()
    # Others of the campaign, which are not ready: it has more clients of the phase than are ready.
    known = set(all_clients().values_list("pk", flat=True))
    make_many(52)
    group.put_clients(all_clients().exclude(pk__in=known))
    assert href(ready) in root.get(HOME).content.decode()
    assert count_ready() == 51
    press(root, ready)

    in_campaign = set(group.members.values_list("client_id", flat=True))
    moved = set(Run.objects.get(kind=Run.Kind.MOVE).items.values_list("client_id", flat=True))
    assert len(moved) == 51
    assert not moved & in_campaign


def test_who_may_not_move_them_is_told_how_many_and_offered_nothing(client, db):
    make_many(2)
    push_all()
    Worker.objects.create(name="host:1")
    make_comparison(make_client("waits"), "match")
    Run.objects.create(kind=Run.Kind.MOVE, move_from="dual_read", move_to="aws", state="requested")
    client.force_login(make_user("vera", *VIEW))

    response = client.get(HOME)

    page = response.content.decode()
    assert "2 ready for Dual read" in text(response)
    assert "Move them" not in page
    assert "Approve or refuse" not in page
    assert client.get(ready_page("dual_read", "dual_write")).status_code == 403
    assert client.post(ready_page("dual_read", "dual_write")).status_code == 403
    for item in response.context["attention"]:
        for action in item.actions:
            assert client.get(action.url).status_code == 200


def test_the_headline_counts_down_and_forecasts_at_the_pace_that_was(root):
    make_many(5, phase="aws"), make_many(5, phase="purged"), make_many(20, phase="dual_read")
    cut_over(6, days_ago=9), cut_over(3, days_ago=5), cut_over(1, days_ago=3)
    cut_over(1, days_ago=1), cut_over(1, days_ago=1, back=True)

    response = root.get(HOME)

    found = response.context["headline"]
    assert (found.clients, found.cut_over, found.percent) == (30, 10, 33.3)
    left = [day.number for day in found.days]
    assert (left[0], left[-10], left[-6], left[-4], left[-1]) == (30, 24, 21, 20, 20)
    # Ten in ten days.
    assert found.ends_on == timezone.localdate() + timedelta(days=20)
    assert "33.3 % cut over to AWS: 10 of 30 clients" in text(response)
    assert "About 20 days left" in text(response)


@pytest.mark.parametrize("moves", [[(9, 3)], [(5, 3), (5, 2)], [(1, 20), (1, 19), (1, 18)]])
def test_too_few_days_are_no_pace(root, moves):
    make_many(1, phase="aws"), make_many(20, phase="dual_read")
    for number, ago in moves:
        cut_over(number, days_ago=ago)

    response = root.get(HOME)

    assert response.context["headline"].ends_on is None
    assert "left, around" not in text(response)
    assert response.context["headline"].days != []


def test_all_that_are_cut_over_are_a_hundred_per_cent_and_none_less_is(root):
    make_many(1999, phase="aws"), make_many(1, phase="dual_read")
    assert root.get(HOME).context["headline"].percent == 99.9
    ClientMigration.objects.update(phase=Phase.AWS)

    response = root.get(HOME)

    assert response.context["headline"].percent == 100
    assert "Every client is read from AWS." in text(response)


def test_what_is_known_of_aws_and_of_the_sweep_needs_attention_once_it_is_old(root, settings):
    settings.NOVA_SWEEP_MINUTES = 15

    def attention() -> set[str]:
        return {item.code for item in root.get(HOME).context["attention"]}

    make_many(2)
    ClientMigration.objects.update(phase_changed_at=timezone.now() - timedelta(days=1))
    assert attention() == {"sweep_overdue"}
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=29))
    assert attention() == set()
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=31))
    assert attention() == {"sweep_overdue"}


def test_no_answer_of_before_expired_keys_is_taken_for_one_of_now(root):
    make_many(2)
    Comparison.objects.update(compared_at=timezone.now() - timedelta(minutes=61))
    client = make_client("idom")

    def is_gone() -> bool:
        return "aws_gone" in {item.code for item in root.get(HOME).context["attention"]}

    assert not is_gone()
    for _ in range(20):
        make_comparison(client, status="unchecked", error_class="permission")
    assert is_gone()
    make_comparison(client, status="match")
    assert not is_gone()


def test_of_few_clients_aws_is_gone_once_it_answers_none_of_them_three_times_in_a_row(root):
    pks = [make_client(f"c{n}") for n in range(2)]
    for pk in pks * 3:
        make_comparison(pk, status="match")

    def is_gone() -> bool:
        return "aws_gone" in {item.code for item in root.get(HOME).context["attention"]}

    for _ in range(3):
        make_comparison(pks[0], status="unchecked", error_class="permission")
    assert not is_gone()  # the other's newest has an answer
    make_comparison(pks[1], status="unchecked", error_class="unavailable")
    assert is_gone()
    make_comparison(pks[0], status="mismatch")
    make_comparison(pks[0], status="unchecked", error_class="permission")
    assert not is_gone()  # two in a row


def test_very_many_clients_are_counted_by_the_workers_and_the_page_says_when(root, monkeypatch):
    monkeypatch.setattr(site_counts, "KEPT_FROM_CLIENTS", 3)
    make_many(2)
    tasks.count_clients()
    assert not KeptCounts.objects.filter(pk=KeptCounts.CLIENTS).exists()
    assert root.get(HOME).context["counted_at"] is None
    make_many(2)
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    run.add_items(all_clients().values_list("pk", "slug"))
    run.items.update(outcome=Outcome.FAILED, finished_at=timezone.now())
    counted = SiteCounts.count_now()
    assert counted.failures.by_act == {Act.COMPARE: 4}
    tasks.count_clients()
    make_many(1)

    page = root.get(HOME)

    assert page.context["clients"].total == 4
    assert re.search("counted (now|.{1,20} ago)", text(page))
    kept = read_or_count_clients()
    assert kept.is_kept
    assert replace(kept, at=counted.at, is_kept=False) == counted
    # Workers that are late are not waited for, …
    KeptCounts.objects.update(counted_at=timezone.now() - site_counts.KEPT_FOR)
    assert root.get(HOME).context["clients"].total == 5
    tasks.count_clients()
    assert read_or_count_clients().clients == 5
    # A worker of the release before counted no failures.
    KeptCounts.objects.update(counts={"rows": [], "pushes": {}})
    assert read_or_count_clients().failures.by_act == {Act.COMPARE: 4}
    tasks.count_clients()
    # … and of a site that has fewer now nothing is kept.
    monkeypatch.setattr(site_counts, "KEPT_FROM_CLIENTS", 6)
    tasks.count_clients()
    assert not KeptCounts.objects.filter(pk=KeptCounts.CLIENTS).exists()


def test_campaigns_are_named_as_long_as_they_are_not_over(root):
    make_many(3)
    push_all()
    assert [step["is_main"] for step in root.get(HOME).context["next_steps"]] == [True]
    running = Campaign.objects.create(goal="aws", state="running")
    why = STOPPED_BY_COMMAND()
    stopped = Campaign.objects.create(goal="aws", state="stopped", stopped_because=why)
    requested = Campaign.objects.create(goal="aws", state="requested")
    Campaign.objects.create(goal="aws", state="finished")

    response = root.get(HOME)

    assert re.search(f"Campaign {running.pk} is running ?: it takes its clients", text(response))
    assert [step["is_main"] for step in response.context["next_steps"]] == [False]
    told = [item for item in response.context["attention"] if "/campaign/" in item.url]
    assert [(item.code, item.sentence) for item in told] == [
        (
            "campaign_stopped",
            f"Campaign {stopped.pk} has stopped. Somebody stopped it by command.",
        ),
        ("requested_campaigns", f"Campaign {requested.pk} is waiting for approval."),
    ]
    assert [root.get(item.url).status_code for item in told] == [200, 200]


def test_who_may_see_no_campaign_is_told_of_none(client, db):
    make_many(3)
    Campaign.objects.create(goal="aws", state="running")
    Campaign.objects.create(goal="aws", state="stopped")
    client.force_login(make_user("narrow", "credentials.view_client"))

    assert "Campaign" not in text(client.get(HOME))


def test_what_only_a_purge_waits_for_is_nobodys_task_before_it(root, settings):
    settings.NOVA_CLEAN_STREAK, settings.NOVA_MIN_READS, settings.NOVA_PURGE_AFTER_DAYS = 3, 0, 0
    make_many(4, phase="aws"), make_many(1, status="mismatch")
    push_all()

    response = root.get(HOME)

    titles = {
        title: [row.blocker.code for row in rows] for title, rows in response.context["blockers"]
    }
    assert titles == {
        "Blocked: need somebody": ["differs"],
        "In AWS: lack something before their purge": ["streak"],
    }
    assert response.context["need_somebody"] == 1


def test_one_button_is_the_main_one_and_none_where_a_campaign_moves_these_clients(root):
    make_many(2, phase="postgres"), make_many(2, phase="dual_write")
    push_all()
    main_button = re.compile(r"border border-base-200 bg-primary-600")

    assert len(main_button.findall(root.get(HOME).content.decode())) == 1

    group = ClientGroup.objects.get_or_add("Spain")
    group.put_clients(all_clients().in_phases(Phase.DUAL_WRITE))
    start_campaign(groups=[group], goal=Phase.DUAL_READ)
    response = root.get(HOME)
    assert "2 clients of this phase are in a running campaign" in text(response)
    assert text(response).count("in a running campaign") == 1
    assert not main_button.findall(response.content.decode())
