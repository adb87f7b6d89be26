"""Where each client stands, what was compared, and the runs over many clients. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, and our history must neither stop that nor go.
"""

from migration.models.approvals import MoveRequest, RoleGrant
from migration.models.comparisons import Comparison, ComparisonQuerySet, Resolution
from migration.models.reveals import Reveal
from migration.models.runs import PUSHED, Outcome, Run, RunItem
from migration.models.standing import (
    MOVE_PERMISSIONS,
    WRITES_BOTH,
    ClientMigration,
    ClientsByPhase,
    PhaseChange,
    PhaseChoices,
    ReadCount,
    Secret,
    clients,
)

__all__ = [
    "MOVE_PERMISSIONS",
    "PUSHED",
    "WRITES_BOTH",
    "ClientMigration",
    "ClientsByPhase",
    "Comparison",
    "ComparisonQuerySet",
    "MoveRequest",
    "Outcome",
    "PhaseChange",
    "PhaseChoices",
    "ReadCount",
    "Resolution",
    "Reveal",
    "RoleGrant",
    "Run",
    "RunItem",
    "Secret",
    "clients",
]
