"""Every page, in light and dark: axe-core finds nothing, the console is quiet, nothing comes from elsewhere."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from credentials.models import Client
from migration import tasks
from migration.campaigns.steps import find_broken_rule
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.pages import ClientTab
from migration.models import AuditEvent, Campaign, ClientGroup, ClientOwner
from migration.pushes.comparisons import compare
from migration.runs import act_pages
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, WIDTH, choose_act, fits
from tests.factories import (
    make_client,
    make_full_client,
    make_reader_process,
    make_user,
)
from tests.migration.acts import act_page
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.moves.clients import LINE, change_in_aws
from tests.migration.nova.readers import statistics
from tests.migration.nova.readers.test_other_statements import HELPER
from tests.migration.pages import store_plan

pytestmark = pytest.mark.browser

CLIENT = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
CAMPAIGNS = "/admin/migration/campaign/"
COMPARISONS = "/admin/migration/comparison/"
HEALTH = f"{RUNS}health/"
GROUPS = "/admin/migration/clientgroup/"
READERS = "/admin/migration/readerprocess/"
COPIES = "/admin/migration/copysearch/"
AUDIT = "/admin/migration/auditevent/"


def test_the_login_with_an_error_and_after_the_logout(visit):
    User.objects.create_superuser("maria", password="example-password")
    page = visit("/admin/", user=AnonymousUser())
    found = violations(page)
    for password in ("wrong", "example-password"):
        page.goto(page.url)
        page.get_by_label("Username").fill("maria")
        page.get_by_role("textbox", name="Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        found += violations(page) if password == "wrong" else []
    page.goto(page.url)
    page.get_by_text("maria").first.click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()

    assert found + violations(page) == []


def test_a_form_without_its_token(visit, complaints):
    page = visit("/admin/", user=AnonymousUser())
    page.context.clear_cookies()
    page.get_by_label("Username").fill("maria")
    page.get_by_role("textbox", name="Password").fill("example-password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="This form is no longer valid").wait_for()

    assert violations(page) == []
    assert all("403" in complaint for complaint in complaints)
    complaints.clear()


def test_a_site_on_which_nothing_has_happened(look_at):
    found = look_at(
        *(
            "/admin/",
            CLIENT,
            RUNS,
            COMPARISONS,
            f"{COMPARISONS}report/",
            f"{RUNS}?state=requested",
            HEALTH,
        ),
        *(COPIES, f"{COPIES}report/"),
    )

    assert found == {}


def test_the_audit_with_and_without_filters_and_an_entry(look_at, transactional_db):
    make_user("maria")
    newest = AuditEvent.objects.latest("pk").pk

    found = look_at(
        AUDIT, f"{AUDIT}?code=login&who=maria&since=2026-01-01", f"{AUDIT}{newest}/change/"
    )

    assert found == {}


def test_the_health_before_and_after_everything_was_tried_closed_and_open(visit):
    page = visit(HEALTH)
    found = violations(page)
    # On a telephone the title is a line, with nothing over it.
    page.set_viewport_size(TELEPHONE)
    title, button = page.locator("h1"), page.get_by_role("button", name="Check again")
    assert title.bounding_box()["height"] < 40
    assert button.bounding_box()["y"] > title.bounding_box()["y"] + 20
    page.set_viewport_size(WIDTH)
    page.locator("summary", has_text="Name NOVA's role").click()
    page.get_by_label("Role by which NOVA connects").fill("pg_monitor")
    page.get_by_role("button", name="Check again").click()
    page.get_by_text("GRANT USAGE ON SCHEMA nova_admin").first.wait_for()
    found += violations(page)
    for area in page.locator(".health-area > summary").all():
        area.click()

    assert found + violations(page) == []


def test_readers_and_who_else_reads(look_at, transactional_db):
    nobody = look_at(READERS)
    make_reader_process(host="gone", last_read_at=timezone.now() - timedelta(hours=2))
    failing = make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    statistics.install()
    statistics.count(HELPER, calls=1234)
    statistics.count("<insufficient privilege>", queryid=None)
    try:
        found = look_at(READERS, f"{READERS}{failing.pk}/change/")
    finally:
        statistics.remove()

    assert (nobody, found) == ({}, {})


def test_clients_in_each_phase(look_at, client_in):
    pages = [f"{CLIENT}{client_in(phase)}/change/" for phase in LINE]
    differing = client_in(Phase.DUAL_READ, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[differing])
    make_client("no-login1")

    tabs = [f"{CLIENT}{differing}/change/?tab={tab}" for tab in ClientTab]
    found = look_at("/admin/", CLIENT, *pages, *tabs)

    assert found == {}


def test_a_plan_and_its_sheet(look_at, client_in, monkeypatch):
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    pk = client_in(Phase.DUAL_WRITE, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    make_full_client("b d"), make_full_client("new")
    plan = store_plan()
    address = f"{CLIENT}act/plan/{plan.pk}/"
    looking = look_at(address)
    tasks.work_on_run(plan.pk)

    assert looking == look_at(address, f"{RUNS}{plan.pk}/plan-sheet/") == {}


@pytest.mark.nightly  # a page of any act is below
def test_the_pages_on_which_a_move_is_thought_over(look_at, client_in):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    pages = [
        *(act_page(code, shut, cut_over) for code in ("dual_read", "cutover", "rollback")),
        *(act_page(code, shut) for code in ("cutover", "back_to_dual_write", "back_to_postgres")),
        *(act_page(code, cut_over) for code in ("rollback", "purge", "restore")),
        *(
            f"{CLIENT}act/{act}/?clients={shut},{cut_over}"
            for act in ("copy_to_postgres", "copy_to_aws", "acknowledge")
        ),
    ]

    assert look_at(*pages) == {}


def test_the_versions_and_the_history_of_a_client(look_at, client_in):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    pages = [
        f"{CLIENT}{cut_over}/versions/",
        f"{CLIENT}{cut_over}/versions/restore/",
        f"{CLIENT}{cut_over}/versions/take-pending-off/",
        f"{CLIENT}{shut}/copy-to-postgres/undo/",
        f"{CLIENT}{cut_over}/history/",
    ]

    assert look_at(*pages) == {}


def test_the_page_of_an_act_on_a_telephone_too_for_several_where_it_takes_many(
    visit, client_in, live_server
):
    ids = [client_in(Phase.DUAL_READ, "a" * 60), client_in(Phase.POSTGRES), make_client("empty")]
    page, wrong = visit("/admin/"), {}
    for act in ACTS.values():
        some = ids if act.takes_many else ids[:1]
        address = f"{CLIENT}act/{act.code}/?clients={','.join(map(str, some))}"
        page.goto(f"{live_server.url}{address}")
        found = violations(page)
        found += [] if fits(page) else ["wider than a telephone"]
        wrong |= {address: found} if found else {}

    assert wrong == {}


def test_the_page_of_an_act_for_many(look_at, client_in, monkeypatch):
    """It says how many there are; their plan while it is made, to be started, and discarded."""
    ids = [client_in(Phase.DUAL_READ), client_in(Phase.POSTGRES), make_client("empty")]
    plan = store_plan("rotate", chosen=ids)
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)
    found = look_at(f"{CLIENT}act/rotate/?all=1", f"{CLIENT}act/plan/{plan.pk}/")
    tasks.work_on_run(plan.pk)
    found |= look_at(f"{CLIENT}act/plan/{plan.pk}/")
    plan.discard(by=None)

    assert found | look_at(f"{CLIENT}act/plan/{plan.pk}/") == {}


@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_of_an_act_with_the_keyboard_alone(visit, client_in, scripts):
    """Its tabs, what is typed and the button: with scripts and without."""
    ids = [client_in(Phase.DUAL_READ), make_client("empty")]
    address = f"{CLIENT}act/rotate/?clients={ids[0]},{ids[1]}"
    page = visit(address, viewport=WIDTH, java_script_enabled=scripts)
    button = page.get_by_role("button", name="Rotate passwords")
    will, nothing = (
        page.get_by_role("region", name=name) for name in ("Will be done", "Nothing to do")
    )
    assert (will.is_visible(), nothing.is_visible()) == (True, False)

    page.get_by_role("radio", name="Will be done").focus()
    page.keyboard.press("ArrowRight")

    assert (will.is_visible(), nothing.is_visible()) == (False, True)
    # Beside the clients, in sight without scrolling.
    assert button.bounding_box()["y"] + button.bounding_box()["height"] < WIDTH["height"]
    assert button.bounding_box()["x"] > nothing.bounding_box()["x"] + 100
    page.get_by_label("Reason or ticket").fill("INC-42")
    page.get_by_label(re.compile("Type .* to confirm")).fill(Client.objects.get(pk=ids[0]).slug)
    button.press("Enter")
    page.wait_for_url("**/run/**")
    run = Run.objects.get(kind="rotate")
    assert (run.reason, run.items.count()) == ("INC-42", 1)


def test_client_groups_and_putting_clients_into_one(look_at, client_in, visit):
    client_in(Phase.DUAL_READ)
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    ClientOwner.objects.set_owner(all_clients(), make_user("paco"))
    page = visit(CLIENT)
    asking = []
    for name, opened in (("Filters", "Nobody 0"), ("Columns", "Show")):
        page.locator("summary", has_text=name).click()
        page.locator(".list-panel").get_by_text(opened).first.wait_for()
        asking += violations(page)
        page.keyboard.press("Escape")
    page.locator(".row-menu").first.click()
    page.locator("td .list-menu-items").wait_for()
    asking += violations(page)
    page.reload()
    page.get_by_role("checkbox").first.check()
    choose_act(page, "More", "Put into a group…")
    page.get_by_label("Or the name of a new group").wait_for()
    asking += violations(page)

    found = look_at(
        "/admin/search/?s=idom",
        "/admin/time-zone/",
        GROUPS,
        f"{GROUPS}add/",
        *(f"{GROUPS}{group.pk}/{what}/" for what in ("change", "delete")),
        f"{CLIENT}?group={group.pk}",
    )

    assert (asking, found) == ([], {})


def test_campaigns_from_their_form_to_their_end(visit, look_at, client_in):
    client_in(Phase.DUAL_READ)
    assert look_at(f"{CAMPAIGNS}start/") == {}  # of all clients, as there is no group
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    page = visit(f"{CAMPAIGNS}start/")
    found = violations(page)
    page.get_by_label("Client groups, in their order", exact=True).check()
    page.get_by_label("Goal").select_option("dual_read")
    page.get_by_role("button", name="Preview campaign").click()
    page.get_by_role("alert").wait_for()
    found += violations(page)
    page.get_by_label("Order of wave 1").fill("1")
    page.get_by_role("button", name="Preview campaign").click()
    page.get_by_role("button", name="Start the campaign").wait_for()
    found += violations(page)
    page.get_by_role("button", name="Start the campaign").click()
    page.get_by_role("button", name="Stop the campaign").click()
    page.get_by_role("button", name="Continue the campaign").wait_for()
    found += violations(page)
    campaign = Campaign.objects.get()
    campaign.cancel(by=None)

    assert found == []
    assert look_at(CAMPAIGNS, f"{CAMPAIGNS}{campaign.pk}/change/") == {}


@pytest.mark.nightly
def test_a_campaign_with_waves_runs_and_clients_that_were_left(look_at, stores):
    campaign = make_campaign(make_group("Spain", 12), make_group("Italy"), make_group("Peru"))
    begin_wave(campaign, [f"spain-{n}" for n in range(12)])
    stopped = campaign.waves.begun()[0]
    Run.objects.create(
        kind=Run.Kind.MOVE, wave=stopped, move_from="postgres", move_to="dual_write"
    ).add_items([(1, "gone")])
    page = f"{CAMPAIGNS}{campaign.pk}/change/"
    running = look_at(CAMPAIGNS, page, RUNS, f"{RUNS}{Run.objects.latest('pk').pk}/change/")
    campaign.stop_by_itself(find_broken_rule(stopped, stopped.count_against_rule()))

    stopped_pages = (CAMPAIGNS, page, f"{CAMPAIGNS}{campaign.pk}/go-on-without/")
    assert (running, look_at(*stopped_pages)) == ({}, {})


def test_gates_that_missing_evidence_keeps_shut(look_at, client_in, visit, settings):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    settings.NOVA_MIN_READS, settings.NOVA_DUAL_READ_HOURS, settings.NOVA_PURGE_AFTER_DAYS = (
        20,
        1,
        7,
    )
    settings.NOVA_CLEAN_STREAK, settings.NOVA_DEMO = 0, True

    found = look_at(
        f"{CLIENT}{shut}/change/",
        act_page("cutover", shut),
        f"{act_page('cutover', shut)}&override=reads",
        f"{CLIENT}{cut_over}/change/",
        act_page("purge", cut_over),
    )
    page = visit(f"{CLIENT}?phase=dual_read")
    page.get_by_role("checkbox").first.check()
    choose_act(page, "Move", "Cut over to AWS…")
    page.get_by_text("Override it").first.wait_for()

    assert (found, violations(page)) == ({}, [])


def test_adding_a_client_blank_and_with_errors(visit):
    page = visit(f"{CLIENT}add/")
    blank = violations(page)
    page.goto(page.url)
    page.get_by_label("Slug").fill("acme-abc123")
    page.get_by_label("Host").first.fill("db.example.test")
    page.get_by_role("button", name="Add client").click()
    page.get_by_role("alert").wait_for()

    assert (blank, violations(page)) == ([], [])


def test_the_permissions_in_aws_the_cost_and_who_read_a_client(look_at, visit, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = look_at(
        *(f"{RUNS}{page}/" for page in ("cost", "settings")),
        f"{CLIENT}{pk}/aws-reads/",
    )
    page = visit(f"{RUNS}check-aws/")
    for policy in page.locator("details").all():
        policy.locator("summary").click()
    opened = violations(page)

    page.get_by_role("button", name="Check permissions").click()
    page.get_by_role("columnheader", name="Answer").wait_for()

    assert (found, opened, violations(page)) == ({}, [], [])
