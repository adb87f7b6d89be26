"""Imports the tables of every drawer, for Django, and nothing else.

No column here has a constraint on NOVA's tables: NOVA deletes clients, which our history must neither prevent nor lose.
"""

from migration.campaigns.models import Campaign, Wave, WaveClient
from migration.clients.models import ClientComment
from migration.core.audit import AuditCheckpoint, AuditEvent, AuditLink
from migration.core.clients import ClientMigration, Offboarding, PhaseChange, ReadCount
from migration.core.comparisons import Comparison, DailyComparisons, OpenMismatch, Resolution
from migration.core.groups import ClientGroup, ClientOwner, GroupMember
from migration.core.leases import Lease
from migration.core.notices import Condition, Notice, NoticeDelivery, NoticeRecipient, NoticeSwitch
from migration.core.problems import ProblemRecord
from migration.core.rates import KeptCounts, Rate
from migration.core.secrets import PlannedVersion, Secret, VersionKey
from migration.core.workers import Worker
from migration.core.write_state import DatabaseClaim, WriteStop
from migration.logins.models import LoginTest, Reveal, Rotation, RotationSchedule
from migration.nova.models import OtherStatement, ReaderProcess
from migration.people.models import (
    PasswordLink,
    PasswordReset,
    RoleGrant,
    TimeZoneChoice,
    WrongPassword,
)
from migration.pushes.models import KnownValue, NotedClient
from migration.runs.items import RunItem
from migration.runs.models import Run
from migration.runs.plans import PlanRow
from migration.secrets.models import (
    CopySearch,
    FoundCopy,
    Redaction,
    SearchedClient,
    UnsearchedPlace,
)

__all__ = [
    "AuditCheckpoint",
    "AuditEvent",
    "AuditLink",
    "Campaign",
    "ClientComment",
    "ClientGroup",
    "ClientMigration",
    "ClientOwner",
    "Comparison",
    "Condition",
    "CopySearch",
    "DailyComparisons",
    "DatabaseClaim",
    "FoundCopy",
    "GroupMember",
    "KeptCounts",
    "KnownValue",
    "Lease",
    "LoginTest",
    "NotedClient",
    "Notice",
    "NoticeDelivery",
    "NoticeRecipient",
    "NoticeSwitch",
    "Offboarding",
    "OpenMismatch",
    "OtherStatement",
    "PasswordLink",
    "PasswordReset",
    "PhaseChange",
    "PlanRow",
    "PlannedVersion",
    "ProblemRecord",
    "Rate",
    "ReadCount",
    "ReaderProcess",
    "Redaction",
    "Resolution",
    "Reveal",
    "RoleGrant",
    "Rotation",
    "RotationSchedule",
    "Run",
    "RunItem",
    "SearchedClient",
    "Secret",
    "TimeZoneChoice",
    "UnsearchedPlace",
    "VersionKey",
    "Wave",
    "WaveClient",
    "Worker",
    "WriteStop",
    "WrongPassword",
]
