"""Where each client stands, what was compared, and the runs over many clients. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, and our history must neither stop that nor go.
"""

from migration.models.comparisons import Comparison, ComparisonQuerySet
from migration.models.mismatches import (
    DailyComparisons,
    OpenMismatch,
    OpenMismatchQuerySet,
    Resolution,
    newest_is,
)
from migration.models.runs import PUSHED, Outcome, Run, RunItem
from migration.models.standing import (
    WRITES_BOTH,
    ClientMigration,
    ClientMigrationQuerySet,
    ClientsByPhase,
    PhaseChange,
    PhaseChoices,
    ReadCount,
    Secret,
    clients,
)

__all__ = [
    "PUSHED",
    "WRITES_BOTH",
    "ClientMigration",
    "ClientMigrationQuerySet",
    "ClientsByPhase",
    "Comparison",
    "ComparisonQuerySet",
    "DailyComparisons",
    "OpenMismatch",
    "OpenMismatchQuerySet",
    "Outcome",
    "PhaseChange",
    "PhaseChoices",
    "ReadCount",
    "Resolution",
    "Run",
    "RunItem",
    "Secret",
    "clients",
    "newest_is",
]
