"""Reads what goes on besides clients: approvals, campaigns, rotations, secrets; in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from migration.campaigns.models import Campaign
from migration.core.clients import WRITES_BOTH, OffboardingState
from migration.core.comparisons import OF_AWS, Comparison
from migration.core.secrets import DIFFERING_CLIENTS, OF_DELETED_CLIENTS
from migration.logins.models import make_next_query, today
from migration.runs.models import Run
from nova_credentials.messages import Message
from nova_credentials.tables import CLIENTS

# The newest comparisons that are looked at, and how old they may be.
NEWEST_COMPARISONS = 200
COMPARED_WITHIN = timedelta(hours=1)
# Of few clients these hold answers of before AWS was gone: then so many in a row count, if no client's newest is one.
LEAST_IN_A_ROW = 3


@dataclass(frozen=True)
class BackgroundFacts:
    """Holds what the dashboard says of the work in the background; None where there was none yet."""

    swept_at: datetime | None
    # No sweep has begun for two intervals, though a client has been in both stores for longer.
    is_sweep_overdue: bool
    requested_runs: int
    # The campaigns that are not over, by id; only id, state and the reason of a stop are loaded.
    campaigns: tuple[Campaign, ...]
    # The clients whose rotation stopped, is not finished, or is overdue: as the filter of their list calls them.
    rotations: dict[str, int]
    # The clients that left, or came back, in part only.
    interrupted_offboardings: int
    # The clients whose secrets differ from the settings of key and regions.
    differing_secrets: int
    # The secrets that AWS still has of clients that NOVA deleted.
    secrets_of_deleted_clients: int
    # How AWS refused or failed one of the newest comparisons of the last hour, if it answered none of them.
    aws_error: str | None


def read_background_facts() -> BackgroundFacts:
    """Return the `BackgroundFacts` as they are now, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT
                (SELECT created_at FROM migration_run WHERE kind = %(compare)s AND by_name = ''
                 ORDER BY id DESC LIMIT 1),
                (SELECT coalesce(bool_and(created_at < %(due_since)s), true) FROM (
                    SELECT created_at FROM migration_run WHERE kind = %(compare)s AND by_name = ''
                    ORDER BY id DESC LIMIT 1
                 ) AS newest) AND EXISTS (
                    SELECT FROM {CLIENTS} AS c JOIN migration_clientmigration AS m ON m.client_id = c.id
                    WHERE m.phase = ANY(%(in_both)s) AND m.phase_changed_at < %(due_since)s
                ),
                (SELECT count(*) FROM migration_run WHERE state = %(requested)s),
                (SELECT count(*) FROM migration_rotation AS r WHERE outcome = 'stopped' AND NOT EXISTS (
                    SELECT FROM migration_rotation AS newer WHERE newer.client_id = r.client_id AND newer.id > r.id
                )),
                (SELECT count(*) FROM migration_rotation WHERE outcome = '' AND message IS NOT NULL),
                (SELECT count(*) FROM ({make_next_query()}) AS next WHERE due < %(today)s),
                (SELECT count(*) FROM migration_offboarding AS o JOIN {CLIENTS} AS c ON c.id = o.client_id
                 WHERE o.state <> %(offboarded)s),
                (SELECT count(*) FROM ({DIFFERING_CLIENTS.format(prefix="%(prefix)s")}) AS differing),
                (SELECT count(*) FROM ({OF_DELETED_CLIENTS}) AS left_over),
                (SELECT coalesce(json_agg(json_build_array(id, state, stopped_because) ORDER BY id), '[]')
                 FROM migration_campaign WHERE state = ANY(%(not_over)s)),
                (SELECT (array_agg(error_class ORDER BY id DESC) FILTER (WHERE error_class = ANY(%(of_aws)s)))[1] FROM (
                    SELECT *, status = %(unchecked)s AS is_unanswered,
                        row_number() OVER (PARTITION BY client_id ORDER BY id DESC) = 1 AS is_newest
                    FROM (
                        SELECT id, client_id, error_class, status, compared_at FROM migration_comparison
                        ORDER BY id DESC LIMIT {NEWEST_COMPARISONS}
                    ) AS newest WHERE compared_at > %(compared_since)s
                 ) AS compared HAVING bool_and(is_unanswered) OR (
                    bool_and(is_unanswered) FILTER (WHERE is_newest)
                    AND (array_agg(is_unanswered ORDER BY id DESC))[:{LEAST_IN_A_ROW}] = %(in_a_row)s
                 ))
            """,  # noqa: S608  # constants
            {
                "today": today(),
                "due_since": timezone.now() - 2 * timedelta(minutes=settings.NOVA_SWEEP_MINUTES),
                "in_both": [phase.value for phase in WRITES_BOTH],
                "compare": Run.Kind.COMPARE,
                "requested": Run.State.REQUESTED,
                "not_over": list(Campaign.NOT_OVER),
                "offboarded": OffboardingState.OFFBOARDED,
                "of_aws": list(OF_AWS),
                "compared_since": timezone.now() - COMPARED_WITHIN,
                "unchecked": Comparison.Status.UNCHECKED,
                "in_a_row": [True] * LEAST_IN_A_ROW,
                "prefix": settings.NOVA_SECRET_PREFIX,
            },
        )
        (
            swept_at,
            is_overdue,
            runs,
            *rotations,
            left,
            differing,
            deleted,
            rows,
            aws_error,
        ) = cursor.fetchone()
    campaigns = tuple(
        Campaign(pk=pk, state=state, stopped_because=why and Message.from_json(why))
        for pk, state, why in rows
    )
    numbers = dict(zip(("stopped", "unfinished", "overdue"), rotations, strict=True))
    return BackgroundFacts(
        swept_at,
        is_overdue,
        runs,
        campaigns,
        numbers,
        left,
        differing,
        deleted,
        aws_error,
    )
