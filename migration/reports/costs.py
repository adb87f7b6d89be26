"""Where the plan would have so many clients stand, and what their secrets cost a month in both layouts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.prices import SECRET_A_MONTH, TEN_THOUSAND_CALLS
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from datetime import datetime

SECRETS_A_CALL = 20  # of BatchGetSecretValue
MONTH_MINUTES = 30 * 24 * 60
DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Step:
    """One step of the plan's timeline."""

    number: int
    clients: str
    title: str
    suggested: bool


@dataclass(frozen=True)
class Cost:
    """What one layout costs a month, in dollars, and the calls that the estimate rests on."""

    layout: str
    title: str
    secrets: int
    sweep_calls: int
    read_calls: int
    in_use: bool

    @property
    def calls(self) -> int:
        return self.sweep_calls + self.read_calls

    @property
    def dollars(self) -> Decimal:
        total = SECRET_A_MONTH * self.secrets + TEN_THOUSAND_CALLS * self.calls / 10_000
        return total.quantize(Decimal("0.01"))


@dataclass(frozen=True)
class Plan:
    clients: int
    with_credentials: int
    steps: list[Step]
    costs: list[Cost]
    sweeps: int
    reads_a_month: int

    @property
    def suggested(self) -> Step:
        return next(step for step in self.steps if step.suggested)


def plan() -> Plan:
    """Of the active clients, as if all were in AWS: one query."""
    number, holders, services, counted, since = _counted()
    sweeps = round(MONTH_MINUTES / settings.NOVA_SWEEP_MINUTES)
    reads = _a_month(counted, since)
    layouts = (
        (Layout.CLIENT, _("One secret per client"), holders, holders),
        # A comparison asks for each of the three names, as it can't know which are there.
        (Layout.SERVICE, _("One secret per service"), services, holders * len(CredentialType)),
    )
    return Plan(
        clients=number,
        with_credentials=holders,
        steps=steps(number),
        costs=[
            Cost(
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


def steps(number: int) -> list[Step]:
    """The plan's timeline: under 5 clients, 5 to 10, 10 to 20, over 20; a bound belongs to the earlier step."""
    titles = (
        (_("under 5"), _("PostgreSQL only")),
        (_("5 to 10"), _("Dual write: PostgreSQL and AWS")),
        (_("10 to 20"), _("All clients migrated to AWS")),
        (_("over 20"), _("AWS Secrets Manager only")),
    )
    step = sum(number > bound for bound in (4, 10, 20))
    return [
        Step(position + 1, bounds, title, suggested=position == step)
        for position, (bounds, title) in enumerate(titles)
    ]


def _counted() -> tuple[int, int, int, int, datetime | None]:
    """Active clients, those with a credential, services with one, and NOVA's counted reads, since when."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH held AS (
                SELECT client_id, 1 AS service FROM public.client_database_credentials
                UNION ALL SELECT client_id, 2 FROM public.client_email_credentials
                UNION ALL SELECT client_id, 4 FROM client_aws_credentials
            ), services AS (SELECT client_id, bit_or(service) AS bits FROM held GROUP BY client_id)
            SELECT count(*), count(bits), coalesce(sum((bits & 1) + (bits >> 1 & 1) + (bits >> 2)), 0)::int,
                coalesce(max(reads.n), 0)::bigint, min(reads.since)
            FROM public.clients LEFT JOIN services ON client_id = id
            CROSS JOIN (SELECT sum(reads) AS n, min(counted_since) AS since FROM migration_readcount) AS reads
            WHERE is_active
            """
        )
        clients, holders, services, reads, since = cursor.fetchone()
    return clients, holders, services, reads, since


def _a_month(reads: int, since: datetime | None) -> int:
    """What was counted so far, as reads a month; of less than a day nothing is made bigger than a day's."""
    if not since:
        return 0
    days = max((timezone.now() - since).total_seconds() / DAY_SECONDS, 1)
    return round(reads / days * 30)
