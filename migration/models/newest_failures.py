"""Finds the items of runs that are their client's newest outcome of an act, and a failure or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.expressions import RawSQL

if TYPE_CHECKING:
    from collections.abc import Collection

# The clients and acts that ever failed. It goes from one to the next, and reads no item of the others.
EVER_FAILED = """
WITH RECURSIVE failed AS (
    (SELECT client_id, act FROM migration_runitem WHERE outcome IN ('failed', 'refused')
     ORDER BY client_id, act LIMIT 1)
    UNION ALL
    SELECT following.* FROM failed, LATERAL (
        SELECT client_id, act FROM migration_runitem
        WHERE outcome IN ('failed', 'refused') AND (client_id, act) > (failed.client_id, failed.act)
        ORDER BY client_id, act LIMIT 1
    ) AS following
)
"""
# All acts of some clients.
OF_THESE = """
WITH failed AS (
    SELECT client_id, act FROM unnest(%s::int[]) AS these (client_id), unnest(%s::text[]) AS acts (act)
)
"""
# The newest outcome of each of them, where it is a failure or a refusal, however many runs there are.
NEWEST_FAILED = """
SELECT newest.id FROM failed, LATERAL (
    SELECT item.id, item.outcome FROM migration_runitem AS item
    WHERE item.client_id = failed.client_id AND item.act = failed.act AND item.outcome <> ''
        AND NOT (item.outcome = 'skipped' AND coalesce(item.message->>'key', '') = ANY(%s))
    ORDER BY item.finished_at DESC NULLS LAST, item.id DESC LIMIT 1
) AS newest
WHERE newest.outcome IN ('failed', 'refused')
"""


def item_is_newest_and_failed(
    client_ids: Collection[int] | None, *, acts: Collection[str], left_out_keys: Collection[str]
) -> models.Func:
    """Return the condition that an item is the newest outcome of its client and act, and a failure or a refusal.

    Of all clients, or of these. What a stop left out says so by one of the keys, and is no outcome. The items are found
    first and then read one by one: as `IN (…)` PostgreSQL would read the whole table.
    """
    looked_at = EVER_FAILED
    values: list[list[Any]] = []
    if client_ids is not None:
        looked_at, values = OF_THESE, [sorted(client_ids), list(acts)]
    found = RawSQL(f"ARRAY({looked_at}{NEWEST_FAILED})", [*values, list(left_out_keys)])  # noqa: S611  # constants
    return models.Func(
        models.F("pk"),
        found,
        template="%(expressions)s",
        arg_joiner=" = ANY",
        output_field=models.BooleanField(),
    )
