"""Who may see and start what."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django_q.models import OrmQ

from migration.models import ClientMigration, Comparison
from migration.runs.models import Run
from tests.factories import CHANGE, VIEW, make_comparison, make_full_client
from tests.migration.pages import (
    CLIENTS,
    COMPARE,
    COMPARISONS,
    DASHBOARD,
    DIFFERENT,
    REPORT,
    RUNS,
    START,
    every_page,
    login,
    make_run,
    page_of,
    run_page,
    text,
)


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_a_viewer_reads_every_page_and_is_offered_no_button_that_starts_anything(viewer):
    for url in every_page():
        response = viewer.get(url)
        assert response.status_code == 200, url
        html = response.content.decode()
        assert START not in html, url
        assert COMPARE not in html, url
        assert "act/push/" not in html, url
        assert "compare_selected" not in html, url


def test_an_operator_is_offered_the_buttons_and_the_actions(operator):
    every_page()

    clients = operator.get(CLIENTS).content.decode()

    assert operator.get(DASHBOARD).context["next"].is_main
    assert COMPARE in operator.get(REPORT).content.decode()
    for offered in ('value="push"', "compare_selected", 'name="select_across"'):
        assert offered in clients


def test_a_viewer_starts_nothing_by_guessing_addresses(viewer):
    pk = make_full_client("idom")

    assert viewer.post(START).status_code == 403
    assert viewer.post(COMPARE).status_code == 403
    for action in ("push", "compare_selected", "delete_selected"):
        viewer.post(CLIENTS, {"action": action, "_selected_action": [pk]})

    assert not Run.objects.exists()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("signed_in", [True, False])
def test_who_is_not_staff_is_led_to_the_login_from_every_page(client, db, signed_in):
    pages = [*every_page(), page_of("credentials_client", 1).replace("change", "history")]
    runs = Run.objects.count()
    if signed_in:
        login(client, "stranger", *VIEW, *CHANGE, "migration.add_run", is_staff=False)

    for url in [*pages, START, COMPARE, "/admin/credentials/client/add/"]:
        for answer in (client.get(url), client.post(url)):
            assert answer.status_code == 302, url
            assert answer.url.startswith("/admin/login/"), url

    assert Run.objects.count() == runs


def test_staff_without_permissions_see_no_number_and_no_page(client, db):
    login(client, "new")
    dashboard, *pages = every_page()

    assert {client.get(url).status_code for url in pages} == {403}
    context = client.get(dashboard).context
    shown = [context[name] for name in ("clients", "next", "blocked", "work", "activity")]
    assert shown == [None, None, 0, [], []]
    assert context["attention"] == []


def test_who_may_see_clients_but_no_comparison_is_told_no_number_of_them(client, db):
    login(client, "narrow", "credentials.view_client")
    pk = make_full_client("idom")
    comparison = make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])

    for url in (REPORT, COMPARISONS, page_of("migration_comparison", comparison.pk)):
        assert client.get(url).status_code == 403
    context = client.get(DASHBOARD).context
    assert not [item for item in context["attention"] if "report" in item.url]
    assert "database.password" not in text(client.get(page_of("credentials_client", pk)))


def test_who_may_start_runs_sees_them_without_a_permission_to_view(client, db):
    login(client, "starter", "migration.add_run")
    run = make_run(1)

    assert client.get(RUNS).status_code == 200
    assert client.get(run_page(run)).status_code == 200


def test_a_run_is_not_started_by_a_link(operator, stores):
    make_full_client("idom")

    assert operator.get(COMPARE).status_code == 405
    assert operator.head(COMPARE).status_code == 405
    assert operator.get(START).status_code == 200

    assert not Run.objects.exists()


@pytest.mark.parametrize("url", [START, COMPARE, CLIENTS])
def test_a_run_is_not_started_from_another_site(stores, url):
    pk = make_full_client("idom")
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    data = {"action": "compare_selected", "_selected_action": [pk], "confirmed": "plan"}
    assert browser.post(url, data).status_code == 403
    assert Run.objects.count() == 0

    token = re.search(
        r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(CLIENTS).content.decode()
    )
    assert browser.post(url, data | {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert Run.objects.count() == 1


@pytest.mark.parametrize("model", ["migration_run", "migration_comparison", "credentials_client"])
def test_nobody_deletes_history_or_clients(root, model):
    every_page()
    listing = reverse(f"admin:{model}_changelist")
    pk = {"migration_run": Run, "migration_comparison": Comparison}.get(model, ClientMigration)
    pk = pk.objects.get().pk

    assert (
        root.post(reverse(f"admin:{model}_delete", args=[pk]), {"post": "yes"}).status_code == 403
    )
    root.post(listing, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})

    assert (Run.objects.count(), Comparison.objects.count()) == (1, 1)
    assert ClientMigration.objects.filter(client__slug="idom").exists()


@pytest.mark.parametrize("model", ["migration_run", "migration_comparison"])
def test_nobody_adds_or_changes_history(root, model):
    every_page()
    pk = (Run if model == "migration_run" else Comparison).objects.get().pk

    assert root.get(reverse(f"admin:{model}_add")).status_code == 403
    assert root.post(reverse(f"admin:{model}_add"), {"kind": "push"}).status_code == 403
    assert root.post(page_of(model, pk), {"kind": "push", "status": "match"}).status_code == 405

    assert Run.objects.get().kind == Run.Kind.MIGRATE
    assert Comparison.objects.get().status == Comparison.Status.MISMATCH


def test_the_task_queue_has_no_pages(root):
    assert root.get("/admin/django_q/").status_code == 404
    assert "django_q" not in root.get(DASHBOARD).content.decode()
