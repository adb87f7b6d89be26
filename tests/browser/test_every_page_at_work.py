"""The pages of work, in light and dark, as `test_every_page.py` has the others: runs, requests, reveals, mismatches."""

import pytest
from django.db import connection

from migration.core import aws_store
from migration.core.aws_writes import stop_aws_writes
from migration.core.clients import all_clients
from migration.models import Comparison, CopySearch, NoticeRecipient, Redaction, WrongPassword
from migration.moves.approvals import request_move
from migration.moves.gates import Override
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.models import Run
from migration.secrets.copies import search_copies
from migration.site.notices import send_test_to_recipients
from nova_admin.environment import NotifySettings
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.factories import (
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_user,
    start_run,
)
from tests.migration.acts import act_page
from tests.migration.moves.clients import change_in_aws
from tests.migration.secrets.copies.nova_tables import add_execution, novas_tables
from tests.nova_admin.login.codes import give_factor

pytestmark = pytest.mark.browser

CLIENT = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
COMPARISONS = "/admin/migration/comparison/"
COPIES = "/admin/migration/copysearch/"


def test_aws_writes_while_they_go_on_and_while_they_are_stopped(look_at, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    found = [look_at(f"{RUNS}aws-writes/")]
    stop_aws_writes(reason="INC-42")

    found.append(look_at(f"{RUNS}aws-writes/", f"{CLIENT}{pk}/change/"))

    assert found == [{}, {}]


def test_notices_that_nobody_and_that_some_get(look_at, client_in, settings):
    client_in(Phase.DUAL_WRITE)
    found = [look_at(f"{RUNS}notices/")]
    urls = ("http://127.0.0.1:1/example",)
    settings.NOVA_NOTIFY = NotifySettings(urls, ("team@ops.example",), loopback_allowed=True)
    stop_aws_writes(reason="INC-42")
    row = NoticeRecipient.objects.create(way="webhook", target="t", host="hooks.example.test")
    notice = send_test_to_recipients(by=make_user("ana"), seconds=5)

    pages = (f"notices/?test={notice.pk}", f"notices/{row.pk}/remove/")
    found.append(look_at(*(f"{RUNS}{page}" for page in pages)))

    assert found == [{}, {}]


def test_requests(look_at, client_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    pk = client_in(Phase.DUAL_READ)
    settings.NOVA_MIN_READS = 20
    maria = make_user("maria", "migration.override_gate", "migration.move_client")
    asked = request_move(
        client_id=pk,
        new=Phase.AWS,
        by=maria,
        reason="INC-42",
        override=Override("A test client", maria),
    )

    found = look_at(
        f"{RUNS}{asked.run.pk}/change/",
        f"{CLIENT}{pk}/change/",
        act_page("cutover", pk),
    )

    assert found == {}


def test_revealing_and_rotating_a_database_password_and_a_mailbox(visit, client_in):
    pk = client_in(Phase.DUAL_WRITE)
    page = visit(f"{CLIENT}{pk}/change/?tab=logins")
    rotating = [
        page.url.partition("/admin/")[0]
        + page.get_by_role("link", name="Rotate").nth(n).get_attribute("href")
        for n in (0, 1)
    ]
    page.get_by_role("link", name="Reveal").first.click()
    page.get_by_label("Reason or ticket").fill("INC-42")
    found = violations(page)
    page.get_by_role("button", name="Reveal").click()
    page.locator("pre code").wait_for()
    found += violations(page)
    for address, button in zip(
        rotating, ("Rotate the password", "Test and store the new secret"), strict=True
    ):
        page.goto(address)
        page.get_by_role("button", name=button).wait_for()
        found += violations(page)

    assert found == []


def test_runs_and_their_failures(look_at):
    for slug in ("idom", "b d", "acme"):
        make_full_client(slug)
    waiting, finished = (start_run(kind=Run.Kind.MIGRATE, chosen=all_clients()) for _ in range(2))
    engine.finish_inline(finished)

    found = look_at(
        RUNS,
        f"{RUNS}{waiting.pk}/change/",
        f"{RUNS}{finished.pk}/change/?items=failed",
        f"{RUNS}failures/",
    )

    assert finished.count_outcomes_and_matches()["failed"] == 1
    assert found == {}


def test_comparisons(look_at, client_in):
    """Their report is looked at by `test_mismatches.py`."""
    pk = client_in(Phase.DUAL_WRITE, "idom")
    change_in_aws(aws_store.secrets_manager(), password="another")
    compare(client_ids=[pk])
    make_comparison(
        make_client("silent"),
        "unchecked",
        message=Message.from_text_without_key("AWS did not answer."),
    )
    newest = Comparison.objects.filter(client_id=pk).latest("pk")

    assert look_at(COMPARISONS, f"{COMPARISONS}{newest.pk}/change/") == {}


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
            assert look_at("/admin/credentials/columnmapping/") == {}
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


def test_people(look_at):
    maria = make_user("maria", first_name="Maria")
    make_user("gone", is_active=False)
    WrongPassword.objects.create(username="maria", address="10.0.0.8", place="login")
    give_factor(maria)
    page = f"/admin/people/{maria.pk}/"

    found = look_at(
        "/admin/people/?q=a",
        "/admin/people/invite/",
        "/admin/people/failed-logins/",
        page,
        *(f"{page}{act}/" for act in ("details", "deactivate")),
        "/admin/password_change/",
    )

    assert found == {}
