"""A run that is only planned: where people look for it, and where nothing takes it for one that was started."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ

from migration import tasks
from migration.clients.offboarding import find_unfinished_write_run
from migration.core.clients import all_clients
from migration.models import AuditEvent
from migration.moves.rules import select_write_runs_in_work
from migration.runs import engine
from migration.runs.acts import see_clients
from migration.runs.failures import count_failed_clients
from migration.runs.models import PLANS_ARE_KEPT, Run, StaleRunError
from migration.site.dashboard import select_runs_at_work
from migration.site.metrics import _count_runs
from tests.factories import make_full_client, make_user
from tests.migration.pages import (
    RUNS,
    login,
    make_plan,
    plan_page,
    run_page,
    start_plan,
    store_plan,
    text,
)
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")

STATES = {"planning", "planned", "discarded"}


@pytest.fixture
def client_id() -> int:
    return make_full_client("idom")


@pytest.fixture
def plans(client_id) -> list[Run]:
    """One in each of the states, the newest first."""
    discarded, planned, planning = make_plan(), make_plan(), store_plan()
    discarded.discard(by=None)
    return [planning, planned, discarded]


def run_json(*arguments: str):
    out = io.StringIO()
    call_command("run", *arguments, "--format", "json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


def test_no_count_and_no_check_takes_it_for_a_run(client_id):
    before = see_clients([client_id])
    plans = [make_plan(), make_plan(), store_plan()]
    plans[0].discard(by=None)
    started = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients().none(), by=make_user("maria"))

    assert set(Run.objects.values_list("state", flat=True)) == {*STATES, started.state}
    assert list(Run.objects.started()) == [started]
    assert not select_write_runs_in_work().exists()
    assert find_unfinished_write_run(client_id) is None
    assert see_clients([client_id]) == before
    assert _count_runs().by_state == {}
    assert not {*plans} & {*select_runs_at_work()}
    assert count_failed_clients().left_out == 0
    assert not engine.is_held_by_writes(started)


def test_it_is_in_the_list_and_leads_who_may_start_it_to_its_plan(plans, operator):
    listed = operator.get(RUNS)
    assert list(listed.context["cl"].result_list) == plans
    words = text(listed)
    for plan in plans:
        assert plan.get_state_display() in words
        with pages_left_out():
            of_state = operator.get(f"{RUNS}?state={plan.state}").context_data["cl"]
        assert list(of_state.result_list) == [plan]
        assert operator.get(run_page(plan)).url == plan_page(plan)


def test_who_may_not_start_it_sees_its_state(plans, viewer):
    for plan in plans:
        page = viewer.get(run_page(plan))

        assert page.context["original"] == plan
        assert plan.get_state_display() in text(page)
        assert viewer.get(plan_page(plan)).status_code == 403


def test_commands_name_its_state_and_wait_for_nothing(plans):
    assert [(each["run"], each["state"]) for each in run_json("list")] == [
        (plan.pk, plan.state) for plan in plans
    ]
    assert run_json("list", "--state", "running") == []
    for plan in plans:
        shown = run_json("show", str(plan.pk))
        assert (shown["state"], shown["clients"]) == (plan.state, 0)
        assert bool(shown["waits_for"]) == (plan.state == "planned")
        for order in ("pause", "resume"):
            with pytest.raises(CommandError):
                call_command("run", order, str(plan.pk))


def test_no_button_of_a_run_steers_it(plans, operator):
    for plan in plans:
        for order in ("pause", "resume", "go_on", "retry"):
            operator.post(f"{RUNS}{plan.pk}/steer/", {"order": order})

        state = plan.state
        plan.refresh_from_db()
        assert (plan.state, plan.items.count()) == (state, 0)


def test_it_is_discarded_by_the_command_too(client_id):
    plan = make_plan()
    make_user("eva", "migration.add_run")

    assert run_json("stop", str(plan.pk), "--by", "eva")["state"] == "discarded"

    assert AuditEvent.objects.get(code="run", who="eva").message.key == "run_discarded"
    with pytest.raises(CommandError):
        call_command("run", "stop", str(plan.pk))


def test_a_worker_leaves_it_as_it_is(client_id):
    plan = make_plan()
    Run.objects.update(worked_at="2020-01-01T00:00:00Z")

    tasks.work_on_run(plan.pk)
    tasks.resume_stalled_runs()

    assert not plan.finish_if_done()
    assert not OrmQ.objects.exists()
    plan.refresh_from_db()
    assert (plan.state, plan.finished_at) == ("planned", None)


def test_from_its_start_on_it_is_a_run_as_any_other(client_id, operator):
    plan = make_plan()
    Run.objects.update(created_at=timezone.now() - timedelta(days=2))

    start_plan(operator, plan, reason="INC-42")
    tasks.work_on_run(plan.pk)

    run = Run.objects.get()
    assert (run.pk, run.state, run.kind, run.reason) == (plan.pk, "finished", "migrate", "INC-42")
    assert (run.by.username, run.tries > 1, run.chosen) == ("operator", True, None)
    assert timezone.now() - run.created_at < timedelta(minutes=5)
    assert run.items.get().outcome == "created"
    assert run not in select_runs_at_work()
    page = operator.get(plan_page(run))
    assert page.context["number"] == 1
    assert 'name="confirmed"' not in page.content.decode()


def test_a_plan_of_somebody_else_is_started_in_the_name_of_who_starts_it(client_id, client):
    plan = make_plan(by=make_user("maria"))
    login(client, "eva", "credentials.view_client", "migration.add_run")

    start_plan(client, plan)

    run = Run.objects.get()
    assert (run.by.username, run.by_name) == ("eva", "eva")
    told = AuditEvent.objects.filter(correlation=f"run {run.pk}", slug="").order_by("pk")
    assert list(told.values_list("who", flat=True)) == ["maria", "eva"]


def test_one_that_was_started_is_never_forgotten_as_a_plan(client_id, operator):
    started, kept, old = make_plan(), make_plan(), make_plan()
    start_plan(operator, started)
    Run.objects.filter(pk__in=[started.pk, old.pk]).update(
        created_at=timezone.now() - PLANS_ARE_KEPT - timedelta(days=1)
    )

    Run.objects.forget_plans()

    assert set(Run.objects.values_list("pk", flat=True)) == {started.pk, kept.pk}
    with pytest.raises(Run.DoesNotExist):
        Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), planned=old)
    with pytest.raises(StaleRunError):
        Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), planned=started)
