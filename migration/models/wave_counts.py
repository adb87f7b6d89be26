"""Counts what the stop rule of campaigns limits in their waves, and selects the clients that were counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce
from django.db.models.lookups import In

from migration.models.comparisons import Comparison
from migration.models.run_items import CAN_BE_RETRIED, RunItem
from nova_credentials.phases import Phase
from nova_credentials.sentences import STALE_PHASE

if TYPE_CHECKING:
    from collections.abc import Collection

    from migration.models.run_items import RunItemQuerySet

# Of an item; empty where it says nothing.
MESSAGE_KEY = Coalesce(KeyTextTransform("key", "message"), models.Value("", models.TextField()))
# Each client of these waves that NOVA still has: whether it differs, and its reads that failed since they are watched.
_COUNTED = """
    SELECT
        wave.id AS wave_id,
        taken.client_id,
        kept.phase <> %(postgres)s AND kept.compared_at >= wave.watched_since
            AND (kept.comparison_status = ANY(%(differs)s) OR kept.comparison_status = 'unchecked'
                AND EXISTS (
                    SELECT FROM migration_openmismatch AS known WHERE known.client_id = taken.client_id
                ))
        OR reads.mismatches > taken.mismatches_before AS differs,
        coalesce(greatest(reads.aws_failures - taken.failures_before, 0), 0) AS failures
    FROM migration_wave AS wave
    JOIN migration_waveclient AS taken ON taken.wave_id = wave.id
    JOIN public.clients AS present ON present.id = taken.client_id
    LEFT JOIN migration_clientmigration AS kept USING (client_id)
    LEFT JOIN migration_readcount AS reads USING (client_id)
    WHERE wave.id = ANY(%(waves)s) AND taken.left_out_at IS NULL
"""


@dataclass(frozen=True)
class WaveCounts:
    """The three counts of a wave since it is watched. The campaign's stop rule has a limit for each."""

    # Clients whose newest comparison differs, or could not check what did, or of which NOVA's reader met one.
    mismatches: int = 0
    failed_reads: int = 0  # reads by NOVA that failed at AWS
    refused: int = 0  # clients whose move was refused or failed


def count_for_stop_rule(wave_ids: Collection[int]) -> dict[int, WaveCounts]:
    """Count what the stop rule limits in each of the waves since it is watched; return the counts by its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT wave_id, count(*) FILTER (WHERE differs), sum(failures)::bigint
            FROM ({_COUNTED}) AS counted GROUP BY wave_id
            """,  # noqa: S608  # a constant
            _name_parameters(wave_ids),
        )
        counted = {pk: (mismatches, failed_reads) for pk, mismatches, failed_reads in cursor}
    items = select_refused_or_failed_items(wave_ids).order_by().values_list("run__wave")
    refused = dict(items.annotate(number=models.Count("client_id", distinct=True)))
    return {pk: WaveCounts(*counted.get(pk, (0, 0)), refused.get(pk, 0)) for pk in wave_ids}


def list_differing(wave_id: int) -> list[int]:
    """Return the ids of the clients that are counted as mismatches of the wave."""
    return _list_clients(wave_id, "differs")


def list_with_failed_reads(wave_id: int) -> list[int]:
    """Return the ids of the clients whose reads are counted as failed in the wave."""
    return _list_clients(wave_id, "failures > 0")


def _list_clients(wave_id: int, condition: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT client_id FROM ({_COUNTED}) AS counted WHERE {condition}",  # noqa: S608  # constants
            _name_parameters([wave_id]),
        )
        return [pk for (pk,) in cursor]


def _name_parameters(wave_ids: Collection[int]) -> dict[str, Any]:
    return {
        "waves": list(wave_ids),
        "postgres": Phase.POSTGRES.value,
        "differs": [status.value for status in Comparison.DIFFERS],
    }


def select_refused_or_failed_items(wave_ids: Collection[int]) -> RunItemQuerySet:
    """Select the items of clients whose move was refused or failed since their wave is watched."""
    items: RunItemQuerySet = RunItem.objects.filter(
        outcome__in=CAN_BE_RETRIED,
        run__wave__in=wave_ids,
        run__only_where_equal=False,
        # Of the client, not of its run: somebody may have gone on with a run of before.
        finished_at__gte=models.F("run__wave__watched_since"),
    )
    # Somebody moved the client before its turn: that says nothing against it.
    return items.exclude(models.Q(In(MESSAGE_KEY, [STALE_PHASE.key])))
