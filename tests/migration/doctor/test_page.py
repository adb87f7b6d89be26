"""The doctor's page: everybody with a role sees it and changes nothing by it; operators may have everything tried."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credentials.models import CountingProof, ProofOutcome
from credentials.triggers import prove_counting
from migration.core.aws_writes import WRITES_STOPPED, stop_aws_writes
from migration.core.problems import Finder, FindingState, Look, Result, list_results, report_ok
from migration.doctor.looks import list_site_problems
from migration.doctor.pages import HealthView
from migration.models import ProblemRecord, Worker
from migration.templatetags.migration_pages import link_documents
from tests.factories import make_full_client, make_many, make_user
from tests.migration.pages import text

PAGE = reverse("admin:migration_run_health")


@pytest.fixture
def as_role(stores, client):
    """The page as it is answered to a user of that role, on a site where nothing was proved yet."""
    CountingProof.objects.all().delete()  # `migrate` proves it once

    def as_role(role: str):
        user = make_user(role.lower())
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return as_role


def states(response) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for result in response.context["results"]:
        states = {finding.state.value for finding in result.findings}
        found[result.problem.code] = states or {result.state.value}
    return found


def test_a_viewer_sees_every_check_and_no_button_and_may_not_have_it_tried(as_role, client):
    browser = as_role("Viewer")

    response = browser.get(PAGE)

    assert response.status_code == 200
    assert states(response)["writes_uncounted"] == {"ok"}
    assert states(response)["pooler"] == states(response)["clocks"] == {"not_looked_at"}
    assert b'name="role"' not in response.content
    # An area in which something is to do is not called fine.
    to_do = {area["code"]: area["to_do"] for area in response.context["areas"]}
    assert to_do["notices"] == 1  # nobody is told yet
    assert browser.post(PAGE).status_code == 403
    # The former address leads here, and the dashboard for whoever may see it.
    assert browser.get("/admin/migration/run/check-nova/").url == PAGE
    assert PAGE.encode() in browser.get(reverse("admin:index")).content

    client.force_login(make_user("nobody"))
    assert PAGE.encode() not in client.get(reverse("admin:index")).content
    assert client.get(PAGE).status_code == 403


def test_to_look_tries_nothing_and_what_the_button_found_is_stored_and_shown_to_who_only_looks(
    as_role,
):
    make_full_client("idom")
    browser = as_role("Operator")

    found = states(browser.get(PAGE))
    assert found["counting_unproved"] == found["clocks"] == {"not_looked_at"}
    assert not CountingProof.objects.exists()

    found = states(browser.post(PAGE))
    assert found["counting_unproved"] == found["clocks"] == found["pooler"] == {"ok"}
    assert set(CountingProof.objects.values_list("outcome", flat=True)) == {ProofOutcome.HOLDS}

    assert states(browser.get(PAGE))["clocks"] == {"ok"}
    assert not ProblemRecord.objects.filter(code="host_differs").exists()


def state_of_proof() -> str:
    """As the page has it, which tries nothing."""
    how = {"anew": (Finder.PAGE, Finder.WORKER), "only": ["counting_unproved"]}
    (result,) = list_results(Look(briefly=True), **how)
    return result.state


@pytest.mark.usefixtures("stores")
def test_the_newest_proof_is_shown_until_it_is_old_and_one_that_failed_as_failed():
    make_full_client("idom")
    prove_counting()
    assert state_of_proof() == FindingState.OK

    CountingProof.objects.update(tried_at=timezone.now() - timedelta(hours=3))
    assert state_of_proof() == FindingState.NOT_LOOKED_AT

    CountingProof.objects.update(tried_at=timezone.now())
    CountingProof.objects.filter(table="public.clients").update(outcome=ProofOutcome.FAILED)
    assert state_of_proof() == FindingState.FAILED


def test_a_role_that_is_named_gets_its_grants_and_an_unknown_one_a_word(as_role):
    browser = as_role("Operator")
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS named_on_the_page; CREATE ROLE named_on_the_page")
    try:
        named = browser.post(PAGE, {"role": "named_on_the_page"}).content.decode()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE named_on_the_page")
    unknown = browser.post(PAGE, {"role": "<b>x"}).content.decode()

    assert "GRANT USAGE ON SCHEMA nova_admin TO named_on_the_page;" in named
    assert "PostgreSQL has no role “&lt;b&gt;x”" in unknown
    assert browser.post(PAGE, {"role": "a\x00b"}).status_code in (200, 400)


def test_workers_that_are_alive_are_named(as_role):
    Worker.objects.record_heartbeat("host-1:7")

    response = as_role("Viewer").get(PAGE, {"area": "workers"})

    assert states(response)["workers_idle"] == {"ok"}
    assert b"host-1:7" in response.content


def test_its_queries_do_not_grow_with_the_clients(as_role):
    browser = as_role("Viewer")
    numbers = []
    for count in (1, 50):
        make_many(count, phase="dual_write")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            browser.get(PAGE)
        numbers.append(len(queries))

    assert numbers[0] == numbers[1]


def test_the_command_prints_what_failed_first(as_role, capsys):
    with pytest.raises(SystemExit):
        call_command("doctor")

    words = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    told = [word for word in words if word in ("FAILED", "not looked at", "ok")]
    assert told == sorted(told, key=("FAILED", "not looked at", "ok").index)
    assert {"FAILED", "ok"} <= set(told)


def test_what_is_open_comes_first_with_the_button_of_who_may_press_it(as_role):
    stop_aws_writes(reason="INC-42")
    Worker.objects.create(name="host:1", seen_at=timezone.now() - timedelta(minutes=7))

    response = as_role("Viewer").get(PAGE)

    opened = {each.problem.code: told for each, *told in response.context["open"]}
    assert next(iter(opened)) == "no_worker"  # the worst
    action, command = opened["writes_stopped"]
    assert (action is not None, command) == (True, "")
    assert opened["no_worker"][1] == "python manage.py qcluster"
    assert 'data-copy="python manage.py qcluster"' in response.content.decode()
    areas = response.context["areas"]
    codes = [result.problem.code for area in areas for result, _findings in area["results"]]
    assert set(codes) == {each.code for each in list_site_problems()}
    assert "mismatches" not in codes
    # Each has one button, and says how long ago it began.
    page = response.content.decode()
    unanswered = [
        bool(action and result.findings) for result, action in response.context["unanswered"]
    ]
    buttons = re.findall('<div class="health-button"><(?:a|button) ', page)
    assert len(buttons) == len(opened) + sum(unanswered)
    assert len(opened) > 1
    assert ">7 minutes ago</time>" in page
    assert "since <time" not in page


def test_a_long_audit_is_left_to_the_daily_look(as_role, monkeypatch):
    monkeypatch.setattr("migration.doctor.pages.MOST_VERIFIED", -1)

    found = states(as_role("Operator").post(PAGE))

    assert found["audit_unsound"] == {"not_looked_at"}
    assert found["audit_unsealed"] == {"ok"}


@pytest.fixture
def all_well(monkeypatch):
    """Every check is fine, each with a sentence of some length."""
    said = report_ok(WRITES_STOPPED(who="maria", ago="2 minutes"))
    results = [Result(each, (said,), timezone.now()) for each in list_site_problems()]
    monkeypatch.setattr(HealthView, "_look", lambda _view: results)


def test_where_all_is_well_it_has_400_words_at_most_with_all_that_is_folded(as_role, all_well):
    page = text(as_role("Administrator").get(PAGE))

    assert "All clear" in page
    assert len(page.split()) <= 400


def test_what_each_check_found_is_on_the_page_of_its_area(as_role, all_well):
    browser = as_role("Viewer")

    assert "maria" not in text(browser.get(PAGE))
    told = browser.get(PAGE, {"area": "aws"})
    assert [area["code"] for area in told.context["areas"] if area["is_told"]] == ["aws"]
    assert text(told).count("maria") == len(
        [each for each in list_site_problems() if each.area == "aws"]
    )
    assert "maria" not in text(browser.get(PAGE, {"area": "nowhere"}))


def test_a_document_that_a_text_names_is_a_link_by_its_title():
    shown = link_documents("<b> (docs/start.md), docs/none.md")

    assert shown.startswith("&lt;b&gt; (")
    assert re.findall('href="([^"]+)">([^<]+)<', shown) == [
        ("/admin/docs/start.md", "Install the site")
    ]
    assert shown.endswith("docs/none.md")
