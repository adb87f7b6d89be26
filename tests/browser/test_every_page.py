"""Every page, in light and dark: axe-core finds nothing, the console is quiet, nothing comes from elsewhere."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection
from django.utils import timezone

from migration.admin import bulk_moves
from migration.admin.client_tabs import ClientTab
from migration.models import (
    AuditEvent,
    Campaign,
    ClientGroup,
    ClientOwner,
    Comparison,
    CopySearch,
    Redaction,
    Run,
    RunPlan,
    all_clients,
)
from migration.operations import aws_store, runs
from migration.operations.approvals import request_move
from migration.operations.aws_writes import stop_aws_writes
from migration.operations.campaign_steps import find_broken_rule
from migration.operations.comparisons import compare
from migration.operations.copy_search import search_copies
from migration.operations.gates import Override
from migration.operations.notice_sending import send_test_notice
from migration.operations.run_plans import work_on_plan
from nova_admin.notify_settings import NotifySettings
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.factories import (
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_reader_process,
    make_user,
    start_run,
)
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.copies.nova_tables import add_execution, novas_tables
from tests.migration.moves.clients import LINE, advance, change_in_aws
from tests.migration.readers import statistics
from tests.migration.readers.test_other_statements import HELPER

pytestmark = pytest.mark.browser

CLIENT = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
CAMPAIGNS = "/admin/migration/campaign/"
COMPARISONS = "/admin/migration/comparison/"
CHECK_NOVA = f"{RUNS}check-nova/"
REQUESTS = "/admin/migration/moverequest/"
GROUPS = "/admin/migration/clientgroup/"
READERS = "/admin/migration/readerprocess/"
COPIES = "/admin/migration/copysearch/"
AUDIT = "/admin/migration/auditevent/"


@pytest.fixture
def look_at(visit):
    """Goes from page to page and says of each what axe-core finds."""
    pages = []

    def look_at(*addresses: str, **options) -> dict[str, list[str]]:
        found = {}
        for address in addresses:
            if pages:
                site = "/".join(pages[0].url.split("/", 3)[:3])
                pages[0].goto(
                    "about:blank"
                )  # a page that loads itself anew now would end what is loading
                pages[0].goto(site + address)
            else:
                pages.append(visit(address, **options))
            found[address] = violations(pages[0])
        return {address: lines for address, lines in found.items() if lines}

    return look_at


@pytest.fixture
def client_in(stores):
    """A client that stands in the phase."""

    def client_in(phase: Phase, slug: str = "") -> int:
        pk = make_full_client(slug or f"in_{phase}")
        advance(pk, phase)
        return pk

    return client_in


def test_the_login_with_an_error_and_after_the_logout(visit):
    User.objects.create_superuser("maria", password="example-password")
    page = visit("/admin/", user=AnonymousUser())
    found = violations(page)
    for password in ("wrong", "example-password"):
        page.goto(page.url)
        page.get_by_label("Username").fill("maria")
        page.get_by_role("textbox", name="Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        found += violations(page)
    page.goto(page.url)
    page.get_by_text("maria").first.click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in again").wait_for()

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
        *("/admin/", CLIENT, RUNS, COMPARISONS, f"{COMPARISONS}report/", REQUESTS, CHECK_NOVA),
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


def test_the_checks_of_nova_before_and_after_everything_was_tried(visit):
    page = visit(CHECK_NOVA)
    found = violations(page)
    page.get_by_label("Role by which NOVA connects").fill("pg_monitor")
    page.get_by_role("button", name="Check everything now").click()
    page.get_by_text("GRANT USAGE ON SCHEMA nova_admin").wait_for()

    assert found + violations(page) == []


def test_readers_and_who_else_reads(look_at, transactional_db):
    nobody = look_at(READERS)
    make_reader_process(host="gone", last_read_at=timezone.now() - timedelta(hours=2))
    failing = make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    statistics.install()
    statistics.count(HELPER, calls=1234)
    statistics.count("<insufficient privilege>", queryid=None)
    try:
        found = look_at("/admin/", READERS, f"{READERS}{failing.pk}/change/")
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
    found = look_at("/admin/", CLIENT, f"{CLIENT}?phase=dual_write", *pages, *tabs)

    assert found == {}


def test_a_plan_and_its_sheet(look_at, client_in, monkeypatch):
    monkeypatch.setattr("migration.operations.comparisons.RECHECK_AFTER_SECONDS", 0)
    pk = client_in(Phase.DUAL_WRITE, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    make_full_client("b d"), make_full_client("new")
    plan = RunPlan.request(by=None, chosen=None)
    work_on_plan(plan_id=plan.pk)
    plan.refresh_from_db()
    plan.begin_check(by=None)
    looking = look_at(f"{RUNS}plan/{plan.pk}/")
    make_client("came")
    work_on_plan(plan_id=plan.pk)

    assert (
        looking == look_at(f"{RUNS}plan/{plan.pk}/", f"{RUNS}plan/{plan.pk}/sheet/", CLIENT) == {}
    )


def test_the_pages_on_which_a_move_is_thought_over(look_at, client_in):
    shut, cut_over = client_in(Phase.DUAL_READ), client_in(Phase.AWS)
    pages = [
        f"{CLIENT}{shut}/move/aws/",
        f"{CLIENT}{cut_over}/move/purged/",
        f"{CLIENT}{cut_over}/move/dual_read/",
        f"{CLIENT}{cut_over}/versions/",
        f"{CLIENT}{cut_over}/versions/restore/",
        f"{CLIENT}{cut_over}/certificate/",
        f"{CLIENT}{shut}/adopt/",
        f"{CLIENT}{shut}/layout/",
        f"{CLIENT}{shut}/copy-to-postgres/",
        f"{CLIENT}{shut}/copy-to-postgres/undo/",
        f"{CLIENT}{cut_over}/history/",
    ]

    assert look_at(*pages) == {}


def test_the_cutover_of_several(look_at, client_in, visit):
    client_in(Phase.DUAL_READ)
    client_in(Phase.DUAL_WRITE)
    page = visit(CLIENT)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("combobox", name="Action").select_option("cut_over")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Cut over several clients").first.wait_for()

    assert violations(page) == []


def test_client_groups_and_putting_clients_into_one(look_at, client_in, visit):
    pk = client_in(Phase.DUAL_READ)
    group = ClientGroup.objects.get_or_add("wave 1")
    group.put_clients(all_clients())
    ClientOwner.objects.set_owner(all_clients(), make_user("paco"))
    page = visit(CLIENT)
    page.locator("summary", has_text="Filters").click()
    asking = violations(page)
    page.reload()
    page.get_by_role("checkbox").first.check()
    page.get_by_role("combobox", name="Action").select_option("put_into_group")
    page.get_by_role("button", name="Run").click()
    page.get_by_label("Or the name of a new group").wait_for()
    asking += violations(page)

    found = look_at(
        "/admin/search/?s=idom",
        GROUPS,
        f"{GROUPS}add/",
        *(f"{GROUPS}{group.pk}/{what}/" for what in ("change", "delete")),
        f"{CLIENT}{pk}/change/",
        f"{CLIENT}{pk}/owner/",
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
    page.get_by_label("Goal").select_option("dual_read")
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_role("alert").wait_for()
    found += violations(page)
    page.get_by_label("Place of wave 1").fill("1")
    page.get_by_role("button", name="Show what it would do").click()
    page.get_by_role("button", name="Start the campaign").wait_for()
    found += violations(page)
    page.get_by_role("button", name="Start the campaign").click()
    page.get_by_role("button", name="Stop the campaign").click()
    page.get_by_role("button", name="Go on with the campaign").wait_for()
    found += violations(page)
    campaign = Campaign.objects.get()
    campaign.cancel(by=None)

    assert found == []
    assert look_at(CAMPAIGNS, GROUPS, f"{CAMPAIGNS}{campaign.pk}/change/") == {}


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
        f"{CLIENT}{shut}/move/aws/",
        f"{CLIENT}{cut_over}/change/",
        f"{CLIENT}{cut_over}/move/purged/",
    )
    page = visit(f"{CLIENT}?phase=dual_read")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("combobox", name="Action").select_option("cut_over")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Cut over without the missing evidence").first.wait_for()

    assert (found, violations(page)) == ({}, [])


def test_onboarding_blank_and_with_errors(look_at, visit):
    page = visit(f"{CLIENT}onboard/")
    blank = violations(page)
    page.goto(page.url)
    page.get_by_label("Slug").fill("acme-abc123")
    page.get_by_label("Host").first.fill("db.example.test")
    page.get_by_role("button", name="Add the client").click()
    page.get_by_role("alert").wait_for()

    assert (blank, violations(page)) == ([], [])
    assert look_at(f"{CLIENT}add/") == {}


def test_the_permissions_in_aws_the_cost_and_who_read_a_client(look_at, visit, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = look_at(f"{RUNS}check-aws/", f"{RUNS}cost/?sweep_minutes=0", f"{CLIENT}{pk}/aws-reads/")
    page = visit(f"{RUNS}check-aws/")
    for policy in page.locator("details").all():
        policy.locator("summary").click()
    opened = violations(page)

    page.get_by_role("button", name="Ask AWS now").click()
    page.get_by_text("What AWS permits this site").wait_for()

    assert (found, opened, violations(page)) == ({}, [], [])


def test_aws_writes_while_they_go_on_and_while_they_are_stopped(look_at, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = [look_at(f"{RUNS}aws-writes/")]
    stop_aws_writes(reason="INC-42")

    found.append(look_at(f"{RUNS}aws-writes/", "/admin/", CLIENT, f"{CLIENT}{pk}/change/"))

    assert found == [{}, {}]


def test_notices_that_nobody_and_that_some_get(look_at, client_in, settings):
    client_in(Phase.DUAL_WRITE)
    found = [look_at(f"{RUNS}notices/")]
    urls = ("http://127.0.0.1:1/example",)
    settings.NOVA_NOTIFY = NotifySettings(urls, ("team@ops.example",), loopback_allowed=True)
    stop_aws_writes(reason="INC-42")
    notice = send_test_notice(by=make_user("ana"), seconds=5)

    found.append(look_at(f"{RUNS}notices/", f"{RUNS}notices/?test={notice.pk}"))

    assert found == [{}, {}]


def test_requests(look_at, client_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    pk = client_in(Phase.DUAL_READ)
    settings.NOVA_MIN_READS = 20
    maria = make_user("maria", "migration.override_gate")
    asked = request_move(
        client_id=pk,
        new=Phase.AWS,
        by=maria,
        reason="INC-42",
        override=Override("A test client", maria),
    )

    found = look_at(
        REQUESTS,
        f"{REQUESTS}{asked.pk}/change/",
        f"{CLIENT}{pk}/change/",
        f"{CLIENT}{pk}/move/aws/",
    )

    assert found == {}


def test_reveal(visit, client_in):
    page = visit(f"{CLIENT}{client_in(Phase.DUAL_WRITE)}/change/?tab=logins")
    page.get_by_role("link", name="Reveal").first.click()
    asking = violations(page)
    page.goto(page.url)
    page.get_by_label("Reason or ticket").fill("INC-42")
    page.get_by_role("button", name="Reveal").click()
    page.locator("pre code").wait_for()

    assert (asking, violations(page)) == ([], [])


def test_rotating_a_database_password_and_a_mailbox(visit, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = []
    for number, button in ((0, "Rotate the password"), (1, "Test and store the new secret")):
        page = visit(f"{CLIENT}{pk}/change/?tab=logins")
        page.get_by_role("link", name="Rotate").nth(number).click()
        page.get_by_role("button", name=button).wait_for()
        found += violations(page)

    assert found == []


def test_runs_in_each_state(look_at):
    for slug in ("idom", "b d", "acme"):
        make_full_client(slug)
    waiting, paused, finished = (
        start_run(kind=Run.Kind.MIGRATE, chosen=all_clients()) for _ in range(3)
    )
    paused.pause(by=None)
    runs.finish_inline(finished)

    found = look_at(
        "/admin/",
        RUNS,
        *(f"{RUNS}{run.pk}/change/" for run in (waiting, paused, finished)),
        f"{RUNS}{finished.pk}/change/?items=failed",
        f"{RUNS}{finished.pk}/change/?items=skipped",
        f"{RUNS}failures/",
        f"{RUNS}failures/?act=push",
    )

    assert finished.count_items()["failed"] == 1
    assert found == {}


def test_the_cutover_of_many_as_a_run_and_its_request(
    visit, look_at, client_in, settings, monkeypatch
):
    monkeypatch.setattr(bulk_moves, "MOST_CLIENTS", 1)
    settings.NOVA_REQUIRE_APPROVAL = True
    for slug in ("idom", "acme"):
        client_in(Phase.DUAL_READ, slug)
    page = visit(CLIENT)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("combobox", name="Action").select_option("cut_over")
    page.get_by_role("button", name="Run").click()
    asked = violations(page)
    page.get_by_label("Type the number of clients").fill("2")
    page.get_by_label("Reason or ticket").fill("INC-42")
    page.get_by_role("button", name="Request the cutover").click()
    page.get_by_text("Requested").first.wait_for()

    run = Run.objects.get(kind=Run.Kind.MOVE)
    assert (asked, run.state) == ([], Run.State.REQUESTED)
    assert look_at("/admin/", RUNS, f"{RUNS}{run.pk}/change/") == {}


def test_the_mismatch_report_and_comparisons(look_at, client_in):
    pk = client_in(Phase.DUAL_WRITE, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    make_comparison(
        make_client("silent"), "unchecked", message=Message.of_text("AWS did not answer.")
    )
    newest = Comparison.objects.filter(client_id=pk).latest("pk")

    found = look_at(
        "/admin/",
        f"{COMPARISONS}report/",
        f"{COMPARISONS}report/?status=mismatch&kind=different",
        f"{COMPARISONS}report/?status=match",
        f"{COMPARISONS}report/?status=unchecked",
        f"{COMPARISONS}report/?field=nothing",
        COMPARISONS,
        f"{COMPARISONS}{newest.pk}/change/",
    )

    assert found == {}


def test_novas_tables_with_a_column_and_an_object(look_at, stores):
    statements = (
        "ALTER TABLE public.clients ADD more text, ADD much integer",
        "CREATE RULE r AS ON DELETE TO public.clients DO NOTHING",
        "ALTER TABLE public.client_email_credentials ALTER email_user DROP NOT NULL",
    )
    back = (
        "ALTER TABLE public.clients DROP more, DROP much",
        "DROP RULE r ON public.clients",
        "ALTER TABLE public.client_email_credentials ALTER email_user SET NOT NULL",
    )
    with connection.cursor() as cursor:
        cursor.execute("; ".join(statements))
        try:
            assert look_at("/admin/credentials/columnmapping/", "/admin/") == {}
        finally:
            cursor.execute("; ".join(back))


def test_copies(look_at, client_in):
    pk, short = client_in(Phase.DUAL_WRITE, "idom"), make_client("short")
    make_database(short, db_password_encrypted="abcde")
    with novas_tables() as nova:
        add_execution(nova, '["example-password-1"]')
        nova.execute("CREATE TABLE public.notes (pickled bytea)")
        search = search_copies(client_ids=[pk, short])
    Redaction.objects.create(client_id=pk, slug="idom", table="public.x", column="y", rows=3)
    CopySearch.objects.create()

    found = look_at(COPIES, f"{COPIES}report/", f"{COPIES}{search.pk}/change/")

    assert search.found_copies.exists()
    assert found == {}


def test_users_and_groups(look_at):
    user = make_user("maria", first_name="Maria")
    group = Group.objects.get(name="Operator")

    found = look_at(
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        f"/admin/auth/user/{user.pk}/change/",
        f"/admin/auth/user/{user.pk}/password/",
        "/admin/auth/group/",
        f"/admin/auth/group/{group.pk}/change/",
        "/admin/password_change/",
    )

    assert found == {}
