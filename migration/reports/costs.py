"""Estimates the monthly cost of the clients' secrets in both layouts, and recommends a phase for their number."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.prices import SECRET_A_MONTH, TEN_THOUSAND_CALLS
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from datetime import datetime

    from migration.models import Usage

SECRETS_A_CALL = 20  # of BatchGetSecretValue
MONTH_MINUTES = 30 * 24 * 60
DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class RolloutStep:
    """One step of the recommended rollout."""

    number: int
    clients: str
    title: str
    recommended: bool


@dataclass(frozen=True)
class LayoutCost:
    """The cost of one layout in a month, and the secrets and calls that it is made of."""

    layout: str
    title: str
    secrets: int
    sweep_calls: int
    read_calls: int
    in_use: bool

    @property
    def total_calls(self) -> int:
        """Return the calls in a month."""
        return self.sweep_calls + self.read_calls

    @property
    def total_dollars(self) -> Decimal:
        """Return the dollars in a month."""
        total = SECRET_A_MONTH * self.secrets + TEN_THOUSAND_CALLS * self.total_calls / 10_000
        return total.quantize(Decimal("0.01"))


@dataclass(frozen=True)
class CostEstimate:
    """The recommended step and the costs of both layouts, for the present clients."""

    clients: int
    with_credentials: int
    steps: list[RolloutStep]
    costs: list[LayoutCost]
    sweeps: int
    reads_a_month: int

    @property
    def recommended_step(self) -> RolloutStep:
        """Return the step recommended for this number of clients."""
        return next(step for step in self.steps if step.recommended)


def estimate_costs(usage: Usage) -> CostEstimate:
    """Estimate the costs as if all active clients were in AWS."""
    number, holders, services = usage.clients, usage.holders, usage.services
    sweeps = round(MONTH_MINUTES / settings.NOVA_SWEEP_MINUTES)
    reads = _project_reads(usage.reads, usage.reads_since)
    layouts = (
        (Layout.CLIENT, _("One secret per client"), holders, holders),
        # A comparison asks for all three names, as it can't know which exist.
        (Layout.SERVICE, _("One secret per service"), services, holders * len(CredentialType)),
    )
    return CostEstimate(
        clients=number,
        with_credentials=holders,
        steps=list_steps(number),
        costs=[
            LayoutCost(
                layout=layout,
                title=title,
                secrets=secrets,
                sweep_calls=sweeps * ceil(asked / SECRETS_A_CALL),
                read_calls=reads,
                in_use=layout == settings.NOVA_SECRET_LAYOUT,
            )
            for layout, title, secrets, asked in layouts
        ],
        sweeps=sweeps,
        reads_a_month=reads,
    )


def list_steps(number: int) -> list[RolloutStep]:
    """List the steps: under 5 clients, 5 to 10, 10 to 20, over 20. A number at a bound belongs to the earlier step."""
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


def _project_reads(reads: int, since: datetime | None) -> int:
    """Return the reads a month at the rate counted so far; less than a day is taken as a day."""
    if not since:
        return 0
    days = max((timezone.now() - since).total_seconds() / DAY_SECONDS, 1)
    return round(reads / days * 30)
