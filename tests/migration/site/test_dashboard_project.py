"""How far the project is on the dashboard, what is next, how many are blocked, what is alive."""

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
from migration.core.problems import Severity
from migration.models import (
    Campaign,
    ClientGroup,
    ClientMigration,
    Comparison,
    KeptCounts,
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
from tests.page_forms import pages_left_out

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


def home(browser) -> dict:
    """What the dashboard would show; it is not rendered."""
    return look_at(browser, HOME)


def look_at(browser, address: str) -> dict:
    with pages_left_out():
        return getattr(browser.get(address), "context_data", {})


def href(address: str) -> str:
    return f'href="{escape(address)}"'


@pytest.fixture(autouse=True)
def aws_is_not_asked(monkeypatch) -> None:
    monkeypatch.setattr(acts, "ASK_AWS_FOR_SECONDS", -1.0)


def test_each_client_is_ready_or_kept_by_one_thing_and_every_number_leads_to_as_many(root):
    make_many(3), make_many(2, status="mismatch"), make_many(1, status="unchecked")
    push_all()
    make_many(4)  # waits for its push
    make_full_client("new"), make_client("off", is_active=False)
    # The list looks at its rows too, and says that it is blocked.
    make_full_client("no name of a secret")
    make_many(2, phase="purged")

    response = root.get(HOME)

    clients = response.context["clients"]
    steps = {row.next_label: row for row in clients.phases if row.ready}
    assert {name: row.ready for name, row in steps.items()} == {"Dual write": 2, "Dual read": 3}
    rows = clients.blockers
    assert {row.blocker.code: row.clients for row in rows} == {
        "differs": 2, "unchecked": 1, "inactive": 1, "push_pending": 4,
    }  # fmt: skip
    assert response.context["blocked"] == 4
    on_page = {f"{LISTING}?{row.ready_query}": row.ready for row in steps.values()}
    on_page[f"{LISTING}?{response.context['blocked_query']}"] = 4
    for url in on_page:
        assert href(url) in response.content.decode()
    links = on_page | {f"{LISTING}?{row.list_query}": row.clients for row in rows}
    for url, number in links.items():
        assert look_at(root, url)["cl"].result_count == number
    # Purged are two more, and who is blocked was counted twice.
    assert sum(links.values()) + 2 - 4 == all_clients().count()


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


def test_the_former_address_of_what_is_ready_leads_to_the_page_of_the_act(root):
    leads = {
        "dual_write": (FIRST, "postgres"),
        "dual_read": ("dual_read", "dual_write"),
        "aws": ("cutover", "dual_read"),
        "purged": None,
        "x": None,
    }
    for new, there in leads.items():
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
        return look_at(root, ready).get("number", 0)

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
    step = response.context["next"]
    assert (step.is_main, client.get(step.url).context["cl"].result_count) == (False, 2)
    assert "/act/" not in page
    assert "Approve or refuse" not in page
    assert client.get(ready_page("dual_read", "dual_write")).status_code == 403
    assert client.post(ready_page("dual_read", "dual_write")).status_code == 403
    for item in response.context["attention"]:
        assert item.action is None or client.get(item.action.url).status_code == 200


def test_all_that_are_cut_over_are_a_hundred_per_cent_none_less_is_and_one_is_not_none(root):
    make_many(1, phase="aws"), make_many(999, phase="dual_read")
    words = text(root.get(HOME))
    assert "1 of 1,000" in words
    assert "under 1%" in words

    one = ClientMigration.objects.filter(phase=Phase.AWS)
    one.update(phase=Phase.PURGED)
    ClientMigration.objects.filter(phase=Phase.DUAL_READ).update(phase=Phase.AWS)
    ClientMigration.objects.filter(phase=Phase.PURGED).update(phase=Phase.DUAL_READ)
    assert home(root)["clients"].percent_cut_over == 99
    ClientMigration.objects.update(phase=Phase.AWS)

    response = root.get(HOME)

    assert response.context["clients"].percent_cut_over == 100
    assert "1,000 of 1,000" in text(response)


def test_what_stands_still_is_told_before_what_goes_on(root):
    make_many(1, status="mismatch")
    Campaign.objects.create(goal="aws", state="stopped")

    lines = home(root)["attention"]

    codes = [line.code for line in lines if line.severity == Severity.WARNING]
    assert codes[0] == "campaign_stopped"
    assert "mismatches" in codes


def test_what_is_known_of_aws_and_of_the_sweep_needs_attention_once_it_is_old(root, settings):
    settings.NOVA_SWEEP_MINUTES = 15

    def attention() -> set[str]:
        return {item.code for item in home(root)["attention"]}

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
        return "aws_gone" in {item.code for item in home(root)["attention"]}

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
        return "aws_gone" in {item.code for item in home(root)["attention"]}

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
    assert home(root)["counted_at"] is None
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
    assert home(root)["clients"].total == 5
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
    running = Campaign.objects.create(goal="aws", state="running")
    why = STOPPED_BY_COMMAND()
    stopped = Campaign.objects.create(goal="aws", state="stopped", stopped_because=why)
    requested = Campaign.objects.create(goal="aws", state="requested")
    Campaign.objects.create(goal="aws", state="finished")

    response = root.get(HOME)

    assert [each.key for each in response.context["work"]] == [f"c{running.pk}"]
    told = [item for item in response.context["attention"] if "/campaign/" in item.url]
    assert [(item.code, item.sentence) for item in told] == [
        (
            "campaign_stopped",
            f"Campaign {stopped.pk} has stopped. Stopped by a command.",
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

    shown = home(root)

    assert shown["blocked"] == 1
    assert look_at(root, shown["next"].url)["cl"].result_count == 1


def test_one_button_is_the_main_one_and_moves_exactly_those_that_it_counts(root):
    make_many(2, phase="dual_write"), make_many(3, phase="dual_write")
    push_all()
    main_button = re.compile(r"border border-base-200 bg-primary-600")
    page = root.get(HOME)
    assert len(main_button.findall(page.content.decode())) == 1
    assert page.context["next"].button == "Move 5 clients to dual read…"
    assert page.context["next"].waves_url == reverse("admin:migration_campaign_start")

    group = ClientGroup.objects.get_or_add("Spain")
    some = list(all_clients().order_by("pk").values_list("pk", flat=True)[:2])
    group.put_clients(all_clients().filter(pk__in=some))
    start_campaign(groups=[group], goal=Phase.DUAL_READ)
    step = home(root)["next"]

    assert step.button == "Move 3 clients to dual read…"
    assert look_at(root, step.url)["number"] == 3


def test_what_blocks_clients_is_next_where_none_is_ready_then_what_they_wait_for(root):
    make_many(2)
    assert (step := home(root)["next"]).is_main is False
    assert look_at(root, step.url)["cl"].result_count == 2
    make_many(1, status="mismatch"), push_all()
    ClientMigration.objects.exclude(comparison_status="mismatch").update(phase=Phase.PURGED)

    step = home(root)["next"]

    assert step.is_main
    assert look_at(root, step.url)["cl"].result_count == 1
    ClientMigration.objects.update(phase=Phase.PURGED)
    assert home(root)["next"] is None
