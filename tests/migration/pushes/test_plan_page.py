"""The page of a plan: what it names, what its buttons do, its sheet and its file."""

import json

import pytest
from django_q.models import OrmQ

from credentials.models import Client
from migration.core import aws_store
from migration.models import ClientMigration, RunPlan
from migration.pushes import plan_pages, plans
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.models import Run
from migration.runs.plans import PlannedClient
from nova_credentials.phases import Phase
from tests.factories import CHANGE, VIEW, make_client, make_database, make_full_client, make_many
from tests.migration.pages import CLIENTS, START, login, plan_order, plan_page, run_page, text

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def resolver(db, client):
    """Who may start runs and resolve mismatches."""
    login(client, "resolver", *VIEW, *CHANGE, "migration.add_run", "migration.resolve_mismatch")
    return client


@pytest.fixture
def differing(monkeypatch):
    """A client that is known to differ, as somebody else wrote in AWS."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    pk = make_client("idom")
    make_database(pk)
    push(client_ids=[pk])
    ClientMigration.objects.filter(pk=pk).update(phase=Phase.DUAL_WRITE)
    document = Client.objects.get(pk=pk).build_document()
    document["database"]["port"] = 6000
    aws_store.secrets_manager().put_value("nova/clients/idom", json.dumps(document))
    compare(client_ids=[pk])
    return pk


def press(browser, plan, order: str):
    """As the page that is opened now sends it."""
    plan.refresh_from_db()
    return browser.post(plan_order(plan), {"order": order, "seen": plan.state})


def test_the_button_makes_the_plan_and_starts_nothing(operator, differing):
    make_full_client("new"), make_full_client("b d")

    answer = operator.post(START)

    plan = RunPlan.objects.get()
    assert (answer.url, plan.state, plan.by_name) == (plan_page(plan), "ready", "operator")
    page = text(operator.get(answer.url))
    for said in ("Left alone: 1", "Will fail: 1", "is one that somebody else wrote", "3 clients."):
        assert said in page
    assert not Run.objects.exists()


def test_the_plan_is_started_where_all_is_as_planned(operator):
    make_full_client("new")
    operator.post(START)
    plan = RunPlan.objects.get()

    answer = press(operator, plan, "start")

    run = Run.objects.get()
    assert (answer.url, run.by.username, run.plan) == (run_page(run), "operator", plan)
    assert [task.task["args"] for task in OrmQ.objects.all()] == [(run.pk,)]
    assert f"From plan {plan.pk}" in text(operator.get(answer.url))
    press(operator, plan, "start")
    assert Run.objects.count() == 1


def test_what_is_not_as_planned_is_shown_and_started_only_all_the_same(operator):
    make_full_client("new")
    operator.post(START)
    make_full_client("came")
    plan = RunPlan.objects.get()

    answer = press(operator, plan, "start")

    page = text(operator.get(answer.url))
    assert "Not started: 1 client was not as planned" in page
    assert "came after the plan: not part of the run" in page
    assert not Run.objects.exists()
    press(operator, plan, "start")
    assert Run.objects.get().items.get().slug == "new"


def test_a_discarded_plan_is_not_started(operator):
    operator.post(START)
    plan = RunPlan.objects.get()
    assert f"Plan {plan.pk} is not started yet" in text(operator.get(CLIENTS))

    press(operator, plan, "discard")

    assert "is discarded" in text(operator.get(press(operator, plan, "start").url))
    assert not Run.objects.exists()
    assert "not started yet" not in text(operator.get(CLIENTS))


def test_who_may_resolve_mismatches_plans_to_overwrite_them(resolver, differing):
    resolver.post(START)
    first = RunPlan.objects.get()
    assert "Plan again and overwrite" in text(resolver.get(plan_page(first)))

    answer = press(resolver, first, "overwrite")

    plan = RunPlan.objects.first()
    assert (answer.url, plan.overwrite, first.pk) == (plan_page(plan), True, plan.pk - 1)
    page = text(resolver.get(answer.url))
    assert "Overwritten: somebody else's version: 1" in page
    assert "by somebody else" in page
    press(resolver, plan, "start")
    engine.finish_inline(Run.objects.get())
    item = Run.objects.get().items.get()
    assert (item.outcome, item.message.key) == ("updated", "overwrote")


def test_who_may_not_resolve_mismatches_is_not_offered_to_overwrite_them(operator, differing):
    operator.post(START)
    plan = RunPlan.objects.get()

    assert "and overwrite" not in text(operator.get(plan_page(plan)))
    assert press(operator, plan, "overwrite").status_code == 403
    assert RunPlan.objects.get().state == "ready"


def test_a_plan_over_many_is_made_and_started_in_the_background(operator, monkeypatch):
    monkeypatch.setattr(plans, "FEW_CLIENTS", 1)
    make_full_client("a"), make_full_client("b")

    answer = operator.post(START)
    plan = RunPlan.objects.get()
    live = f"{plan_page(plan)}live/"

    assert OrmQ.objects.get().task["func"] == "migration.tasks.work_on_plan"
    assert "The clients are being looked at." in text(operator.get(answer.url))
    looking = operator.get(live)
    assert "HX-Refresh" not in looking
    assert b"<html" not in looking.content  # of a whole page the policy would refuse the styles
    assert "No worker is running" not in text(operator.get(answer.url))
    RunPlan.objects.update(worked_at="2020-01-01T00:00:00Z")
    assert "No worker is running" in text(operator.get(answer.url))
    plans.work_on_plan(plan_id=plan.pk)
    assert operator.get(live)["HX-Refresh"] == "true"
    press(operator, plan, "start")
    assert "looked at once more" in text(operator.get(answer.url))
    run = plans.work_on_plan(plan_id=plan.pk)
    assert operator.get(live)["HX-Redirect"] == run_page(run)


def test_a_selection_of_many_has_a_plan_over_exactly_these(operator, monkeypatch):
    monkeypatch.setattr(plan_pages, "NEED_NO_PLAN", 1)
    chosen = [make_full_client(slug) for slug in ("a", "b")]
    make_full_client("other")

    operator.post(CLIENTS, {"action": "push_selected", "_selected_action": chosen})

    assert RunPlan.objects.get().chosen == chosen
    press(operator, RunPlan.objects.get(), "start")
    assert list(Run.objects.get().items.values_list("client_id", flat=True)) == chosen


def test_the_sheet_and_the_file_name_every_client(operator, monkeypatch, differing):
    monkeypatch.setattr(plan_pages, "CLIENTS_SHOWN", 1)
    monkeypatch.setattr(plan_pages.PlanView, "most_shown", 1)
    make_full_client("b d"), make_full_client("c d")
    operator.post(START)
    plan = RunPlan.objects.get()

    page = text(operator.get(plan_page(plan)))
    assert "The first 1; the sheet and the file name all." in page
    sheet = text(operator.get(f"{plan_page(plan)}sheet/"))
    assert all(slug in sheet for slug in ("idom", "b d", "c d"))
    file = operator.get(f"{plan_page(plan)}plan.json")
    assert file["Content-Disposition"] == f'attachment; filename="plan-{plan.pk}.json"'
    exported = json.loads(file.getvalue())
    assert [(c["slug"], c["class"]) for c in exported["clients"]] == [
        ("idom", "left_alone"),
        ("b d", "failing"),
        ("c d", "failing"),
    ]
    assert exported["summary"]["clients"] == 3


def test_a_viewer_reviews_a_plan_and_starts_none(viewer):
    plan = RunPlan.store_request(by=None, chosen=None)
    plans.work_on_plan(plan_id=plan.pk)

    page = viewer.get(plan_page(plan))

    assert plan_order(plan) not in page.content.decode()
    assert press(viewer, plan, "start").status_code == 403
    assert viewer.get(plan_page(plan).replace(str(plan.pk), "999999")).status_code == 404


def test_the_page_takes_as_many_queries_for_many_clients_as_for_few(
    operator, django_assert_max_num_queries
):
    make_many(60, phase="postgres")
    plan = RunPlan.store_request(by=None, chosen=None)
    plans.work_on_plan(plan_id=plan.pk)

    with django_assert_max_num_queries(12):
        operator.get(plan_page(plan))


@pytest.fixture
def read_from_rows(monkeypatch):
    """The slugs of the clients that were read from rows."""
    read = []
    plain = PlannedClient.from_json.__func__
    monkeypatch.setattr(
        PlannedClient,
        "from_json",
        classmethod(lambda cls, data: read.append(data["slug"]) or plain(cls, data)),
    )
    return read


def test_its_page_reads_the_clients_that_it_names_and_no_others(
    operator, monkeypatch, read_from_rows
):
    monkeypatch.setattr(plan_pages.PlanView, "most_shown", 2)
    for slug in ("a d", "b d", "c d", "fine"):
        make_full_client(slug)
    plan = RunPlan.store_request(by=None, chosen=None)
    plans.work_on_plan(plan_id=plan.pk)

    operator.get(plan_page(plan))

    assert read_from_rows == ["a d", "b d"]


def test_the_notes_of_campaigns_are_of_the_clients_of_the_plan(operator, monkeypatch):
    asked = []
    monkeypatch.setattr(
        plan_pages,
        "describe_notes_of_clients",
        lambda request, ids, number: asked.append((ids.query, number)) or [],
    )
    make_full_client("idom")
    plan = RunPlan.store_request(by=None, chosen=None)
    plans.work_on_plan(plan_id=plan.pk)

    operator.get(plan_page(plan))

    ((query, number),) = asked
    assert number == 1
    assert "migration_planrow" in str(query)
