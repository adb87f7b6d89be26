"""`cost_estimate`: prints what the clients' secrets cost in AWS a month, in both layouts, and the plan's advice."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from migration.management.base import FormattedCommand
from migration.site.costs import ADVICE, estimate_costs


class Command(FormattedCommand):
    help = "Estimates the secrets, calls and dollars a month of AWS Secrets Manager, once all active clients are there."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        found = estimate_costs()
        if options["format"] == "json":
            self.print_json(found)
            return
        for cost in found["layouts"]:
            use = " (in use)" if cost["in_use"] else ""
            self.stdout.write(
                f"{cost['layout']}{use}: {cost['secrets']:,} secrets, {cost['replicas']:,} replicas,"
                f" {cost['calls']:,} calls: ${cost['dollars']:,.2f} a month"
            )
        counted = found["counted"]
        rough = " (for less than a day: a rough guess)" if counted["reads_are_rough"] else ""
        self.stdout.write(
            f"counted in the last {counted['days']} days: {counted['comparisons']:,} comparisons,"
            f" {counted['writes']:,} writes; {counted['reads']:,} reads by NOVA so far{rough}"
        )
        advice = ADVICE[found["advice"]]()
        self.stdout.write(f"the plan, for {found['clients']:,} clients: {advice}")
