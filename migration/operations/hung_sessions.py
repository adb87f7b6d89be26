"""Ends the sessions of workers that hang with leases: of a host that is frozen, or a process that was stopped.

Such a process holds its connection open, so that no lease of it comes free by itself.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import connection

from migration.models.leases import LeaseKind
from migration.operations.leases import HELD

# django-q ends a task after five minutes, and a batch asks PostgreSQL every minute. AWS refuses what was signed more
# than five minutes ago: a process that goes on later writes nothing that it had ready.
HUNG_AFTER = timedelta(minutes=10)
# A search for copies reads by another connection than that of its lease, for hours.
END_HUNG = f"""
SELECT count(*) FILTER (WHERE pg_terminate_backend(hung.pid)) FROM (
    SELECT DISTINCT l.pid FROM migration_lease AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.kind = ANY(%s) AND {HELD}
        AND a.state = 'idle' AND a.state_change < statement_timestamp() - %s * interval '1 second'
) AS hung
"""  # noqa: S608  # constants

logger = logging.getLogger(__name__)


def end_hung_sessions() -> int:
    """End the sessions of hung workers; return how many. Their next write raises `LeaseLostError`."""
    with connection.cursor() as cursor:
        cursor.execute(END_HUNG, [[LeaseKind.CLIENT, LeaseKind.BATCH], HUNG_AFTER.total_seconds()])
        number: int = cursor.fetchone()[0]
    if number:
        logger.warning("Ended %s sessions of workers that hang with leases", number)
    return number
