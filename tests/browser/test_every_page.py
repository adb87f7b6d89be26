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
from migration.models import AuditEvent, ClientGroup, ClientOwner
from migration.pushes.comparisons import compare
from migration.runs import act_pages
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, WIDTH, fits
from tests.factories import (
    make_client,
    make_full_client,
    make_reader_process,
    make_user,
    start_run,
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
    page, found = visit("/admin/", user=AnonymousUser()), []
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
    assert look_at("/admin/", CLIENT, RUNS, f"{COMPARISONS}report/", f"{COPIES}report/") == {}


def test_the_audit_with_filters_and_an_entry(look_at, transactional_db):
    make_user("maria")
    newest = AuditEvent.objects.latest("pk").pk

    assert look_at(f"{AUDIT}{newest}/change/", f"{AUDIT}?code=login&since=2026-01-01") == {}


def test_the_health_before_and_after_everything_was_tried(visit):
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
    for area in page.locator(".health-area > summary").all():
        area.click()

    assert found + violations(page) == []


def test_readers_and_who_else_reads(look_at, transactional_db):
    make_reader_process(host="gone", last_read_at=timezone.now() - timedelta(hours=2))
    failing = make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    statistics.install()
    statistics.count(HELPER, calls=1234)
    statistics.count("<insufficient privilege>", queryid=None)
    try:
        found = look_at(READERS, f"{READERS}{failing.pk}/change/")
    finally:
        statistics.remove()

    assert found == {}


def test_clients_in_each_phase(look_at, client_in):
    # Those in dual read and cut over are below, their gates shut.
    phases = [phase for phase in LINE if phase not in (Phase.DUAL_READ, Phase.AWS)]
    pages = [f"{CLIENT}{client_in(phase)}/change/" for phase in phases]
    differing = client_in(Phase.DUAL_READ, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[differing])
    make_client("no-login1")

    tabs = [f"{CLIENT}{differing}/change/?tab={tab}" for tab in ClientTab]
    found = look_at(CLIENT, *pages, *tabs)
    start_run(kind=Run.Kind.PUSH, chosen=all_clients())

    assert found | look_at("/admin/") == {}


def test_the_page_of_an_act_on_a_telephone_too_for_several_where_it_takes_many(
    visit, client_in, live_server
):
    ids = [client_in(Phase.DUAL_READ, "a" * 60), client_in(Phase.POSTGRES), make_client("empty")]
    page, wrong = visit("/admin/"), {}
    # They are one template: one of them is enough in dark.
    for act in ACTS.values():
        some = ids if act.takes_many else ids[:1]
        address = f"{CLIENT}act/{act.code}/?clients={','.join(map(str, some))}"
        page.goto(f"{live_server.url}{address}")
        found = violations(page, dark=act.code == "rotate")
        found += [] if fits(page) else ["wider than a telephone"]
        wrong |= {address: found} if found else {}

    assert wrong == {}


def test_the_page_of_an_act_for_many_and_the_sheet_of_its_plan(look_at, client_in, monkeypatch):
    """It says how many there are; their plan while it is made, to be started, and discarded."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    pk = client_in(Phase.DUAL_WRITE, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    make_full_client("b d"), make_full_client("new"), make_client("empty")
    plan = store_plan()
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)
    address = f"{CLIENT}act/plan/{plan.pk}/"
    found = look_at(f"{CLIENT}act/rotate/?all=1", address)
    tasks.work_on_run(plan.pk)
    found |= look_at(address, f"{RUNS}{plan.pk}/plan-sheet/")
    plan.discard(by=None)

    assert found | look_at(address) == {}


def test_the_page_of_an_act_with_the_keyboard_alone(visit, client_in):
    """Its tabs, what is typed and the button: with scripts and without."""
    ids = [client_in(Phase.DUAL_READ), make_client("empty")]
    address = f"{CLIENT}act/rotate/?clients={ids[0]},{ids[1]}"
    for scripts in (False, True):
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


def test_client_groups_and_the_panels_and_menus_of_the_list(look_at, client_in, visit):
    client_in(Phase.DUAL_READ)
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    ClientOwner.objects.set_owner(all_clients(), make_user("paco"))
    page = visit(f"{CLIENT}?group={group.pk}")
    asking = []
    for name, opened in (("Filters", "Nobody 0"), ("Columns", "Show")):
        page.locator("summary", has_text=name).click()
        page.locator(".list-panel").get_by_text(opened).first.wait_for()
        asking += violations(page)
        page.keyboard.press("Escape")
    page.locator(".row-menu").first.click()
    page.locator("td .list-menu-items").wait_for()
    asking += violations(page)

    found = look_at(
        "/admin/search/?s=idom",
        "/admin/time-zone/",
        GROUPS,
        *(f"{GROUPS}{group.pk}/{what}/" for what in ("change", "delete")),
    )

    assert (asking, found) == ([], {})


def test_campaigns_from_their_form_to_their_end(visit, look_at, client_in):
    client_in(Phase.DUAL_READ)
    ClientGroup.objects.get_or_add("wave 1").put_clients(all_clients())
    page, found = visit(f"{CAMPAIGNS}start/"), []
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

    assert found == []
    # One of three waves, of which a run is at work and some clients were left.
    campaign = make_campaign(make_group("Spain", 12), make_group("Italy"), make_group("Peru"))
    begin_wave(campaign, [f"spain-{n}" for n in range(12)])
    (wave,) = campaign.waves.begun()
    Run.objects.create(
        kind=Run.Kind.MOVE, wave=wave, move_from="postgres", move_to="dual_write"
    ).add_items([(1, "gone")])
    campaign.stop_by_itself(find_broken_rule(wave, wave.count_against_rule()))
    assert look_at(CAMPAIGNS, f"{CAMPAIGNS}{campaign.pk}/change/") == {}


def test_gates_that_missing_evidence_keeps_shut(look_at, client_in, settings):
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
        *(f"{CLIENT}{cut_over}/{page}/" for page in ("change", "versions/restore", "history")),
        act_page("purge", cut_over),
    )

    assert found == {}


def test_adding_a_client_with_errors(visit):
    page = visit(f"{CLIENT}add/")
    page.get_by_label("Slug").fill("acme-abc123")
    page.get_by_label("Host").first.fill("db.example.test")
    page.get_by_role("button", name="Add client").click()
    page.get_by_role("alert").wait_for()

    assert violations(page) == []


def test_the_permissions_in_aws_the_cost_and_who_read_a_client(look_at, visit, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = look_at(
        *(f"{RUNS}{page}/" for page in ("cost", "settings")),
        f"{CLIENT}{pk}/aws-reads/",
    )
    page = visit(f"{RUNS}check-aws/")
    page.get_by_role("button", name="Check permissions").click()
    page.get_by_role("columnheader", name="Answer").wait_for()
    for policy in page.locator("details").all():
        policy.locator("summary").click()

    assert (found, violations(page)) == ({}, [])
