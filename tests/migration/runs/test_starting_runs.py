"""What the actions and buttons start."""

from itertools import product

from django_q.models import OrmQ

from migration.models import RunItem
from migration.runs.models import Run
from tests.factories import make_client, make_full_client, make_many
from tests.migration.pages import CLIENTS, COMPARE, START, run_page, text, verdicts
from tests.page_forms import pages_left_out


def queued() -> list[tuple[str, tuple]]:
    return [(task.task["func"], task.task["args"]) for task in OrmQ.objects.order_by("pk")]


def test_a_comparison_starts_at_once_over_exactly_the_chosen_clients(operator):
    first, _other, third = (make_full_client(slug) for slug in ("a", "b", "c"))
    chosen = {"action": "compare_selected", "_selected_action": [third, first]}

    answer = operator.post(CLIENTS, chosen)

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.finished_at) == ("compare", "operator", None)
    assert list(run.items.values_list("client_id", "slug", "outcome")) == [
        (first, "a", ""),
        (third, "c", ""),
    ]
    assert queued() == [("migration.tasks.work_on_run", (run.pk,))]
    assert answer.url == run_page(run)
    assert "started for 2 clients" in text(operator.get(answer.url))


def test_the_button_starts_a_comparison_of_all_clients_in_batches(operator):
    make_many(230, phase="postgres")

    operator.post(COMPARE)

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.items.count()) == ("compare", "operator", 230)
    assert queued() == [("migration.tasks.work_on_run", (run.pk,))] * 3


def across(browser, address: str, action: str):
    """As the list sends an action over all that it shows, on all its pages."""
    with pages_left_out():
        shown = browser.get(address).context_data["cl"].shown_all
    chosen = {"_selected_action": ["1"], "select_across": "1", "index": "0", "shown_all": shown}
    return browser.post(address, {"action": action, **chosen})


def test_an_action_over_more_clients_than_a_page_holds_takes_them_all(operator):
    make_many(120)

    across(operator, CLIENTS, "compare_selected")
    answer = across(operator, CLIENTS, "push")

    assert Run.objects.get().items.count() == 120
    assert operator.get(answer.url).context["selected"] == 120
    operator.post(answer.url, {"confirmed": "plan"})
    assert len(Run.objects.get(state=Run.State.PLANNING).chosen) == 120


def test_an_action_over_all_of_a_narrowed_list_takes_no_other_client(operator, stores):
    make_many(60), make_client("other")

    across(operator, f"{CLIENTS}?phase=dual_write", "compare_selected")
    push = operator.get(
        operator.post(
            f"{CLIENTS}?phase=postgres",
            {"action": "push", "_selected_action": ["1"], "select_across": "1"},
        ).url
    )

    assert not Run.objects.get().items.filter(slug="other").exists()
    assert verdicts(push) == {"will": [], "refused": ["other"]}


def test_an_action_over_nothing_starts_no_task(operator):
    make_full_client("idom")

    with pages_left_out():
        for action, chosen in product(("push", "compare_selected"), ([], ["999999999"])):
            answer = operator.post(CLIENTS, {"action": action, "_selected_action": chosen})
            assert answer.status_code in (200, 302)
    assert not RunItem.objects.exists()
    assert not OrmQ.objects.exists()


def test_without_clients_there_is_nothing_to_push_and_a_comparison_is_over_at_once(operator):
    assert operator.get(START, follow=True).request["PATH_INFO"] == CLIENTS
    answer = operator.post(COMPARE)

    assert Run.objects.get().finished_at is not None
    assert "This run had no clients." in text(operator.get(answer.url))
