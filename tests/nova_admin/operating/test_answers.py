"""Answers and their times are counted over all web processes, without a query of a request and without a name."""

import logging
import threading
import time
from types import SimpleNamespace

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from migration.core import counters
from migration.core.counters import ProcessCounter
from migration.models import KeptCounts
from nova_admin import traffic
from nova_admin.traffic import answer_counter, count_answers
from tests.factories import make_client
from tests.nova_admin.operating.test_metrics import read

pytestmark = pytest.mark.usefixtures("stores")


def ask(monkeypatch, *, seconds: float = 0.0, status: int = 200, method: str = "GET") -> None:
    times = iter((100.0, 100.0 + seconds))
    with monkeypatch.context() as patch:
        patch.setattr(traffic, "time", SimpleNamespace(monotonic=lambda: next(times)))
        answer = count_answers(lambda _request: HttpResponse(status=status))
        answer(RequestFactory().generic(method, "/admin/credentials/client/?q=idom"))


def test_answers_are_counted_by_method_and_class_of_status(scrape, monkeypatch):
    for status, method in ((200, "GET"), (204, "GET"), (302, "POST"), (503, "GET"), (405, "BREW")):
        ask(monkeypatch, status=status, method=method)

    found = read(scrape())["nova_http_requests_total"]

    assert found == {
        ("GET", "2xx"): 2, ("GET", "5xx"): 1, ("POST", "3xx"): 1, ("other", "4xx"): 1
    }  # fmt: skip


def test_times_fall_into_buckets_that_contain_those_before(scrape, monkeypatch):
    for seconds in (0.0, 0.05, 0.06, 2.0, 99.0):
        ask(monkeypatch, seconds=seconds)

    found = read(scrape())

    buckets = found["nova_http_request_seconds_bucket"]
    told = {bound: buckets[(bound,)] for bound in ("0.05", "0.1", "1.0", "2.5", "30.0", "+Inf")}
    assert told == {"0.05": 2, "0.1": 3, "1.0": 3, "2.5": 4, "30.0": 4, "+Inf": 5}
    assert found["nova_http_request_seconds_count"][()] == 5
    assert found["nova_http_request_seconds_sum"][()] == pytest.approx(101.11)


def test_processes_add_up(scrape, monkeypatch):
    other = ProcessCounter(KeptCounts.HTTP)
    other.count({"GET 2xx": 3, "0.1": 3, "microseconds": 120_000})
    other.store()
    ask(monkeypatch)

    assert read(scrape())["nova_http_requests_total"] == {("GET", "2xx"): 4}


@pytest.mark.parametrize("kind", [KeptCounts.HTTP, KeptCounts.AWS_CALLS])
def test_numbers_that_no_process_counted_hide_no_other(scrape, kind):
    """Whoever owns NOVA's tables can have the site write any row."""
    counts = {"GET 2xx": 10**400, "GET 4xx": -1, "GET 5xx": "x", "POST 2xx": 7, "0.1": 7}
    KeptCounts.objects.create(pk=kind, counted_at=timezone.now(), counts=counts)

    found = read(scrape())

    name = "nova_http_requests" if kind == KeptCounts.HTTP else "nova_aws_calls"
    assert found[f"{name}_total"][("POST", "2xx")] == 7
    assert ("GET", "2xx") not in found[f"{name}_total"]


def test_pages_are_counted_and_neither_probes_nor_metrics(client, scrape):
    make_client("idom")
    client.get("/healthz")
    scrape()
    client.get("/admin/login/")
    client.get("/no-such-page-idom")

    text = scrape()

    assert read(text)["nova_http_requests_total"] == {("GET", "2xx"): 1, ("GET", "4xx"): 1}
    assert "idom" not in text


def test_a_request_takes_no_query_for_it_and_what_it_counted_is_stored_after_the_answer(
    client, monkeypatch, django_assert_num_queries
):
    with django_assert_num_queries(0):
        client.get("/no-such-page")
    assert not KeptCounts.objects.filter(pk=KeptCounts.HTTP).exists()

    monkeypatch.setattr(counters, "STORE_EVERY_SECONDS", 0.0)
    answer_counter()._store_at = 0.0
    with django_assert_num_queries(0):
        client.get("/no-such-page")
    wait_for_storing()

    (counts,) = KeptCounts.objects.read_counts(KeptCounts.HTTP)
    assert counts["GET 4xx"] == 2


def wait_for_storing() -> None:
    for thread in threading.enumerate():
        if thread.name == "answers":
            thread.join(30)


def test_where_the_database_hangs_no_request_waits_for_the_counting(client, monkeypatch):
    end, stores = threading.Event(), []
    monkeypatch.setattr(answer_counter(), "store", lambda: stores.append(end.wait(30)))
    answer_counter()._store_at = 0.0
    began = time.monotonic()

    answers = [client.get("/healthz").status_code for _ in range(5)]

    assert answers == [200] * 5
    assert time.monotonic() - began < 10
    end.set()
    wait_for_storing()
    assert len(stores) == 1


@pytest.mark.parametrize("counts", ["7", "[]", '"x"', '{"GET 2xx": "x", "0.1": [], "x y z": {}}'])
def test_counts_that_somebody_else_wrote_stop_no_metric(scrape, caplog, counts):
    KeptCounts.objects.add_counts(connection, KeptCounts.HTTP, {"GET 2xx": 1})
    KeptCounts.objects.add_counts(connection, KeptCounts.AWS_CALLS, {"CreateSecret ok": 1})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nova_admin.migration_keptcounts SET counts = %s::jsonb", [counts])

    with caplog.at_level(logging.WARNING):
        found = read(scrape())

    assert found["nova_http_request_seconds_count"][()] == 0
