"""What the page of a run offers beside a failure, and what changes on it while it goes on."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from migration.core.clients import all_clients
from migration.core.sentences import NOT_OURS, NOVA_WROTE
from migration.models import ClientMigration, Rate
from migration.runs import engine
from migration.runs.items import RUN_STOPPED, Outcome
from migration.runs.models import Run
from nova_credentials.messages import Message
from tests.factories import CHANGE, VIEW, make_client, make_user, update
from tests.migration.pages import close, make_run, run_page, text

NOT_OURS = NOT_OURS(name="nova/clients/idom")
TYPED = Message.from_text_without_key("It can't.")


@pytest.fixture
def operator(db, client):
    client.force_login(make_user("operator", *VIEW, *CHANGE, "migration.add_run"))
    return client


def live(run: Run, query: str = "") -> str:
    return reverse("admin:migration_run_live", args=[run.pk]) + query


def finish(number: int, outcome: Outcome, **fields) -> Run:
    run = make_run(number)
    close(run, number, outcome, **fields)
    run.finish_if_done()
    return run


def test_a_failure_has_what_mends_it_and_is_retried_only_where_that_can_help(operator):
    rows = [
        ("failed", {"error_class": "data", "message": TYPED}, ("Fix this client", "logins"), False),
        ("failed", {"error_class": "conflict", "message": NOT_OURS},
         ("See whose secret it is, and adopt it", ""), False),
        ("failed", {"error_class": "conflict", "message": TYPED}, ("See what differs", "comparison"), False),
        ("failed", {"error_class": "conflict", "message": NOVA_WROTE()}, None, True),
        ("failed", {"error_class": "throttled", "message": TYPED}, None, True),
        ("failed", {"error_class": "unavailable", "message": TYPED}, None, True),
        ("failed", {"error_class": "permission", "message": TYPED}, None, True),
        ("refused", {"message": TYPED}, ("See which of its checks fail", "overview"), True),
        ("compared", {"comparison_status": "mismatch"}, ("See what differs", "comparison"), False),
        ("compared", {"comparison_status": "match"}, None, False),
        ("skipped", {"message": RUN_STOPPED()}, None, False),
    ]  # fmt: skip
    run = make_run(len(rows))
    for outcome, fields, _remedy, _may_retry in rows:
        close(run, 1, outcome, **fields)
    run.finish_if_done()

    response = operator.get(f"{run_page(run)}?items=all")

    html = response.content.decode()
    shown = {row["item"].client_id: row for row in response.context["rows"]}
    retried = {int(pk) for pk in re.findall(r'name="item" value="(\d+)"', html)}
    assert len(shown) == len(rows)
    for pk, (outcome, fields, remedy, may_retry) in enumerate(rows, start=1000):
        expected = []
        if remedy:
            label, tab = remedy
            page = f"{pk}/change/?tab={tab}" if tab else f"act/adopt/?clients={pk}"
            expected.append((label, f"/admin/credentials/client/{page}"))
            assert f'href="{expected[0][1]}">{label}' in html
        assert shown[pk]["remedies"] == expected, (outcome, fields)
        assert (shown[pk]["item"].pk in retried) == may_retry, (outcome, fields)


def test_rows_that_were_mended_since_may_be_tried_again(operator):
    pk = make_client("idom")
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    run.add_items([(pk, "idom")])
    close(run, 1, Outcome.FAILED, error_class="data", message=TYPED)
    run.finish_if_done()
    revision = all_clients().with_revision().get(pk=pk).revision
    ClientMigration.objects.record_refused([(pk, revision)])
    assert 'name="item"' not in operator.get(run_page(run)).content.decode()

    update("clients", pk, name="Idom")

    assert 'name="item"' in operator.get(run_page(run)).content.decode()


def test_who_may_not_mend_it_is_offered_to_look_and_who_may_not_look_nothing(client, db):
    run = finish(1, Outcome.FAILED, error_class="data", message=TYPED)
    for permissions, label in ((VIEW, "See its rows"), (("migration.view_run",), None)):
        client.force_login(make_user(f"user-{label}", *permissions))
        response = client.get(run_page(run))
        (row,) = response.context["rows"]
        assert [each for each, _url in row["remedies"]] == ([label] if label else [])
        assert 'name="order"' not in response.content.decode()


def test_it_opens_on_what_failed_or_was_refused_and_else_on_all(viewer):
    run = make_run(4)
    assert viewer.get(run_page(run)).context["chosen_tab"] == "all"
    close(run, 1, Outcome.REFUSED)
    assert viewer.get(run_page(run)).context["chosen_tab"] == "refused"
    close(run, 1, Outcome.FAILED, error_class="data")
    assert viewer.get(run_page(run)).context["chosen_tab"] == "failed"
    assert viewer.get(f"{run_page(run)}?items=all").context["chosen_tab"] == "all"


def test_the_main_button_goes_on_or_retries_what_can_succeed(operator):
    def main(run: Run) -> list[str]:
        page = operator.get(run_page(run)).content.decode()
        buttons = page.split('name="order" value="')[1:]
        return [each.split('"')[0] for each in buttons if "bg-primary-600" in each.split(">")[0]]

    stopped = make_run(3)
    close(stopped, 1, Outcome.FAILED, error_class="unavailable")
    close(stopped, 2, Outcome.SKIPPED, message=RUN_STOPPED())
    stopped.finish_if_done()

    assert main(stopped) == ["go_on"]
    assert main(finish(1, Outcome.FAILED, error_class="unavailable")) == ["retry"]
    assert main(finish(1, Outcome.FAILED, error_class="data", message=TYPED)) == []


def test_one_poll_has_line_tabs_and_rows_and_the_page_stays_where_it_is_at_the_end(operator):
    run = make_run(102)
    close(run, 1, Outcome.CREATED, comparison_status="match")
    query = "?items=all&page=1"
    with engine.try_lock_batch(run.pk, 60), CaptureQueriesContext(connection) as captured:
        run.items.filter(slug="client-60").update(batch=60)
        response = operator.get(live(run, query))
    words = text(response)

    assert "1 of 102 clients: 1 done, 1 in progress, 100 waiting" in words
    assert [(tab["key"], tab["count"]) for tab in response.context["tabs"]] == [
        ("all", 102), ("in_progress", 1), ("waiting", 100), ("failed", 0), ("done", 1),
    ]  # fmt: skip
    first = response.context["rows"][0]["item"]
    assert (first.slug, first.is_held) == ("client-60", True)
    assert (
        f'hx-get="{live(run)}?items=all&amp;page=1&amp;state=running"' in response.content.decode()
    )
    # The session, the user, what the user may do; the update above; then the run with its counts, and its rows.
    own = [q["sql"] for q in captured if "migration_runitem" in q["sql"] and "SELECT" in q["sql"]]
    assert len(own) == 2
    close(run, 101, Outcome.CREATED, comparison_status="match")
    run.finish_if_done()

    response = operator.get(live(run, query))

    assert "102 of 102" in text(response)
    assert "It took" in text(response)
    assert "hx-get" not in response.content.decode()
    assert "HX-Refresh" not in response.headers


def test_the_page_of_a_request_is_asked_anew_once_it_is_decided(viewer):
    run = make_run(1, state=Run.State.REQUESTED)
    query = "?items=all&page=1&requested=1"
    assert query.replace("&", "&amp;") in viewer.get(run_page(run)).content.decode()
    assert "HX-Refresh" not in viewer.get(live(run, query)).headers
    Run.objects.update(state=Run.State.RUNNING)

    assert viewer.get(live(run, query)).headers["HX-Refresh"] == "true"


def test_the_rates_are_those_that_hold_and_lead_back_to_the_settings(operator, settings):
    settings.NOVA_AWS_WRITES_PER_SECOND, settings.NOVA_AWS_READS_PER_SECOND = 48, 90
    run = make_run(1)
    page, url = run_page(run), reverse("admin:migration_run_rate", args=[run.pk])
    assert "Writes per second, all runs 48 in the settings" in text(operator.get(page))
    assert 'value="48"' in operator.get(page).content.decode()
    assert "Back to the settings" not in text(operator.get(page))
    operator.post(url, {"writes": "12.5", "reads": "90"})
    # What the settings say is no rate of its own: it follows them.
    assert dict(Rate.objects.values_list("kind", "per_second")) == {
        "create": 12.5, "write": 12.5, "read": None, "login": None,
    }  # fmt: skip
    assert 'value="12.5"' in operator.get(page).content.decode()

    operator.post(url, {"writes": "12.5", "reads": "90", "reset": "1"})

    assert not Rate.objects.exclude(per_second=None).exists()
