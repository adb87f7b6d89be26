"""Looks at what a push would do with each client, and sums it up. Writes no secret."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from math import ceil
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q

from credentials.nova_columns import NovaSchemaError
from credentials.prices import MONTH_MINUTES, SECRET_A_MONTH, SECRETS_A_CALL, TEN_THOUSAND_CALLS
from migration.core.audit import AuditEvent
from migration.core.aws_store import secret_names
from migration.core.clients import all_clients
from migration.core.rates import Rate
from migration.pushes.pushes import PushResult, push
from migration.pushes.secret_writer import DifferingPolicy, ReplacedVersion
from migration.runs.acts import mark_seen
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlanCounts, PlannedClient, ReplacedSecret
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Sentence

# Ten calls of BatchGetSecretValue, which run at once.
CLIENTS_AT_ONCE = 200
# While one batch waits for AWS, others are read and judged: so the look asks as often as the read limit lets it.
BATCHES_AT_ONCE = 4

# The kind of evidence that is missing of a client that is left alone: that nothing is lost which somebody else wrote.
OVERWRITE = "overwrite"

CLASSES = {
    Outcome.CREATED: PlanClass.NEW,
    Outcome.RESTORED: PlanClass.NEW,
    Outcome.UPDATED: PlanClass.UPDATED,
    Outcome.UNCHANGED: PlanClass.UNCHANGED,
    Outcome.SKIPPED: PlanClass.LEFT_ALONE,
    Outcome.FAILED: PlanClass.FAILING,
}


def look_at_batches(
    run: Run,
    *,
    interactive: bool = False,
    see: Callable[[Collection[int]], dict[int, str]] | None = None,
) -> Iterator[list[PlannedClient]]:
    """Find out what the run would do with each client, 20 secrets a call, and yield some clients at a time, by id.

    `see` returns what is seen of clients, which is noted with each: it is asked before they are looked at.
    """
    chosen = all_clients().order_by("pk")
    if run.chosen is not None:
        chosen = chosen.filter(pk__in=run.chosen)
    ids = list(chosen.values_list("pk", flat=True))
    batches = (
        ids[start : start + CLIENTS_AT_ONCE] for start in range(0, len(ids), CLIENTS_AT_ONCE)
    )
    is_down = threading.Event()

    def look(batch: Collection[int]) -> list[PlannedClient]:
        if is_down.is_set():  # every further batch would wait for the same time-out
            return list(_list_unseen(batch))
        seen = see(batch) if see else {}
        looked = mark_seen(_look_at_batch(run, batch, interactive=interactive), seen)
        asked = [client for client in looked if client.plan_class != PlanClass.LEFT_ALONE]
        if asked and all(c.error_class == ErrorClass.UNAVAILABLE for c in asked):
            is_down.set()
        return looked

    # The first is looked at alone: it tells whether AWS is there.
    for looked in chain(map(look, islice(batches, 1)), _look_at_some_at_once(look, batches)):
        if looked:
            yield looked


def _look_at_some_at_once(
    look: Callable[[Collection[int]], list[PlannedClient]], batches: Iterable[Collection[int]]
) -> Iterator[list[PlannedClient]]:
    """Yield what is found of each batch, in their order; few are looked at ahead of it."""

    def look_and_disconnect(batch: Collection[int]) -> list[PlannedClient]:
        try:
            return look(batch)
        finally:
            connection.close()

    looks: deque[Future[list[PlannedClient]]] = deque()
    with ContextThreads(BATCHES_AT_ONCE) as threads:
        for batch in batches:
            looks.append(threads.submit(look_and_disconnect, batch))
            if len(looks) == BATCHES_AT_ONCE:
                yield looks.popleft().result()
        while looks:
            yield looks.popleft().result()


def _look_at_batch(
    run: Run, client_ids: Collection[int], *, interactive: bool
) -> Iterator[PlannedClient]:
    found = all_clients().with_phase().with_revision().filter(pk__in=client_ids)
    standing = {pk: (phase, n) for pk, phase, n in found.values_list("pk", "phase", "revision")}
    try:
        results = push(
            client_ids=client_ids,
            after_adoption=run.adopt,
            include_inactive=run.include_inactive,
            differing=DifferingPolicy.WRITTEN if run.overwrite else DifferingPolicy.LEFT_ALONE,
            dry_run=True,
            interactive=interactive,
        )
    except NovaSchemaError as error:
        slugs = all_clients().filter(pk__in=client_ids).values_list("pk", "slug")
        results = [
            PushResult(pk, slug, Outcome.FAILED, ErrorClass.SCHEMA, error.message)
            for pk, slug in slugs
        ]
    replaced = [result.slug for result in results if any(v.is_ours for v in result.replaced)]
    pushed = AuditEvent.objects.find_last_pushes(replaced)
    for result in sorted(results, key=lambda result: result.client_id):
        if result.client_id in standing:
            yield _plan_client(result, *standing[result.client_id], pushed)


def _plan_client(
    result: PushResult, phase: str, revision: int, pushed: dict[str, tuple[str, datetime]]
) -> PlannedClient:
    """Return the client of a plan. `pushed`: slug -> who wrote the client's secrets last, and when."""
    overwrites = any(not version.is_ours for version in result.replaced)
    is_written = result.outcome in (Outcome.UPDATED, Outcome.CREATED, Outcome.RESTORED)
    return PlannedClient(
        client_id=result.client_id,
        slug=result.slug,
        phase=phase,
        revision=revision,
        plan_class=PlanClass.OVERWRITTEN if overwrites and is_written else CLASSES[result.outcome],
        outcome=result.outcome,
        error_class=result.error_class,
        message=result.message,
        versions=result.versions,
        writes={name: str(outcome) for name, outcome in result.outcomes.items()},
        replaced=tuple(
            _describe_version(version, pushed.get(result.slug)) for version in result.replaced
        ),
    )


def _describe_version(
    version: ReplacedVersion, pushed: tuple[str, datetime] | None
) -> ReplacedSecret:
    """Say who wrote the version: of this site's, whom the audit names; of others', AWS tells the time alone."""
    who, pushed_at = pushed if pushed and version.is_ours else ("", None)
    written_at = version.created_at or pushed_at
    return ReplacedSecret(
        name=version.name,
        version_id=version.version_id,
        by_this_site=version.is_ours,
        who=who,
        written_at=written_at.isoformat() if written_at else "",
    )


NOT_LOOKED_AT = Sentence("not_looked_at", "Not checked: AWS could not be reached.")


def _list_unseen(client_ids: Collection[int]) -> Iterator[PlannedClient]:
    found = all_clients().with_phase().with_revision().filter(pk__in=client_ids).order_by("pk")
    for pk, slug, phase, revision in found.values_list("pk", "slug", "phase", "revision"):
        yield PlannedClient(
            client_id=pk,
            slug=slug,
            phase=phase,
            revision=revision,
            plan_class=PlanClass.FAILING,
            outcome=Outcome.FAILED,
            error_class=ErrorClass.UNAVAILABLE,
            message=NOT_LOOKED_AT(),
        )


# What a plan comes to


@dataclass(frozen=True)
class PlanSummary:
    """What a run would do to AWS, at the rates that all workers share now."""

    clients: int
    counts: dict[str, int]
    batch_reads: int
    creates: int
    updates: int
    # At least: other runs share the rates.
    seconds: float
    new_secrets: int
    # Of the clients' secrets after the run, with the calls that compare them; and what of it is new.
    dollars_a_month: Decimal
    new_dollars_a_month: Decimal

    def to_json(self) -> dict[str, Any]:
        """Return the summary for the JSON of commands; dollars are text, as they are exact."""
        return asdict(self) | {
            "dollars_a_month": str(self.dollars_a_month),
            "new_dollars_a_month": str(self.new_dollars_a_month),
        }


def summarize_plan(counts: PlanCounts) -> PlanSummary:
    """Sum up a plan by its numbers, in one query."""
    writes = counts.writes
    written = sum(writes.values())
    creates = writes[Outcome.CREATED]
    # A secret that is taken back from its deletion is written too, if it differs.
    updates = writes[Outcome.UPDATED] + 2 * writes[Outcome.RESTORED]
    asked = counts.clients * len(secret_names("x"))
    reads = ceil(asked / SECRETS_A_CALL) + ceil(written / SECRETS_A_CALL)
    there = counts.present + writes[Outcome.RESTORED]
    # Each kind of call has its own quota, and they go on at once: the one that takes longest counts.
    set_rates = dict(Rate.objects.filter(~Q(per_second=None)).values_list("kind", "per_second"))
    kinds = ((Rate.Kind.READ, reads), (Rate.Kind.CREATE, creates), (Rate.Kind.WRITE, updates))
    seconds = max(n / (set_rates.get(kind) or kind.default_rate) for kind, n in kinds)
    return PlanSummary(
        clients=counts.clients,
        counts={plan_class.value: counts.classes[plan_class.value] for plan_class in PlanClass},
        batch_reads=reads,
        creates=creates,
        updates=updates,
        seconds=round(seconds, 1),
        new_secrets=creates,
        dollars_a_month=_price_secrets(there + creates),
        new_dollars_a_month=_price_secrets(creates),
    )


def _price_secrets(secrets: int) -> Decimal:
    """Return the dollars a month of so many secrets and their replicas, each with its share of the calls of sweeps.

    A sweep asks for those of all clients, SECRETS_A_CALL at once: one more needs a call more for every twentieth alone.
    """
    sweeps = Decimal(MONTH_MINUTES) / settings.NOVA_SWEEP_MINUTES
    calls = sweeps * secrets / SECRETS_A_CALL
    copies = 1 + len(settings.NOVA_REPLICA_REGIONS or ())
    dollars: Decimal = SECRET_A_MONTH * secrets * copies + TEN_THOUSAND_CALLS * calls / 10_000
    return dollars.quantize(Decimal("0.01"))


def describe_client(client: PlannedClient) -> dict[str, Any]:
    """Return a client of a plan for programs: its message in English, and the message's key."""
    message = client.message
    return {
        "slug": client.slug,
        "class": str(client.plan_class),
        "outcome": str(client.outcome),
        "error_class": str(client.error_class),
        "message": str(message or ""),
        "code": message.codes[0] if message else "",
        "phase": client.phase,
        "revision": client.revision,
        "versions": client.versions,
        "replaced": [asdict(each) for each in client.replaced],
    }


def export_plan_as_json(run: Run) -> Iterator[str]:
    """Yield the plan of the run with all its clients as one JSON object, piece by piece, for somebody to review."""
    head = {
        "run": run.pk,
        "state": run.state,
        "by": run.by_name,
        "made_at": run.planned_at.isoformat() if run.planned_at else None,
        "overwrite": run.overwrite,
        "include_inactive": run.include_inactive,
        "summary": summarize_plan(run.read_plan_counts()).to_json(),
    }
    yield json.dumps(head, indent=1).removesuffix("\n}")
    yield ',\n "clients": ['
    separator = "\n  "
    for client in run.plan_rows.iterate_clients():
        yield separator + json.dumps(describe_client(client))
        separator = ",\n  "
    yield "\n ]\n}"
