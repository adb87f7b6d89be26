"""Estimates the monthly cost of the clients' secrets in both layouts, and recommends a phase for their number.

The formula is in docs/cost.md. What the site counted itself stands beside it, where it was counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.prices import (
    KEY_A_MONTH,
    SECRET_A_MONTH,
    TEN_THOUSAND_CALLS,
    TEN_THOUSAND_KEY_REQUESTS,
)
from migration.models import DailyComparisons, PlannedVersion, ReaderProcess
from nova_credentials.aws.kms_keys import KeyName
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from migration.models import Usage

SECRETS_A_CALL = 20  # of BatchGetSecretValue
MONTH_DAYS = 30
MONTH_MINUTES = MONTH_DAYS * 24 * 60
MONTH_SECONDS = MONTH_MINUTES * 60
# Reads of a shorter time are taken as those of so long a time; up to a day their rate is a rough one.
LEAST_COUNTED = timedelta(hours=1)
ROUGH_BELOW = timedelta(days=1)
CENT = Decimal("0.01")


class MigrationAdvice(StrEnum):
    """Recommends by the number of clients: below 20 keep PostgreSQL, above 20 migrate, at 20 either."""

    KEEP = "keep"
    EITHER = "either"
    MIGRATE = "migrate"


RULE_BOUND = 20


def advise_aws_or_postgres(clients: int) -> MigrationAdvice:
    """Return whether to migrate, by this number of active clients, as the project's plan rules."""
    if clients == RULE_BOUND:
        return MigrationAdvice.EITHER
    return MigrationAdvice.MIGRATE if clients > RULE_BOUND else MigrationAdvice.KEEP


@dataclass(frozen=True)
class RolloutStep:
    """One step of the recommended rollout."""

    number: int
    clients: str
    title: str
    recommended: bool


@dataclass(frozen=True, kw_only=True)
class CostAssumptions:
    """What is estimated with, in place of the settings and of what was counted."""

    sweep_minutes: int
    cache_seconds: float  # of NOVA's processes
    replica_regions: int = 0
    own_key: bool = False
    # How often NOVA wants a client's credentials in a day, before its cache; None: as its reader has counted.
    reads_a_day: float | None = None
    processes: int = 1  # of NOVA, each with a cache of its own
    writes_a_month: int = 0

    @classmethod
    def from_settings(cls) -> CostAssumptions:
        """Return the assumptions that follow from this site's settings."""
        return cls(
            sweep_minutes=settings.NOVA_SWEEP_MINUTES,
            cache_seconds=settings.NOVA_CACHE_SECONDS,
            replica_regions=len(settings.NOVA_REPLICA_REGIONS or ()),
            own_key=not KeyName.parse(settings.NOVA_KMS_KEY_ID).is_aws_own,
        )


@dataclass(frozen=True)
class LayoutCost:
    """The cost of one layout in a month, and the secrets and calls that it is made of."""

    layout: str
    title: str
    secrets: int
    sweep_calls: int
    read_calls: int
    in_use: bool
    write_calls: int = 0
    replicas: int = 0
    keys: int = 0
    key_requests: int = 0

    @property
    def total_calls(self) -> int:
        """Return the number of calls to AWS in a month."""
        return self.sweep_calls + self.read_calls + self.write_calls

    @property
    def secret_dollars(self) -> Decimal:
        """Return the dollars a month of the secrets and their replicas."""
        return (SECRET_A_MONTH * (self.secrets + self.replicas)).quantize(CENT)

    @property
    def call_dollars(self) -> Decimal:
        """Return the dollars a month of the calls."""
        return (TEN_THOUSAND_CALLS * self.total_calls / 10_000).quantize(CENT)

    @property
    def kms_dollars(self) -> Decimal:
        """Return the dollars a month of the KMS key and its requests."""
        requests = TEN_THOUSAND_KEY_REQUESTS * self.key_requests / 10_000
        return (KEY_A_MONTH * self.keys + requests).quantize(CENT)

    @property
    def total_dollars(self) -> Decimal:
        """Return the dollars a month of all together: secrets, replicas, calls, KMS keys and their requests."""
        calls = TEN_THOUSAND_CALLS * self.total_calls / 10_000
        requests = TEN_THOUSAND_KEY_REQUESTS * self.key_requests / 10_000
        secrets = SECRET_A_MONTH * (self.secrets + self.replicas)
        return (secrets + calls + KEY_A_MONTH * self.keys + requests).quantize(CENT)


@dataclass(frozen=True)
class CostEstimate:
    """The steps of the rollout, one of them recommended, and the costs of both layouts, for the present clients."""

    clients: int
    with_credentials: int
    steps: list[RolloutStep]
    costs: list[LayoutCost]
    sweeps: int
    reads_a_month: int
    assumptions: CostAssumptions
    # For how long NOVA's reads have been counted; None: not yet, or they are not estimated by that.
    counted_for: timedelta | None = None

    @property
    def is_rough(self) -> bool:
        """Say whether NOVA's reads were counted for too short a time to know a day's."""
        return self.counted_for is not None and self.counted_for < ROUGH_BELOW

    @property
    def hours_of_counted_reads(self) -> int:
        """Return for how many hours, at least, NOVA's reads have been counted."""
        return int(self.counted_for / timedelta(hours=1)) if self.counted_for else 0

    @property
    def recommended_step(self) -> RolloutStep:
        """Return the step of the rollout that is recommended for this number of clients."""
        return next(step for step in self.steps if step.recommended)

    @property
    def advice(self) -> MigrationAdvice:
        """Return what the plan's rule says for this number of clients: migrate, keep PostgreSQL, or either."""
        return advise_aws_or_postgres(self.clients)


def estimate_costs(usage: Usage, assumed: CostAssumptions | None = None) -> CostEstimate:
    """Estimate the costs as if all active clients were in AWS."""
    assumed = assumed or CostAssumptions.from_settings()
    sweeps = round(MONTH_MINUTES / assumed.sweep_minutes)
    reads = _estimate_reads(usage, assumed)
    layouts = (
        (Layout.CLIENT, _("One secret per client"), usage.holders, usage.holders),
        # A service without a login has no secret; a comparison asks for all three names, as it can't know which exist.
        (
            Layout.SERVICE,
            _("One secret per service"),
            usage.services,
            usage.holders * len(CredentialType),
        ),
    )
    costs = []
    for layout, title, secrets, asked in layouts:
        # Secrets Manager asks the key for each value that it reads or writes.
        values = sweeps * secrets + assumed.writes_a_month
        values += round(reads * secrets / usage.holders) if usage.holders else 0
        costs.append(
            LayoutCost(
                layout=layout,
                title=title,
                secrets=secrets,
                sweep_calls=sweeps * ceil(asked / SECRETS_A_CALL),
                read_calls=reads,
                in_use=layout == settings.NOVA_SECRET_LAYOUT,
                write_calls=assumed.writes_a_month,
                replicas=secrets * assumed.replica_regions,
                keys=1 + assumed.replica_regions if assumed.own_key else 0,
                key_requests=values if assumed.own_key else 0,
            )
        )
    return CostEstimate(
        clients=usage.clients,
        with_credentials=usage.holders,
        steps=list_rollout_steps(usage.clients),
        costs=costs,
        sweeps=sweeps,
        reads_a_month=reads,
        assumptions=assumed,
        counted_for=_find_counted_time(usage, assumed),
    )


def list_rollout_steps(number: int) -> list[RolloutStep]:
    """List the steps of the rollout; `recommended` is the one for this number of clients (10 is in "5 to 10")."""
    titles = (
        (_("under 5"), _("PostgreSQL only")),
        (_("5 to 10"), _("Dual write: PostgreSQL and AWS")),
        (_("10 to 20"), _("All clients migrated to AWS")),
        (_("over 20"), _("AWS Secrets Manager only")),
    )
    step = sum(number > bound for bound in (4, 10, 20))
    return [
        RolloutStep(position + 1, bounds, title, recommended=position == step)
        for position, (bounds, title) in enumerate(titles)
    ]


def _estimate_reads(usage: Usage, assumed: CostAssumptions) -> int:
    """Return NOVA's reads of AWS in a month, which its cache keeps below one per process, client and cache time."""
    most = usage.holders * assumed.processes * MONTH_SECONDS
    cache, counted_with = assumed.cache_seconds, settings.NOVA_CACHE_SECONDS
    if assumed.reads_a_day is not None:
        wanted = assumed.reads_a_day * MONTH_DAYS * usage.holders
        return round(min(wanted, most / cache) if cache else wanted)
    counted = _project_reads(usage)
    # A longer cache may save reads, and how many isn't known; a shorter one can at most lose as many as fit in.
    return round(counted * counted_with / cache) if 0 < cache < counted_with else counted


def _project_reads(usage: Usage) -> int:
    """Return the reads a month at the rate counted so far."""
    if not usage.reads_since:
        return 0
    counted_for = max(timezone.now() - usage.reads_since, LEAST_COUNTED)
    return round(usage.reads * (timedelta(days=MONTH_DAYS) / counted_for))


def _find_counted_time(usage: Usage, assumed: CostAssumptions) -> timedelta | None:
    if not usage.reads_since or assumed.reads_a_day is not None:
        return None
    return max(timezone.now() - usage.reads_since, timedelta())


@dataclass(frozen=True)
class CountedUse:
    """What the site counted of its own and NOVA's use of AWS in the last 30 days."""

    comparisons: int
    compare_calls: int
    writes: int
    reads: int
    clients_read: int  # by NOVA's reader, in a phase that asks AWS

    @property
    def calls(self) -> int:
        """Return the calls to AWS that comparisons, writes and NOVA's reads made, at least."""
        return self.compare_calls + self.writes + self.reads

    @property
    def dollars(self) -> Decimal:
        """Return the price of these calls."""
        return (TEN_THOUSAND_CALLS * self.calls / 10_000).quantize(CENT)


def count_aws_use_of_last_month() -> CountedUse:
    """Count comparisons, planned writes and NOVA's reads in the last 30 days."""
    since = timezone.localdate() - timedelta(days=MONTH_DAYS - 1)
    comparisons = (
        DailyComparisons.objects.filter(day__gte=since).aggregate(n=Sum("number"))["n"] or 0
    )
    names = 1 if settings.NOVA_SECRET_LAYOUT == Layout.CLIENT else len(CredentialType)
    reads, clients_read = _count_reads()
    return CountedUse(
        comparisons=comparisons,
        compare_calls=ceil(comparisons * names / SECRETS_A_CALL),
        writes=PlannedVersion.objects.count(),  # kept for 30 days
        reads=reads,
        clients_read=clients_read,
    )


def _count_reads() -> tuple[int, int]:
    """Return NOVA's reads of the last 30 days, a share of those counted for longer, and how many clients it read."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(round(reads * 30 / greatest(days, 30))), 0)::bigint, count(*)
            FROM (
                SELECT reads, (extract(epoch FROM %s - counted_since) / 86400)::float8 AS days
                FROM migration_readcount WHERE reads <> 0
            ) AS counted
            """,
            [timezone.now()],
        )
        reads, clients_read = cursor.fetchone()
        return reads, clients_read


def count_processes() -> int:
    """Return how many processes of NOVA read in the last hour, at least one."""
    return max(ReaderProcess.objects.seen_in_last_hour().count(), 1)
