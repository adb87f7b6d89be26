"""A run's orders on its page."""

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from migration.models import Rate, Worker
from migration.runs import engine
from migration.runs.models import Run
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.runs.steering.runs import start

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def operator(client) -> User:
    user = make_user("operator", *VIEW, "migration.add_run")
    client.force_login(user)
    return user


def steer(client, run: Run, order: str, **data):
    url = reverse("admin:migration_run_steer", args=[run.pk])
    return client.post(url, {"order": order} | data, follow=True)


def buttons(response) -> set[str]:
    page = response.content.decode()
    return {order for order in ("pause", "resume", "stop", "retry") if f'value="{order}"' in page}


def test_the_page_offers_what_the_state_allows(client, operator):
    run = start(2)
    page = reverse("admin:migration_run_change", args=[run.pk])

    assert buttons(client.get(page)) == {"pause", "stop"}
    assert buttons(steer(client, run, "pause")) == {"resume", "stop"}
    assert buttons(steer(client, run, "resume")) == {"pause", "stop"}
    assert buttons(steer(client, run, "stop")) == set()
    run.refresh_from_db()
    assert (run.state, run.steered_by) == (Run.State.STOPPED, operator)


def test_an_order_that_comes_too_late_says_so(client, operator):
    run = start(1)
    engine.work_on_run(run_id=run.pk)

    response = steer(client, run, "pause")

    assert "Nothing was changed" in response.content.decode()


def test_the_page_after_a_retry_tells_of_a_run_at_work(client, operator, stores):
    Worker.objects.record_heartbeat("host:1")
    run = start(2, tries=1)
    stores.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))
    engine.work_on_run(run_id=run.pk)

    response = steer(client, run, "retry")

    assert buttons(response) == {"pause", "stop"}
    assert "AccessDenied" not in response.content.decode()


def test_an_order_that_there_is_not_is_a_bad_request(client, operator):
    assert steer(client, start(1), "delete").status_code == 400


def test_who_may_only_view_steers_nothing_and_is_offered_nothing(client):
    client.force_login(make_user("viewer", *VIEW))
    run = start(1)
    for name in ("steer", "rate"):
        url = reverse(f"admin:migration_run_{name}", args=[run.pk])

        assert client.post(url, {"order": "stop", "writes": "1"}).status_code == 403
        assert client.get(url).status_code in (403, 405)
    assert buttons(client.get(reverse("admin:migration_run_change", args=[run.pk]))) == set()
    run.refresh_from_db()
    assert (run.state, Rate.objects.exclude(per_second=None).exists()) == (Run.State.RUNNING, False)


def test_the_rate_is_changed_on_the_page_and_given_back(client, operator, settings):
    run = start(1)
    url = reverse("admin:migration_run_rate", args=[run.pk])

    client.post(url, {"writes": "12.5", "reads": ""})
    assert dict(Rate.objects.values_list("kind", "per_second")) == {
        "create": 12.5, "write": 12.5, "read": None, "login": None,
    }  # fmt: skip
    client.post(url, {"writes": "", "reads": ""})
    assert set(Rate.objects.values_list("per_second", flat=True)) == {None}


def test_a_rate_that_is_none_is_refused(client, operator):
    url = reverse("admin:migration_run_rate", args=[start(1).pk])

    for writes in ("0", "-1", "1001", "nan", "inf", "fast"):
        client.post(url, {"writes": writes, "reads": ""})
        assert not Rate.objects.exclude(per_second=None).exists(), writes


def test_the_live_part_asks_for_itself_until_the_run_is_over(client, operator):
    run = start(1)
    url = reverse("admin:migration_run_live", args=[run.pk])
    response = client.get(url)
    assert f'hx-get="{url}?' in response.content.decode()
    engine.work_on_run(run_id=run.pk)

    assert "hx-get" not in client.get(url).content.decode()


def test_the_items_come_as_csv_and_no_cell_is_a_formula(client, operator):
    make_full_client("=1+1")
    run = start(2)
    engine.work_on_run(run_id=run.pk)

    response = client.get(reverse("admin:migration_run_items", args=[run.pk]))
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))

    assert [(row["slug"], row["outcome"]) for row in rows] == [
        ("'=1+1", "created"),
        ("client-0", "created"),
        ("client-1", "created"),
    ]
