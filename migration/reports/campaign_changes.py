"""Says whether anything that a campaign's page shows has changed: in one query, as open pages ask every few seconds."""

from __future__ import annotations

from django.db import connection
from django.utils import timezone

# The digest leaves out reads, workers that fall silent and times: a page shows these anew after so many seconds.
SHOWN_AFTER_SECONDS = 60

DIGEST = """
SELECT md5(concat_ws(' ', campaign::text, (
    SELECT string_agg(concat_ws(' ', wave::text, run.id, run.state, run.steered_at, run.finished_at, (
        SELECT count(*) FROM migration_runitem AS item
        WHERE item.run_id = run.id AND run.finished_at IS NULL AND item.outcome > ''
    )), ' ' ORDER BY wave.id, run.id)
    FROM migration_wave AS wave LEFT JOIN migration_run AS run ON run.wave_id = wave.id
    WHERE wave.campaign_id = campaign.id
), (
    SELECT max(id) FROM migration_phasechange
), (
    SELECT max(id) FROM migration_comparison
), (
    SELECT id FROM migration_auditevent ORDER BY id DESC LIMIT 1
), %s::bigint))
FROM migration_campaign AS campaign WHERE campaign.id = %s
"""


def digest_campaign(campaign_id: int) -> str | None:
    """Return a digest of the campaign, its waves, their runs and what was done last; None where there is none."""
    # Not all open pages in the same second. The number is whatever an address says: any, kept small here.
    shift = campaign_id % SHOWN_AFTER_SECONDS
    period = int((timezone.now().timestamp() + shift) // SHOWN_AFTER_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(DIGEST, [period, campaign_id])
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None
