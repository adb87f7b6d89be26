"""The page that pushes: what it says of whom, what its button does, and the stored plan of many."""

import json

import pytest
from django_q.models import OrmQ

from credentials.models import Client
from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.models import ClientMigration
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs import act_pages, acts, engine
from migration.runs.models import Run
from migration.runs.plans import PlannedClient
from nova_credentials.phases import Phase
from tests.factories import CHANGE, VIEW, make_client, make_database, make_full_client, make_many
from tests.migration.moves.clients import phase_of, write_password
from tests.migration.pages import (
    CLIENTS,
    START,
    act_page,
    login,
    make_plan,
    plan_page,
    press_act,
    run_page,
    start_plan,
    text,
    verdicts,
)

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
    write_port(6000)
    compare(client_ids=[pk])
    return pk


def write_port(port: int) -> None:
    """As somebody else does in AWS."""
    document = Client.objects.get(slug="idom").build_document()
    document["database"]["port"] = port
    aws_store.secrets_manager().put_value("nova/clients/idom", json.dumps(document))


def reasons(page, slug: str) -> list[str]:
    clients = [client for group in page.context["groups"] for client, _name in group["clients"]]
    lines = next(client["lines"] for client in clients if client["slug"] == slug)
    return [line["code"] for line in lines]


def stored(name: str = "nova/clients/idom") -> dict:
    return json.loads(aws_store.secrets_manager().get_value(name).text)


# Few


def test_the_page_says_what_would_be_done_with_each_and_stores_nothing(operator, differing):
    make_full_client("new"), make_full_client("b d"), make_client("empty")

    page = operator.get(START)

    assert verdicts(page) == {"will": ["new"], "refused": ["b d", "empty", "idom"]}
    assert reasons(page, "idom") == ["left_alone"]
    kinds = {group["verdict"]: dict(group["kinds"]) for group in page.context["groups"]}
    assert kinds["refused"] == {"Left alone": 2, "Will fail": 1}
    assert len(page.context["sums"]) == 2
    assert not Run.objects.exists()


def test_what_is_as_it_should_be_has_nothing_to_do_but_to_leave_postgres(operator):
    written, waiting = make_full_client("written"), make_full_client("waiting")
    push(client_ids=[written, waiting])
    ClientMigration.objects.filter(pk=written).update(phase=Phase.DUAL_WRITE)

    page = operator.get(START)

    assert verdicts(page) == {"will": ["waiting"], "nothing": ["written"]}


def test_its_button_starts_a_run_over_those_that_would_be_pushed(operator):
    ids = [make_full_client(slug) for slug in ("a", "b")]
    make_client("empty")

    answer = press_act(operator, START, reason="INC-42")

    run = Run.objects.get()
    assert (answer.url, run.kind, run.by.username, run.reason) == (
        run_page(run),
        "migrate",
        "operator",
        "INC-42",
    )
    assert list(run.items.values_list("client_id", flat=True)) == ids
    assert not run.overwrite
    assert [task.task["args"] for task in OrmQ.objects.all()] == [(run.pk,)]


def test_one_client_is_pushed_while_its_user_waits(operator):
    pk = make_full_client("idom")

    answer = press_act(operator, act_page("push", pk), reason="INC-42")

    assert answer.url == f"{CLIENTS}{pk}/change/"
    assert phase_of(pk) == Phase.DUAL_WRITE
    assert stored()["database"]["password"] == "example-password-1"
    assert not Run.objects.exists()
    change = Client.objects.get(pk=pk).phase_changes.get()
    assert (change.by_name, change.reason) == ("operator", "INC-42")


def test_an_inactive_client_is_pushed_where_it_alone_is_named(operator):
    pk, other = make_full_client("idom", is_active=False), make_full_client("other")

    together = operator.get(act_page("push", pk, other))
    assert verdicts(together) == {"will": ["other"], "refused": ["idom"]}
    press_act(operator, act_page("push", pk))

    assert phase_of(pk) == Phase.DUAL_WRITE


def test_a_push_that_fails_says_so_and_moves_nobody(operator, settings):
    pk = make_full_client("idom")
    page = act_page("push", pk)
    shown = operator.get(page)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    answer = press_act(operator, page, shown)

    assert answer.status_code == 200
    assert [message.level_tag for message in answer.context["messages"]] == ["error"]
    assert answer.context["number"] == 0
    assert phase_of(pk) == Phase.POSTGRES


def test_a_pending_push_is_made_and_leads_back_to_where_it_was_missed(operator):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": Phase.DUAL_READ})
    write_password(pk, "example-new")

    answer = press_act(operator, f"{act_page('push', pk)}&back=/admin/")

    assert answer.url == "/admin/"
    assert stored()["database"]["password"] == "example-new"
    assert phase_of(pk) == Phase.DUAL_READ


# Over what somebody else wrote


def test_who_may_resolve_mismatches_overwrites_what_somebody_else_wrote(resolver, differing):
    page = resolver.get(act_page("push", differing))
    (offered,) = page.context["overrides"]
    assert (page.context["number"], offered["number"], offered["is_on"]) == (0, 1, False)

    overwriting = resolver.get(offered["url"])
    assert verdicts(overwriting) == {"will": ["idom"]}
    assert overwriting.context["is_dangerous"]
    assert not page.context["is_dangerous"]
    press_act(resolver, offered["url"])

    assert stored()["database"]["port"] == 5432


def test_several_are_overwritten_in_a_run(resolver, differing):
    other = make_full_client("other")

    press_act(resolver, f"{act_page('push', differing, other)}&override=overwrite")

    run = Run.objects.get()
    assert run.overwrite
    engine.finish_inline(run)
    item = run.items.get(slug="idom")
    assert (item.outcome, item.message.key) == ("updated", "overwrote")


def test_what_somebody_wrote_after_the_page_is_not_overwritten(resolver, differing):
    """Before, a run that overwrites wrote over versions that no page had shown."""
    press_act(
        resolver, f"{act_page('push', differing, make_full_client('other'))}&override=overwrite"
    )
    run = Run.objects.get()
    write_port(7000)
    compare(client_ids=[differing])

    engine.finish_inline(run)

    item = run.items.get(slug="idom")
    assert (item.outcome, item.message.key) == ("skipped", "left_alone")
    assert stored()["database"]["port"] == 7000
    assert run.items.get(slug="other").outcome == "created"


@pytest.mark.parametrize("number", [1, 2])
def test_a_version_that_no_page_has_shown_is_not_overwritten(resolver, differing, number):
    """Also where no comparison has met it."""
    page = act_page("push", *[differing, make_full_client("other")][:number])
    address = f"{page}&override=overwrite"
    shown = resolver.get(address)
    write_port(7000)

    press_act(resolver, address, shown)
    for run in Run.objects.all():
        engine.finish_inline(run)

    assert stored()["database"]["port"] == 7000
    press_act(resolver, address)
    for run in Run.objects.all():
        engine.finish_inline(run)
    assert stored()["database"]["port"] == 5432


@pytest.mark.usefixtures("many")
def test_a_stored_plan_overwrites_no_version_that_it_didnt_see(resolver, differing):
    make_full_client("other")
    plan = make_plan(overrides=["overwrite"])
    write_port(7000)

    start_plan(resolver, plan)
    engine.finish_inline(run := Run.objects.get())

    item = run.items.get(slug="idom")
    assert (item.outcome, item.message.key) == ("skipped", "left_alone")
    assert stored()["database"]["port"] == 7000
    assert run.items.get(slug="other").outcome == "created"


def test_who_may_not_resolve_mismatches_overwrites_nothing(operator, differing):
    for address in (START, f"{START}&override=overwrite"):
        page = operator.get(address)
        assert page.context["overrides"] == []
        assert verdicts(page) == {"will": [], "refused": ["idom"]}
    plan = make_plan()

    operator.post(plan_page(plan), {"confirmed": "plan", "override": "overwrite"})

    assert Run.objects.first().override_lines == []


# Many


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)


@pytest.mark.usefixtures("many")
def test_a_plan_over_many_is_made_and_started_in_the_background(operator):
    make_full_client("a"), make_full_client("b")

    page = operator.get(START)
    assert (page.context["selected"], dict(page.context["phases"])) == (2, {"PostgreSQL": 2})
    answer = operator.post(START, {"confirmed": "plan"})

    plan = Run.objects.get()
    live = f"{plan_page(plan)}live/"
    assert answer.url == plan_page(plan)
    assert OrmQ.objects.get().task["func"] == "migration.tasks.work_on_run"
    looking = operator.get(live)
    assert (looking.context["looked_at"], looking.context["selected"]) == (0, 2)
    assert "HX-Refresh" not in looking
    assert b"<html" not in looking.content  # of a whole page the policy would refuse the styles
    assert "No worker is taking tasks" not in text(operator.get(answer.url))
    Run.objects.update(worked_at="2020-01-01T00:00:00Z")
    assert "No worker is taking tasks" in text(operator.get(answer.url))
    tasks.work_on_run(plan.pk)
    assert operator.get(live)["HX-Refresh"] == "true"
    assert operator.get(run_page(plan)).url == plan_page(plan)
    assert start_plan(operator, plan).url == run_page(plan)
    assert plan.items.count() == 2
    assert plan_page(plan) in operator.get(run_page(plan)).content.decode()
    assert run_page(plan) in operator.get(plan_page(plan)).content.decode()


@pytest.mark.usefixtures("many")
def test_a_selection_of_many_has_a_plan_over_exactly_these(operator):
    chosen = [make_full_client(slug) for slug in ("a", "b")]
    make_full_client("other")

    chosen_ids = {"action": "push", "_selected_action": chosen}
    page = operator.post(CLIENTS, chosen_ids, follow=True)
    sent = {"confirmed": "plan", "clients": page.context["named"]}
    operator.post(f"{CLIENTS}act/push/", sent)

    assert Run.objects.get().chosen == chosen


def test_a_discarded_plan_is_not_started(operator):
    make_full_client("idom")
    plan = make_plan()
    assert f"{plan} has not started yet" in text(operator.get(CLIENTS))

    operator.post(plan_page(plan), {"confirmed": "discard"})

    assert "is discarded" in text(operator.get(start_plan(operator, plan).url))
    assert not Run.objects.started().exists()
    assert "not started yet" not in text(operator.get(CLIENTS))


def test_a_plan_is_made_again_over_the_same_clients(operator):
    chosen = [make_full_client("idom")]
    plan = make_plan()
    Run.objects.filter(pk=plan.pk).update(chosen=chosen)

    answer = operator.post(plan_page(plan), {"confirmed": "plan"})

    again = Run.objects.first()
    assert answer.url == plan_page(again)
    assert (again.chosen, again.state) == (chosen, "planning")
    plan.refresh_from_db()
    assert plan.state == "discarded"


def test_who_may_resolve_mismatches_has_a_plan_made_that_overwrites(resolver, differing):
    plan = make_plan()
    (offered,) = resolver.get(plan_page(plan)).context["overrides"]
    assert (offered["number"], offered["url"]) == (1, "")

    resolver.post(plan_page(plan), {"confirmed": "plan", "override": offered["kinds"]})
    overwriting = Run.objects.first()
    tasks.work_on_run(overwriting.pk)
    page = resolver.get(plan_page(overwriting))

    assert verdicts(page) == {"will": ["idom"]}
    assert "by somebody else" in text(page)
    start_plan(resolver, overwriting)
    assert Run.objects.started().get().overwrite


def test_the_sheet_and_the_file_name_every_client(operator, monkeypatch, differing):
    monkeypatch.setattr(act_pages, "CLIENTS_SHOWN", 1)
    make_full_client("b d"), make_full_client("c d")
    plan = make_plan()

    page = operator.get(plan_page(plan))
    (refused,) = [group for group in page.context["groups"] if group["verdict"] == "refused"]
    assert (len(refused["clients"]), refused["more"]) == (2, 1)  # one of each class
    sheet, file = (url for _label, url in page.context["files"])
    assert all(slug in text(operator.get(sheet)) for slug in ("idom", "b d", "c d"))
    file = operator.get(file)
    assert file["Content-Disposition"] == f'attachment; filename="plan-{plan.pk}.json"'
    exported = json.loads(file.getvalue())
    assert [(c["slug"], c["class"]) for c in exported["clients"]] == [
        ("idom", "left_alone"),
        ("b d", "failing"),
        ("c d", "failing"),
    ]
    assert exported["summary"]["clients"] == 3


def test_a_viewer_reviews_a_plan_by_its_sheet_and_its_file_and_starts_none(viewer):
    make_full_client("b d")
    plan = make_plan()

    assert "b d" in text(viewer.get(f"/admin/migration/run/{plan.pk}/plan-sheet/"))
    file = viewer.get(f"/admin/migration/run/{plan.pk}/plan.json")
    assert json.loads(file.getvalue())["clients"][0]["slug"] == "b d"
    assert viewer.get(plan_page(plan)).status_code == 403
    assert start_plan(viewer, plan).status_code == 403
    assert viewer.get(START).status_code == 403


def test_the_former_addresses_of_a_plan_lead_to_it_by_its_former_number(operator):
    plan = make_plan()
    Run.objects.update(former_plan=plan.pk + 1)
    former = f"/admin/migration/run/plan/{plan.pk + 1}/"
    run = f"/admin/migration/run/{plan.pk}/"

    assert operator.get(former).url == operator.get(f"{former}live/").url == plan_page(plan)
    assert operator.get(f"{former}sheet/").url == f"{run}plan-sheet/"
    assert operator.get(f"{former}plan.json").url == f"{run}plan.json"
    assert operator.get(f"/admin/migration/run/plan/{plan.pk}/").status_code == 404
    assert operator.get(plan_page(plan).replace(str(plan.pk), "999999")).status_code == 404
    assert operator.post(former).status_code == 405
    for address in (f"{former}order/", "/admin/migration/run/start-all/"):
        operator.post(address, {"order": "start", "seen": "ready"})
    assert Run.objects.get().state == "planned"


def test_the_page_takes_as_many_queries_for_many_clients_as_for_few(
    operator, django_assert_max_num_queries
):
    make_many(60, phase="postgres")
    plan = make_plan()

    with django_assert_max_num_queries(16):
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
    monkeypatch.setattr(act_pages, "CLIENTS_SHOWN", 2)
    for slug in ("a d", "b d", "c d", "fine"):
        make_full_client(slug)
    plan = make_plan()

    operator.get(plan_page(plan))

    assert sorted(read_from_rows) == ["a d", "b d", "fine"]


def test_the_notes_of_campaigns_are_of_the_clients_of_the_plan(operator, monkeypatch):
    asked = []
    monkeypatch.setattr(
        acts,
        "describe_notes_of_clients",
        lambda request, ids, number: asked.append((str(ids.query), number)) or [],
    )
    make_full_client("idom")
    plan = make_plan()

    operator.get(plan_page(plan))

    ((query, number),) = asked
    assert number == 1
    assert "migration_planrow" in query


def test_rows_that_can_be_no_secret_lead_to_the_logins(operator):
    pk = make_client("idom")
    make_database(pk), make_database(pk)  # two primary rows

    page = operator.get(act_page("push", pk))

    assert verdicts(page)["refused"] == ["idom"]
    assert "See the logins" in text(page)
    assert f"{CLIENTS}{pk}/change/?tab=logins" in page.content.decode()


def test_a_push_that_its_rows_make_fail_is_not_tried_again_by_itself(operator):
    pk = make_client("idom")
    make_database(pk), make_database(pk)
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), tries=3)

    engine.process_batch_if_running(run.pk, 0)

    item = run.items.get()
    assert (item.outcome, item.error_class, item.next_try_at) == ("failed", "data", None)


def test_whoever_pushes_one_waits_for_no_patient_client_of_aws(operator, monkeypatch):
    pk = make_full_client("idom")
    page = operator.get(act_page("push", pk))
    make_manager, asked = aws_store._make_manager, []
    monkeypatch.setattr(
        aws_store,
        "_make_manager",
        lambda pid, waits, *more: asked.append(waits) or make_manager(pid, waits, *more),
    )

    press_act(operator, act_page("push", pk), page)

    assert phase_of(pk) == Phase.DUAL_WRITE
    assert asked
    assert all(asked)
