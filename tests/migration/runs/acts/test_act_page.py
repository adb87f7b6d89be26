"""The page of an act: it shows what would be done, and does what it showed."""

import pytest
from django.test import Client as Browser

from migration import tasks
from migration.models import PlanRow
from migration.runs import act_pages, acts
from migration.runs.models import Run
from tests.factories import make_client, make_full_client, make_in_role, make_many, update
from tests.migration.pages import CLIENTS, make_plan, plan_page, run_page, start_plan, text

TEST_LOGINS = f"{CLIENTS}act/test_logins/"


@pytest.fixture
def operator(db, client) -> Browser:
    client.force_login(make_in_role("operator", "Operator"))
    return client


def shown(response) -> str:
    """What the form of the page would send of the clients."""
    return response.context["shown"]


def send(browser: Browser, address: str, page, **fields):
    return browser.post(address, {"confirmed": "1", "clients": shown(page), **fields})


def test_choosing_an_act_of_the_list_only_opens_its_page(operator):
    first, _other, third = (make_full_client(slug) for slug in ("a", "b", "c"))

    answer = operator.post(CLIENTS, {"action": "test_logins", "_selected_action": [third, first]})
    page = operator.get(answer.url)

    assert answer.url.startswith(f"{TEST_LOGINS}?clients={first},{third}&back=")
    assert "Test the logins of 2 clients?" in text(page)
    assert not Run.objects.exists()


def test_the_page_says_of_whom_nothing_is_to_be_done(operator):
    full, empty = make_full_client("full"), make_client("empty")

    page = operator.get(f"{TEST_LOGINS}?clients={full},{empty}")

    groups = {group["verdict"]: group for group in page.context["groups"]}
    assert [client["slug"] for client, _name in groups["will"]["clients"]] == ["full"]
    assert [client["slug"] for client, _name in groups["nothing"]["clients"]] == ["empty"]
    assert "There is no login to test." in text(page)
    assert shown(page).startswith(f"{full}:")


def test_what_was_shown_is_done_and_no_other(operator):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    address = f"{TEST_LOGINS}?clients={ids[0]},{ids[1]}"
    page = operator.get(address)
    make_full_client("c")

    answer = send(operator, address, page, stores="both", reason="INC-1")

    run = Run.objects.get()
    assert answer.url.endswith(f"/run/{run.pk}/change/")
    assert (run.kind, run.stores, run.reason, run.by.username) == (
        "test_logins",
        "both",
        "INC-1",
        "operator",
    )
    assert list(run.items.values_list("slug", flat=True)) == ["a", "b"]


def test_who_changed_since_is_left_out_and_named(operator):
    ids = [make_full_client(slug) for slug in ("a", "b", "c")]
    address = f"{TEST_LOGINS}?clients={','.join(map(str, ids))}"
    page = operator.get(address)
    update("clients", ids[1], slug="renamed")

    answer = send(operator, address, page, stores="both")

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["a", "c"]
    assert "Left out, as it changed since the page showed it: renamed." in text(
        operator.get(answer.url)
    )


def test_a_wrong_field_is_shown_beside_it_and_nothing_is_done(operator):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    address = f"{TEST_LOGINS}?clients={ids[0]},{ids[1]}"
    page = operator.get(address)

    answer = send(operator, address, page, stores="none", reason="x" * 5000)

    assert set(answer.context["form"].errors) == {"stores", "reason"}
    assert not Run.objects.exists()


def test_many_have_a_stored_plan_first(operator, monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 2)
    make_many(3, phase="postgres")
    make_client("empty")

    page = operator.get(f"{TEST_LOGINS}?all=1")
    assert page.context["selected"] == 4
    answer = operator.post(f"{TEST_LOGINS}?all=1", {"confirmed": "plan"})

    plan = Run.objects.get()
    assert (plan.act, plan.state, len(plan.chosen)) == ("test_logins", "planning", 4)
    assert "The plan is being made" in text(operator.get(answer.url))
    tasks.work_on_run(plan.pk)
    plan.refresh_from_db()
    made = operator.get(answer.url)
    assert made.context["number"] == plan.plan_rows.filter(plan_class="will").count()
    assert not plan.items.exists()


def test_an_open_page_of_a_plan_that_is_made_loads_itself_anew_and_is_sent_nothing(operator):
    plan = make_plan("test_logins")

    answer = operator.get(f"{plan_page(plan)}live/")

    assert (answer.headers["HX-Refresh"], answer.content) == ("true", b"")


def test_a_stored_plan_is_started_once_with_who_is_as_planned(operator, monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)
    ids = [make_full_client(slug) for slug in ("a", "b", "c")]
    operator.post(f"{TEST_LOGINS}?all=1", {"confirmed": "plan"})
    plan = Run.objects.get()
    tasks.work_on_run(plan.pk)
    make_full_client("came later")
    update("clients", ids[2], slug="renamed")

    answer = start_plan(operator, plan, stores="aws")
    again = start_plan(operator, plan, stores="aws")

    run = Run.objects.get()
    assert answer.url == run_page(run)
    assert list(run.items.values_list("slug", flat=True)) == ["a", "b"]
    assert (run.state, run.stores, run.by.username, run.chosen) == (
        "running",
        "aws",
        "operator",
        None,
    )
    shown = operator.get(again.url)
    told = [each.level_tag for each in shown.context["messages"]]
    assert told == [
        "warning",
        "success",
        "warning",
    ]  # who is left out, the start, and that it was started
    assert run_page(run) in shown.content.decode()


def test_another_plan_than_the_page_showed_is_not_started(operator):
    make_full_client("a")
    plan = make_plan("test_logins")
    page = operator.get(plan_page(plan))
    assert str(plan.look) in page.content.decode()

    for look in ({}, {"look": ""}, {"look": "00000000-0000-4000-8000-000000000000"}):
        answer = operator.post(plan_page(plan), {"confirmed": "1", "stores": "aws", **look})
        assert answer.url == plan_page(plan)

    assert not Run.objects.started().exists()
    assert "this isn't the plan that the page showed" in text(operator.get(plan_page(plan)))


def test_all_that_the_list_shows_are_those_of_its_filters(operator):
    make_full_client("idom")
    make_full_client("acme")

    answer = operator.post(
        f"{CLIENTS}?q=idom",
        {"action": "test_logins", "_selected_action": [0], "select_across": "1"},
    )
    page = operator.get(answer.url)

    assert page.context["selected"] == 1
    assert "Test the logins of" in text(page)


def test_an_unknown_act_is_no_page(operator):
    assert operator.get(f"{CLIENTS}act/nothing/?clients=1").status_code == 404


def test_a_rotation_of_many_wants_a_reason_and_their_number(client, db):
    client.force_login(make_in_role("admin", "Administrator"))
    ids = [make_full_client(slug) for slug in ("a", "b")]
    address = f"{CLIENTS}act/rotate/?clients={ids[0]},{ids[1]}"
    page = client.get(address)

    refused = send(client, address, page, typed="3")
    assert set(refused.context["form"].errors) == {"reason", "typed"}
    assert not Run.objects.exists()

    send(client, address, page, typed="2", reason="INC-2")
    assert Run.objects.get().kind == "rotate"


def test_a_stored_plan_of_which_one_client_is_left_is_started_by_its_number(client, db):
    client.force_login(make_in_role("admin", "Administrator"))
    make_full_client("idom")
    make_client("empty")

    start_plan(client, make_plan("rotate"), typed="1", reason="INC-3")

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["idom"]


def test_a_look_that_fails_leaves_no_rows(operator, monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)
    monkeypatch.setattr(acts, "PLANNED_AT_ONCE", 1)
    make_full_client("a")
    make_full_client("b")
    operator.post(f"{TEST_LOGINS}?all=1", {"confirmed": "plan"})
    act, batches = acts.ACTS["test_logins"], []

    def plan_once(client_ids, order):
        batches.append(client_ids)
        if len(batches) > 1:
            raise ZeroDivisionError
        return type(act).plan(act, client_ids, order)

    monkeypatch.setattr(act, "plan", plan_once)
    with pytest.raises(ZeroDivisionError):
        tasks.work_on_run(Run.objects.get().pk)

    assert not PlanRow.objects.exists()
    assert Run.objects.get().state == "planning"


def test_a_kind_of_evidence_that_nobody_lacks_is_named_where_it_is_overridden(client, db):
    client.force_login(make_in_role("admin", "Administrator"))
    pk = make_full_client("idom")

    page = client.get(f"{CLIENTS}act/cutover/?clients={pk}&override=copies&override=reads")

    shown_kinds = [each["is_on"] for each in page.context["overrides"]]
    assert shown_kinds
    assert all(shown_kinds)
    assert not page.context["is_dangerous"]  # one click takes it back
