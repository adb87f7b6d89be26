"""Counts the site's answers by method and status, and how long they took. A request never waits for the counting."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from migration.core.counters import ProcessCounter, get_counter
from migration.core.rates import KeptCounts

# Seconds, as Prometheus' histograms have them: an answer is counted by the first bound that it didn't exceed.
BOUNDS = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "+Inf")
BOUNDS_IN_SECONDS = tuple(map(float, BOUNDS))
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "other")
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
MICROSECONDS = "microseconds"


def answer_counter() -> ProcessCounter:
    """Return this process' counter: by "<method> <status>", by bound, and all their microseconds together."""
    return get_counter(KeptCounts.HTTP)


def count_answers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Count each answer of a page, until its body begins. Probes and static files are answered before."""
    request_finished.connect(store_answers, dispatch_uid="nova_admin.store_answers")

    def answer_request(request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        response = get_response(request)
        seconds = time.monotonic() - began
        method = request.method if request.method in METHODS else "other"
        bound = BOUNDS[bisect_left(BOUNDS_IN_SECONDS, seconds)]
        answer_counter().count(
            {
                f"{method} {response.status_code // 100}xx": 1,
                bound: 1,
                MICROSECONDS: int(seconds * 1_000_000),
            }
        )
        return response

    return answer_request


_storing = threading.Lock()


def store_answers(**_: object) -> None:
    """Have what was counted stored, after a request, if that is due.

    A thread does it, one at a time: where PostgreSQL hangs, this process still answers whoever asks whether it lives.
    """
    if answer_counter().is_due and _storing.acquire(blocking=False):
        threading.Thread(target=_store, name="answers", daemon=True).start()


def _store() -> None:
    try:
        answer_counter().store()
    finally:
        _storing.release()


def describe_answers(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the metrics of what all processes have counted. Only names that are counted here are read."""
    requests = CounterMetricFamily(
        "nova_http_requests",
        "Requests for pages that this site answered, by method and class of the status.",
        labels=("method", "status"),
    )
    for method in METHODS:
        for status in STATUSES:
            if number := counts.get(f"{method} {status}"):
                requests.add_metric((method, status), number)
    yield requests
    buckets, all_until = [], 0
    for bound in BOUNDS:
        all_until += counts.get(bound, 0)
        buckets.append((bound, all_until))
    yield HistogramMetricFamily(
        "nova_http_request_seconds",
        "Seconds from a request for a page to the beginning of its answer.",
        buckets=buckets,
        sum_value=counts.get(MICROSECONDS, 0) / 1_000_000,
    )
