"""What the actions and buttons start."""

import pytest
from django_q.models import OrmQ

from migration.core.clients import all_clients, digest_selection
from migration.models import ClientMigration, RunItem, RunPlan
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_full_client, make_many
from tests.migration.pages import CLIENTS, COMPARE, START, plan_order, run_page, text


def queued() -> list[tuple[str, tuple]]:
    return [(task.task["func"], task.task["args"]) for task in OrmQ.objects.order_by("pk")]


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("push_selected", "migrate"),
        ("compare_selected", "compare"),
        ("test_logins_selected", "test_logins"),
    ],
)
def test_an_action_starts_a_run_over_exactly_the_chosen_clients(operator, action, kind):
    first, _other, third = (make_full_client(slug) for slug in ("a", "b", "c"))

    answer = operator.post(CLIENTS, {"action": action, "_selected_action": [third, first]})

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.finished_at) == (kind, "operator", None)
    assert list(run.items.values_list("client_id", "slug", "outcome")) == [
        (first, "a", ""),
        (third, "c", ""),
    ]
    assert queued() == [("migration.tasks.work_on", (run.pk,))]
    assert answer.url == run_page(run)
    assert "started for 2 clients" in text(operator.get(answer.url))


def test_the_button_starts_a_comparison_of_all_clients_in_batches(operator):
    make_many(230, phase="postgres")

    operator.post(COMPARE)

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.items.count()) == ("compare", "operator", 230)
    assert queued() == [("migration.tasks.work_on", (run.pk,))] * 3


@pytest.mark.parametrize(
    ("action", "started"), [("push_selected", RunPlan), ("compare_selected", Run)]
)
def test_an_action_over_more_clients_than_a_page_holds_takes_them_all(operator, action, started):
    make_many(120)
    chosen = list(ClientMigration.objects.values_list("pk", flat=True)[:1])

    operator.post(
        CLIENTS,
        {
            "action": action,
            "_selected_action": chosen,
            "select_across": "1",
            "index": "0",
            "shown_all": operator.get(CLIENTS).context_data["cl"].shown_all,
        },
    )

    made = started.objects.get()
    assert len(made.chosen) if started is RunPlan else made.items.count() == 120
    assert Run.objects.count() + RunPlan.objects.count() == 1


def test_an_action_over_all_of_a_narrowed_list_takes_no_other_client(operator):
    make_many(3), make_client("other")

    operator.post(
        f"{CLIENTS}?phase=postgres",
        {
            "action": "push_selected",
            "_selected_action": ["1"],
            "select_across": "1",
            "shown_all": digest_selection(all_clients().with_phase().in_phases(Phase.POSTGRES)),
        },
    )

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["other"]


@pytest.mark.parametrize("chosen", [[], ["999999999"]])
def test_an_action_over_nothing_starts_no_task(operator, chosen):
    make_full_client("idom")

    answer = operator.post(CLIENTS, {"action": "push_selected", "_selected_action": chosen})

    assert answer.status_code in (200, 302)
    assert not RunItem.objects.exists()
    assert not OrmQ.objects.exists()


def test_a_run_over_an_empty_database_is_finished_at_once(operator):
    operator.post(START)
    answer = operator.post(plan_order(RunPlan.objects.get()), {"order": "start"})

    assert Run.objects.get().finished_at is not None
    assert "This run had no clients." in text(operator.get(answer.url))
