"""`steer_campaign`: stops a campaign, has it go on with what is left, or cancels it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from migration.campaigns.members import find_slugs_unmoved_by_steps, go_on_without
from migration.campaigns.models import Campaign, CampaignNotChangedError
from migration.campaigns.steps import cancel_campaign, stop_campaign
from migration.core.audit import ReasonError
from migration.management.base import find_user
from migration.management.campaigns import CampaignCommand, find_campaign

PERMISSIONS = {
    "stop": ("migration.change_campaign",),
    "go_on": ("migration.change_campaign", "migration.move_client"),
    "cancel": ("migration.change_campaign",),
}


class Command(CampaignCommand):
    help = "Stops a campaign, has it go on with what is left, or cancels it. Approving is possible on its page only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("campaign", type=int, metavar="CAMPAIGN", help="its number")
        parser.add_argument("act", choices=list(PERMISSIONS), metavar="|".join(PERMISSIONS))
        parser.add_argument(
            "--without-refused",
            action="store_true",
            help="go on without the clients that it could not move: they stay in their phase",
        )
        parser.add_argument(
            "--reason", default="", help="with --without-refused: kept in the audit"
        )
        self.add_common_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        campaign, by = find_campaign(options["campaign"]), find_user(options["by"])
        if options["without_refused"] and options["act"] != "go_on":
            raise CommandError("--without-refused goes with go_on", returncode=2)
        for permission in PERMISSIONS[options["act"]]:
            find_user(options["by"], permission=permission)
        try:
            if options["without_refused"]:
                go_on_without(
                    campaign,
                    by=by,
                    find=find_slugs_unmoved_by_steps,
                    reason=options["reason"].strip(),
                )
            else:
                steer(campaign, options["act"], by)
        except ReasonError as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        except CampaignNotChangedError as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        campaign.refresh_from_db()
        self.work_on_or_enqueue_campaign(campaign, options)


def steer(campaign: Campaign, act: str, by: User | None) -> None:
    """Stop, cancel or go on with the campaign; raise `StaleCampaignError` where its state doesn't allow it any more."""
    if act == "stop":
        stop_campaign(campaign, by=by)
    elif act == "cancel":
        cancel_campaign(campaign, by=by)
    else:
        campaign.go_on(by=by)
