"""Sums up plans: how many clients of each class, calls to AWS, time and dollars a month; and exports them as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from credentials.prices import MONTH_MINUTES, SECRET_A_MONTH, SECRETS_A_CALL, TEN_THOUSAND_CALLS
from migration import run_sentences
from migration.models.planned_clients import PlanClass, PlanCounts
from migration.models.rates import Rate
from migration.models.run_items import Outcome
from migration.models.workers import Worker
from migration.operations.aws_store import secret_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.models.planned_clients import PlannedClient
    from migration.models.run_plans import RunPlan
    from nova_credentials.messages import Message


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
        return {name: getattr(self, name) for name in SUMMARY_NUMBERS} | {
            "dollars_a_month": str(self.dollars_a_month),
            "new_dollars_a_month": str(self.new_dollars_a_month),
        }


SUMMARY_NUMBERS = (
    "clients",
    "counts",
    "batch_reads",
    "creates",
    "updates",
    "seconds",
    "new_secrets",
)


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
    return PlanSummary(
        clients=counts.clients,
        counts={plan_class.value: counts.classes[plan_class.value] for plan_class in PlanClass},
        batch_reads=reads,
        creates=creates,
        updates=updates,
        seconds=_estimate_seconds(reads=reads, creates=creates, updates=updates),
        new_secrets=creates,
        dollars_a_month=_price_secrets(there + creates),
        new_dollars_a_month=_price_secrets(creates),
    )


def _estimate_seconds(*, reads: int, creates: int, updates: int) -> float:
    """Return the seconds of the kind of call that takes longest; the kinds have separate quotas and go on at once."""
    set_rates = dict(Rate.objects.filter(~Q(per_second=None)).values_list("kind", "per_second"))
    kinds = ((Rate.Kind.READ, reads), (Rate.Kind.CREATE, creates), (Rate.Kind.WRITE, updates))
    return round(max(n / (set_rates.get(kind) or kind.default_rate) for kind, n in kinds), 1)


def _price_secrets(secrets: int) -> Decimal:
    """Return the dollars a month of so many secrets and their replicas, each secret compared in every sweep."""
    sweeps = MONTH_MINUTES / settings.NOVA_SWEEP_MINUTES
    calls = ceil(sweeps * ceil(secrets / SECRETS_A_CALL))
    copies = 1 + len(settings.NOVA_REPLICA_REGIONS or ())
    dollars: Decimal = SECRET_A_MONTH * secrets * copies + TEN_THOUSAND_CALLS * calls / 10_000
    return dollars.quantize(Decimal("0.01"))


def explain_missing_worker(plan: RunPlan) -> Message | None:
    """Say that no worker is there to look at the clients; None where one is, or the look is over."""
    if not plan.is_looking or timezone.now() - plan.worked_at < Worker.GONE_AFTER:
        return None
    seen_at = Worker.objects.last_seen_at()
    is_gone = seen_at is None or timezone.now() - seen_at > Worker.GONE_AFTER
    return run_sentences.NO_WORKER() if is_gone else None


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


def export_plan_as_json(plan: RunPlan) -> Iterator[str]:
    """Yield the plan with all its clients as one JSON object, piece by piece, for somebody to review."""
    head = {
        "plan": plan.pk,
        "state": plan.state,
        "by": plan.by_name,
        "made_at": plan.made_at.isoformat() if plan.made_at else None,
        "run": plan.run_id,
        "adopt": plan.adopt,
        "overwrite": plan.overwrite,
        "include_inactive": plan.include_inactive,
        "summary": summarize_plan(plan.read_counts()).to_json(),
        "differences": plan.differences,
    }
    yield json.dumps(head, indent=1).removesuffix("\n}")
    yield ',\n "clients": ['
    separator = "\n  "
    for client in plan.iterate_clients():
        yield separator + json.dumps(describe_client(client))
        separator = ",\n  "
    yield "\n ]\n}"
