"""`campaign_status`: prints how far campaigns are, what they wait for, and why they stopped."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from migration.campaigns.explain import summarize_campaign
from migration.campaigns.models import Campaign
from migration.management.campaigns import CampaignCommand, find_campaign


class Command(CampaignCommand):
    takes_locks = False
    help = "Prints how far campaigns are, wave by wave, what they wait for, and why they stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "campaigns",
            nargs="*",
            type=int,
            metavar="CAMPAIGN",
            help="their numbers; without any, those that are not over",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        numbers = options["campaigns"]
        chosen = map(find_campaign, numbers) if numbers else Campaign.objects.not_over()
        summaries = [summarize_campaign(campaign) for campaign in chosen]
        if options["format"] == "json":
            self.print_json([summary.to_json() for summary in summaries])
            return
        for summary in summaries:
            self.print_summary(summary)
