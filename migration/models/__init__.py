"""Owns clients' phases, comparisons, mismatches, approvals and runs. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, which our history must neither prevent nor lose.
"""

from migration.models.approvals import MoveRequest
from migration.models.clients import (
    ClientMigration,
    ClientMigrationQuerySet,
    ClientPhaseQuerySet,
    all_clients,
)
from migration.models.comparisons import Comparison, ComparisonQuerySet
from migration.models.copies import (
    CopySearch,
    FoundCopy,
    Redaction,
    SearchedClient,
    UnsearchedPlace,
    UnsearchedReason,
)
from migration.models.daily_comparisons import DailyComparisons
from migration.models.mismatches import OpenMismatch, OpenMismatchQuerySet, newest_status_is
from migration.models.moves import PhaseChange
from migration.models.phases import MOVE_PERMISSIONS, WRITES_BOTH, PhaseChoices
from migration.models.rates import Rate
from migration.models.reads import ReadCount
from migration.models.reasons import ReasonError, check_reason
from migration.models.resolutions import Resolution
from migration.models.reveals import Reveal
from migration.models.role_grants import RoleGrant
from migration.models.run_items import PUSHED, Outcome, RunItem
from migration.models.runs import MANY_TRIES, Run, StaleRunError
from migration.models.secrets import Secret
from migration.models.version_keys import VersionKey
from migration.models.workers import Worker

__all__ = [
    "MANY_TRIES",
    "MOVE_PERMISSIONS",
    "PUSHED",
    "WRITES_BOTH",
    "ClientMigration",
    "ClientMigrationQuerySet",
    "ClientPhaseQuerySet",
    "Comparison",
    "ComparisonQuerySet",
    "CopySearch",
    "DailyComparisons",
    "FoundCopy",
    "MoveRequest",
    "OpenMismatch",
    "OpenMismatchQuerySet",
    "Outcome",
    "PhaseChange",
    "PhaseChoices",
    "Rate",
    "ReadCount",
    "ReasonError",
    "Redaction",
    "Resolution",
    "Reveal",
    "RoleGrant",
    "Run",
    "RunItem",
    "SearchedClient",
    "Secret",
    "StaleRunError",
    "UnsearchedPlace",
    "UnsearchedReason",
    "VersionKey",
    "Worker",
    "all_clients",
    "check_reason",
    "newest_status_is",
]
