"""`cost_estimate`: prints what the clients' secrets cost in AWS a month, in both layouts, beside the alternatives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from migration.management.base import FormattedCommand
from migration.models import SiteCounts
from migration.reports.cost_sheet import RULE, describe_costs, name_alternative
from migration.reports.costs import (
    CostAssumptions,
    count_aws_use_of_last_month,
    count_processes,
    estimate_costs,
)

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

MOST = 1_000_000


class Command(FormattedCommand):
    help = "Estimates the secrets, calls and dollars a month of AWS Secrets Manager, once all active clients are there."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)
        parser.add_argument(
            "--cache-seconds", type=float, metavar="N", help="of NOVA's processes; as the settings"
        )
        parser.add_argument(
            "--sweep-minutes", type=int, metavar="N", help="between comparisons; as the settings"
        )
        parser.add_argument(
            "--replica-regions",
            type=int,
            metavar="N",
            help="regions beside the first; as the settings",
        )
        parser.add_argument(
            "--reads-a-day",
            type=float,
            metavar="N",
            help="how often NOVA wants each client, before its cache; as its reader has counted",
        )
        parser.add_argument(
            "--processes", type=int, metavar="N", help="of NOVA; as many as read in the last hour"
        )
        parser.add_argument(
            "--own-key", action="store_true", help="with a KMS key of your own; as the settings"
        )

    def handle(self, *args: object, **options: Any) -> None:
        counted = count_aws_use_of_last_month()
        assumed = replace(
            CostAssumptions.from_settings(),
            writes_a_month=counted.writes,
            **{"processes": count_processes(), **_read_assumptions(options)},
        )
        estimate = estimate_costs(SiteCounts.count_now().usage, assumed)
        found = describe_costs(estimate, counted)
        if options["format"] == "json":
            self.print_json(found)
            return
        for cost in estimate.costs:
            use = " (in use)" if cost.in_use else ""
            self.stdout.write(
                f"{cost.layout}{use}: {cost.secrets:,} secrets, {cost.replicas:,} replicas, {cost.total_calls:,} calls"
                f" ({cost.sweep_calls:,} sweeps, {cost.read_calls:,} reads, {cost.write_calls:,} writes):"
                f" ${cost.total_dollars:,} a month"
            )
        self.stdout.write(
            f"counted in the last 30 days: {counted.comparisons:,} comparisons, {counted.writes:,} writes,"
            f" {counted.reads:,} reads by NOVA of {counted.clients_read:,} clients: {counted.calls:,} calls,"
            f" ${counted.dollars:,}"
        )
        if estimate.is_rough:
            self.stdout.write(
                f"NOVA's reads have been counted for {estimate.hours_of_counted_reads} hours only:"
                " a month's are a rough guess"
            )
        for each in found["alternatives"]:
            least, most = each["dollars_least"], each["dollars_most"]
            price = f"${least:g}" if least == most else f"${least:g} to ${most:g}"
            self.stdout.write(f"instead: {name_alternative(each['key'])}: {price} a month")
        self.stdout.write(f"the plan, for {estimate.clients:,} clients: {RULE[estimate.advice]()}")


def _read_assumptions(options: dict[str, Any]) -> dict[str, Any]:
    """Return the assumptions given as options; exit with 2 if a number is out of its range."""
    least = {
        "cache_seconds": 0,
        "sweep_minutes": 1,
        "replica_regions": 0,
        "reads_a_day": 0,
        "processes": 1,
    }
    named = {name: value for name in least if (value := options[name]) is not None}
    for name, value in named.items():
        if not least[name] <= value <= MOST:  # no number at all, too
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} has to be from {least[name]} to {MOST:,}", returncode=2)
    return named | ({"own_key": True} if options["own_key"] else {})
