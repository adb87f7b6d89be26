"""An approval covers what the page showed, and what a page showed is what its button does."""

import re

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credentials.models import Client
from migration.core.audit import REFUSAL_EVENT
from migration.core.clients import all_clients, digest_selection
from migration.models import (
    AuditEvent,
    Campaign,
    ClientGroup,
    ClientMigration,
    RunItem,
)
from migration.moves.approvals import request_move
from migration.pushes.comparisons import compare
from migration.runs.items import Act
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_full_client, make_many, make_user
from tests.migration.acts import by_verdict, send
from tests.migration.campaigns.shown import CAMPAIGNS, do_next, make_campaign, make_group, page
from tests.migration.moves.clients import enter_phase_together, phase_of
from tests.migration.moves.runs.moved import start
from tests.migration.pages import CLIENTS

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture(autouse=True)
def approval_is_required(settings):
    settings.NOVA_REQUIRE_APPROVAL = True


@pytest.fixture
def maria():
    return make_user("maria", "migration.move_client", "migration.change_campaign")


@pytest.fixture
def ana(client):
    """An approver, logged in."""
    user = make_user("ana", "migration.view_campaign", "migration.view_run")
    user.groups.add(Group.objects.get(name="Approver"))
    client.force_login(user)
    return user


def put(name: str, *pks: int) -> None:
    ClientGroup.objects.get_or_add(name).put_clients(all_clients().with_ids(pks))


def take_out(name: str, *pks: int) -> None:
    ClientGroup.objects.get_or_add(name).remove_clients(all_clients().with_ids(pks))


def ask(maria, group: ClientGroup, **more) -> Campaign:
    options = {"goal": Phase.AWS, "by": maria, "reason": "CHG-1", "soak_minutes": 1440}
    return make_campaign(group, **options | more)


def opened(client, address: str) -> dict[str, str]:
    """What the form that approves sends, from the page as it is now."""
    html = client.get(address).content.decode()
    form = re.search(r'<form[^>]*action="[^"]*/approve/".*?</form>', html, re.DOTALL)
    assert form
    return dict(re.findall(r'name="(seen|shown)" value="([^"]*)"', form[0]))


def approve(client, address: str, form: dict[str, str]) -> str:
    response = client.post(address.replace("/change/", "/approve/"), form)
    return " ".join(map(str, get_messages(response.wsgi_request)))


def members(client, campaign: Campaign) -> int:
    """For how many clients the button approves the campaign."""
    html = client.get(page(campaign)).content.decode()
    found = re.search(r"Approve the campaign for ([\d,]+) client", html)
    return int(found[1].replace(",", "")) if found else -1


# Campaigns


def test_who_joins_after_the_request_is_not_in_it_though_the_form_was_open(client, maria, ana):
    campaign = ask(maria, make_group("Pilot", 1))
    form = opened(client, page(campaign))
    late = [make_full_client(f"late-{n}") for n in range(4)]
    put("Pilot", *late)

    html = client.get(page(campaign)).content.decode()
    assert "Approve the campaign for 1 client" in html
    assert "4 clients joined them since and are left out." in html
    assert "begins" in approve(client, page(campaign), form)
    do_next(campaign)

    assert {phase_of(pk) for pk in late} == {Phase.POSTGRES}
    assert list(campaign.waves.get().taken.values_list("slug", flat=True)) == ["pilot-0"]


def test_who_joins_after_the_approval_is_taken_along_by_no_later_wave(client, maria, ana):
    campaign = ask(maria, make_group("Pilot", 2), wave_size=1, goal=Phase.AWS)
    approve(client, page(campaign), opened(client, page(campaign)))
    late = make_full_client("a-late")
    put("Pilot", late)
    for wave in range(2):
        do_next(campaign)
        campaign.waves.update(finished_at=campaign.created_at)
        assert campaign.waves.count() == wave + 1
    do_next(campaign)

    campaign.refresh_from_db()
    assert campaign.state == Campaign.State.FINISHED
    taken = campaign.waves.values_list("taken__slug", flat=True)
    assert sorted(taken) == ["pilot-0", "pilot-1"]


def test_who_left_refuses_the_form_and_is_not_moved(client, maria, ana):
    group = make_group("Pilot", 2)
    campaign = ask(maria, group)
    form = opened(client, page(campaign))
    left = all_clients().get(slug="pilot-0").pk
    take_out("Pilot", left)

    assert "the page showed 2, and now it would be 1 client" in approve(
        client, page(campaign), form
    )
    campaign.refresh_from_db()
    assert campaign.state == Campaign.State.REQUESTED
    assert AuditEvent.objects.filter(code=REFUSAL_EVENT, who="ana").count() == 1
    approve(client, page(campaign), opened(client, page(campaign)))
    put("Pilot", left)  # comes back: nobody approved that
    do_next(campaign)
    assert phase_of(left) == Phase.POSTGRES
    assert phase_of(all_clients().get(slug="pilot-1").pk) == Phase.DUAL_WRITE

    emptied = ask(maria, make_group("Emptied", 1))
    form = opened(client, page(emptied))
    take_out("Emptied", all_clients().get(slug="emptied-0").pk)
    assert "now it would be 0 clients" in approve(client, page(emptied), form)


def test_who_leaves_a_wave_that_has_begun_is_moved_no_further(maria):
    campaign = make_campaign(make_group("Pilot", 2), goal=Phase.DUAL_READ)
    do_next(campaign)
    left = all_clients().get(slug="pilot-0").pk
    take_out("Pilot", left)
    do_next(campaign)

    phases = dict(all_clients().with_phase().values_list("slug", "phase"))
    assert phases == {"pilot-0": Phase.DUAL_WRITE, "pilot-1": Phase.DUAL_READ}


def test_a_client_that_nova_renamed_or_deleted_refuses_the_form(client, maria, ana):
    campaign = ask(maria, make_group("Pilot", 2))
    form = opened(client, page(campaign))
    Client.objects.filter(slug="pilot-0").update(slug="other")
    assert "or renamed" in approve(client, page(campaign), form)

    form = opened(client, page(campaign))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'other'")
    assert "the page showed 2, and now it would be 1 client" in approve(
        client, page(campaign), form
    )


def test_a_request_that_was_made_again_is_not_the_one_that_the_page_showed(client, maria, ana):
    campaign = ask(maria, make_group("Pilot", 1))
    form = opened(client, page(campaign))
    approve(client, page(campaign), form)
    campaign.refresh_from_db()
    campaign.stop(by=maria)
    late = make_full_client("late")
    put("Pilot", late)
    campaign.go_on(by=maria)

    assert "this isn't the request that the page showed" in approve(client, page(campaign), form)
    for says_nothing in ({}, {"shown": "1:a:b\0"}):
        assert "isn't the request" in approve(client, page(campaign), says_nothing)
    assert members(client, campaign) == 2  # asked anew, for who is there now
    assert "begins" in approve(client, page(campaign), opened(client, page(campaign)))


def test_the_queries_of_the_page_do_not_grow_with_the_clients(client, maria, ana):
    def count(campaign: Campaign) -> tuple[int, int]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            size = len(client.get(page(campaign)).content)
        return len(queries), size

    few, many = ask(maria, make_group("Few", 2)), ClientGroup.objects.get_or_add("Many")
    make_many(200)
    many.put_clients(all_clients().filter(group_members=None))
    crowd = ask(maria, many)
    count(few)

    (queries, size), (of_many, size_of_many) = count(few), count(crowd)
    assert of_many == queries
    assert abs(size_of_many - size) < 200
    assert members(client, crowd) >= 200


# Runs and single moves


def make_ready(number: int) -> list[int]:
    pks = [make_full_client(f"client-{n}") for n in range(number)]
    enter_phase_together(pks, Phase.DUAL_READ)
    return pks


def run_page(run: Run) -> str:
    return f"/admin/migration/run/{run.pk}/change/"


def test_a_run_is_approved_for_the_clients_that_the_page_showed(client, maria, ana):
    make_ready(3)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="CHG-1")
    form = opened(client, run_page(run))
    assert "Approve the run for 3 clients" in client.get(run_page(run)).content.decode()
    Client.objects.filter(slug="client-0").update(slug="other")
    assert "or renamed" in approve(client, run_page(run), form)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'client-1'")
    assert "the page showed 3, and now it would be 2 clients" in approve(
        client, run_page(run), form
    )
    html = client.get(run_page(run)).content.decode()
    assert "NOVA has deleted 1 client since the request" in html
    assert "NOVA changed the slug of 1 client" in html
    run.refresh_from_db()
    assert run.state == Run.State.REQUESTED

    assert "the run begins" in approve(client, run_page(run), opened(client, run_page(run)))


def test_a_run_that_asks_for_more_than_the_page_showed_is_refused(client, maria, ana):
    make_ready(1)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="CHG-1")
    form = opened(client, run_page(run))
    Run.objects.filter(pk=run.pk).update(schedule_deletion=True)

    assert "isn't the request" in approve(client, run_page(run), form)
    late = make_full_client("late")
    form = opened(client, run_page(run))
    RunItem.objects.add(run.pk, Act(RunItem.objects.get().act), [(late, "late", 1)])
    assert "the page showed 1, and now it would be 2" in approve(client, run_page(run), form)


def test_an_approver_who_lost_the_right_approves_nothing(client, maria, ana):
    make_ready(1)
    run = start(Phase.DUAL_READ, Phase.AWS, by=maria, reason="CHG-1")
    form = opened(client, run_page(run))
    ana.groups.clear()

    response = client.post(run_page(run).replace("/change/", "/approve/"), form)
    assert response.status_code == 403
    run.refresh_from_db()
    assert run.state == Run.State.REQUESTED


def test_a_move_of_a_client_that_was_renamed_is_refused_once_and_named(client, maria, ana):
    (pk,) = make_ready(1)
    address = run_page(request_move(client_id=pk, new=Phase.AWS, by=maria, reason="CHG-1").run)
    form = opened(client, address)
    Client.objects.filter(pk=pk).update(slug="other")

    assert "another than the page showed, or renamed" in approve(client, address, form)
    assert phase_of(pk) == Phase.DUAL_READ
    assert "another slug since: other." in client.get(address).content.decode()


# Pages on which many clients are chosen


@pytest.fixture
def olga(client):
    user = make_user("olga")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    return user


def said(response) -> str:
    return " ".join(map(str, get_messages(response.wsgi_request)))


def list_form(client, address: str) -> dict[str, str]:
    html = client.get(address).content.decode()
    return dict(re.findall(r'name="(shown_all|shown_phases)" value="([^"]*)"', html))


def test_an_action_on_all_that_match_is_refused_where_others_match_now(client, olga):
    make_many(60)
    address = f"{CLIENTS}?phase=postgres"
    ClientMigration.objects.update(phase=Phase.POSTGRES)
    form = list_form(client, address)
    # One comes and one goes: the number is the same.
    make_client("late")
    gone = all_clients().filter(slug__startswith="many-").first()
    ClientMigration.objects.filter(client=gone).update(phase=Phase.DUAL_WRITE)
    chosen = {"select_across": "1", "_selected_action": ["1"], "index": "0"}

    response = client.post(address, form | chosen | {"action": "compare_selected"})
    assert "Nothing was done: the list has changed" in said(response)
    assert not Run.objects.exists()

    client.post(address, list_form(client, address) | chosen | {"action": "compare_selected"})
    assert Run.objects.get().items.count() == all_clients().in_phases(Phase.POSTGRES).count()


def test_a_selected_client_in_another_phase_is_left_out_and_named(client, olga):
    pks = [make_full_client("first"), make_full_client("second")]
    enter_phase_together(pks, Phase.DUAL_READ)
    form = list_form(client, CLIENTS)
    ClientMigration.objects.filter(client=pks[0]).update(phase=Phase.AWS)

    response = client.post(CLIENTS, form | {"action": "compare_selected", "_selected_action": pks})

    assert "another phase than the list showed: first." in said(response)
    assert [item.client_id for item in Run.objects.get().items.all()] == [pks[1]]


def test_who_became_ready_since_is_not_moved_and_who_is_not_any_more_is_named(client, olga):
    first, second = make_full_client("first"), make_full_client("second")
    enter_phase_together([first, second], Phase.DUAL_WRITE)
    compare(client_ids=[first, second])
    address = client.get(f"{CLIENTS}ready/dual_read/").url
    page = client.get(address)
    assert by_verdict(page) == {"will": ["first", "second"]}
    late = make_full_client("late")
    enter_phase_together([late], Phase.DUAL_WRITE)
    compare(client_ids=[late])
    ClientMigration.objects.filter(client=first).update(phase=Phase.AWS)

    response = send(client, address, page)

    assert ": first." in said(response)
    assert [item.client_id for item in Run.objects.get().items.all()] == [second]
    # The run has the other now.
    assert by_verdict(client.get(address)) == {"will": ["late"]}


def test_a_campaign_starts_with_the_clients_that_the_page_showed(client, olga, settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    group = make_group("Spain", 1)
    limits = dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "1")
    typed = {"goal": "dual_read", "soak_time": "1 h", f"place_{group.pk}": "1"} | limits
    sent = dict(client.post(f"{CAMPAIGNS}start/", typed).context_data["sent"])
    put("Spain", make_full_client("late"))

    response = client.post(f"{CAMPAIGNS}start/", sent | {"step": "start"})

    assert "other clients than were shown: Spain" in response.content.decode()
    assert not Campaign.objects.exists()
    sent = dict(response.context_data["sent"])
    client.post(f"{CAMPAIGNS}start/", sent | {"step": "start"})
    assert Campaign.objects.get().waves.get().list_joinable_clients().count() == 2


def test_a_selection_that_can_hold_nobody_is_told_from_one_of_somebody():
    nobody = digest_selection(all_clients().with_phase().none())
    make_client("idom")

    assert nobody == digest_selection(all_clients().with_phase().filter(slug="other"))
    assert nobody != digest_selection(all_clients().with_phase())
