"""Where the plan would have so many clients stand, and what their secrets cost a month in both layouts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.models import AwsCredential, DatabaseCredential, EmailCredential
from credentials.runtime.document import Layout
from migration.models import clients

if TYPE_CHECKING:
    from datetime import datetime

# AWS's prices, in dollars.
A_SECRET_A_MONTH = Decimal("0.40")
TEN_THOUSAND_CALLS = Decimal("0.05")
SECRETS_A_CALL = 20  # BatchGetSecretValue
MONTH_MINUTES = 30 * 24 * 60
DAY_SECONDS = 24 * 60 * 60
SERVICES: dict[str, Any] = {
    "databases": DatabaseCredential,
    "emails": EmailCredential,
    "aws": AwsCredential,
}


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
        total = A_SECRET_A_MONTH * self.secrets + TEN_THOUSAND_CALLS * self.calls / 10_000
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
    found = _counted()
    sweeps = round(MONTH_MINUTES / settings.NOVA_SWEEP_MINUTES)
    reads = _a_month(found["reads"] or 0, found["since"])
    holders, secrets = found["holders"], sum(found[service] for service in SERVICES)
    layouts = (
        (Layout.CLIENT, _("One secret a client"), holders, holders),
        # A comparison asks for each of the three names, as it can't know which are there.
        (Layout.SERVICE, _("One secret a service"), secrets, holders * len(SERVICES)),
    )
    return Plan(
        clients=found["clients"],
        with_credentials=holders,
        steps=steps(found["clients"]),
        costs=[
            Cost(
                layout=layout,
                title=title,
                secrets=number,
                sweep_calls=sweeps * ceil(asked / SECRETS_A_CALL),
                read_calls=reads,
                in_use=layout == settings.NOVA_SECRET_LAYOUT,
            )
            for layout, title, number, asked in layouts
        ],
        sweeps=sweeps,
        reads_a_month=reads,
    )


def steps(number: int) -> list[Step]:
    """The plan's timeline: under 5 clients, 5 to 10, 10 to 20, over 20; a bound belongs to the earlier step."""
    titles = (
        (_("under 5"), _("PostgreSQL alone")),
        (_("5 to 10"), _("Dual write: PostgreSQL and AWS")),
        (_("10 to 20"), _("All clients migrated to AWS")),
        (_("over 20"), _("AWS Secrets Manager alone")),
    )
    step = sum(number > bound for bound in (4, 10, 20))
    return [
        Step(position + 1, bounds, title, suggested=position == step)
        for position, (bounds, title) in enumerate(titles)
    ]


def _counted() -> dict[str, Any]:
    """How many clients, how many with a credential of each service, and NOVA's counted reads."""
    has = {
        service: Q(pk__in=model._default_manager.order_by().values("client_id"))
        for service, model in SERVICES.items()
    }
    any_of = Q()
    for held in has.values():
        any_of |= held
    found = (
        clients()
        .filter(is_active=True)
        .aggregate(
            clients=Count("pk"),
            holders=Count("pk", filter=any_of),
            reads=Sum("read_count__reads"),
            since=Min("read_count__counted_since"),
            **{service: Count("pk", filter=held) for service, held in has.items()},
        )
    )
    return dict(found)


def _a_month(reads: int, since: datetime | None) -> int:
    """What was counted so far, as reads a month; of less than a day nothing is made bigger than a day's."""
    if not since:
        return 0
    days = max((timezone.now() - since).total_seconds() / DAY_SECONDS, 1)
    return round(reads / days * 30)
