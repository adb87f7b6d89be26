"""Puts the estimate of the cost, what was counted and the alternatives into one sheet, for the page and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from credentials import prices
from migration import cost_sentences
from migration.reports.costs import MigrationAdvice

if TYPE_CHECKING:
    from migration.reports.costs import CostEstimate, CountedUse, LayoutCost
    from nova_credentials.messages import Message

RULE = {
    MigrationAdvice.KEEP: cost_sentences.COST_KEEP,
    MigrationAdvice.EITHER: cost_sentences.COST_EITHER,
    MigrationAdvice.MIGRATE: cost_sentences.COST_MIGRATE,
}
_ALTERNATIVES = {
    sentence.key: sentence
    for sentence in (
        cost_sentences.NOVAS_POSTGRES,
        cost_sentences.RAILWAY,
        cost_sentences.VAULT,
    )
}


def name_alternative(key: str) -> Message:
    """Return what the alternative is."""
    return _ALTERNATIVES[key]()


def describe_costs(estimate: CostEstimate, counted: CountedUse) -> dict[str, Any]:
    """Return the sheet as `cost_estimate --format json` prints it; dollars are numbers."""
    assumed = estimate.assumptions
    return {
        "clients": estimate.clients,
        "with_logins": estimate.with_credentials,
        "advice": estimate.advice.value,
        "step": estimate.recommended_step.number,
        "assumptions": {
            "sweep_minutes": assumed.sweep_minutes,
            "sweeps": estimate.sweeps,
            "cache_seconds": assumed.cache_seconds,
            "reads_a_day": assumed.reads_a_day,
            "processes": assumed.processes,
            "replica_regions": assumed.replica_regions,
            "own_key": assumed.own_key,
            "reads_counted_hours": estimate.hours_of_counted_reads
            if estimate.counted_for is not None
            else None,
        },
        "layouts": [_describe_layout(cost) for cost in estimate.costs],
        "counted": {
            "days": 30,
            "comparisons": counted.comparisons,
            "writes": counted.writes,
            "reads": counted.reads,
            "clients_read": counted.clients_read,
            "calls": counted.calls,
            "dollars": float(counted.dollars),
        },
        "alternatives": [
            {
                "key": each.key,
                "name": str(name_alternative(each.key)),
                "dollars_least": float(each.least),
                "dollars_most": float(each.most),
            }
            for each in prices.ALTERNATIVES
        ],
        "prices": {
            "secret_a_month": float(prices.SECRET_A_MONTH),
            "ten_thousand_calls": float(prices.TEN_THOUSAND_CALLS),
            "key_a_month": float(prices.KEY_A_MONTH),
            "ten_thousand_key_requests": float(prices.TEN_THOUSAND_KEY_REQUESTS),
            "read": prices.AWS_PRICES_READ.isoformat(),
            "sources": [prices.AWS_PRICES_SOURCE, prices.KMS_PRICES_SOURCE],
            "plan_of": prices.PLAN_PRICES_OF.isoformat(),
        },
    }


def _describe_layout(cost: LayoutCost) -> dict[str, Any]:
    return {
        "layout": str(cost.layout),
        "in_use": cost.in_use,
        "secrets": cost.secrets,
        "replicas": cost.replicas,
        "calls": {
            "sweeps": cost.sweep_calls,
            "reads": cost.read_calls,
            "writes": cost.write_calls,
            "total": cost.total_calls,
        },
        "dollars": {
            "secrets": float(cost.secret_dollars),
            "calls": float(cost.call_dollars),
            "key": float(cost.kms_dollars),
            "total": float(cost.total_dollars),
        },
    }
