"""Estimates what the clients' secrets cost in AWS a month, in both layouts, and says what the plan advises.

What the site counted of its own use stands beside it. Nothing here asks AWS.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from credentials import prices
from credentials.localization import find_site_day
from credentials.prices import MONTH_DAYS, MONTH_MINUTES, SECRETS_A_CALL
from migration.clients.models import read_or_count_clients
from migration.core.comparisons import DailyComparisons
from migration.core.secrets import PlannedVersion
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.messages import Sentence

# Reads of a shorter time are taken as those of so long a time; up to a day their rate is a rough one.
LEAST_COUNTED = timedelta(hours=1)
ROUGH_BELOW = timedelta(days=1)

# The plan's steps: each for the number of clients that is above its bound, the first for fewer.
STEP_POSTGRES = Sentence("step_postgres", "PostgreSQL only")
STEP_BOTH = Sentence("step_both", "Dual write: PostgreSQL and AWS")
STEP_ALL = Sentence("step_all", "All clients migrated to AWS")
STEP_AWS = Sentence("step_aws", "AWS Secrets Manager only")
STEPS = (STEP_POSTGRES, STEP_BOTH, STEP_ALL, STEP_AWS)
STEP_BOUNDS = (4, 10, 20)

# Its rule, which says nothing of exactly so many clients.
RULE_BOUND = 20
COST_KEEP = Sentence(
    "cost_keep",
    "keep PostgreSQL, unless you need compliance, rotation or credentials apart from the main database.",
)
COST_EITHER = Sentence(
    "cost_either",
    "its number is at the bound: compliance, rotation and keeping credentials apart decide.",
)
COST_MIGRATE = Sentence("cost_migrate", "migrate to AWS Secrets Manager.")
ADVICE = {"keep": COST_KEEP, "either": COST_EITHER, "migrate": COST_MIGRATE}


def advise(clients: int) -> tuple[str, int]:
    """Return the plan's advice for this number of active clients, a key of ADVICE, and the number of its step."""
    advice = "migrate" if clients > RULE_BOUND else "keep"
    if clients == RULE_BOUND:
        advice = "either"
    return advice, 1 + sum(clients > bound for bound in STEP_BOUNDS)


def estimate_costs() -> dict[str, Any]:
    """Estimate a month as if all active clients were in AWS; `cost_estimate --format json` prints it as it is."""
    usage = read_or_count_clients().usage
    now = timezone.now()
    counted_for = now - usage.reads_since if usage.reads_since else None
    reads = (
        round(usage.reads * (timedelta(days=MONTH_DAYS) / max(counted_for, LEAST_COUNTED)))
        if counted_for is not None
        else 0
    )
    writes = PlannedVersion.objects.count()  # kept for 30 days
    sweeps = round(MONTH_MINUTES / settings.NOVA_SWEEP_MINUTES)
    regions = len(settings.NOVA_REPLICA_REGIONS or ())
    layouts = []
    # A service without a login has no secret; a comparison asks for all three names, as it can't know which exist.
    for layout, secrets, names in (
        (Layout.CLIENT, usage.holders, usage.holders),
        (Layout.SERVICE, usage.services, usage.holders * len(CredentialType)),
    ):
        calls = sweeps * ceil(names / SECRETS_A_CALL) + reads + writes
        dollars = (
            prices.SECRET_A_MONTH * secrets * (1 + regions)
            + prices.TEN_THOUSAND_CALLS * calls / 10_000
        )
        layouts.append(
            {
                "layout": layout,
                "in_use": layout == settings.NOVA_SECRET_LAYOUT,
                "secrets": secrets,
                "replicas": secrets * regions,
                "calls": calls,
                "dollars": float(dollars.quantize(Decimal("0.01"))),
            }
        )
    advice, step = advise(usage.clients)
    first_day = find_site_day() - timedelta(days=MONTH_DAYS - 1)
    compared = DailyComparisons.objects.filter(day__gte=first_day).aggregate(n=Sum("number"))
    return {
        "clients": usage.clients,
        "with_logins": usage.holders,
        "advice": advice,
        "step": step,
        "layouts": layouts,
        "calls": {"sweeps": sweeps, "reads": reads, "writes": writes},
        "counted": {
            "days": MONTH_DAYS,
            "comparisons": compared["n"] or 0,
            "writes": writes,
            "reads": usage.reads,
            "reads_since": usage.reads_since.isoformat() if usage.reads_since else None,
            "reads_are_rough": counted_for is not None and counted_for < ROUGH_BELOW,
        },
        "prices": {
            "secret_a_month": float(prices.SECRET_A_MONTH),
            "ten_thousand_calls": float(prices.TEN_THOUSAND_CALLS),
            "read": prices.AWS_PRICES_READ.isoformat(),
            "source": prices.AWS_PRICES_SOURCE,
        },
    }
