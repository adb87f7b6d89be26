"""Where each client stands, what was compared, and the runs over many clients. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, and our history must neither stop that nor go.
"""

from migration.models.approvals import MoveRequest, RoleGrant
from migration.models.clients import (
    MOVE_PERMISSIONS,
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
from migration.models.comparisons import Comparison, ComparisonQuerySet
from migration.models.mismatches import (
    DailyComparisons,
    OpenMismatch,
    OpenMismatchQuerySet,
    Resolution,
    newest_is,
)
from migration.models.rates import Rate
from migration.models.reasons import ReasonError, check_reason
from migration.models.reveals import Reveal
from migration.models.run_items import PUSHED, Outcome, RunItem
from migration.models.runs import MANY_TRIES, Run, StaleRunError
from migration.models.version_keys import VersionKey
from migration.models.workers import Worker

__all__ = [
    "MANY_TRIES",
    "MOVE_PERMISSIONS",
    "PUSHED",
    "WRITES_BOTH",
    "ClientMigration",
    "ClientMigrationQuerySet",
    "ClientsByPhase",
    "Comparison",
    "ComparisonQuerySet",
    "DailyComparisons",
    "MoveRequest",
    "OpenMismatch",
    "OpenMismatchQuerySet",
    "Outcome",
    "PhaseChange",
    "PhaseChoices",
    "Rate",
    "ReadCount",
    "ReasonError",
    "Resolution",
    "Reveal",
    "RoleGrant",
    "Run",
    "RunItem",
    "Secret",
    "StaleRunError",
    "VersionKey",
    "Worker",
    "check_reason",
    "clients",
    "newest_is",
]
