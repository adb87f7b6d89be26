"""`steer_campaign`: approves a campaign, stops it, has it go on with what is left, or cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from migration.management.base import find_user
from migration.management.campaigns import CampaignCommand, find_campaign
from migration.models import StaleCampaignError
from migration.operations.approvals import NotApproved
from migration.operations.campaigns import approve_campaign

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.core.management.base import CommandParser

    from migration.models import Campaign

PERMISSIONS = {
    "approve": ("migration.approve_move",),
    "stop": ("migration.change_campaign",),
    "go_on": ("migration.change_campaign", "migration.move_client"),
    "cancel": ("migration.change_campaign",),
}


class Command(CampaignCommand):
    help = "Approves a campaign, stops it, has it go on with what is left, or cancels it for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("campaign", type=int, metavar="CAMPAIGN", help="its number")
        parser.add_argument("act", choices=list(PERMISSIONS), metavar="|".join(PERMISSIONS))
        self.add_common_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        campaign, by = find_campaign(options["campaign"]), find_user(options["by"])
        for permission in PERMISSIONS[options["act"]]:
            find_user(options["by"], permission=permission)
        try:
            steer(campaign, options["act"], by)
        except (StaleCampaignError, NotApproved) as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        campaign.refresh_from_db()
        self.go_further(campaign, options)


def steer(campaign: Campaign, act: str, by: User | None) -> None:
    """Do the act; raise `StaleCampaignError` or `NotApproved`, and exit with 2 where an approval names nobody."""
    if act == "stop":
        campaign.stop(by=by)
    elif act == "go_on":
        campaign.go_on(by=by)
    elif act == "cancel":
        campaign.cancel(by=by)
    elif by is None:
        raise CommandError("name who approves it, with --by USER", returncode=2)
    else:
        approve_campaign(campaign_id=campaign.pk, by=by)
