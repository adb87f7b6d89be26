"""Finds out which clients are in a campaign that is not over: taken by a wave, or in the group of a later one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models.campaigns import Campaign

if TYPE_CHECKING:
    from collections.abc import Collection


def count_in_campaigns(client_ids: Collection[int]) -> list[tuple[Campaign, int]]:
    """Return the campaigns that are not over and how many of the clients each has. Takes one query.

    Who came into a group after the campaign was approved is not in it, as nobody approved that.
    """
    found = Campaign.objects.raw(
        """
        SELECT campaign.*, counted.number
        FROM migration_campaign AS campaign
        JOIN LATERAL (
            SELECT count(DISTINCT client_id) AS number
            FROM (
                SELECT taken.client_id
                FROM migration_wave AS wave
                JOIN migration_waveclient AS taken ON taken.wave_id = wave.id
                WHERE wave.campaign_id = campaign.id AND taken.left_out_at IS NULL
                UNION ALL
                SELECT member.client_id
                FROM migration_wave AS wave
                JOIN migration_groupmember AS member ON member.group_id = wave.group_id
                WHERE wave.campaign_id = campaign.id AND wave.began_at IS NULL
                    AND (campaign.approved_at IS NULL OR member.added_at <= campaign.approved_at)
            ) AS every_client
            WHERE client_id = ANY(%s)
        ) AS counted ON counted.number > 0
        WHERE campaign.state = ANY(%s)
        ORDER BY campaign.id
        """,
        [list(client_ids), [state.value for state in Campaign.NOT_OVER]],
    )
    return [(campaign, campaign.number) for campaign in found]  # type: ignore[attr-defined]  # selected
