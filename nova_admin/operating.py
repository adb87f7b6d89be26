"""Answers the machines that watch the site: whether it lives, whether it is ready and, with its token, its metrics.

Anybody may ask whether it is ready. So an answer is kept for some seconds, and says of each part only whether it is
well or could not be looked at, and by name which settings differ from those of other hosts.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from platform import python_version

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from migration.core.aws_writes import get_aws_write_state, learn_facts
from migration.core.correlation import name_cause
from migration.core.problems import PROBLEMS, Finder, FindingState, Look, Problem, look_for
from migration.core.shared_facts import find_differences
from migration.site.metrics import SiteNumbers, load_site_numbers
from migration.task_queue import count_queued_tasks
from nova_admin.traffic import answer_counter, describe_answers
from nova_credentials import VERSION
from nova_credentials.aws.secrets_manager import SecretsManagerError

# An answer is kept for so long; what takes longer, as AWS, Redis and the schema do, is asked more seldom.
KEPT_SECONDS = 5.0
KEPT_SECONDS_OF_SLOW = 30.0
# So long somebody waits for an answer; what isn't known by then has failed.
WAIT_SECONDS = 3.0

WELL, FAILED, NOT_LOOKED_AT = "ok", "failed", "not_looked_at"
NEVER = FAILED, float("-inf")
# The one part that no problem says.
DATABASE = "database"

METHODS = ("GET", "HEAD")
BEARER = "Bearer "

Labels = tuple[str, ...]

logger = logging.getLogger(__name__)


def answer_machines(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Answer /healthz, /readyz and /metrics, and hand on every other request.

    They come before hosts, https, sessions and languages are looked at: a probe knows the site by any name, and needs
    an answer while the database is away.
    """
    answers = {
        "/healthz": lambda: HttpResponse("ok\n", content_type="text/plain"),
        "/readyz": answer_readiness,
        "/metrics": answer_metrics,
    }

    def answer_request(request: HttpRequest) -> HttpResponse:
        answer = answers.get(request.path_info)
        # Who has no token is told what is told of every address that isn't there.
        if answer is None or (answer is answer_metrics and not has_token(request)):
            return get_response(request)
        if request.method not in METHODS:
            allowed = {"Allow": ", ".join(METHODS)}
            return HttpResponse(status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed)
        response = answer()
        # Django would log each 503 as an error, and mail it: some probes ask every second.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  # as Django marks its own
        return response

    return answer_request


def answer_readiness() -> HttpResponse:
    """Say of each part whether it is well: 200 where all are, else 503. The log says more."""
    told = readiness_book.read()
    is_ready = set(told.values()) == {WELL}
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse(told, status=status)


def answer_metrics() -> HttpResponse:
    """Return the numbers in Prometheus' text format; 503 where the database doesn't give them."""
    try:
        text = write_metrics()
    except Error:
        return HttpResponse(status=HTTPStatus.SERVICE_UNAVAILABLE)
    return HttpResponse(text, content_type=CONTENT_TYPE)


def has_token(request: HttpRequest) -> bool:
    """Say whether the request has the token of the settings. Without one in the settings, none is right."""
    token, sent = settings.NOVA_METRICS_TOKEN, request.headers.get("Authorization", "")
    if not token or not sent.startswith(BEARER):
        return False
    return hmac.compare_digest(sent.removeprefix(BEARER).encode(), token.encode())


def check_database() -> bool:
    """Return True if the database answers; raises Django's database error where it does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def list_parts() -> dict[str, Problem | None]:
    """Return what has to be well, by the name by which it is told: the database, and no problem that is `unready`."""
    unready = {code: each for code, each in PROBLEMS.items() if each.unready}
    return {DATABASE: None, **unready}


def group_parts() -> dict[str, list[str]]:
    """Return the parts that one thread looks at, one after the other.

    Each that asks somebody else than PostgreSQL has a thread: where PostgreSQL hangs, AWS and Redis are still asked.
    """
    groups: dict[str, list[str]] = {}
    for part, each in list_parts().items():
        asks_others = each and (each.of_process or each.found_by == Finder.DOCTOR)
        groups.setdefault(part if asks_others else DATABASE, []).append(part)
    return groups


def keep_for(part: str) -> float:
    """Return for how many seconds the answer of a part is kept."""
    each = list_parts()[part]
    return KEPT_SECONDS if each is None or each.found_by == Finder.PAGE else KEPT_SECONDS_OF_SLOW


def look_at_part(part: str) -> tuple[str, str]:
    """Return what is told of a part, looked at now, and why for the log."""
    each = list_parts()[part]
    if each is None:
        return (WELL if check_database() else FAILED), FindingState.FAILED
    if each.of_process:
        # A process that writes nothing never learns by itself which account it reaches.
        with suppress(SecretsManagerError):
            learn_facts(pause=KEPT_SECONDS_OF_SLOW)
    state = look_for(each, Look()).state
    if state == FindingState.OK:
        return WELL, state
    if state == FindingState.NOT_LOOKED_AT:
        return NOT_LOOKED_AT, state
    differing = find_differences(get_aws_write_state().facts) if each.of_process else ()
    return (f"{FAILED}: {', '.join(differing)}" if differing else FAILED), state


class ReadinessBook:
    """Holds what one process knows. Thread-safe: however many ask, one thread of each group looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What is told of each part, and until when that counts, on the monotonic clock.
        self._known: dict[str, tuple[str, float]] = {}
        self._looking: dict[str, threading.Thread] = {}
        # Why a part failed, as the newest look found it, and which failed at the newest answer.
        self._why: dict[str, str] = {}
        self._failed: set[str] = set()

    def read(self) -> dict[str, str]:
        """Return of each part what is told of it, in at most WAIT_SECONDS. What isn't known by then has failed."""
        deadline = time.monotonic() + WAIT_SECONDS
        for looking in self._look_if_due():
            looking.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            now = time.monotonic()
            known = {part: told for part, (told, until) in self._known.items() if until > now}
            answer = {part: known.get(part, FAILED) for part in list_parts()}
            failed = {part for part, told in answer.items() if told != WELL}
            begun, over = failed - self._failed, self._failed - failed
            self._failed = failed
            why = {part: self._why[part] if part in known else "no answer" for part in begun}
        # Once when it begins and once when it is over: some probes ask every second.
        for part in sorted(begun):
            logger.warning("Not ready: %s (%s)", part, why[part])
        for part in sorted(over):
            logger.info("Ready again: %s", part)
        return answer

    def _look_if_due(self) -> list[threading.Thread]:
        """Return the threads that look now, begun where something has to be looked at."""
        with self._lock:
            for name, group in group_parts().items():
                now, before = time.monotonic(), self._looking.get(name)
                due = [part for part in group if self._known.get(part, NEVER)[1] <= now]
                if due and not (before and before.is_alive()):
                    # It can be left to itself where a part hangs: it doesn't keep the process from ending.
                    self._looking[name] = threading.Thread(
                        target=self._look_at, args=(due,), name="readiness", daemon=True
                    )
                    self._looking[name].start()
            return [thread for thread in self._looking.values() if thread.is_alive()]

    def _look_at(self, parts: list[str]) -> None:
        try:
            for part in parts:
                told, why = _ask(part)
                with self._lock:
                    self._known[part] = told, time.monotonic() + keep_for(part)
                    self._why[part] = why
        finally:
            connection.close()


def _ask(part: str) -> tuple[str, str]:
    try:
        return look_at_part(part)
    except Error as error:
        return (FAILED if part == DATABASE else NOT_LOOKED_AT), name_cause(error)
    except Exception as error:  # noqa: BLE001  # whatever it is, the answer is kept: nobody may have it asked again at once
        return FAILED, name_cause(error)


readiness_book = ReadinessBook()


def write_metrics() -> bytes:
    """Return all metrics as they are now, as text for Prometheus; raises Django's database errors.

    The numbers are the database's, so each process answers the same. No label holds a client's name: labels have few
    values.
    """
    answer_counter().store()  # what other processes counted, they store within seconds
    registry = CollectorRegistry()
    registry.register(Collector(load_site_numbers(), count_queued_tasks()))
    return generate_latest(registry)


class Collector:
    """Describes numbers that were loaded before, so that an error comes before the first line."""

    def __init__(self, numbers: SiteNumbers, queued: int | None) -> None:
        self._numbers, self._queued = numbers, queued

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its help."""
        yield from self._collect_clients()
        yield from self._collect_runs()
        yield from self._collect_reads()
        yield from self._collect_site()

    def _collect_clients(self) -> Iterator[Metric]:
        clients, comparisons = self._numbers.clients, self._numbers.comparisons
        yield make_gauges(
            "nova_clients",
            "Clients by phase.",
            ("phase",),
            {(str(row.phase),): row.clients for row in clients.phases},
        )
        yield make_gauges(
            "nova_clients_compared",
            "Clients in phases that write both stores, by the result of their newest comparison.",
            ("result",),
            {(str(status),): number for status, number in comparisons.by_status.items()},
        )
        yield make_gauge(
            "nova_mismatches", "Fields that differ now.", self._numbers.open_mismatches
        )
        yield make_gauge(
            "nova_pushes_pending", "Clients whose newest rows are not in AWS.", clients.push_pending
        )
        yield make_gauge(
            "nova_pushes_refused",
            "Clients whose rows or secret have to be corrected before a push.",
            clients.push_refused,
        )
        yield make_gauge(
            "nova_pushes_oldest_seconds",
            "Seconds since the oldest write that waits for its push; 0 without any.",
            self._numbers.oldest_push_seconds,
        )
        yield make_gauges(
            "nova_clients_failed",
            "Clients whose newest try failed or was refused, by act.",
            ("act",),
            {(act,): number for act, number in self._numbers.failures.items()},
        )
        yield make_gauge(
            "nova_credentials_to_rotate",
            "Credentials that stood in plain text and were not rotated since.",
            self._numbers.to_rotate,
        )

    def _collect_runs(self) -> Iterator[Metric]:
        runs, work = self._numbers.runs, self._numbers.work
        yield make_gauges(
            "nova_runs", "Runs that are not finished.", ("kind", "state"), runs.by_state
        )
        yield make_gauges(
            "nova_run_clients",
            "Clients in runs that are not finished, by outcome; open: still to do.",
            ("kind", "outcome"),
            runs.clients,
        )
        yield make_gauge(
            "nova_runs_idle_seconds",
            "Seconds since a worker worked on the running run that was left alone for longest.",
            runs.idle_seconds,
        )
        states = [campaign.state for campaign in work.campaigns]
        yield make_gauges(
            "nova_campaigns",
            "Campaigns that are not over, by state.",
            ("state",),
            {(state,): states.count(state) for state in states},
        )
        yield make_gauges(
            "nova_rotations",
            "Clients whose rotation stopped, is not finished, or is overdue.",
            ("state",),
            {(state,): number for state, number in work.rotations.items()},
        )

    def _collect_reads(self) -> Iterator[Metric]:
        readers = self._numbers.readers
        yield make_gauge(
            "nova_readers", "Processes of NOVA that read in the last hour.", readers.seen
        )
        yield make_gauge(
            "nova_readers_failing", "Of these, processes that AWS failed lately.", readers.failing
        )
        yield make_counters(
            "nova_reads",
            "Reads of credentials by NOVA, by what came of comparing both stores.",
            ("result",),
            {(result,): number for result, number in self._numbers.reads.items()},
        )

    def _collect_site(self) -> Iterator[Metric]:
        numbers = self._numbers
        yield make_gauges(
            "nova_build_info",
            "1, with the release and the Python of the process that answers.",
            ("version", "python"),
            {(VERSION, python_version()): 1},
        )
        yield make_gauges(
            "nova_problems",
            "What is wrong by the newest look, by the problem's code; 0 where nothing is.",
            ("code",),
            {(code,): number for code, number in numbers.problems.items()},
        )
        yield from describe_answers(numbers.http)
        yield make_counters(
            "nova_aws_calls",
            "Calls of this site to Secrets Manager, retries too, by operation and outcome.",
            ("operation", "outcome"),
            numbers.aws_calls,
        )
        yield make_gauge(
            "nova_aws_writes_allowed",
            "1 if this host may write to AWS; 0 if writes are stopped, or its database is a duplicate, or it differs.",
            int(numbers.may_write_to_aws),
        )
        yield make_gauge(
            "nova_writes_counted",
            "1 if every write to NOVA's tables is counted, else 0.",
            int(numbers.writes_are_counted),
        )
        yield make_gauge(
            "nova_workers", "Worker processes that are alive and take tasks.", numbers.workers
        )
        if self._queued is not None:
            yield make_gauge("nova_queue_tasks", "Tasks that wait for a worker.", self._queued)


def make_gauge(name: str, description: str, value: float) -> Metric:
    """Return a metric with this one value, of the kind whose number goes up and down."""
    return GaugeMetricFamily(name, description, value=value)


def make_gauges(
    name: str, description: str, labels: Labels, values: Mapping[Labels, float]
) -> Metric:
    """Return numbers of one kind that go up and down, by their labels."""
    return _add_values(GaugeMetricFamily(name, description, labels=labels), values)


def make_counters(
    name: str, description: str, labels: Labels, values: Mapping[Labels, float]
) -> Metric:
    """Return numbers that only go up, by their labels. Their name gets `_total`."""
    return _add_values(CounterMetricFamily(name, description, labels=labels), values)


def _add_values(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Labels, float]
) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
