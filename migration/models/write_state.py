"""Reads in one statement what decides about AWS writes: the newest claim, what hosts share, the stop that holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from migration.models.database_claims import DatabaseIdentity

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Of a note that isn't as the site writes it, what is.
SOUND_FACTS = """
(SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(
    CASE WHEN jsonb_typeof(facts) = 'object' THEN facts ELSE '{}' END
) WHERE jsonb_typeof(value) = 'array' AND value <> '[]' AND NOT value @? '$[*] ? (@.type() <> "string")')
"""
# One JSON object, so that it fits into a statement that is made anyway.
WRITE_STATE = f"""
(SELECT jsonb_build_object(
    'now', clock_timestamp(),
    'claim', (
        SELECT to_jsonb(newest) FROM (
            SELECT system_identifier, database_oid, place, claimed_at FROM migration_databaseclaim
            ORDER BY id DESC LIMIT 1
        ) AS newest
    ),
    'facts', (
        SELECT {SOUND_FACTS} FROM migration_databaseclaim WHERE facts IS NOT NULL ORDER BY id DESC LIMIT 1
    ),
    'stop', (
        SELECT to_jsonb(newest) FROM (
            SELECT stopped_at, reason, by_name AS username FROM migration_writestop
            WHERE started_at IS NULL ORDER BY id DESC LIMIT 1
        ) AS newest
    )
)::text)
"""  # noqa: S608  # constants


@dataclass(frozen=True)
class OpenStop:
    """The stop that holds: who threw the switch, when, and why as typed."""

    username: str
    stopped_at: datetime
    reason: str


@dataclass(frozen=True)
class AwsWriteState:
    """What the database said, at `read_at` on its own clock, about writes to AWS."""

    read_at: datetime
    noted: DatabaseIdentity | None
    claimed_at: datetime | None
    stop: OpenStop | None
    # What all hosts share (`DatabaseClaim.facts`).
    facts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> AwsWriteState:
        """Parse the text that `WRITE_STATE` gives."""
        found = json.loads(text)
        claim, stop = found["claim"] or {}, found["stop"]
        claimed_at = datetime.fromisoformat(claim.pop("claimed_at")) if claim else None
        return cls(
            read_at=datetime.fromisoformat(found["now"]),
            noted=DatabaseIdentity(**claim) if claim else None,
            claimed_at=claimed_at,
            stop=stop
            and OpenStop(
                stop["username"] or "", datetime.fromisoformat(stop["stopped_at"]), stop["reason"]
            ),
            facts=found["facts"] or {},
        )


def read_aws_write_state(connection: BaseDatabaseWrapper) -> AwsWriteState:
    """Return the `AwsWriteState` as it is now, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WRITE_STATE}")
        return AwsWriteState.parse(cursor.fetchone()[0])
