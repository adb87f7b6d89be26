"""Writes the site's numbers in Prometheus' text format. No label holds a client's name: labels have few values.

The numbers are the database's, so each process answers the same, and none has to know of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from migration.site.metrics import SiteNumbers, load_site_numbers
from migration.task_queue import count_queued_tasks

Labels = tuple[str, ...]


__all__ = ["CONTENT_TYPE", "write_metrics"]


def write_metrics() -> bytes:
    """Return all metrics as they are now, as text for Prometheus; raises Django's database errors."""
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
        yield make_gauge(
            "nova_other_statements",
            "Statements that others read credential tables with in the last hour.",
            self._numbers.work.other_statements,
        )
        yield make_counters(
            "nova_reads",
            "Reads of credentials by NOVA, by what came of comparing both stores.",
            ("result",),
            {(result,): number for result, number in self._numbers.reads.items()},
        )

    def _collect_site(self) -> Iterator[Metric]:
        numbers = self._numbers
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
        if seen_at := numbers.work.worker_seen_at:
            yield make_gauge(
                "nova_worker_seen_seconds",
                "Seconds since any worker was alive.",
                max(0.0, (timezone.now() - seen_at).total_seconds()),
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
