"""Reads in one statement when workers and sweeps were last at work, and how many runs wait for an approval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from migration.models.runs import Run

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class WorkFacts:
    """Holds what the dashboard says of the work in the background; None where there was none yet."""

    worker_seen_at: datetime | None
    swept_at: datetime | None
    requested_runs: int


def read_work_facts() -> WorkFacts:
    """Read them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT
                (SELECT max(seen_at) FROM migration_worker),
                (SELECT created_at FROM migration_run WHERE kind = %(compare)s AND by_name = ''
                 ORDER BY id DESC LIMIT 1),
                (SELECT count(*) FROM migration_run WHERE state = %(requested)s)
            """,
            {"compare": Run.Kind.COMPARE, "requested": Run.State.REQUESTED},
        )
        return WorkFacts(*cursor.fetchone())
