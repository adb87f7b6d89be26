"""Plans of pushes: what a run would do with each client, and that it does so, once, with who is as planned."""

import json
import time
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from credentials.models import Client
from migration import tasks
from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientMigration, Comparison
from migration.pushes import plans
from migration.pushes.comparisons import compare
from migration.pushes.plans import NOT_LOOKED_AT, export_plan_as_json, summarize_plan
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.models import Run
from migration.runs.plans import PlanClass
from nova_credentials.aws import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_database,
    make_full_client,
    make_many,
    make_user,
    update,
)
from tests.migration.pages import make_plan, plan_page, start_plan, store_plan

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """Differences are not looked at a second time."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)


@pytest.fixture
def begin(client):
    """Starts a plan by its page; the run, or None."""
    client.force_login(make_user("starter", *VIEW, "migration.add_run"))

    def begin(plan: Run) -> Run | None:
        start_plan(client, plan)
        return Run.objects.started().filter(pk=plan.pk).first()

    return begin


def classes(plan: Run) -> dict[str, str]:
    return {client.slug: client.plan_class for client in plan.plan_rows.list_clients()}


def make_written(slug: str) -> tuple[int, int]:
    """Make a client that writes both stores; return its id and that of its login."""
    pk = make_client(slug)
    row = make_database(pk)
    push(client_ids=[pk])
    ClientMigration.objects.filter(pk=pk).update(phase=Phase.DUAL_WRITE)
    return pk, row


def write_elsewhere(sm, pk: int) -> str:
    client = Client.objects.get(pk=pk)
    document = client.build_document()
    document["database"]["port"] = 6000
    return sm.put_value(f"nova/clients/{client.slug}", json.dumps(document))


@pytest.fixture
def one_of_each(sm):
    """A client of each class: {slug: id}."""
    ids = {
        "new": make_full_client("new"),
        "empty": make_client("empty"),
        "b d": make_full_client("b d"),
    }
    rows = {}
    for slug in ("unchanged", "updated", "overwritten", "left-alone"):
        ids[slug], rows[slug] = make_written(slug)
    update("client_database_credentials", rows["updated"], db_port=1)
    write_elsewhere(sm, ids["left-alone"])
    compare(client_ids=[ids["left-alone"]])
    write_elsewhere(sm, ids["overwritten"])
    return ids


def test_a_plan_says_what_the_run_then_does(sm, one_of_each, begin):
    plan = make_plan()

    assert plan.state == Run.State.PLANNED
    assert classes(plan) == {
        "new": PlanClass.NEW,
        "empty": PlanClass.LEFT_ALONE,
        "b d": PlanClass.FAILING,
        "unchanged": PlanClass.UNCHANGED,
        "updated": PlanClass.UPDATED,
        "overwritten": PlanClass.OVERWRITTEN,
        "left-alone": PlanClass.LEFT_ALONE,
    }
    found = {client.slug: client for client in plan.plan_rows.list_clients()}
    (ours,), (theirs,) = found["updated"].replaced, found["overwritten"].replaced
    assert (ours.by_this_site, theirs.by_this_site, theirs.who) == (True, False, "")
    assert ours.who == AuditEvent.objects.filter(slug="updated").first().who
    assert theirs.version_id == sm.get_value("nova/clients/overwritten").version_id
    assert theirs.written_at
    assert found["left-alone"].message.codes == ["left_alone"]
    overwriting = make_plan(overrides=["overwrite"])
    assert classes(overwriting)["left-alone"] == PlanClass.OVERWRITTEN
    exported = "".join(export_plan_as_json(overwriting))
    assert json.loads(exported)["overwrite"] is True
    for stored in (exported, "".join(export_plan_as_json(plan))):
        assert "example-password" not in stored
        assert "6000" not in stored

    run = begin(plan)
    engine.finish_inline(run)

    assert (run.by.username, run.pk) == ("starter", plan.pk)
    assert {item.slug: item.outcome for item in run.items.all()} == {
        slug: found[slug].outcome for slug in ("new", "updated", "overwritten")
    }


def test_a_client_in_postgres_whose_secret_is_as_it_should_be_is_moved_all_the_same(begin):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    plan = make_plan()
    assert classes(plan) == {"idom": PlanClass.UNCHANGED}
    assert plan.read_plan_counts().count_verdicts() == {"will": 1, "nothing": 0, "refused": 0}

    engine.finish_inline(begin(plan))

    assert ClientMigration.objects.get(pk=pk).phase == Phase.DUAL_WRITE


def test_who_changed_since_is_left_out_and_who_came_is_no_part_of_the_run(
    sm, client, one_of_each, begin
):
    for slug in ("renamed", "moved"):
        one_of_each[slug] = make_full_client(slug)
    plan = make_plan()
    make_full_client("came")
    update("clients", one_of_each["renamed"], slug="other")
    ClientMigration.objects.update_or_create(
        client_id=one_of_each["moved"], defaults={"phase": Phase.DUAL_READ}
    )
    make_database(one_of_each["new"], label="second", is_primary=False)

    run = begin(plan)

    assert set(run.items.values_list("slug", flat=True)) == {"new", "updated", "overwritten"}
    said = " ".join(map(str, client.get(plan_page(plan)).context["messages"]))
    assert "2 clients" in said
    assert all(slug in said for slug in ("moved", "other"))


def test_what_somebody_writes_in_aws_since_the_plan_the_push_decides(sm, begin):
    pk, row = make_written("idom")
    update("client_database_credentials", row, db_port=1)
    plan = make_plan()
    version = write_elsewhere(sm, pk)
    before = Comparison.objects.filter(client_id=pk).count()

    run = begin(plan)
    engine.finish_inline(run)

    item = run.items.get()
    assert (item.outcome, item.message.key) == ("updated", "overwrote")
    assert item.message.values["version"] == version
    assert Comparison.objects.filter(client_id=pk).count() > before


def test_a_plan_starts_one_run_and_none_once_it_is_discarded(begin):
    make_full_client("idom")
    plan, other = make_plan(), store_plan()
    first = begin(plan)

    assert begin(plan) == first
    other.discard(by=None)
    tasks.work_on_run(other.pk)
    assert begin(other) is None

    assert Run.objects.started().count() == 1
    other.refresh_from_db()
    assert (other.state, other.plan_rows.list_clients()) == (Run.State.DISCARDED, [])


def test_the_acts_are_in_the_audit(begin):
    make_full_client("idom")
    plan = make_plan(by=make_user("planner"))
    begin(plan)
    other = store_plan(chosen=[])
    other.discard(by=make_user("other"))

    told = AuditEvent.objects.filter(code="run").order_by("pk")
    assert [
        (event.message.key, event.who) for event in told.filter(correlation=f"run {plan.pk}")
    ] == [
        ("run_planned", "planner"),
        ("run_started", "starter"),
    ]
    assert told.filter(correlation=f"run {other.pk}").last().message.key == "run_discarded"
    assert told.filter(correlation=f"run {other.pk}").last().who == "other"


def test_a_killed_look_is_begun_again(monkeypatch):
    make_full_client("idom")
    plan = store_plan()
    tasks.resume_stalled_runs()
    assert not OrmQ.objects.exists()
    Run.objects.update(worked_at="2020-01-01T00:00:00Z")

    tasks.resume_stalled_runs()

    (task,) = OrmQ.objects.all()
    assert (task.task["func"], task.task["args"]) == ("migration.tasks.work_on_run", (plan.pk,))
    tasks.work_on_run(plan.pk)
    tasks.work_on_run(plan.pk)  # a second worker gets it too
    plan.refresh_from_db()
    assert (plan.state, plan.plan_rows.count()) == (Run.State.PLANNED, 1)


def test_plans_that_no_run_came_of_are_forgotten():
    kept, old = make_plan(), store_plan()
    Run.objects.filter(pk=old.pk).update(created_at="2020-01-01T00:00:00Z")

    Run.objects.forget_plans()

    assert list(Run.objects.all()) == [kept]


def test_a_look_costs_as_many_statements_for_many_clients_as_for_few(monkeypatch):
    asked = []
    batch_get = SecretsManager.batch_get
    monkeypatch.setattr(
        SecretsManager,
        "batch_get",
        lambda self, names: asked.append(len(list(names))) or batch_get(self, names),
    )

    def count_statements(number: int) -> int:
        for n in range(all_clients().count(), number):
            make_full_client(f"c{n}")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            (found,) = plans.look_at_batches(Run())
            assert len(found) == number
        return len(queries)

    assert count_statements(2) == count_statements(30)
    assert asked == [2, 30]


def test_where_aws_is_down_the_rest_is_not_asked_for(settings, monkeypatch):
    monkeypatch.setattr(plans, "CLIENTS_AT_ONCE", 1)
    for slug in ("a", "b"):
        make_full_client(slug)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    looks = plans.look_at_batches(Run(), interactive=True)
    clients = [client for found in looks for client in found]

    assert [(c.slug, c.plan_class, c.error_class) for c in clients] == [
        ("a", "failing", "unavailable"),
        ("b", "failing", "unavailable"),
    ]
    assert clients[1].message == NOT_LOOKED_AT()


def test_the_summary_counts_calls_seconds_and_dollars(settings, one_of_each):
    settings.NOVA_SWEEP_MINUTES = 30 * 24 * 60
    settings.NOVA_AWS_WRITES_PER_SECOND = 2
    summary = summarize_plan(make_plan().read_plan_counts())

    assert (summary.clients, summary.creates, summary.updates) == (7, 1, 2)
    assert summary.batch_reads == 2
    assert summary.seconds == 1.0
    assert (summary.dollars_a_month, summary.new_dollars_a_month) == (
        Decimal("2.00"),
        Decimal("0.40"),
    )
    assert summary.counts["left_alone"] == 2

    # One more secret has a twentieth of the calls that compare all of them, each minute here.
    settings.NOVA_SWEEP_MINUTES = 1
    each_minute = summarize_plan(make_plan().read_plan_counts())
    assert each_minute.new_dollars_a_month == Decimal("0.41")


@pytest.fixture
def run(capsys):
    """Runs a command: (exit code, the object on standard output, standard error)."""

    def run(*arguments: str):
        code = 0
        try:
            call_command(*arguments, "--format", "json")
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, json.loads(printed.out), printed.err

    return run


def test_a_dry_run_prints_the_plan_for_programs_and_for_people(run, one_of_each, capsys):
    code, result, _ = run("migrate_clients", "--all", "--dry-run")

    assert (code, result["failed"], result["skipped"], result["mismatched"]) == (1, 1, 2, 1)
    assert result["plan"]["counts"]["overwritten"] == 1
    items = {item["slug"]: item for item in result["items"]}
    assert items["overwritten"]["replaced"][0]["by_this_site"] is False
    assert items["left-alone"]["code"] == "left_alone"

    with pytest.raises(SystemExit):
        call_command("migrate_clients", "--all", "--dry-run")
    printed = capsys.readouterr().out
    assert "by somebody else, 20" in printed
    assert "7 clients: 1 New in AWS" in printed


def test_the_command_leaves_alone_what_differs_and_exits_with_1(run, sm):
    pk, _row = make_written("idom")
    write_elsewhere(sm, pk)
    compare(client_ids=[pk])

    code, result, _ = run("migrate_clients", "--all", "--inline")
    assert (code, result["skipped"], result["mismatched"]) == (1, 1, 1)
    assert result["items"][0]["code"] == "left_alone"

    code, result, _ = run("migrate_clients", "--all", "--inline", "--overwrite")
    assert (code, result["updated"], result["items"][0]["code"]) == (0, 1, "overwrote")


def test_a_run_by_command_makes_no_plan_and_reads_each_secret_once(run, monkeypatch):
    make_many(51, phase="postgres")
    push(client_ids=all_clients().values_list("pk", flat=True))
    asked, batch_get = [], SecretsManager.batch_get
    monkeypatch.setattr(
        SecretsManager,
        "batch_get",
        lambda self, names: asked.extend(names := list(names)) or batch_get(self, names),
    )

    code, result, said = run("migrate_clients", "--all", "--inline")

    assert (code, result["unchanged"], len(result["items"])) == (0, 51, 51)
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 51
    assert "plan" not in said.lower()


def test_a_look_some_batches_at_once_is_told_in_their_order(monkeypatch):
    monkeypatch.setattr(plans, "CLIENTS_AT_ONCE", 1)
    plain = plans._look_at_batch
    for more in (1, 1, 1, 7):
        make_many(more, phase="postgres")
        turns = iter([0.0, 0.05, 0.02, *[0.0] * 10])

        def look_late(*args, turns=turns, **options):
            time.sleep(next(turns))
            return plain(*args, **options)

        monkeypatch.setattr(plans, "_look_at_batch", look_late)

        found = [each.client_id for batch in plans.look_at_batches(Run()) for each in batch]

        assert found == list(all_clients().order_by("pk").values_list("pk", flat=True))
