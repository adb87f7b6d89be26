"""Pages by night, as `test_every_page.py` has others: before anything happened, seldom states, and each act in dark."""

import pytest
from django.contrib.auth.models import AnonymousUser

from migration.core.clients import all_clients
from migration.models import ClientGroup
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import choose_act
from tests.factories import make_client, make_full_client, make_user, start_run
from tests.migration.acts import act_page
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.nova_admin.login.codes import give_factor

pytestmark = [pytest.mark.browser, pytest.mark.nightly]

CLIENT = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
COMPARISONS = "/admin/migration/comparison/"
CAMPAIGNS = "/admin/migration/campaign/"
GROUPS = "/admin/migration/clientgroup/"


def test_pages_without_a_row_and_forms_before_they_are_filled_in(look_at, visit):
    login = violations(visit("/admin/", user=AnonymousUser()))

    found = look_at(
        f"{RUNS}?state=requested",
        f"{RUNS}health/",
        *(f"/admin/migration/{model}/" for model in ("copysearch", "readerprocess", "auditevent")),
        COMPARISONS,
        CAMPAIGNS,
        f"{CAMPAIGNS}start/",
        f"{GROUPS}add/",
        *(f"{CLIENT}{form}/" for form in ("add", "import")),
    )

    assert (login, found) == ([], {})


def test_each_act_for_one_client_and_the_moves_of_many(look_at, client_in):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    many = [code for code, act in ACTS.items() if act.takes_many]

    found = look_at(
        *(f"{CLIENT}act/{code}/?clients={shut}" for code in ACTS),
        *(act_page(code, cut_over) for code in ("rollback", "purge", "restore")),
        *(f"{CLIENT}act/{code}/?clients={shut},{cut_over}" for code in many),
    )

    assert found == {}


def test_the_versions_of_a_client_and_what_can_be_undone(look_at, client_in):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    versions = f"{CLIENT}{cut_over}/versions/"

    assert (
        look_at(
            *(versions, f"{versions}restore/", f"{versions}take-pending-off/"),
            f"{CLIENT}{shut}/copy-to-postgres/undo/",
        )
        == {}
    )


def test_acts_chosen_in_the_list_put_into_a_group_and_cut_over_many_by_request(
    visit, look_at, client_in, settings
):
    settings.NOVA_REQUIRE_APPROVAL = True
    compare(client_ids=[client_in(Phase.DUAL_READ, slug) for slug in ("idom", "acme")])
    ClientGroup.objects.get_or_add("wave 1")
    page = visit(CLIENT)
    page.get_by_role("checkbox").first.check()
    choose_act(page, "More", "Put into a group…")
    page.get_by_label("Or the name of a new group").wait_for()
    found = violations(page)
    page.goto(page.url.partition("act/")[0])
    page.get_by_role("checkbox").first.check()
    choose_act(page, "Move", "Cut over to AWS…")
    found += violations(page)
    page.get_by_label("Type 2 to confirm").fill("2")
    page.get_by_label("Reason or ticket").fill("INC-42")
    page.get_by_role("button", name="Request the cutover").click()
    page.get_by_text("Requested").first.wait_for()

    run = Run.objects.get(kind=Run.Kind.MOVE)
    assert (found, run.state) == ([], Run.State.REQUESTED)
    assert look_at(f"{RUNS}{run.pk}/change/") == {}


def test_a_gate_that_is_overridden_for_those_chosen_in_the_list(visit, client_in, settings):
    settings.NOVA_MIN_READS = 20
    client_in(Phase.DUAL_READ)
    page = visit(f"{CLIENT}?phase=dual_read")
    page.get_by_role("checkbox").first.check()
    choose_act(page, "Move", "Cut over to AWS…")
    page.get_by_text("Override it").first.wait_for()

    assert violations(page) == []


def test_runs_that_are_paused_and_done_and_reports_of_what_was_not_compared(look_at, stores):
    for slug in ("idom", "b d", "acme"):
        make_full_client(slug)
    make_client("empty")
    paused, finished = (start_run(kind=Run.Kind.MIGRATE, chosen=all_clients()) for _ in range(2))
    paused.pause(by=None)
    engine.finish_inline(finished)

    found = look_at(
        "/admin/",
        *(f"{RUNS}{run.pk}/change/" for run in (paused, finished)),
        *(f"{COMPARISONS}report/?status={status}" for status in ("unchecked", "mismatch")),
    )

    assert found == {}


def test_campaigns_at_work_and_cancelled(look_at, stores):
    campaign = make_campaign(make_group("Spain", 12), make_group("Italy"))
    begin_wave(campaign, [f"spain-{n}" for n in range(12)])
    (wave,) = campaign.waves.begun()
    Run.objects.create(
        kind=Run.Kind.MOVE, wave=wave, move_from="postgres", move_to="dual_write"
    ).add_items([(1, "gone")])
    page = f"{CAMPAIGNS}{campaign.pk}/change/"
    at_work = look_at(CAMPAIGNS, page, RUNS)
    campaign.stop(by=None)
    stopped = look_at(page, f"{CAMPAIGNS}{campaign.pk}/go-on-without/")
    campaign.cancel(by=None)

    assert (at_work, stopped, look_at(CAMPAIGNS, page)) == ({}, {}, {})


def test_what_is_done_to_a_person(look_at):
    maria = make_user("maria", first_name="Maria")
    give_factor(maria)

    found = look_at(
        *(
            f"/admin/people/{maria.pk}/{act}/"
            for act in ("role", "link", "details", "factor", "deactivate")
        )
    )

    assert found == {}
